//! What a trace says is what the runtime itself has counted.
//!
//! Recording is the process's, so each test is alone in a child.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use greenlet::Stats;
use greenlet::trace::analysis::{Doing, Timeline, Trace};
use greenlet::trace::{self, Event, Options, Source, Stop, Summary, Trigger};
use support::temp::TempDir;
use support::watchdog::Watchdog;
use support::{child, recorded, runtime};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Records `recorded::work` on so many hubs. Answers what the runtime counted.
fn record(hubs: usize, rounds: usize, options: Options) -> (Summary, Stats) {
    let _watchdog = Watchdog::arm(LIMIT, &format!("recording on {hubs} hubs"));
    trace::start(options.accounts(true)).unwrap();
    let runtime = runtime(hubs);
    runtime.run(|| recorded::work(rounds));
    let stats = runtime.stats();
    drop(runtime);
    (trace::stop().unwrap().unwrap(), stats)
}

/// What the events say, added up.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    switches: u64,
    parks: u64,
    spawned: u64,
    ended: u64,
    runs: BTreeMap<u64, u64>,
    wakes: BTreeMap<(Source, u64), u64>,
}

impl Sums {
    fn of(trace: &Trace) -> Self {
        let mut sums = Self::default();
        for record in trace.records() {
            match record.event {
                Event::Spawn { .. } => sums.spawned += 1,
                Event::Run { greenlet, .. } => {
                    sums.switches += 1;
                    *sums.runs.entry(greenlet).or_default() += 1;
                }
                Event::Stop { why, .. } => match why {
                    Stop::Wait(_) => sums.parks += 1,
                    Stop::End => sums.ended += 1,
                    Stop::Yield => {}
                },
                Event::Wake { greenlet, by, .. } => {
                    *sums.wakes.entry((by, greenlet)).or_default() += 1;
                }
                _ => {}
            }
        }
        sums
    }
}

/// That the file says all that was counted.
fn compare(path: &Path, summary: &Summary, stats: &Stats) {
    let trace = Trace::open(path).unwrap();
    assert_eq!(trace.problems(), []);
    assert_eq!(trace.lost(), []);
    assert_eq!(trace.records().len() as u64, summary.events);
    let sums = Sums::of(&trace);
    assert_eq!(sums.switches, stats.switches);
    assert_eq!(sums.parks, stats.parks);
    assert_eq!((sums.spawned, sums.ended), (stats.spawned, stats.spawned));
    let accounts = summary.accounts.as_ref().unwrap();
    assert_eq!(sums.wakes, accounts.wakes);
    let timeline = Timeline::new(&trace);
    assert_eq!(timeline.greenlets().len(), accounts.greenlets.len());
    let ticks_per_nano = ticks_per_nano(&timeline, summary);
    for (greenlet, account) in &accounts.greenlets {
        assert_eq!(sums.runs[greenlet], account.runs);
        let nanos = running(&timeline, *greenlet);
        let expected = account.ticks as f64 / ticks_per_nano;
        // Each moment is rounded to a nanosecond, and the clock's speed is known to some digits.
        let slack = account.runs as f64 + expected * 1e-3 + 2.0;
        assert!((nanos - expected).abs() <= slack, "{nanos} and {expected}");
    }
}

fn running(timeline: &Timeline, greenlet: u64) -> f64 {
    let life = timeline.greenlet(greenlet).unwrap();
    let slices = life.slices.iter();
    let running = slices.filter(|slice| matches!(slice.doing, Doing::Running { .. }));
    running.map(|slice| slice.nanos() as f64).sum()
}

/// By all greenlets together.
fn ticks_per_nano(timeline: &Timeline, summary: &Summary) -> f64 {
    let accounts = summary.accounts.as_ref().unwrap();
    let ticks: u64 = accounts
        .greenlets
        .values()
        .map(|account| account.ticks)
        .sum();
    let nanos: f64 = accounts
        .greenlets
        .keys()
        .map(|id| running(timeline, *id))
        .sum();
    ticks as f64 / nanos
}

