//! Signals that greenlets and threads wait for. Each test has a process of its own: what happens on a
//! signal is the whole process's.

use std::io::ErrorKind;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use greenlet::signal::{self, Signal};

mod support;

use support::child::{alone, output};
use support::process::wait_until;
use support::sockets::{everywhere, in_greenlets, settle, sleep, spawn};
use support::{at_once, does_not_park, parks, runtime, watched};

fn send(signal: Signal) {
    // SAFETY: the signal goes to this process.
    let result = unsafe { libc::kill(libc::getpid(), signal.as_raw()) };
    assert_eq!(result, 0);
}

/// It is handled before this returns.
fn send_to_this_thread(signal: Signal) {
    // SAFETY: the signal goes to this thread.
    let result = unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::getpid(),
            libc::gettid(),
            signal.as_raw(),
        )
    };
    assert_eq!(result, 0);
}

/// The address of the handler, or `SIG_DFL` or `SIG_IGN`.
fn action(signal: Signal) -> usize {
    // SAFETY: there is room for what is written.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let result = libc::sigaction(signal.as_raw(), std::ptr::null(), &raw mut action);
        assert_eq!(result, 0);
        action.sa_sigaction
    }
}

fn set_action(signal: Signal, action: usize) {
    // SAFETY: the handlers of this file only count.
    unsafe { libc::signal(signal.as_raw(), action) };
}

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn a_wait_parks_until_the_signal_comes() {
    alone("a_wait_parks_until_the_signal_comes", || {
        let signals = signal::listen(&[Signal::USER_1, Signal::USER_2]).unwrap();
        let came = parks(move || signals.wait().unwrap(), || send(Signal::USER_2));
        assert_eq!(came, Signal::USER_2);
        let came = parks(
            || signal::wait(&[Signal::USER_1]).unwrap(),
            || send(Signal::USER_1),
        );
        assert_eq!(came, Signal::USER_1);
    });
}

#[test]
fn a_signal_that_has_come_is_taken_without_a_park() {
    alone("a_signal_that_has_come_is_taken_without_a_park", || {
        let signals = signal::listen(&[Signal::USER_1]).unwrap();
        does_not_park(|| {
            assert_eq!(signals.try_next(), None);
            send(Signal::USER_1);
            wait_for(&signals, Signal::USER_1);
            send_to_this_thread(Signal::USER_1);
            assert_eq!(signals.wait().unwrap(), Signal::USER_1);
            assert_eq!(signals.try_next(), None);
        });
    });
}

/// Without a park.
fn wait_for(signals: &signal::Signals, signal: Signal) {
    let start = Instant::now();
    loop {
        match signals.try_next() {
            Some(came) => return assert_eq!(came, signal),
            None => assert!(start.elapsed() < Duration::from_secs(10)),
        }
    }
}

#[test]
fn each_listener_sees_each_signal_once() {
    alone("each_listener_sees_each_signal_once", || {
        everywhere(|| {
            let listen = || signal::listen(&[Signal::USER_1]).unwrap();
            let listeners: Vec<_> = (0..10).map(|_| listen()).collect();
            let waiting: Vec<_> = listeners
                .into_iter()
                .map(|signals| {
                    spawn(move || {
                        for _ in 0..20 {
                            signals.wait().unwrap();
                        }
                        signals
                    })
                })
                .collect();
            let counter = listen();
            for _ in 0..20 {
                send(Signal::USER_1);
                // The kernel keeps one of them.
                counter.wait().unwrap();
            }
            for greenlet in waiting {
                assert_eq!(greenlet.join().unwrap().try_next(), None);
            }
        });
    });
}

#[test]
fn several_wait_at_one_listener_and_each_signal_goes_to_one() {
    alone(
        "several_wait_at_one_listener_and_each_signal_goes_to_one",
        || {
            everywhere(|| {
                let signals = Arc::new(signal::listen(&[Signal::USER_1]).unwrap());
                let counter = signal::listen(&[Signal::USER_1]).unwrap();
                let waiting: Vec<_> = (0..8)
                    .map(|_| {
                        let signals = signals.clone();
                        spawn(move || signals.wait().unwrap())
                    })
                    .collect();
                settle();
                for _ in 0..8 {
                    send(Signal::USER_1);
                    counter.wait().unwrap();
                }
                for greenlet in waiting {
                    assert_eq!(greenlet.join().unwrap(), Signal::USER_1);
                }
                assert_eq!(signals.try_next(), None);
            });
        },
    );
}

