use super::builder::TraceBuilder;
use crate::record::{Event, Stop};
use crate::trace::analysis::{LintKind, Report, Timeline, Trace};

const MS: u64 = 1_000_000;

/// Whether that is an imbalance: one hub sleeps while the other runs greenlets, which are spawned, run and end at these
/// milliseconds.
fn is_imbalance(greenlets: &[[u64; 3]]) -> bool {
    let mut trace = TraceBuilder::new(2);
    let site = trace.text("src/main.rs:7:5");
    let end = greenlets.iter().map(|times| times[2]).max().unwrap();
    for (greenlet, times) in (1..).zip(greenlets) {
        let parent = 0;
        let spawn = Event::Spawn {
            greenlet,
            parent,
            site,
        };
        trace.event(2, times[0] * MS, spawn);
        trace.run(0, greenlet, 1, [times[1] * MS, times[2] * MS], Stop::End);
    }
    trace.event(1, 0, Event::Sleep);
    trace.event(1, end * MS, Event::Awake);
    let trace = Trace::from_bytes(&trace.seal().bytes()).expect("a trace");
    let report = Report::new(&trace, &Timeline::new(&trace), 10);
    let mut lints = report.lints.iter();
    lints.any(|lint| lint.kind == LintKind::Imbalance)
}

#[test]
fn who_waits_while_the_hub_runs_others_makes_an_imbalance() {
    assert!(is_imbalance(&[[0, 0, 500], [200, 500, 600]]));
}

#[test]
fn who_waits_while_the_hub_waits_for_a_processor_makes_no_imbalance() {
    assert!(!is_imbalance(&[[0, 200, 600]]));
}
