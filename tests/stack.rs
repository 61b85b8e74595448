//! Stacks: their overflow, their memory, and what happens without memory for them.

mod support;

use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use greenlet::{Builder, JoinHandle, Runtime};
use support::process::{mappings, resident, resident_with_page_tables, wait_until};
use support::recursion::{overflow, use_stack};
use support::{Barrier, Flag, child, runtime, watched, with_hubs};

/// What the child has written before it was aborted.
#[track_caller]
fn aborted(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{stderr}");
    stderr
}

#[test]
fn an_overflow_is_reported_with_name_size_and_remedy() {
    let test = "an_overflow_is_reported_with_name_size_and_remedy";
    let output = child::output(test, &[], || {
        let _watchdog = watched();
        let small = || {
            Builder::new()
                .name("deep".into())
                .stack_size(128 * 1024)
                .spawn(overflow)
        };
        runtime(2).run(|| small().unwrap().join().unwrap());
    });
    let Some(output) = output else { return };
    let report = aborted(&output);
    assert!(report.contains("greenlet 'deep' (number "), "{report}");
    assert!(report.contains("spawned at tests/stack.rs:"), "{report}");
    assert!(report.contains("has overflowed its stack"), "{report}");
    assert!(report.contains("131072 bytes"), "{report}");
    assert!(report.contains("Builder::stack_size"), "{report}");
    assert!(report.contains("GREENLET_STACK_SIZE"), "{report}");
}

#[test]
fn an_overflow_of_a_default_stack_is_reported() {
    let test = "an_overflow_of_a_default_stack_is_reported";
    let output = child::output(test, &[], || {
        let _watchdog = watched();
        let _ = runtime(1).spawn(overflow).join();
    });
    let Some(output) = output else { return };
    let report = aborted(&output);
    assert!(report.contains("greenlet '<unnamed>'"), "{report}");
    assert!(report.contains("262144 bytes"), "{report}");
}

#[test]
fn an_overflow_of_the_stack_of_run_is_reported() {
    let test = "an_overflow_of_the_stack_of_run_is_reported";
    let output = child::output(test, &[], || {
        let _watchdog = watched();
        runtime(1).run(overflow);
    });
    let Some(output) = output else { return };
    let report = aborted(&output);
    assert!(report.contains("greenlet 'main'"), "{report}");
    assert!(report.contains("8388608 bytes"), "{report}");
}

#[test]
fn an_overflow_on_a_stack_that_was_used_before_is_reported() {
    let test = "an_overflow_on_a_stack_that_was_used_before_is_reported";
    let output = child::output(test, &[], || {
        let _watchdog = watched();
        let runtime = runtime(1);
        for _ in 0..100 {
            runtime.spawn(|| use_stack(100 * 1024)).join().unwrap();
        }
        let late = || Builder::new().name("late".into()).spawn(overflow);
        runtime.run(|| late().unwrap().join().unwrap());
    });
    let Some(output) = output else { return };
    let report = aborted(&output);
    assert!(report.contains("greenlet 'late'"), "{report}");
}

#[test]
fn an_overflow_on_a_plain_thread_is_stds_to_report() {
    let test = "an_overflow_on_a_plain_thread_is_stds_to_report";
    let output = child::output(test, &[], || {
        let _watchdog = watched();
        drop(runtime(1));
        let _ = thread::Builder::new()
            .name("plain".into())
            .spawn(overflow)
            .unwrap()
            .join();
    });
    let Some(output) = output else { return };
    let report = aborted(&output);
    assert!(report.contains("thread 'plain'"), "{report}");
    assert!(!report.contains("greenlet"), "{report}");
}

/// Reads where nothing is mapped.
fn fault() {
    let nowhere = std::hint::black_box(64 as *const u8);
    // SAFETY: none: the fault is what is wanted.
    let byte = unsafe { nowhere.read_volatile() };
    std::hint::black_box(byte);
}

#[test]
fn another_fault_ends_the_process_as_ever() {
    let test = "another_fault_ends_the_process_as_ever";
    let output = child::output(test, &[], || {
        let _watchdog = watched();
        runtime(1).run(fault);
    });
    let Some(output) = output else { return };
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("overflow"), "{stderr}");
}

#[test]
fn another_fault_goes_to_the_handler_that_was_there_before() {
    extern "C" fn handler(_signal: libc::c_int) {
        let text = b"the handler of before\n";
        // SAFETY: readable bytes; both calls may be made in signal handlers.
        unsafe {
            libc::write(2, text.as_ptr().cast(), text.len());
            libc::_exit(7);
        }
    }

    let test = "another_fault_goes_to_the_handler_that_was_there_before";
    let output = child::output(test, &[], || {
        let _watchdog = watched();
        // SAFETY: the handler does only what handlers may.
        unsafe { libc::signal(libc::SIGSEGV, handler as *const () as libc::sighandler_t) };
        runtime(1).run(fault);
    });
    let Some(output) = output else { return };
    assert_eq!(output.status.code(), Some(7));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the handler of before"), "{stderr}");
}

