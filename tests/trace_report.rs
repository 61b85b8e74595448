//! Reports of real traces: what the figures say, and which mistakes are seen.
//!
//! Recording is the process's, so each test is alone in a child.

mod support;

use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenlet::sync::{Condvar, Mutex, mpsc};
use greenlet::trace::analysis::{Lint, LintKind, Report, Timeline, Trace};
use greenlet::trace::{self, Event, Options, Stop};
use greenlet::{Builder, Runtime};
use support::recursion::use_stack;
use support::temp::TempDir;
use support::{child, recorded, runtime, watched};

/// Records `body` in a greenlet of the runtime.
fn record(path: &Path, runtime: &Runtime, body: impl FnOnce() + Send) -> Trace {
    let _watchdog = watched();
    trace::start(Options::stream(path)).unwrap();
    runtime.run(body);
    let summary = trace::stop().unwrap().unwrap();
    assert_eq!(summary.lost, 0);
    let trace = Trace::open(path).unwrap();
    assert_eq!(trace.problems(), []);
    trace
}

fn report(trace: &Trace) -> Report {
    Report::new(trace, &Timeline::new(trace), 10)
}

/// The mistakes that are seen in what `body` does on so many hubs.
fn lints(hubs: usize, body: impl FnOnce() + Send) -> Vec<Lint> {
    let dir = TempDir::new();
    let runtime = Runtime::builder().hubs(hubs).on_blocked(|_| {});
    let runtime = runtime.build().unwrap();
    let trace = record(&dir.join("lints.trace"), &runtime, body);
    let report = report(&trace);
    let text = report.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    let in_one_line = words.join(" ");
    for lint in &report.lints {
        assert!(in_one_line.contains(&lint.seen), "{text}");
        assert!(!lint.explanation.is_empty() && !lint.advice.is_empty());
    }
    report.lints
}

#[track_caller]
fn only(lints: &[Lint], kind: LintKind) -> &Lint {
    let mut found = lints.iter().filter(|lint| lint.kind == kind);
    let lint = found.next().unwrap_or_else(|| panic!("{lints:#?}"));
    assert!(found.next().is_none(), "{lints:#?}");
    lint
}

/// Whether greenlets that were spawned there have caused it.
fn is_of(lint: &Lint, place: &str) -> bool {
    lint.sites.iter().any(|site| site.contains(place))
}

#[test]
fn the_figures_are_those_of_the_events() {
    child::alone("the_figures_are_those_of_the_events", || {
        let dir = TempDir::new();
        for hubs in [1, 2, 8] {
            let trace = record(&dir.join("a.trace"), &runtime(hubs), || {
                recorded::work(100);
                let _span = trace::span("work");
                trace::counter("depth", 3.5);
                trace::counter("depth", -1.0);
                trace::mark("done");
            });
            let count = |test: fn(&Event) -> bool| {
                let records = trace.records().iter();
                records.filter(|record| test(&record.event)).count() as u64
            };
            let wakes = count(|event| matches!(event, Event::Wake { .. }));
            let waits = count(|event| {
                matches!(
                    event,
                    Event::Stop {
                        why: Stop::Wait(_),
                        ..
                    }
                )
            });
            let report = report(&trace);
            // All that were woken have run.
            assert_eq!(report.latency.woken.count, wakes);
            assert_eq!(report.overview.wakes, wakes);
            let by_hub = report.latency.hubs.iter().map(|hub| hub.figures.count);
            assert_eq!(by_hub.sum::<u64>(), wakes);
            let by_reason = report.waits.iter().map(|wait| wait.figures.count);
            assert_eq!(by_reason.sum::<u64>(), waits);
            let waiting = report.waits.iter().map(|wait| wait.figures.total_ns);
            assert_eq!(waiting.sum::<u64>(), report.totals.waiting_ns);
            let by_hub = report.hubs.iter().map(|hub| hub.running_ns);
            assert_eq!(by_hub.sum::<u64>(), report.totals.running_ns);
            // One that never came to run anything is not there.
            assert!((1..=hubs).contains(&report.hubs.len()));
            let steals = report.hubs.iter().map(|hub| hub.steals).sum::<u64>();
            assert_eq!(steals, count(|event| matches!(event, Event::Steal { .. })));
            assert_eq!(
                report.hubs.iter().map(|hub| hub.robbed).sum::<u64>(),
                steals
            );
            let pairs = report.wakes_by_site.iter().map(|pair| pair.count);
            assert!(pairs.sum::<u64>() <= wakes);
            let barrier = report.waits.iter().find(|wait| wait.reason == "barrier");
            // Seven of eight wait.
            assert_eq!(barrier.unwrap().figures.count, 7 * 100);
            assert_eq!(
                (report.spans[0].name.as_str(), report.spans[0].figures.count),
                ("work", 1)
            );
            let counter = &report.counters[0];
            assert_eq!((counter.count, counter.min, counter.last), (2, -1.0, -1.0));
            assert_eq!((counter.first, counter.max), (3.5, 3.5));
            assert_eq!(report.marks[0].name, "done");
            let latency = report.latency.woken;
            let ascending = [
                latency.min_ns,
                latency.p50_ns,
                latency.p90_ns,
                latency.p99_ns,
                latency.p99_9_ns,
                latency.p99_99_ns,
                latency.max_ns,
            ];
            assert!(ascending.is_sorted() && latency.max_ns > 0, "{latency:?}");
        }
    });
}