#[test]
fn waiting_ends_at_the_deadline() {
    alone("waiting_ends_at_the_deadline", || {
        everywhere(|| {
            let start = Instant::now();
            assert_eq!(
                signal::wait_timeout(&[Signal::USER_1], SHORT).unwrap(),
                None
            );
            assert!(start.elapsed() >= SHORT);
            let signals = signal::listen(&[Signal::USER_1]).unwrap();
            assert_eq!(signals.wait_until(start).unwrap(), None);
            assert_eq!(signals.wait_timeout(Duration::ZERO).unwrap(), None);
            send(Signal::USER_1);
            let came = signals.wait_timeout(Duration::MAX).unwrap();
            assert_eq!(came, Some(Signal::USER_1));
        });
    });
}

#[test]
fn an_iterator_gives_one_after_the_other() {
    alone("an_iterator_gives_one_after_the_other", || {
        everywhere(|| {
            let signals = signal::listen(&[Signal::USER_2]).unwrap();
            let mut iter = signals.iter();
            for _ in 0..3 {
                send(Signal::USER_2);
                assert_eq!(iter.next().unwrap().unwrap(), Signal::USER_2);
            }
            send(Signal::USER_2);
            let mut iter = (&signals).into_iter();
            assert_eq!(iter.next().unwrap().unwrap(), Signal::USER_2);
        });
    });
}

#[test]
fn what_was_there_before_is_put_back_with_the_last_listener() {
    alone(
        "what_was_there_before_is_put_back_with_the_last_listener",
        || {
            let _watchdog = watched();
            for before in [libc::SIG_DFL, libc::SIG_IGN] {
                set_action(Signal::USER_1, before);
                let first = signal::listen(&[Signal::USER_1]).unwrap();
                let second = signal::listen(&[Signal::USER_1, Signal::USER_2]).unwrap();
                let ours = action(Signal::USER_1);
                assert!(![libc::SIG_DFL, libc::SIG_IGN].contains(&ours));
                drop(first);
                assert_eq!(action(Signal::USER_1), ours);
                drop(second);
                assert_eq!(action(Signal::USER_1), before);
                assert_eq!(action(Signal::USER_2), libc::SIG_DFL);
            }
        },
    );
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, SeqCst);
}

#[test]
fn a_handler_that_was_there_is_called_too() {
    alone("a_handler_that_was_there_is_called_too", || {
        let theirs = handle as *const () as usize;
        set_action(Signal::USER_1, theirs);
        in_greenlets(|| {
            let before = HANDLED.load(SeqCst);
            let signals = signal::listen(&[Signal::USER_1]).unwrap();
            send(Signal::USER_1);
            signals.wait().unwrap();
            wait_until("their handler", || HANDLED.load(SeqCst) == before + 1);
        });
        assert_eq!(action(Signal::USER_1), theirs);
    });
}

#[test]
fn a_handler_that_was_installed_later_stays() {
    alone("a_handler_that_was_installed_later_stays", || {
        let signals = signal::listen(&[Signal::USER_1]).unwrap();
        let theirs = handle as *const () as usize;
        set_action(Signal::USER_1, theirs);
        drop(signals);
        assert_eq!(action(Signal::USER_1), theirs);
    });
}

#[test]
fn a_function_runs_in_a_greenlet_at_each_signal() {
    alone("a_function_runs_in_a_greenlet_at_each_signal", || {
        everywhere(|| {
            let calls = Arc::new(AtomicUsize::new(0));
            let handler = signal::on(Signal::USER_1, {
                let calls = calls.clone();
                move || {
                    assert!(greenlet::hub_id().is_some());
                    greenlet::sleep(Duration::from_millis(1));
                    calls.fetch_add(1, SeqCst);
                }
            });
            let handler = handler.unwrap();
            assert_eq!(handler.signal(), Signal::USER_1);
            for n in 1..10 {
                send(Signal::USER_1);
                wait_until("the function", || calls.load(SeqCst) == n);
            }
            drop(handler);
            wait_until("the default action", || {
                action(Signal::USER_1) == libc::SIG_DFL
            });
        });
    });
}

