//! `trace`: switching recording on and off, and what makes the last events be written.
//!
//! Recording is the process's, so each test is alone in a child.

mod support;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use greenlet::signal::Signal;
use greenlet::trace::{self, Options, Trigger};
use greenlet::{BuildError, RunError, Runtime};
use support::process::wait_until;
use support::temp::TempDir;
use support::watchdog::Watchdog;
use support::{child, recorded, runtime, watched};

/// Whether a file begins as a trace does.
fn is_trace(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"GREENLET") && bytes.len() > 128)
}

#[test]
fn recording_is_on_once_and_answers_what_it_was() {
    child::alone("recording_is_on_once_and_answers_what_it_was", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        assert!(trace::stop().unwrap().is_none());
        let early = trace::snapshot(dir.join("early")).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::NotFound);
        trace::start(Options::flight()).unwrap();
        assert!(trace::is_on());
        let stream = dir.join("stream");
        for options in [Options::flight(), Options::stream(&stream)] {
            let again = trace::start(options).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        }
        assert!(!stream.exists());
        runtime(2).run(|| recorded::work(10));
        trace::snapshot(dir.join("snapshot")).unwrap();
        assert!(is_trace(&dir.join("snapshot")));
        let summary = trace::stop().unwrap().unwrap();
        assert!(!trace::is_on());
        assert_eq!(summary.lost, 0);
        let sum: u64 = summary.rings.iter().map(|ring| ring.events).sum();
        assert_eq!(sum, summary.events);
        let hubs: Vec<_> = summary.rings.iter().map(|ring| ring.hub).collect();
        assert_eq!(hubs, [Some(0), Some(1), None]);
        assert!(summary.accounts.is_none());
    });
}

#[test]
fn a_greenlet_may_switch_it() {
    child::alone("a_greenlet_may_switch_it", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        runtime(1).run(|| {
            for round in 0..3 {
                trace::start(Options::stream(dir.join(round.to_string()))).unwrap();
                recorded::work(5);
                trace::snapshot(dir.join("snapshot")).unwrap();
                assert!(trace::stop().unwrap().unwrap().events > 100);
            }
        });
    });
}

#[test]
fn it_is_switched_while_greenlets_move_and_end() {
    child::alone("it_is_switched_while_greenlets_move_and_end", || {
        for hubs in [1, 2, 8] {
            let _watchdog = watched();
            let dir = TempDir::new();
            let runtime = runtime(hubs);
            let over = Arc::new(AtomicBool::new(false));
            let working = runtime.spawn({
                let over = over.clone();
                move || {
                    while !over.load(Relaxed) {
                        recorded::work(3);
                    }
                }
            });
            for round in 0..20 {
                let options = match round % 3 {
                    0 => Options::flight().ring_size(0),
                    1 => Options::flight_in(dir.join("flight")),
                    _ => Options::stream(dir.join("stream")),
                };
                trace::start(options.accounts(round % 2 == 0)).unwrap();
                thread::sleep(Duration::from_millis(3));
                trace::snapshot(dir.join("snapshot")).unwrap();
                trace::stop().unwrap().unwrap();
            }
            over.store(true, Relaxed);
            working.join().unwrap();
        }
    });
}

#[test]
fn what_cannot_be_written_is_an_error() {
    child::alone("what_cannot_be_written_is_an_error", || {
        let _watchdog = watched();
        let nowhere = Path::new("/nonexistent/greenlet.trace");
        for options in [Options::stream(nowhere), Options::flight_in(nowhere)] {
            assert_eq!(
                trace::start(options).unwrap_err().kind(),
                ErrorKind::NotFound
            );
            assert!(!trace::is_on());
        }
        trace::start(Options::stream("/dev/full")).unwrap();
        runtime(1).run(|| recorded::work(10));
        assert_eq!(trace::stop().unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(!trace::is_on());
        trace::start(Options::flight()).unwrap();
        assert!(trace::snapshot(nowhere).is_err());
        assert!(trace::snapshot("/dev/full").is_err());
        trace::stop().unwrap();
        // More than there is room for.
        let dir = TempDir::new();
        let large = Options::flight_in(dir.join("large")).ring_size(1 << 50);
        trace::start(large).unwrap();
        runtime(1).run(greenlet::yield_now);
        assert!(trace::stop().is_err());
    });
}

/// What triggers have written.
fn written(dir: &TempDir) -> Vec<String> {
    let files = fs::read_dir(dir.path()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_panic_and_a_slow_span_have_the_last_events_written() {
    let test = "a_panic_and_a_slow_span_have_the_last_events_written";
    child::alone(test, || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let triggers = [Trigger::Panic, Trigger::SlowSpan];
        trace::start(Options::flight().snapshot_on(&triggers, dir.join("t"))).unwrap();
        runtime(2).run(|| {
            greenlet::spawn(|| panic!("as it should"))
                .join()
                .unwrap_err();
            wait_until("a panic is written", || written(&dir).len() == 1);
            // No more than one a second.
            greenlet::spawn(|| panic!("as it should"))
                .join()
                .unwrap_err();
            greenlet::sleep(Duration::from_millis(1100));
            drop(trace::span("fast").slower_than(Duration::from_secs(100)));
            let slow = trace::span("slow").slower_than(Duration::from_millis(1));
            greenlet::sleep(Duration::from_millis(2));
            drop(slow);
            wait_until("a slow span is written", || written(&dir).len() == 2);
        });
        trace::stop().unwrap().unwrap();
        assert_eq!(written(&dir), ["t-1-panic.trace", "t-2-slow-span.trace"]);
        assert!(written(&dir).iter().all(|name| is_trace(&dir.join(name))));
    });
}

#[test]
fn a_long_run_has_the_last_events_written() {
    child::alone("a_long_run_has_the_last_events_written", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let options = Options::flight().most_snapshots(1);
        trace::start(options.snapshot_on(&[Trigger::LongRun], dir.join("t"))).unwrap();
        let runtime = Runtime::builder().hubs(1).on_blocked(|_| {});
        let runtime = runtime.build().unwrap();
        for _ in 0..2 {
            runtime.run(|| thread::sleep(Duration::from_millis(100)));
            wait_until("a long run is written", || written(&dir).len() == 1);
            thread::sleep(Duration::from_millis(1100));
        }
        trace::stop().unwrap().unwrap();
        assert_eq!(written(&dir), ["t-1-long-run.trace"]);
    });
}

#[test]
fn the_environment_switches_it() {
    let dir = TempDir::new();
    for (number, mode) in ["stream", "flight"].into_iter().enumerate() {
        let path = dir.join(mode);
        let variable = format!("{mode}:{},ring=1M", path.display());
        let test = "the_environment_switches_it";
        let ran = child::passes(test, &[("GREENLET_TRACE", &variable)], || {
            let _watchdog = watched();
            runtime(2).run(|| recorded::work(20));
            assert!(trace::is_on());
            // What nobody has stopped ends with the process.
            std::process::exit(0);
        });
        assert!(ran.is_some());
        assert!(is_trace(&path), "{number}");
        let bytes = fs::metadata(&path).unwrap().len();
        assert!(bytes > 10_000, "{mode}: {bytes} bytes");
    }
}

#[test]
fn a_hub_that_has_no_room_in_the_file_is_told_of() {
    let dir = TempDir::new();
    let path = dir.join("flight");
    // More than any file may have, so no disk is filled by trying.
    let variable = format!("flight:{},ring={}", path.display(), isize::MAX);
    let test = "a_hub_that_has_no_room_in_the_file_is_told_of";
    let output = child::output(test, &[("GREENLET_TRACE", &variable)], || {
        let _watchdog = watched();
        runtime(2).run(|| recorded::work(20));
        std::process::exit(0);
    });
    let Some(output) = output else { return };
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told.matches("is not recorded").count(), 1, "{told}");
    let bytes = fs::metadata(&path).unwrap().len();
    assert!(bytes < 8 << 20, "{bytes} bytes are left");
}