#[test]
fn greenlets_use_all_of_their_stacks_over_and_over() {
    with_hubs(|runtime| {
        for _ in 0..5 {
            let deep: Vec<_> = (0..50)
                .map(|_| runtime.spawn(|| use_stack(200 * 1024)))
                .collect();
            deep.into_iter()
                .for_each(|greenlet| greenlet.join().unwrap());
        }
    });
}

/// Spawns greenlets that wait for the flag.
fn parked(runtime: &Runtime, count: usize) -> (Arc<Flag>, Vec<JoinHandle<()>>) {
    let release = Arc::new(Flag::default());
    let greenlets = (0..count)
        .map(|_| {
            let release = release.clone();
            runtime.spawn(move || {
                use_stack(4096);
                release.wait();
            })
        })
        .collect();
    wait_until("all have parked", || runtime.stats().parks >= count as u64);
    (release, greenlets)
}

#[test]
fn memory_returns_when_greenlets_have_ended() {
    let test = "memory_returns_when_greenlets_have_ended";
    child::alone(test, || {
        const COUNT: usize = 20_000;
        let _watchdog = watched();
        // Mappings run out where every guard page needs one.
        let count = if child::without("guard_install") {
            COUNT / 2
        } else {
            COUNT
        };
        let runtime = runtime(2);
        let before = resident();
        let (release, greenlets) = parked(&runtime, count);
        let during = resident();
        assert!(during - before > count * 8192, "{before} {during}");
        release.raise();
        greenlets
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        drop(release);
        wait_until("the memory returns", || {
            resident() < before + (during - before) / 5
        });
    });
}

/// Spawns `count` greenlets that are alive at the same time and use `bytes` of stack each, and joins
/// them.
fn wave(runtime: &Runtime, count: usize, bytes: usize) {
    runtime.run(|| {
        let barrier = Arc::new(Barrier::new(count));
        let greenlets: Vec<_> = (0..count)
            .map(|_| {
                let barrier = barrier.clone();
                greenlet::spawn(move || {
                    use_stack(bytes);
                    barrier.wait();
                })
            })
            .collect();
        greenlets
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
}

/// Page faults of this process that needed no disk.
fn faults() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: one writable rusage, for which zeros are a value.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    usage.ru_minflt.unsigned_abs()
}

#[test]
fn load_that_comes_and_goes_keeps_its_stacks() {
    let test = "load_that_comes_and_goes_keeps_its_stacks";
    child::alone(test, || {
        const COUNT: usize = 1000;
        let _watchdog = watched();
        let runtime = runtime(1);
        let mut waves = (0..12).map(|_| {
            let before = faults();
            wave(&runtime, COUNT, 8192);
            thread::sleep(Duration::from_millis(100));
            faults() - before
        });
        let first = waves.next().unwrap();
        assert!(first >= 3 * COUNT as u64, "{first}");
        // The first waves have the counting begin.
        let others: u64 = waves.skip(1).sum();
        assert!(others < COUNT as u64, "{others} faults in ten waves");
    });
}

#[test]
fn the_memory_of_deep_stacks_returns_from_the_hubs_too() {
    let test = "the_memory_of_deep_stacks_returns_from_the_hubs_too";
    child::alone(test, || {
        const DEPTH: usize = 900 << 10;
        let _watchdog = watched();
        let builder = Runtime::builder().hubs(2).stack_size(1 << 20);
        let runtime = builder.build().unwrap();
        wave(&runtime, 10, DEPTH);
        let before = resident();
        // A hub has room for 64 of them.
        wave(&runtime, 60, DEPTH);
        assert!(resident() > before + 40 * DEPTH);
        wait_until("the memory returns", || resident() < before + 10 * DEPTH);
    });
}

/// As the row `idle` of the example `speed`.
#[test]
fn an_idle_greenlet_takes_no_more_than_it_should() {
    let test = "an_idle_greenlet_takes_no_more_than_it_should";
    child::alone(test, || {
        const COUNT: usize = 10_000;
        let _watchdog = watched();
        let runtime = runtime(1);
        runtime.run(|| {
            // What is needed once, for the first greenlet, is not counted.
            greenlet::spawn(|| ()).join().unwrap();
            let parked = Arc::new(AtomicUsize::new(0));
            let mut idle = Vec::with_capacity(COUNT);
            let before = resident_with_page_tables();
            for _ in 0..COUNT {
                let parked = parked.clone();
                idle.push(greenlet::spawn(move || {
                    parked.fetch_add(1, SeqCst);
                    greenlet::park();
                }));
            }
            while parked.load(SeqCst) < COUNT {
                greenlet::yield_now();
            }
            let each = (resident_with_page_tables() - before) / COUNT;
            // Two pages, the control block, and a share of the page tables: 9.4 KiB. The frames of
            // a build without optimisation are larger.
            let limit = if env!("GREENLET_OPT_LEVEL") == "0" {
                12 << 10
            } else {
                9625
            };
            assert!(each <= limit, "{each} bytes for each");
            for greenlet in idle {
                greenlet.thread().unpark();
                greenlet.join().unwrap();
            }
        });
    });
}

#[test]
fn greenlets_take_no_mappings() {
    let test = "greenlets_take_no_mappings";
    child::alone(test, || {
        let _watchdog = watched();
        let runtime = runtime(2);
        let (_release, _greenlets) = parked(&runtime, 100);
        let before = mappings();
        let (_release, _greenlets) = parked(&runtime, 10_000);
        let more = mappings() - before;
        if child::without("guard_install") {
            // Two for each: the guard page and the rest.
            assert!(more >= 10_000, "{more} mappings: the fallback was not used");
        } else {
            assert!(more < 30, "{more} mappings");
        }
    });
}

/// Lets the process map only so many bytes more than now, runs `f`, and lifts that again.
fn with_address_space<R>(bytes: u64, f: impl FnOnce() -> R) -> R {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = text
        .split(' ')
        .next()
        .expect("a number")
        .parse()
        .expect("a number");
    let limit = |bytes| libc::rlimit {
        rlim_cur: bytes,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: a valid limit; the hard limit stays, so it can be lifted again.
    let set = |bytes| unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit(bytes)) };
    assert_eq!(set(pages * 4096 + bytes), 0);
    let result = f();
    assert_eq!(set(libc::RLIM_INFINITY), 0);
    result
}

