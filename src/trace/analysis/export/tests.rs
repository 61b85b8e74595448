//! What is written is what a timeline says, whatever names there are.

mod checks;
mod simulation;
mod tools;

use std::env;
use std::fs;
use std::path::Path;

use serde_json::Value;

use self::checks::Exported;
use self::simulation::{HOSTILE, Simulation};
use super::{chrome, folded, html, json_lines};
use crate::trace;
use crate::trace::analysis::{Timeline, Trace};

const PLAIN: Simulation = Simulation {
    hubs: 3,
    runs: 3000,
    first: 11,
    skew: 0,
    loses: false,
};

fn exported(name: &str, simulation: Simulation, check: impl FnOnce(&Exported<'_>)) {
    let trace = Trace::from_bytes(&simulation.bytes()).expect("a trace");
    let timeline = Timeline::new(&trace);
    let directory = env::temp_dir().join(format!("greenlet-export-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let exported = Exported {
        trace: &trace,
        timeline: &timeline,
        directory,
        name,
    };
    check(&exported);
    fs::remove_dir_all(&exported.directory).expect("removed");
}

fn schema() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/trace/analysis/export/tests/chrome.schema.json"
    ))
}

#[test]
fn perfetto_reads_what_the_timeline_says() {
    let Some(tools) = tools::find() else { return };
    exported("perfetto", PLAIN, |exported| {
        exported.check_perfetto(&tools);
        exported.check_perfetto_sched(&tools, true);
        exported.check_chrome(&tools, schema());
    });
}

#[test]
fn perfetto_reads_large_numbers_of_greenlets() {
    let Some(tools) = tools::find() else { return };
    let large = Simulation {
        runs: 1000,
        first: (1 << 47) - 50,
        ..PLAIN
    };
    exported("large", large, |exported| {
        exported.check_perfetto(&tools);
        exported.check_perfetto_sched(&tools, true);
        exported.check_chrome(&tools, schema());
    });
}

#[test]
fn perfetto_reads_traces_of_clocks_that_differ_and_with_gaps() {
    let Some(tools) = tools::find() else { return };
    for (loses, skew) in [(false, 300), (true, 0), (true, 300)] {
        let simulation = Simulation {
            runs: 1000,
            skew,
            loses,
            ..PLAIN
        };
        exported("gaps", simulation, |exported| {
            exported.check_perfetto(&tools);
            // Where clocks differ, times of no length are in no order for a kernel's trace.
            exported.check_perfetto_sched(&tools, false);
            exported.check_chrome(&tools, schema());
        });
    }
}

#[test]
fn a_browser_shows_the_page() {
    let Some(tools) = tools::find() else { return };
    exported("page", PLAIN, |exported| exported.check_html(&tools));
}

#[test]
fn lines_and_stacks_are_what_the_timeline_says() {
    for loses in [false, true] {
        let simulation = Simulation { loses, ..PLAIN };
        exported("lines", simulation, |exported| {
            exported.check_json_lines();
            exported.check_folded();
        });
    }
}

#[test]
fn a_trace_without_events_is_exported_too() {
    let empty = Simulation {
        hubs: 1,
        runs: 0,
        ..PLAIN
    };
    let mut bytes = empty.bytes();
    bytes.truncate(64);
    let trace = Trace::from_bytes(&bytes).expect("a trace");
    let timeline = Timeline::new(&trace);
    for export in [
        chrome,
        folded,
        html,
        json_lines,
        super::perfetto,
        super::perfetto_sched,
    ] {
        export(&trace, &timeline, &mut Vec::new()).expect("written");
    }
}

#[test]
fn a_page_is_of_bounded_size_and_its_data_ends_no_script() {
    let many = Simulation {
        runs: 120_000,
        ..PLAIN
    };
    let trace = Trace::from_bytes(&many.bytes()).expect("a trace");
    let timeline = Timeline::new(&trace);
    let mut page = Vec::new();
    html(&trace, &timeline, &mut page).expect("written");
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    let page = String::from_utf8(page).expect("UTF-8");
    assert_eq!(page.matches("</script>").count(), 2);
    let (_, data) = page.split_once("id=\"data\">").expect("the data");
    let (data, _) = data.split_once("</script>").expect("its end");
    let data: Value = serde_json::from_str(data).expect("JSON");
    let texts = data["texts"].as_array().expect("texts");
    // Without what controls terminals, else as it was.
    let shown = HOSTILE.replace(['\u{1}', '\u{7f}', '\u{202e}', '\t'], "\u{fffd}");
    assert!(texts.contains(&Value::from(shown)));
    let hubs = data["lanes"]["hubs"].as_array().expect("lanes");
    let blocks: usize = hubs
        .iter()
        .map(|lane| lane.as_array().expect("blocks").len() / 5)
        .sum();
    assert!((1..=30_000).contains(&blocks), "{blocks}");
    let slices: usize = timeline.hubs().iter().map(|hub| hub.slices.len()).sum();
    assert!(slices > 60_000, "too few to be thinned out: {slices}");
    assert!(
        data["thinning"]
            .as_str()
            .expect("a text")
            .contains("joined")
    );
}