#[test]
fn a_runtime_that_ends_ends_its_handlers_and_waits() {
    alone("a_runtime_that_ends_ends_its_handlers_and_waits", || {
        let _watchdog = watched();
        for hubs in [1, 2, 8] {
            let runtime = runtime(hubs);
            let handler = runtime.run(|| signal::on(Signal::USER_1, || ()).unwrap());
            let waiting = runtime.spawn(|| signal::wait(&[Signal::USER_2]));
            settle();
            drop(runtime);
            assert!(waiting.join().unwrap_err().is::<greenlet::Cancelled>());
            assert_eq!(action(Signal::USER_1), libc::SIG_DFL);
            assert_eq!(action(Signal::USER_2), libc::SIG_DFL);
            drop(handler);
        }
    });
}

#[test]
fn signals_that_cannot_be_waited_for_are_refused() {
    let refused = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
        libc::SIGSYS,
        32,
        33,
        0,
        -1,
        65,
        i32::MAX,
    ];
    for signal in refused {
        let error = Signal::from_raw(signal).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{signal}");
    }
    let error = signal::listen(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn signals_have_their_names() {
    assert_eq!(Signal::TERMINATE.to_string(), "SIGTERM");
    assert_eq!(format!("{:?}", Signal::INTERRUPT), "SIGINT");
    let realtime = Signal::from_raw(40).unwrap();
    assert_eq!(
        (realtime.to_string(), realtime.as_raw()),
        ("signal 40".into(), 40)
    );
}

#[test]
fn real_time_signals_are_counted() {
    alone("real_time_signals_are_counted", || {
        let realtime = Signal::from_raw(40).unwrap();
        in_greenlets(|| {
            let signals = signal::listen(&[Signal::from_raw(40).unwrap()]).unwrap();
            for _ in 0..50 {
                send(Signal::from_raw(40).unwrap());
            }
            for _ in 0..50 {
                signals.wait().unwrap();
            }
            assert_eq!(signals.try_next(), None);
        });
        assert_eq!(action(realtime), libc::SIG_DFL);
    });
}

#[test]
fn children_and_threads_inherit_neither_masks_nor_handlers() {
    alone(
        "children_and_threads_inherit_neither_masks_nor_handlers",
        || {
            in_greenlets(|| {
                let signals = signal::listen(&[Signal::TERMINATE, Signal::INTERRUPT]).unwrap();
                send(Signal::TERMINATE);
                signals.wait().unwrap();
                for status in [
                    std::fs::read_to_string("/proc/thread-self/status").unwrap(),
                    std::thread::spawn(|| {
                        std::fs::read_to_string("/proc/thread-self/status").unwrap()
                    })
                    .join()
                    .unwrap(),
                ] {
                    assert!(status.contains("SigBlk:\t0000000000000000"), "{status}");
                }
                let output = Command::new("cat")
                    .arg("/proc/self/status")
                    .output()
                    .unwrap();
                let status = String::from_utf8(output.stdout).unwrap();
                assert!(status.contains("SigBlk:\t0000000000000000"), "{status}");
                assert!(status.contains("SigCgt:\t0000000000000000"), "{status}");
            });
        },
    );
}

#[test]
fn a_storm_of_signals_loses_none_and_starves_nobody() {
    alone("a_storm_of_signals_loses_none_and_starves_nobody", || {
        let storm = support::storm::begin();
        in_greenlets(|| {
            let signals = signal::listen(&[Signal::USER_2]).unwrap();
            let storms = signal::listen(&[Signal::USER_1]).unwrap();
            let beside = greenlet::spawn(move || (0..50).for_each(|_| drop(storms.wait())));
            at_once(4, |_| {
                for _ in 0..20 {
                    sleep(Duration::from_millis(1));
                }
            });
            for _ in 0..20 {
                send(Signal::USER_2);
                signals.wait().unwrap();
            }
            beside.join().unwrap();
        });
        assert!(storm.count() >= 50);
    });
}

#[test]
fn the_handler_keeps_errno() {
    alone("the_handler_keeps_errno", || {
        in_greenlets(|| {
            let signals = signal::listen(&[Signal::USER_1]).unwrap();
            for _ in 0..100 {
                // SAFETY: the address is that of this thread's `errno`.
                unsafe { *libc::__errno_location() = 77 };
                send_to_this_thread(Signal::USER_1);
                // SAFETY: as above.
                assert_eq!(unsafe { *libc::__errno_location() }, 77);
                wait_for(&signals, Signal::USER_1);
            }
        });
    });
}

#[test]
fn who_waits_for_a_signal_is_not_deadlocked() {
    alone("who_waits_for_a_signal_is_not_deadlocked", || {
        let _watchdog = watched();
        runtime(1).run(|| {
            let waiting = greenlet::spawn(|| signal::wait(&[Signal::USER_1]).unwrap());
            // Long enough for the detector; and from another process, so that no thread sends it.
            let script = format!("sleep 0.5; kill -USR1 {}", std::process::id());
            let child = Command::new("sh").args(["-c", &script]).spawn();
            assert_eq!(waiting.join().unwrap(), Signal::USER_1);
            child.unwrap().wait().unwrap();
        });
    });
}

#[test]
fn without_a_listener_a_signal_ends_the_process_as_it_did_before() {
    const NAME: &str = "without_a_listener_a_signal_ends_the_process_as_it_did_before";
    let body = || {
        drop(signal::listen(&[Signal::TERMINATE]).unwrap());
        send(Signal::TERMINATE);
        std::thread::sleep(Duration::from_secs(20));
    };
    if let Some(output) = output(NAME, &[], body) {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(output.status.signal(), Some(libc::SIGTERM));
    }
}

#[test]
fn listeners_leak_no_descriptors() {
    alone("listeners_leak_no_descriptors", || {
        in_greenlets(|| {
            drop(signal::listen(&[Signal::USER_1]).unwrap());
            let before = support::process::descriptors().len();
            for _ in 0..10 {
                let waited = signal::wait_timeout(&[Signal::USER_1], Duration::from_millis(1));
                assert_eq!(waited.unwrap(), None);
            }
            assert_eq!(support::process::descriptors().len(), before);
        });
    });
}

/// The action that [`goes_on`] has found.
static ONWARD: AtomicUsize = AtomicUsize::new(0);
static WENT_ON: AtomicUsize = AtomicUsize::new(0);

/// A handler that calls the one before it.
unsafe extern "C" fn goes_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    WENT_ON.fetch_add(1, SeqCst);
    // SAFETY: it is the crate's handler, which was installed with SA_SIGINFO.
    unsafe {
        let onward: unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            std::mem::transmute(ONWARD.load(SeqCst));
        onward(signal, info, context);
    }
}