#[test]
fn a_stream_says_all_that_was_counted() {
    child::alone("a_stream_says_all_that_was_counted", || {
        let dir = TempDir::new();
        for hubs in [1, 2, 8] {
            let path = dir.join("stream.trace");
            let (summary, stats) = record(hubs, 300, Options::stream(&path));
            assert_eq!(summary.lost, 0);
            assert_eq!(path.metadata().unwrap().len(), summary.bytes);
            compare(&path, &summary, &stats);
        }
    });
}

#[test]
fn a_mapped_file_says_all_that_was_counted() {
    child::alone("a_mapped_file_says_all_that_was_counted", || {
        let dir = TempDir::new();
        for hubs in [1, 2, 8] {
            let path = dir.join("flight.trace");
            let (summary, stats) = record(hubs, 300, Options::flight_in(&path));
            assert_eq!(summary.lost, 0);
            compare(&path, &summary, &stats);
        }
    });
}

#[test]
fn the_kernels_clock_will_do() {
    let test = "the_kernels_clock_will_do";
    child::passes(test, &[("GREENLET_WITHOUT", "cycles")], || {
        let dir = TempDir::new();
        let path = dir.join("kernel.trace");
        let (summary, stats) = record(2, 300, Options::stream(&path));
        let trace = Trace::open(&path).unwrap();
        assert_eq!(trace.fact("clock"), Some("monotonic"));
        compare(&path, &summary, &stats);
    });
}

#[test]
fn what_a_small_ring_has_lost_is_counted() {
    child::alone("what_a_small_ring_has_lost_is_counted", || {
        let dir = TempDir::new();
        for hubs in [1, 2, 8] {
            let path = dir.join("flight.trace");
            let mut small = Options::flight_in(&path).ring_size(1 << 16);
            if hubs == 2 {
                // That there is a thread to write snapshots changes nothing.
                small = small.snapshot_on(&[Trigger::Panic], dir.join("panicked"));
            }
            // However the hubs share it, one of their rings has no room for it.
            let (summary, _) = record(hubs, 300 * hubs, small);
            assert!(summary.lost > 0);
            let trace = Trace::open(&path).unwrap();
            assert_eq!(trace.problems(), []);
            let lost: u64 = trace.lost().iter().map(|lost| lost.events).sum();
            assert_eq!(lost, summary.lost);
            assert_eq!(trace.records().len() as u64 + lost, summary.events);
        }
    });
}

#[test]
fn a_snapshot_knows_greenlets_whose_beginning_is_forgotten() {
    let test = "a_snapshot_knows_greenlets_whose_beginning_is_forgotten";
    child::alone(test, || {
        let dir = TempDir::new();
        let runtime = runtime(2);
        let _watchdog = Watchdog::arm(LIMIT, test);
        let spawn = |name: &str| {
            let builder = greenlet::Builder::new().name(name.into());
            runtime.run(move || builder.spawn(greenlet::park).unwrap())
        };
        // One that recording finds, and one that it sees begin.
        let before = spawn("before");
        runtime.run(greenlet::yield_now);
        trace::start(Options::flight().ring_size(0)).unwrap();
        let after = spawn("after");
        runtime.run(|| recorded::work(300));
        let path = dir.join("snapshot.trace");
        trace::snapshot(&path).unwrap();
        assert!(trace::stop().unwrap().unwrap().lost > 0);
        let trace = Trace::open(&path).unwrap();
        let timeline = Timeline::new(&trace);
        for (handle, name) in [(before, "before"), (after, "after")] {
            let id = handle.thread().id();
            let life = timeline.greenlets().iter();
            let mut life = life.filter(|life| trace.text(life.name) == Some(name));
            let life = life.next().unwrap_or_else(|| panic!("{name}, {id:?}"));
            let site = trace.text(life.site).unwrap();
            assert!(site.contains("tests/trace_truth.rs:"), "{site}");
            let last = life.slices.last().unwrap();
            match last.doing {
                Doing::Waiting { wait, .. } => {
                    assert_eq!(trace::wait_reason(wait.reason), Some("park"));
                }
                other => panic!("{other:?}"),
            }
            handle.thread().unpark();
            handle.join().unwrap();
        }
    });
}