#[test]
fn a_busy_loop_never_yields() {
    child::alone("a_busy_loop_never_yields", || {
        let place = format!("trace_report.rs:{}:", line!() + 2);
        let lints = lints(2, || {
            let busy = greenlet::spawn(|| {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(30) {}
            });
            busy.join().unwrap();
        });
        // Whose hub waits for a processor runs for long, too: there may be a lint of the main greenlet.
        let mut its = lints.iter().filter(|lint| is_of(lint, &place));
        let lint = its.next().unwrap_or_else(|| panic!("{lints:#?}"));
        assert_eq!((lint.kind, lint.count), (LintKind::NeverYields, 1));
        assert!(lint.cost_ns >= 30_000_000);
        assert!(its.next().is_none(), "{lints:#?}");
    });
}

#[test]
fn a_call_that_waits_in_the_kernel_blocks_the_hub() {
    child::alone("a_call_that_waits_in_the_kernel_blocks_the_hub", || {
        let place = format!("trace_report.rs:{}:", line!() + 2);
        let lints = lints(1, || {
            let blocking = greenlet::spawn(|| {
                let time = libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 200_000_000,
                };
                // SAFETY: the time is valid, and nothing is answered.
                unsafe {
                    libc::syscall(libc::SYS_nanosleep, &raw const time, 0_usize);
                }
            });
            blocking.join().unwrap();
        });
        let lint = only(&lints, LintKind::BlocksHub);
        assert!(lint.cost_ns >= 200_000_000, "{lint:?}");
        let mut its = lints.iter().filter(|lint| is_of(lint, &place));
        assert!(
            its.all(|lint| lint.kind == LintKind::BlocksHub),
            "{lints:#?}"
        );
    });
}

#[test]
fn a_loop_of_yields_wakes_itself() {
    child::alone("a_loop_of_yields_wakes_itself", || {
        let lints = lints(1, || {
            let polling = greenlet::spawn(|| (0..2000).for_each(|_| greenlet::yield_now()));
            polling.join().unwrap();
        });
        assert_eq!(only(&lints, LintKind::WakesItself).count, 1);
    });
}

#[test]
fn many_that_are_woken_for_one_thing_are_a_herd() {
    child::alone("many_that_are_woken_for_one_thing_are_a_herd", || {
        let lints = lints(1, || {
            let pair = Arc::new((Mutex::new(0), Condvar::new()));
            let greenlets: Vec<_> = (0..10)
                .map(|_| {
                    let pair = pair.clone();
                    greenlet::spawn(move || {
                        let mut left = pair.0.lock().unwrap();
                        while *left == 0 {
                            left = pair.1.wait(left).unwrap();
                        }
                        *left -= 1;
                    })
                })
                .collect();
            for _ in 0..10 {
                greenlet::sleep(Duration::from_millis(1));
                *pair.0.lock().unwrap() += 1;
                pair.1.notify_all();
            }
            greenlets.into_iter().for_each(|one| one.join().unwrap());
        });
        let lint = only(&lints, LintKind::Herd);
        assert!(lint.seen.contains("condvar"), "{lint:?}");
    });
}

#[test]
fn a_lock_that_is_held_for_long_makes_a_convoy() {
    child::alone("a_lock_that_is_held_for_long_makes_a_convoy", || {
        let lints = lints(2, || {
            let lock = Arc::new(Mutex::new(()));
            let greenlets: Vec<_> = (0..8)
                .map(|_| {
                    let lock = lock.clone();
                    greenlet::spawn(move || {
                        for _ in 0..30 {
                            let held = lock.lock().unwrap();
                            greenlet::sleep(Duration::from_micros(100));
                            drop(held);
                        }
                    })
                })
                .collect();
            greenlets.into_iter().for_each(|one| one.join().unwrap());
        });
        let lint = only(&lints, LintKind::Convoy);
        assert!(lint.seen.contains("mutex 0x"), "{lint:?}");
        assert_eq!(lint.count, 8);
    });
}

