//! What a trace says is what the runtime itself has counted.
//!
//! Recording is the process's, so each test is alone in a child.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use greenlet::Stats;
use greenlet::trace::{self, Doing, Event, Options, Source, Stop, Summary, Timeline, Trace};
use support::temp::TempDir;
use support::watchdog::Watchdog;
use support::{child, recorded, runtime};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Records `recorded::work` on so many hubs. Answers what the runtime counted.
fn record(hubs: usize, options: Options) -> (Summary, Stats) {
    let _watchdog = Watchdog::arm(LIMIT, &format!("recording on {hubs} hubs"));
    trace::start(options.accounts(true)).unwrap();
    let runtime = runtime(hubs);
    runtime.run(|| recorded::work(300));
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
            let (summary, stats) = record(hubs, Options::stream(&path));
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
            let (summary, stats) = record(hubs, Options::flight_in(&path));
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
        let (summary, stats) = record(2, Options::stream(&path));
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
            let (summary, _) = record(hubs, Options::flight_in(&path).ring_size(1 << 16));
            assert!(summary.lost > 0);
            let trace = Trace::open(&path).unwrap();
            assert_eq!(trace.problems(), []);
            let lost: u64 = trace.lost().iter().map(|lost| lost.events).sum();
            assert_eq!(lost, summary.lost);
            assert_eq!(trace.records().len() as u64 + lost, summary.events);
        }
    });
}