#[test]
fn a_stream_that_cannot_be_written_is_told_of_at_the_end() {
    let test = "a_stream_that_cannot_be_written_is_told_of_at_the_end";
    let told = child::passes(test, &[("GREENLET_TRACE", "stream:/dev/full")], || {
        let _watchdog = watched();
        runtime(2).run(|| recorded::work(20));
        std::process::exit(0);
    });
    let Some(told) = told else { return };
    assert!(told.contains("the trace is not complete: "), "{told}");
}

#[test]
fn an_environment_that_makes_no_sense_is_refused() {
    let test = "an_environment_that_makes_no_sense_is_refused";
    child::passes(test, &[("GREENLET_TRACE", "flight,colour=red")], || {
        for _ in 0..2 {
            match Runtime::builder().hubs(1).build() {
                Err(BuildError::Trace { value, reason }) => {
                    assert_eq!(value, "flight,colour=red");
                    assert!(reason.contains("colour=red"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(greenlet::try_run(|| {}), Err(RunError::Build(_))));
    });
}

#[test]
fn a_signal_switches_it() {
    child::alone("a_signal_switches_it", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        trace::toggle_on(Signal::USER_2, Options::stream(dir.join("t"))).unwrap();
        // SAFETY: the signal goes to this process, which has a handler.
        let signal = || assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) }, 0);
        let runtime = runtime(2);
        for name in ["t", "t.2"] {
            signal();
            wait_until("it is on", trace::is_on);
            runtime.run(|| recorded::work(5));
            signal();
            wait_until("it is off", || !trace::is_on());
            wait_until("the file is there", || is_trace(&dir.join(name)));
        }
    });
}

#[test]
fn a_forked_child_does_not_write_into_its_parents_rings() {
    let test = "a_forked_child_does_not_write_into_its_parents_rings";
    child::alone(test, || {
        let _watchdog = watched();
        let dir = TempDir::new();
        trace::start(Options::flight_in(dir.join("t"))).unwrap();
        let runtime = runtime(1);
        let fork = || {
            // SAFETY: the child asks one thing and ends.
            match unsafe { libc::fork() } {
                0 => {
                    trace::mark("in the child");
                    let status = i32::from(trace::is_on());
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(status) }
                }
                child => {
                    let mut status = 0;
                    // SAFETY: our own child.
                    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                    assert_eq!(status, 0);
                }
            }
        };
        fork();
        runtime.run(fork);
        assert!(trace::is_on());
        trace::stop().unwrap().unwrap();
    });
}

#[test]
fn a_program_that_ends_at_once_loses_nothing_it_was_told_of() {
    let test = "a_program_that_ends_at_once_loses_nothing_it_was_told_of";
    let dir = TempDir::new();
    let path = dir.join("t");
    let variable = format!("stream:{}", path.display());
    child::passes(test, &[("GREENLET_TRACE", &variable)], || {
        let _watchdog = Watchdog::arm(Duration::from_secs(60), test);
        let runtime = runtime(1);
        runtime.run(|| trace::mark("the last thing that it did"));
        drop(runtime);
        // SAFETY: ends the process at once: what was not flushed with the runtime is lost.
        unsafe { libc::_exit(0) };
    });
    let bytes = fs::read(&path).unwrap();
    let text = b"the last thing that it did";
    assert!(bytes.windows(text.len()).any(|window| window == text));
}
