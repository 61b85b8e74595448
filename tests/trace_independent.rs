//! A second reader, which shares no code with the crate's, reads the same from the same files; and from those
//! of a stress run what the runtime itself has counted.
//!
//! It needs Python 3.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use greenlet::trace::analysis::Trace;
use greenlet::trace::{self, Actor, Event, Options, Source, Summary, Text};
use serde_json::Value;
use support::temp::TempDir;
use support::{child, recorded, runtime, watched};

/// What the second reader says.
fn second(path: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trace/independent_reader.py");
    let output = Command::new("python3").arg(script).arg(path).output();
    let output = output.expect("Python 3 is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A table of numbers.
fn table(value: &Value) -> BTreeMap<String, u64> {
    let entries = value.as_object().unwrap().iter();
    entries
        .map(|(key, value)| (key.clone(), value.as_u64().unwrap()))
        .collect()
}

fn edge(by: Source, greenlet: u64) -> String {
    let by = match by {
        Source::Actor(Actor::Greenlet(number)) => format!("greenlet {number}"),
        Source::Actor(Actor::Thread(number)) => format!("thread {number}"),
        Source::Reactor => "reactor".into(),
        Source::Timer => "timer".into(),
        Source::Unknown => "unknown".into(),
    };
    format!("{by} -> {greenlet}")
}

/// What the crate's reader says, in the same words.
#[derive(Debug, Default, PartialEq)]
struct Facts {
    events: u64,
    switches: u64,
    /// In damaged files a run may end before it begins.
    run_nanos: BTreeMap<String, i64>,
    wakes: BTreeMap<String, u64>,
    /// Of each ring, by its number: events that are there, and those that are missing.
    rings: BTreeMap<u64, (u64, u64)>,
    texts: usize,
}

/// Numbers of texts that are looked for.
const TEXTS: Range<u64> = 1..100_000;

impl Facts {
    fn of(trace: &Trace) -> Self {
        let mut facts = Self {
            events: trace.records().len() as u64 + trace.unknown_events(),
            texts: TEXTS
                .filter(|text| trace.text(*text as Text).is_some())
                .count(),
            ..Self::default()
        };
        let number = |ring: u16| u64::from(trace.rings()[usize::from(ring)].number);
        for ring in trace.rings() {
            facts.rings.insert(u64::from(ring.number), (0, 0));
        }
        for lost in trace.lost() {
            facts.rings.entry(number(lost.ring)).or_default().1 += lost.events;
        }
        let mut running = BTreeMap::new();
        for record in trace.records() {
            facts.rings.entry(number(record.ring)).or_default().0 += 1;
            match record.event {
                Event::Run { greenlet, run } => {
                    facts.switches += 1;
                    running.insert(record.ring, (greenlet, run, record.time));
                }
                Event::Stop { greenlet, run, .. } => {
                    let began = running.remove(&record.ring);
                    if let Some((its, number, began)) = began
                        && (its, number) == (greenlet, run)
                    {
                        let nanos = facts.run_nanos.entry(greenlet.to_string()).or_default();
                        *nanos += record.time.cast_signed() - began.cast_signed();
                    }
                }
                Event::Wake { greenlet, by, .. } => {
                    *facts.wakes.entry(edge(by, greenlet)).or_default() += 1;
                }
                _ => {}
            }
        }
        facts
    }

    fn of_second(value: &Value) -> Self {
        let rings = value["rings"].as_array().unwrap().iter();
        let number = |value: &Value| value.as_u64().unwrap();
        let rings = rings.map(|ring| {
            let missing = number(&ring["overwritten"]) + number(&ring["lost"]);
            (number(&ring["number"]), (number(&ring["events"]), missing))
        });
        let unknown = value["kinds"]["unknown"].as_u64().unwrap_or(0);
        let rings: BTreeMap<_, _> = rings.collect();
        let nanos = value["run_nanos"].as_object().unwrap().iter();
        Self {
            events: rings.values().map(|(events, _)| events).sum::<u64>() + unknown,
            switches: number(&value["switches"]),
            run_nanos: nanos
                .map(|(greenlet, nanos)| (greenlet.clone(), nanos.as_i64().unwrap()))
                .collect(),
            wakes: table(&value["wakes"]),
            rings,
            // Damage makes numbers of any size, which are not looked for above.
            texts: (value["texts"].as_array().unwrap().iter())
                .filter(|text| TEXTS.contains(&number(text)))
                .count(),
        }
    }
}

#[track_caller]
fn both_read_the_same(path: &Path) -> Value {
    let value = second(path);
    assert_eq!(
        Facts::of_second(&value),
        Facts::of(&Trace::open(path).unwrap())
    );
    value
}

/// That it says all that the runtime has counted.
fn is_what_was_counted(value: &Value, summary: &Summary) {
    let accounts = summary.accounts.as_ref().unwrap();
    let greenlets = &accounts.greenlets;
    let runs = greenlets
        .iter()
        .map(|(id, account)| (id.to_string(), account.runs));
    assert_eq!(table(&value["runs"]), runs.collect());
    let ticks = greenlets
        .iter()
        .map(|(id, account)| (id.to_string(), account.ticks));
    assert_eq!(table(&value["run_ticks"]), ticks.collect());
    let wakes = accounts.wakes.iter();
    let wakes = wakes.map(|(&(by, greenlet), &count)| (edge(by, greenlet), count));
    assert_eq!(table(&value["wakes"]), wakes.collect());
    let rings = value["rings"].as_array().unwrap();
    assert_eq!(rings.len(), summary.rings.len());
    for counted in &summary.rings {
        let is_it = |ring: &&Value| {
            let hub = counted.hub.map(u64::from);
            (ring["runtime"].as_u64(), ring["hub"].as_u64())
                == (Some(u64::from(counted.runtime)), hub)
        };
        let ring = rings.iter().find(is_it).expect("a ring");
        assert_eq!(ring["recorded"].as_u64(), Some(counted.events));
    }
}

#[test]
fn both_read_what_was_counted() {
    child::alone("both_read_what_was_counted", || {
        let dir = TempDir::new();
        let path = dir.join("a.trace");
        for hubs in [1, 2, 8] {
            for options in [Options::stream(&path), Options::flight_in(&path)] {
                let _watchdog = watched();
                trace::start(options.accounts(true)).unwrap();
                runtime(hubs).run(|| recorded::work(300));
                let summary = trace::stop().unwrap().unwrap();
                assert_eq!(summary.lost, 0);
                is_what_was_counted(&both_read_the_same(&path), &summary);
            }
        }
    });
}

#[test]
fn both_count_the_same_losses() {
    child::alone("both_count_the_same_losses", || {
        let dir = TempDir::new();
        let (path, snapshot) = (dir.join("a.trace"), dir.join("b.trace"));
        for hubs in [1, 8] {
            let _watchdog = watched();
            trace::start(Options::flight_in(&path).ring_size(1 << 16)).unwrap();
            let runtime = runtime(hubs);
            // However the hubs share it, one of their rings has no room for it.
            runtime.run(|| recorded::work(300 * hubs));
            let more = runtime.spawn(|| recorded::work(300));
            trace::snapshot(&snapshot).unwrap();
            more.join().unwrap();
            let summary = trace::stop().unwrap().unwrap();
            let value = both_read_the_same(&path);
            let rings = value["rings"].as_array().unwrap().iter();
            let missing = rings
                .map(|ring| ring["overwritten"].as_u64().unwrap() + ring["lost"].as_u64().unwrap());
            assert_eq!(missing.sum::<u64>(), summary.lost);
            assert!(summary.lost > 0);
            both_read_the_same(&snapshot);
        }
    });
}

#[test]
fn both_make_the_same_of_a_damaged_file() {
    child::alone("both_make_the_same_of_a_damaged_file", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let path = dir.join("a.trace");
        trace::start(Options::stream(&path)).unwrap();
        runtime(2).run(|| recorded::work(60));
        trace::stop().unwrap().unwrap();
        let whole = fs::read(&path).unwrap();
        let mut random = 88_172_645_463_325_252_u64;
        let mut below = |limit: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % limit as u64) as usize
        };
        for _ in 0..30 {
            let mut bytes = whole.clone();
            // Behind the header: an end, zeros, and single bytes.
            match below(3) {
                0 => bytes.truncate(64 + below(whole.len() - 64)),
                1 => {
                    let from = 64 + below(whole.len() - 64);
                    let to = (from + below(20_000)).min(whole.len());
                    bytes[from..to].fill(0);
                }
                _ => {
                    for _ in 0..5 {
                        bytes[64 + below(whole.len() - 64)] = below(256) as u8;
                    }
                }
            }
            fs::write(&path, &bytes).unwrap();
            both_read_the_same(&path);
        }
    });
}
