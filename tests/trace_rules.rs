//! The trace as an oracle: no trace of the project's own stress breaks a rule.
//!
//! Recording is the process's, so each test is alone in a child.

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use greenlet::trace::{self, Options, Trace, check, check_whole};
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
            runtime(hubs).run(|| recorded::work(500));
            trace::stop().unwrap().unwrap();
            let trace = Trace::open(&path).unwrap();
            assert!(!trace.lost().is_empty());
            assert_eq!(check(&trace), [], "on {hubs} hubs");
            assert_ne!(check_whole(&trace), [], "on {hubs} hubs");
        }
    });
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
                thread::sleep(Duration::from_millis(10));
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
