//! The trace as an oracle: no trace of the project's own stress breaks a rule.
//!
//! Recording is the process's, so each test is alone in a child.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use greenlet::trace::analysis::{Timeline, Trace, check, check_whole};
use greenlet::trace::{self, Actor, Options, Source, wait_reason};
use support::temp::TempDir;
use support::{child, recorded, runtime, watched};

#[test]
fn a_whole_stream_breaks_no_rule() {
    child::alone("a_whole_stream_breaks_no_rule", || {
        let dir = TempDir::new();
        for hubs in [1, 2, 8] {
            let _watchdog = watched();
            let path = dir.join("stream.trace");
            trace::start(Options::stream(&path)).unwrap();
            runtime(hubs).run(|| recorded::work(500));
            trace::stop().unwrap().unwrap();
            let trace = Trace::open(&path).unwrap();
            assert_eq!(check_whole(&trace), [], "on {hubs} hubs");
        }
    });
}

#[test]
fn what_a_flight_recorder_keeps_breaks_no_rule() {
    child::alone("what_a_flight_recorder_keeps_breaks_no_rule", || {
        let dir = TempDir::new();
        for hubs in [1, 2, 8] {
            let _watchdog = watched();
            let path = dir.join("flight.trace");
            trace::start(Options::flight_in(&path).ring_size(1 << 16)).unwrap();
            // However the hubs share it, one of their rings has no room for it.
            runtime(hubs).run(|| recorded::work(300 * hubs));
            trace::stop().unwrap().unwrap();
            let trace = Trace::open(&path).unwrap();
            assert!(!trace.lost().is_empty());
            assert_eq!(check(&trace), [], "on {hubs} hubs");
            assert_ne!(check_whole(&trace), [], "on {hubs} hubs");
        }
    });
}

#[test]
fn what_is_left_of_a_stream_whose_program_was_killed_breaks_no_rule() {
    let test = "what_is_left_of_a_stream_whose_program_was_killed_breaks_no_rule";
    let dir = TempDir::new();
    for number in 0..8 {
        let path = dir.join(format!("killed-{number}.trace"));
        let variable = format!("stream:{}", path.display());
        let ran = child::output(test, &[("GREENLET_TRACE", &variable)], || {
            let _watchdog = watched();
            // The child's own.
            std::fs::remove_dir(dir.path()).unwrap();
            let path = std::env::var("GREENLET_TRACE").unwrap();
            let path = path.strip_prefix("stream:").unwrap().to_owned();
            thread::spawn(move || {
                // Some of it goes together; where in the middle of writing it ends is chance.
                let count =
                    |bytes: &[u8]| bytes.windows(8).filter(|part| part == b"through=").count();
                while count(&std::fs::read(&path).unwrap_or_default()) < 3 {
                    thread::sleep(Duration::from_millis(3 + number));
                }
                // SAFETY: it ends this process.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            });
            runtime(2).run(|| {
                loop {
                    recorded::work(100);
                }
            });
        });
        let Some(output) = ran else { return };
        assert_eq!(output.status.signal(), Some(libc::SIGKILL));
        let trace = Trace::open(&path).unwrap();
        assert!(!trace.has_ended() && !trace.records().is_empty());
        assert_eq!(check(&trace), [], "the {number}th");
        assert_ne!(check_whole(&trace), []);
    }
}

#[test]
fn recording_may_begin_and_end_in_the_middle() {
    child::alone("recording_may_begin_and_end_in_the_middle", || {
        let dir = TempDir::new();
        for hubs in [1, 2, 8] {
            let _watchdog = watched();
            let runtime = runtime(hubs);
            let over = Arc::new(AtomicBool::new(false));
            let working = runtime.spawn({
                let over = over.clone();
                move || {
                    while !over.load(Relaxed) {
                        recorded::work(20);
                    }
                }
            });
            let (stream, snapshot) = (dir.join("stream.trace"), dir.join("snapshot.trace"));
            for round in 0..10 {
                trace::start(Options::stream(&stream)).unwrap();
                let begun = runtime.stats().switches;
                while runtime.stats().switches < begun + 1000 {
                    thread::sleep(Duration::from_millis(1));
                }
                trace::snapshot(&snapshot).unwrap();
                trace::stop().unwrap().unwrap();
                for path in [&stream, &snapshot] {
                    let trace = Trace::open(path).unwrap();
                    assert_eq!(trace.problems(), []);
                    assert!(trace.records().len() > 100);
                    let path = path.display();
                    assert_eq!(check(&trace), [], "{path}, {hubs} hubs, round {round}");
                }
            }
            over.store(true, Relaxed);
            working.join().unwrap();
        }
    });
}

#[test]
fn who_joins_is_woken_by_whom_it_joins() {
    child::alone("who_joins_is_woken_by_whom_it_joins", || {
        let dir = TempDir::new();
        for hubs in [1, 2, 8] {
            let _watchdog = watched();
            let path = dir.join("joins.trace");
            trace::start(Options::stream(&path)).unwrap();
            runtime(hubs).run(|| recorded::work(200));
            trace::stop().unwrap().unwrap();
            let trace = Trace::open(&path).unwrap();
            let timeline = Timeline::new(&trace);
            let (mut joins, mut reads) = (0, 0);
            for edge in timeline.wakes() {
                let Some(wait) = edge.wait else { continue };
                // What was waited for may have come in the moment of the park.
                let itself = Source::Actor(Actor::Greenlet(edge.woken));
                match wait_reason(wait.reason) {
                    Some("join") => {
                        let ended = Source::Actor(Actor::Greenlet(wait.object));
                        assert!([ended, itself].contains(&edge.by), "{edge:?}");
                        joins += 1;
                    }
                    Some("io-read") => {
                        assert!([Source::Reactor, itself].contains(&edge.by), "{edge:?}");
                        reads += 1;
                    }
                    _ => {}
                }
            }
            assert!(joins > 0 && reads > 0, "{joins} {reads}");
        }
    });
}
