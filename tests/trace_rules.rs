//! The trace as an oracle: no trace of the project's own stress breaks a rule.
//!
//! Recording is the process's, so each test is alone in a child.

mod support;

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
