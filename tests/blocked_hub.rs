//! Hubs that a greenlet keeps to itself: reports, and what goes on elsewhere.

mod support;

use std::io::{Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use greenlet::{BlockedActivity, BlockedHub, Builder, Runtime};
use support::process::wait_until;
use support::{child, watched};

/// A runtime that sends its reports.
fn reporting(hubs: usize) -> (Runtime, Receiver<BlockedHub>) {
    let (sender, reports) = mpsc::channel();
    let runtime = Runtime::builder()
        .hubs(hubs)
        .on_blocked(move |report| drop(sender.send(report.clone())))
        .build()
        .expect("a runtime");
    (runtime, reports)
}

/// Blocks the thread, which the crate does not see, and is not to be disturbed.
fn block(time: Duration) {
    let mut request = libc::timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: both point to a time.
    let result = unsafe { libc::nanosleep(&raw const request, &raw mut request) };
    assert_eq!(result, 0, "the sleep was cut short");
}

/// Blocks the thread until one more stop has been counted, however late the monitor is on a busy
/// machine.
fn block_until_counted() {
    let blocked = || greenlet::stats().expect("a greenlet").blocked;
    let before = blocked();
    let start = Instant::now();
    while blocked() == before {
        assert!(start.elapsed() < LONG, "nobody has noticed");
        block(Duration::from_millis(20));
    }
}

fn compute(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_greenlet_that_blocks_in_a_call_is_reported_once_with_name_and_place() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let (runtime, reports) = reporting(hubs);
        let line = line!() + 5;
        runtime.run(|| {
            let blocking = Builder::new()
                .name("blocking".into())
                .hub(hubs - 1)
                .spawn(block_until_counted);
            blocking.unwrap().join().unwrap();
        });
        let report = reports.recv_timeout(LONG).expect("a report");
        assert_eq!(report.hub, hubs - 1);
        let greenlet = report.greenlet.as_ref().expect("the greenlet");
        assert_eq!(greenlet.name.as_deref(), Some("blocking"));
        assert_eq!(
            (greenlet.spawned_at.file(), greenlet.spawned_at.line()),
            (file!(), line)
        );
        assert!(
            report.since >= Duration::from_millis(10),
            "{:?}",
            report.since
        );
        let BlockedActivity::Waiting { syscall: Some(_) } = report.activity else {
            panic!("{report:?}");
        };
        let text = report.to_string();
        assert!(text.starts_with("greenlet 'blocking' (number "), "{text}");
        assert_eq!(runtime.stats().blocked, 1);
        drop(runtime);
        assert!(reports.try_recv().is_err(), "it is reported once");
    }
}

#[test]
fn a_greenlet_that_computes_is_reported_as_such() {
    let _watchdog = watched();
    let (runtime, reports) = reporting(1);
    // As long as it takes on a busy machine: only what it computed counts.
    let reported = Arc::new(AtomicBool::new(false));
    let its = reported.clone();
    let computing = runtime.spawn(move || {
        while !its.load(SeqCst) {
            std::hint::spin_loop();
        }
    });
    let report = reports.recv_timeout(LONG);
    reported.store(true, SeqCst);
    computing.join().unwrap();
    let report = report.unwrap();
    assert_eq!(report.activity, BlockedActivity::Computing);
    assert!(!report.stack.is_empty(), "{report}");
}

#[inline(never)]
fn spin(until: &AtomicBool) {
    while !until.load(SeqCst) {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn spin_outer(until: &AtomicBool) {
    spin(until);
    std::hint::black_box(());
}

#[test]
fn a_handler_of_the_signal_is_still_called() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        CALLS.fetch_add(1, SeqCst);
    }
    let test = "a_handler_of_the_signal_is_still_called";
    child::alone(test, || {
        // SAFETY: the handler uses an atomic.
        unsafe { libc::signal(libc::SIGURG, count as *const () as usize) };
        let (runtime, reports) = reporting(1);
        let until = Arc::new(AtomicBool::new(false));
        let its = until.clone();
        let spinning = runtime.spawn(move || spin_outer(&its));
        let report = reports.recv_timeout(LONG);
        let by_the_monitor = CALLS.load(SeqCst);
        // SAFETY: takes a number.
        unsafe { libc::raise(libc::SIGURG) };
        until.store(true, SeqCst);
        spinning.join().unwrap();
        assert!(report.is_ok());
        assert_eq!((by_the_monitor, CALLS.load(SeqCst)), (0, 1));
    });
}