#[test]
fn who_waits_for_nobody_is_leaked() {
    child::alone("who_waits_for_nobody_is_leaked", || {
        let (sender, receiver) = mpsc::channel::<()>();
        let receiver = Arc::new(Mutex::new(receiver));
        let lints = lints(2, || {
            for _ in 0..5 {
                let receiver = receiver.clone();
                greenlet::spawn(move || receiver.lock().unwrap().recv());
            }
            greenlet::sleep(Duration::from_millis(1200));
        });
        drop(sender);
        // One waits for the channel, and the others for the one.
        let leaked = only(&lints, LintKind::Leaked);
        assert_eq!(leaked.count, 4, "{leaked:?}");
    });
}

#[test]
fn who_waits_until_its_runtime_ends_is_leaked_too() {
    child::alone("who_waits_until_its_runtime_ends_is_leaked_too", || {
        let lints = lints(1, || {
            let leaking = runtime(1);
            for _ in 0..4 {
                leaking.spawn(greenlet::park);
                leaking.spawn(|| greenlet::sleep(Duration::from_secs(100)));
            }
            greenlet::sleep(Duration::from_millis(1200));
            drop(leaking);
        });
        let leaked = only(&lints, LintKind::Leaked);
        assert_eq!(leaked.count, 4, "{leaked:?}");
    });
}

#[test]
fn a_stack_that_is_nearly_full_is_seen() {
    child::alone("a_stack_that_is_nearly_full_is_seen", || {
        let lints = lints(1, || {
            for _ in 0..20 {
                let deep = Builder::new().stack_size(256 << 10);
                let deep = deep.spawn(|| use_stack(210 << 10)).unwrap();
                deep.join().unwrap();
            }
        });
        let lint = only(&lints, LintKind::StackNearlyFull);
        assert!(lint.count >= 1);
    });
}

#[test]
fn what_cannot_move_makes_an_imbalance() {
    child::alone("what_cannot_move_makes_an_imbalance", || {
        let lints = lints(2, || {
            let pinned: Vec<_> = (0..4)
                .map(|_| {
                    let pinned = Builder::new().hub(1);
                    let pinned = pinned.spawn(|| {
                        let start = Instant::now();
                        while start.elapsed() < Duration::from_millis(300) {
                            let turn = Instant::now();
                            while turn.elapsed() < Duration::from_millis(1) {}
                            greenlet::yield_now();
                        }
                    });
                    pinned.unwrap()
                })
                .collect();
            pinned.into_iter().for_each(|one| one.join().unwrap());
        });
        let lint = only(&lints, LintKind::Imbalance);
        assert!(lint.seen.starts_with("hub 1 ran"), "{lint:?}");
    });
}

#[test]
fn a_hub_that_has_nothing_to_do_is_no_imbalance() {
    child::alone("a_hub_that_has_nothing_to_do_is_no_imbalance", || {
        let lints = lints(2, || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(300) {}
        });
        let is_imbalance = |lint: &Lint| lint.kind == LintKind::Imbalance;
        assert!(!lints.iter().any(is_imbalance), "{lints:#?}");
    });
}

#[test]
fn who_is_cancelled_with_its_scope_is_not_leaked() {
    child::alone("who_is_cancelled_with_its_scope_is_not_leaked", || {
        let lints = lints(1, || {
            // Ctrl-C cancels who waits for the scope, and that the others.
            let interrupted = catch_unwind(|| {
                greenlet::thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(greenlet::park);
                    }
                    scope.spawn(|| {
                        greenlet::sleep(Duration::from_millis(1200));
                        // SAFETY: the runtime handles it.
                        unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
                    });
                });
            });
            assert!(interrupted.unwrap_err().is::<greenlet::Cancelled>());
        });
        let is_leaked = |lint: &Lint| lint.kind == LintKind::Leaked;
        assert!(!lints.iter().any(is_leaked), "{lints:#?}");
    });
}

#[test]
fn a_program_that_waits_as_it_should_has_no_lints() {
    child::alone("a_program_that_waits_as_it_should_has_no_lints", || {
        let waiting_as_it_should = || {
            let (sender, receiver) = mpsc::channel();
            let sending = greenlet::spawn(move || {
                for number in 0..500 {
                    sender.send(number).unwrap();
                    if number % 50 == 0 {
                        greenlet::sleep(Duration::from_millis(1));
                    }
                }
            });
            assert_eq!(receiver.iter().count(), 500);
            sending.join().unwrap();
        };
        // Where the processors are busy, a hub that has to wait for one seems to run for long.
        let mut tries = (0..20).map(|_| lints(2, waiting_as_it_should));
        let lints = tries.find(Vec::is_empty);
        assert!(
            lints.is_some(),
            "{:#?}",
            self::lints(2, waiting_as_it_should)
        );
    });
}