#[test]
fn what_was_recorded_survives_the_process() {
    let test = "what_was_recorded_survives_the_process";
    let dir = TempDir::new();
    let path = dir.join("crash.trace");
    let variable = format!("flight:{}", path.display());
    let output = child::output(test, &[("GREENLET_TRACE", &variable)], || {
        let _watchdog = Watchdog::arm(LIMIT, test);
        runtime(2).run(|| {
            recorded::work(50);
            let _span = trace::span("the last one");
            // SAFETY: ends this process, without a chance to do anything about it.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            greenlet::park();
        });
    });
    let Some(output) = output else { return };
    assert!(!output.status.success());
    let trace = Trace::open(&path).unwrap();
    assert_eq!(trace.problems(), []);
    assert!(!trace.has_ended());
    assert!(Sums::of(&trace).switches > 1000);
    let timeline = Timeline::new(&trace);
    let main = timeline.greenlets().iter();
    let mut main = main.filter(|life| trace.text(life.name) == Some("main"));
    let span = main.next().unwrap().spans.last().copied().unwrap();
    assert_eq!(trace.text(span.name), Some("the last one"));
    assert_eq!(span.end, None);
}

#[test]
fn a_program_that_ends_ends_its_trace() {
    let test = "a_program_that_ends_ends_its_trace";
    let dir = TempDir::new();
    let path = dir.join("ended.trace");
    for mode in ["flight", "stream"] {
        let variable = format!("{mode}:{}", path.display());
        let output = child::passes(test, &[("GREENLET_TRACE", &variable)], || {
            let _watchdog = Watchdog::arm(LIMIT, test);
            runtime(2).run(|| recorded::work(50));
        });
        if output.is_none() {
            return;
        }
        let trace = Trace::open(&path).unwrap();
        assert_eq!(trace.problems(), []);
        assert!(trace.has_ended(), "{mode}");
    }
}

#[test]
fn what_the_program_records_is_its_own() {
    let test = "what_the_program_records_is_its_own";
    child::alone(test, || {
        let dir = TempDir::new();
        let _watchdog = Watchdog::arm(LIMIT, test);
        let path = dir.join("spans.trace");
        trace::start(Options::stream(&path)).unwrap();
        runtime(2).run(|| {
            let _outer = trace::span("outer");
            for number in 0..3 {
                let _inner = trace::span("inner").slower_than(LIMIT);
                greenlet::yield_now();
                trace::counter("number", f64::from(number) + 0.5);
            }
            trace::mark("a \"mark\" <that> is\nhostile");
            greenlet::blocking(|| drop(trace::span("on a thread")));
        });
        trace::stop().unwrap().unwrap();
        drop(trace::span("unseen"));
        let trace = Trace::open(&path).unwrap();
        let timeline = Timeline::new(&trace);
        let main = timeline.greenlets().iter();
        let mut main = main.filter(|life| trace.text(life.name) == Some("main"));
        let main = main.next().unwrap();
        let names = main.spans.iter().map(|span| trace.text(span.name).unwrap());
        let names: Vec<_> = names.collect();
        assert_eq!(names, ["outer", "inner", "inner", "inner"]);
        let outer = main.spans[0];
        for inner in &main.spans[1..] {
            assert!(outer.begin <= inner.begin && inner.end <= outer.end);
        }
        let threads = timeline.thread_spans().iter();
        let threads: Vec<_> = threads.map(|span| trace.text(span.name)).collect();
        assert_eq!(threads, [Some("on a thread")]);
        let values = timeline.counters().iter().map(|value| value.value);
        assert_eq!(values.collect::<Vec<_>>(), [0.5, 1.5, 2.5]);
        let marks = timeline.marks().iter();
        let marks: Vec<_> = marks.map(|mark| trace.text(mark.name).unwrap()).collect();
        assert_eq!(marks, ["a \"mark\" <that> is\nhostile"]);
        assert_eq!(timeline.jobs().len(), 1);
    });
}