/// The monitor does not wait for it for ever, and when it comes at last, it is still the monitor's.
#[test]
fn a_signal_that_comes_late_is_kept_from_the_other_handler() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        CALLS.fetch_add(1, SeqCst);
    }
    fn change_mask(how: libc::c_int) {
        let mut mask = std::mem::MaybeUninit::uninit();
        // SAFETY: the set is there to be written, and then it is one; nothing is answered.
        unsafe {
            libc::sigemptyset(mask.as_mut_ptr());
            libc::sigaddset(mask.as_mut_ptr(), libc::SIGURG);
            libc::pthread_sigmask(how, mask.as_ptr(), std::ptr::null_mut());
        }
    }
    let test = "a_signal_that_comes_late_is_kept_from_the_other_handler";
    child::alone(test, || {
        let _watchdog = watched();
        // SAFETY: the handler uses an atomic.
        unsafe { libc::signal(libc::SIGURG, count as *const () as usize) };
        let (runtime, reports) = reporting(1);
        let until = Arc::new(AtomicBool::new(false));
        let its = until.clone();
        let spinning = runtime.spawn(move || {
            change_mask(libc::SIG_BLOCK);
            spin_outer(&its);
            change_mask(libc::SIG_UNBLOCK);
        });
        let report = reports.recv_timeout(LONG);
        until.store(true, SeqCst);
        spinning.join().unwrap();
        assert_eq!(report.unwrap().stack, [""; 0]);
        assert_eq!(CALLS.load(SeqCst), 0);
    });
}