#[test]
fn a_handler_that_goes_on_to_ours_and_is_below_it_too_is_called_once() {
    alone(
        "a_handler_that_goes_on_to_ours_and_is_below_it_too_is_called_once",
        || {
            let first = signal::listen(&[Signal::USER_1]).unwrap();
            ONWARD.store(action(Signal::USER_1), SeqCst);
            // SAFETY: the handler counts and goes on to the crate's.
            unsafe {
                let mut new: libc::sigaction = std::mem::zeroed();
                new.sa_sigaction = goes_on as *const () as usize;
                new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                let result = libc::sigaction(
                    Signal::USER_1.as_raw(),
                    &raw const new,
                    std::ptr::null_mut(),
                );
                assert_eq!(result, 0);
            }
            drop(first);
            // Theirs is in force, so ours is installed over it, to which it goes on.
            let signals = signal::listen(&[Signal::USER_1]).unwrap();
            for round in 1..=3 {
                send(Signal::USER_1);
                let came = signals.wait_timeout(Duration::from_secs(10)).unwrap();
                assert_eq!(came, Some(Signal::USER_1));
                wait_until("theirs", || WENT_ON.load(SeqCst) == round);
                assert_eq!(signals.try_next(), None);
            }
            drop(signals);
            // Theirs is back, and goes on to ours, which nobody wants.
            send(Signal::USER_1);
            wait_until("theirs", || WENT_ON.load(SeqCst) > 3);
        },
    );
}
