//! What programs of others find in exports of a recorded run is what the timeline says.
//!
//! `.ci/run test_features` installs the programs and runs this. Without them it is skipped.

mod support;

#[path = "../src/trace/analysis/export/tests/checks.rs"]
mod checks;
#[path = "../src/trace/analysis/export/tests/tools.rs"]
mod tools;

use std::path::Path;
use std::time::Duration;

use greenlet::trace::analysis::{Timeline, Trace};
use greenlet::trace::{self, Options};
use support::temp::TempDir;
use support::watchdog::Watchdog;
use support::{recorded, runtime};

use self::checks::Exported;

/// A name that has a meaning for HTML, JSON, SQL and terminals.
const HOSTILE: &str = "\"</script><script>alert('1')</script>\\ \u{1}\u{202e};&<!--{}é🦀";

// Recording is the process's, so there is one test only.
#[test]
fn others_find_what_the_timeline_says() {
    let Some(tools) = tools::find() else { return };
    let _watchdog = Watchdog::arm(
        Duration::from_secs(300),
        "a recording and all that reads it",
    );
    let directory = TempDir::new();
    let path = directory.path().join("run.trace");
    trace::start(Options::stream(&path)).unwrap();
    runtime(3).run(work);
    let summary = trace::stop().unwrap().unwrap();
    let trace = Trace::open(&path).unwrap();
    assert_eq!(summary.lost, 0);
    assert!(
        trace.is_whole(),
        "{:?} {:?}",
        trace.lost(),
        trace.problems()
    );
    let timeline = Timeline::new(&trace);
    let exported = Exported {
        trace: &trace,
        timeline: &timeline,
        directory: directory.path().into(),
        name: "run",
    };
    exported.check_perfetto(&tools);
    exported.check_perfetto_sched(&tools, true);
    let schema = "src/trace/analysis/export/tests/chrome.schema.json";
    exported.check_chrome(&tools, &Path::new(env!("CARGO_MANIFEST_DIR")).join(schema));
    exported.check_json_lines();
    exported.check_folded();
    exported.check_html(&tools);
}

/// Work of every kind, and what the program itself records.
fn work() {
    let hostile = greenlet::Builder::new().name(HOSTILE.into());
    let hostile = hostile.spawn(|| {
        for round in 0..20 {
            let _request = trace::span(HOSTILE);
            trace::counter("rounds", f64::from(round));
            let _inner = trace::span("inner");
            greenlet::sleep(Duration::from_micros(300));
        }
        trace::mark(HOSTILE);
    });
    let hostile = hostile.unwrap();
    recorded::work(100);
    hostile.join().unwrap();
}