#[test]
fn greenlets_that_yield_wait_or_end_in_time_are_not_reported() {
    let _watchdog = watched();
    let (sender, reports) = mpsc::channel();
    let runtime = Runtime::builder()
        .hubs(2)
        // Long, because the machine may be busy.
        .blocked_after(Duration::from_secs(5))
        .on_blocked(move |report| drop(sender.send(report.to_string())))
        .build()
        .unwrap();
    runtime.run(|| {
        let start = Instant::now();
        let yielding: Vec<_> = (0..10)
            .map(|_| {
                greenlet::spawn(move || {
                    while start.elapsed() < Duration::from_millis(300) {
                        compute(Duration::from_millis(1));
                        greenlet::yield_now();
                    }
                })
            })
            .collect();
        greenlet::sleep(Duration::from_millis(300));
        yielding
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
    let stats = runtime.stats();
    drop(runtime);
    assert_eq!(stats.blocked, 0, "{:?}", reports.try_recv());
}

#[test]
fn every_stop_is_reported_and_counted() {
    let _watchdog = watched();
    let (runtime, reports) = reporting(1);
    runtime.run(|| {
        for _ in 0..3 {
            block_until_counted();
            // More switches than one, so that the stop is over.
            greenlet::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(runtime.stats().blocked, 3);
    drop(runtime);
    assert_eq!(reports.iter().count(), 3);
}

/// With a backtrace it takes tens of milliseconds, or a second where the names are looked up first.
#[test]
fn the_message_of_a_panic_is_not_reported() {
    child::alone("the_message_of_a_panic_is_not_reported", || {
        let _watchdog = watched();
        // The crate's hook goes on to the one that is there before the first runtime.
        static WENT_ON: AtomicBool = AtomicBool::new(false);
        std::panic::set_hook(Box::new(|_| {
            block(Duration::from_millis(100));
            // What waits for the hub goes on elsewhere.
            while !WENT_ON.load(SeqCst) {
                block(Duration::from_millis(10));
            }
        }));
        let (runtime, reports) = reporting(2);
        runtime.run(|| {
            let panicking = greenlet::spawn(|| {
                greenlet::spawn(|| WENT_ON.store(true, SeqCst));
                panic!("as it should");
            });
            panicking.join().unwrap_err();
            assert_eq!(greenlet::stats().unwrap().blocked, 0);
            greenlet::spawn(block_until_counted).join().unwrap();
        });
        drop(runtime);
        assert_eq!(reports.iter().count(), 1);
    });
}

/// Its hub runs others meanwhile, and they may block it.
#[test]
fn a_hub_is_watched_while_the_message_of_a_panic_waits() {
    let test = "a_hub_is_watched_while_the_message_of_a_panic_waits";
    child::alone(test, || {
        let _watchdog = watched();
        static BEGAN: AtomicBool = AtomicBool::new(false);
        static MAY_END: AtomicBool = AtomicBool::new(false);
        std::panic::set_hook(Box::new(|_| {
            BEGAN.store(true, SeqCst);
            while !MAY_END.load(SeqCst) {
                greenlet::sleep(Duration::from_millis(1));
            }
        }));
        let (runtime, reports) = reporting(1);
        runtime.run(|| {
            let panicking = greenlet::spawn(|| panic!("as it should"));
            while !BEGAN.load(SeqCst) {
                greenlet::yield_now();
            }
            block_until_counted();
            MAY_END.store(true, SeqCst);
            panicking.join().unwrap_err();
        });
        drop(runtime);
        assert_eq!(reports.iter().count(), 1);
    });
}

/// What of the work that waits on a hub goes on while the hub is blocked: how long the slowest part
/// of it took. The hub is blocked until it has all gone on.
fn slowest_beside_a_blocked_hub() -> Duration {
    let (runtime, _reports) = reporting(2);
    runtime.run(|| {
        let done = Arc::new(AtomicUsize::new(0));
        let times = Arc::new(Mutex::new(Vec::new()));
        let blocked_at = Arc::new(Mutex::new(None::<Instant>));
        let finish = {
            let (done, times, blocked_at) = (done.clone(), times.clone(), blocked_at.clone());
            move || {
                let since = blocked_at
                    .lock()
                    .unwrap()
                    .expect("the hub is blocked")
                    .elapsed();
                times.lock().unwrap().push(since);
                done.fetch_add(1, SeqCst);
            }
        };
        let listener = greenlet::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut far = listener.accept().unwrap().0;
        let blocker = {
            let finish = finish.clone();
            greenlet::spawn(move || {
                // Timers of this hub, a reader that waited here, a queue, and the next slot.
                let sleeping: Vec<_> = (0..10)
                    .map(|_| {
                        let (finish, blocked_at) = (finish.clone(), blocked_at.clone());
                        greenlet::spawn(move || {
                            while blocked_at.lock().unwrap().is_none() {
                                greenlet::sleep(Duration::from_millis(1));
                            }
                            finish();
                        })
                    })
                    .collect();
                let reader = {
                    let finish = finish.clone();
                    greenlet::spawn(move || {
                        let mut byte = [0];
                        far.read_exact(&mut byte).unwrap();
                        finish();
                    })
                };
                let parked = {
                    let finish = finish.clone();
                    greenlet::spawn(move || {
                        greenlet::park();
                        finish();
                    })
                };
                greenlet::sleep(Duration::from_millis(5));
                // From here on: the other hub may take those that are queued before this one blocks.
                *blocked_at.lock().unwrap() = Some(Instant::now());
                let queued: Vec<_> = (0..10).map(|_| greenlet::spawn(finish.clone())).collect();
                parked.thread().unpark();
                near.write_all(&[1]).unwrap();
                let start = Instant::now();
                while done.load(SeqCst) < 22 {
                    assert!(
                        start.elapsed() < LONG,
                        "{} of 22 went on",
                        done.load(SeqCst)
                    );
                    block(Duration::from_millis(50));
                }
                for greenlet in sleeping.into_iter().chain(queued).chain([reader, parked]) {
                    greenlet.join().unwrap();
                }
            })
        };
        blocker.join().unwrap();
        let times = times.lock().unwrap();
        *times.iter().max().unwrap()
    })
}

#[test]
fn what_waits_for_a_blocked_hub_goes_on_elsewhere_within_20_ms() {
    let _watchdog = watched();
    // Once in some tries, since the machine may be busy; each of them ends only if all goes on.
    let start = Instant::now();
    let mut tries = vec![slowest_beside_a_blocked_hub()];
    while tries
        .iter()
        .all(|slowest| *slowest >= Duration::from_millis(20))
    {
        assert!(start.elapsed() < 2 * LONG, "{tries:?}");
        tries.push(slowest_beside_a_blocked_hub());
    }
}

#[test]
fn what_is_pinned_to_a_blocked_hub_waits_for_it() {
    let _watchdog = watched();
    let (runtime, _reports) = reporting(2);
    runtime.run(|| {
        let pinned_ran = Arc::new(AtomicBool::new(false));
        let its = pinned_ran.clone();
        let blocker = Builder::new()
            .hub(1)
            .spawn(move || {
                let pinned = Builder::new().hub(1).spawn(move || {
                    its.store(true, SeqCst);
                    greenlet::hub_id()
                });
                block(Duration::from_millis(100));
                pinned.unwrap()
            })
            .unwrap();
        let pinned = blocker.join().unwrap();
        assert_eq!(pinned.join().unwrap(), Some(1));
        assert!(pinned_ran.load(SeqCst));
    });
}

#[test]
fn greenlets_that_come_and_go_beside_a_blocked_hub_are_looked_at_safely() {
    // The monitor looks at greenlets that end at that moment; short stops, many of them.
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let seen = Arc::new(AtomicUsize::new(0));
        let its = seen.clone();
        let runtime = Runtime::builder()
            .hubs(hubs)
            .blocked_after(Duration::from_micros(500))
            .on_blocked(move |report| {
                let name = report
                    .greenlet
                    .as_ref()
                    .and_then(|greenlet| greenlet.name.as_deref());
                assert!(
                    name.is_none_or(|name| name.starts_with("short-lived")),
                    "{name:?}"
                );
                its.fetch_add(1, SeqCst);
            })
            .build()
            .unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            let stops: Vec<_> = (0..8)
                .map(|n| {
                    let name = format!("short-lived {n}");
                    let runtime = &runtime;
                    runtime.spawn(move || {
                        Builder::new()
                            .name(name)
                            .spawn(|| thread::sleep(Duration::from_millis(3)))
                            .unwrap()
                            .join()
                            .unwrap();
                    })
                })
                .collect();
            stops
                .into_iter()
                .for_each(|greenlet| greenlet.join().unwrap());
        }
        wait_until("some are seen", || seen.load(SeqCst) > 0);
    }
}

#[test]
fn by_default_the_report_is_written_once_for_a_place() {
    let test = "by_default_the_report_is_written_once_for_a_place";
    let stderr = child::passes(test, &[], || {
        Runtime::builder().hubs(1).build().unwrap().run(|| {
            // The names of functions are looked up once, which takes its time.
            drop(greenlet::dump().to_string());
            for _ in 0..3 {
                greenlet::spawn(block_until_counted).join().unwrap();
            }
        });
    });
    if let Some(stderr) = stderr {
        assert_eq!(
            stderr.matches("has kept hub 0 to itself").count(),
            1,
            "{stderr}"
        );
        assert!(stderr.contains(file!()), "{stderr}");
    }
}

#[test]
fn without_the_barrier_a_report_has_no_greenlet_and_work_goes_on_all_the_same() {
    let test = "without_the_barrier_a_report_has_no_greenlet_and_work_goes_on_all_the_same";
    child::passes(test, &[("GREENLET_WITHOUT", "membarrier")], || {
        let (runtime, reports) = reporting(2);
        runtime.run(block_until_counted);
        let report = reports.recv_timeout(LONG).unwrap();
        assert!(report.greenlet.is_none());
        assert!(
            report.to_string().starts_with("a greenlet has kept"),
            "{report}"
        );
        slowest_beside_a_blocked_hub();
    });
}

#[cfg(feature = "stacks")]
mod stacks {
    use super::*;

    #[inline(never)]
    fn inner() {
        block_until_counted();
        std::hint::black_box(());
    }

    #[inline(never)]
    fn outer() {
        inner();
        std::hint::black_box(());
    }

    /// Whether the stack has these functions, one after the other.
    fn has_calls(stack: &[String], innermost_first: [&str; 2]) -> bool {
        let position = |name: &str| stack.iter().position(|frame| frame.contains(name));
        match innermost_first.map(position) {
            [Some(inner), Some(outer)] => inner < outer,
            _ => false,
        }
    }

    #[test]
    fn a_report_has_the_stack_of_who_waits_and_of_who_computes() {
        let _watchdog = watched();
        for hubs in [1, 2] {
            let (runtime, reports) = reporting(hubs);
            runtime.run(outer);
            let report = reports.recv_timeout(LONG).unwrap();
            let calls = ["stacks::inner", "stacks::outer"];
            assert!(has_calls(&report.stack, calls), "{report}");
            let until = Arc::new(AtomicBool::new(false));
            let its = until.clone();
            let spinning = runtime.spawn(move || spin_outer(&its));
            let report = reports.recv_timeout(LONG);
            until.store(true, SeqCst);
            spinning.join().unwrap();
            let report = report.unwrap();
            let calls = ["blocked_hub::spin", "blocked_hub::spin_outer"];
            assert!(has_calls(&report.stack, calls), "{report}");
        }
    }
}