/// A size that no test has used, so that none of its stacks are in reserve.
const RARE: usize = 64 << 20;

#[test]
fn without_memory_try_spawn_is_an_error_and_the_runtime_works_on() {
    let test = "without_memory_try_spawn_is_an_error_and_the_runtime_works_on";
    child::alone(test, || {
        let _watchdog = watched();
        let runtime = runtime(2);
        runtime.run(|| {
            greenlet::spawn(|| ()).join().unwrap();
            let error = with_address_space(8 << 20, || {
                let error = Builder::new().stack_size(RARE).spawn(|| ()).unwrap_err();
                greenlet::spawn(|| ()).join().unwrap();
                error
            });
            assert_eq!(error.kind(), ErrorKind::OutOfMemory);
            assert!(error.to_string().contains("no address space"), "{error}");
            let large = Builder::new().stack_size(RARE).spawn(|| 5).unwrap();
            assert_eq!(large.join().unwrap(), 5);
        });
    });
}

#[test]
fn without_memory_the_stacks_of_try_spawn_run_out_with_an_error() {
    let test = "without_memory_the_stacks_of_try_spawn_run_out_with_an_error";
    child::alone(test, || {
        let _watchdog = watched();
        let runtime = Runtime::builder()
            .hubs(1)
            .stack_size(1 << 20)
            .build()
            .unwrap();
        runtime.run(|| {
            let release = Arc::new(Flag::default());
            let (error, spawned) = with_address_space(256 << 20, || {
                let mut spawned = Vec::new();
                loop {
                    let waiting = release.clone();
                    match greenlet::try_spawn(move || waiting.wait()) {
                        Ok(greenlet) => spawned.push(greenlet),
                        Err(error) => return (error, spawned),
                    }
                }
            });
            assert_eq!(error.kind(), ErrorKind::OutOfMemory);
            assert!(spawned.len() > 50, "{}", spawned.len());
            release.raise();
            spawned
                .into_iter()
                .for_each(|greenlet| greenlet.join().unwrap());
            greenlet::try_spawn(|| ()).unwrap().join().unwrap();
        });
    });
}

#[test]
fn without_memory_a_spawned_greenlet_does_not_run_and_its_join_says_why() {
    let test = "without_memory_a_spawned_greenlet_does_not_run_and_its_join_says_why";
    child::alone(test, || {
        let _watchdog = watched();
        let runtime = Runtime::builder().hubs(1).stack_size(RARE).build().unwrap();
        runtime.run(|| {
            let owned = Arc::new(());
            let kept = owned.clone();
            // Those that are in reserve, and more.
            let spawned: Vec<_> = with_address_space(8 << 20, || {
                let results = (0..50).map(|_| {
                    let kept = kept.clone();
                    greenlet::spawn(move || {
                        greenlet::park_timeout(Duration::from_millis(20));
                        drop(kept);
                    })
                });
                let spawned: Vec<_> = results.collect();
                spawned.into_iter().map(JoinHandle::join).collect()
            });
            let errors: Vec<_> = spawned.into_iter().filter_map(Result::err).collect();
            assert!(!errors.is_empty());
            for payload in errors {
                let error = payload.downcast::<io::Error>().unwrap();
                assert_eq!(error.kind(), ErrorKind::OutOfMemory);
            }
            drop(kept);
            assert_eq!(Arc::strong_count(&owned), 1);
            greenlet::spawn(|| ()).join().unwrap();
        });
        wait_until("all are counted", || runtime.stats().greenlets == 0);
    });
}
