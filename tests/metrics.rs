//! `metrics`: the numbers, and the text for Prometheus.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use greenlet::metrics::{Histogram, HubDurations, Metrics};
use greenlet::trace::{self, Options};
use support::process::wait_until;
use support::{Flag, child, on_hubs, runtime, watched, with_hubs};

#[test]
fn the_hubs_together_are_the_stats() {
    with_hubs(|runtime| {
        runtime.run(|| {
            let greenlets: Vec<_> = (0..20)
                .map(|_| {
                    greenlet::spawn(|| {
                        (0..50).for_each(|_| greenlet::yield_now());
                        greenlet::sleep(Duration::from_micros(10));
                    })
                })
                .collect();
            greenlets
                .into_iter()
                .for_each(|greenlet| greenlet.join().unwrap());
        });
        wait_until("all is over and the hubs sleep", || {
            let metrics = runtime.metrics();
            let hubs = &metrics.runtimes[0].hubs;
            metrics.runtimes[0].stats.greenlets == 0 && hubs.iter().all(|hub| hub.asleep)
        });
        let metrics = runtime.metrics();
        assert_eq!(metrics.runtimes.len(), 1);
        let of_runtime = &metrics.runtimes[0];
        assert_eq!(of_runtime.hubs.len(), runtime.hubs());
        let stats = &of_runtime.stats;
        let sum = |number: fn(&greenlet::metrics::HubMetrics) -> u64| -> u64 {
            of_runtime.hubs.iter().map(number).sum()
        };
        assert_eq!(sum(|hub| hub.switches), stats.switches);
        assert_eq!(sum(|hub| hub.parks), stats.parks);
        assert_eq!(sum(|hub| hub.steals), stats.steals);
        // `run` spawns from outside.
        assert_eq!(sum(|hub| hub.spawned) + 1, stats.spawned);
        assert_eq!(sum(|hub| hub.ended), stats.spawned);
        assert_eq!(sum(|hub| hub.queued + hub.inbox + hub.timers), 0);
        assert!(stats.switches >= 20 * 51);
        for (number, hub) in of_runtime.hubs.iter().enumerate() {
            assert_eq!(hub.hub, number);
            assert!(hub.cpu_time.is_some());
        }
    });
}

#[test]
fn what_is_queued_and_what_sleeps_is_counted() {
    on_hubs(|hubs| {
        let up = Arc::new(Flag::default());
        let sleepers: Vec<_> = (0..10)
            .map(|_| {
                let up = up.clone();
                greenlet::spawn(move || {
                    greenlet::park_timeout(Duration::from_secs(3600));
                    up.wait();
                })
            })
            .collect();
        wait_until("ten deadlines", || {
            greenlet::yield_now();
            own(&greenlet::metrics(), hubs, |hub| hub.timers) >= 10
        });
        up.raise();
        sleepers
            .iter()
            .for_each(|sleeper| sleeper.thread().unpark());
        sleepers
            .into_iter()
            .for_each(|sleeper| sleeper.join().unwrap());
        if hubs == 1 {
            let over = Arc::new(AtomicBool::new(false));
            let spinners: Vec<_> = (0..20)
                .map(|_| {
                    let over = over.clone();
                    greenlet::spawn(move || {
                        while !over.load(Relaxed) {
                            greenlet::yield_now();
                        }
                    })
                })
                .collect();
            wait_until("twenty are queued", || {
                greenlet::yield_now();
                own(&greenlet::metrics(), hubs, |hub| hub.queued) >= 19
            });
            over.store(true, Relaxed);
            spinners
                .into_iter()
                .for_each(|spinner| spinner.join().unwrap());
        }
    });
}

/// A number of all hubs of runtimes with so many hubs: other tests run beside this one.
fn own(metrics: &Metrics, hubs: usize, number: fn(&greenlet::metrics::HubMetrics) -> u64) -> u64 {
    let alike = metrics.runtimes.iter().filter(|it| it.hubs.len() == hubs);
    alike.flat_map(|it| &it.hubs).map(number).sum()
}

#[test]
fn runtimes_are_told_apart_and_gone_when_they_have_ended() {
    let _watchdog = watched();
    let (first, second) = (runtime(3), runtime(5));
    let number = |of: &greenlet::Runtime| of.metrics().runtimes[0].runtime;
    let (one, two) = (number(&first), number(&second));
    assert!(one < two);
    let listed = |number| {
        let all = greenlet::metrics();
        all.runtimes.iter().any(|it| it.runtime == number)
    };
    assert!(listed(one) && listed(two));
    drop(first);
    assert!(!listed(one) && listed(two));
}

#[test]
fn jobs_of_the_blocking_pool_are_timed() {
    on_hubs(|_| {
        let before = greenlet::metrics().blocking.durations;
        greenlet::blocking(|| thread::sleep(Duration::from_millis(20)));
        // It is counted after its greenlet was woken.
        wait_until("it is counted", || {
            let now = greenlet::metrics().blocking.durations;
            now.count() > before.count() && now.sum() - before.sum() >= Duration::from_millis(20)
        });
        let now = greenlet::metrics().blocking.durations;
        let long = |of: &greenlet::metrics::Histogram| -> u64 {
            let longer = of.classes().filter(|(end, _)| end.as_millis() > 20);
            longer.map(|(_, count)| count).sum()
        };
        assert!(long(&now) > long(&before));
    });
}

#[test]
fn stacks_are_counted_by_their_size() {
    let _watchdog = watched();
    let runtime = runtime(1);
    // Of a size that no other test asks for.
    const SIZE: usize = 4 << 20;
    let up = Arc::new(Flag::default());
    let held: Vec<_> = (0..7)
        .map(|_| {
            let up = up.clone();
            runtime.run(|| {
                greenlet::Builder::new()
                    .stack_size(SIZE)
                    .spawn(move || up.wait())
                    .expect("a stack")
            })
        })
        .collect();
    let stacks = runtime.metrics().stacks;
    let found = stacks.iter().find(|stacks| stacks.size == SIZE as u64);
    assert!(found.is_some_and(|found| found.count >= 7), "{stacks:?}");
    up.raise();
    held.into_iter().for_each(|held| held.join().unwrap());
}

/// A family of the text: its type, and its samples: name, labels and value.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads the exposition format, and nothing that it does not allow.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut helped = None;
    let mut present = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a name and a help");
            assert!(!words.is_empty() && !words.contains('\\'), "{line}");
            assert!(is_name(name), "{line}");
            helped = Some(name.to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert_eq!(
                helped.take().as_deref(),
                Some(name),
                "HELP comes before TYPE"
            );
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let family = Family {
                kind: kind.into(),
                ..Family::default()
            };
            assert!(
                families.insert(name.into(), family).is_none(),
                "{name} twice"
            );
            present = name.into();
        } else {
            let (what, value) = line.rsplit_once(' ').expect("a name and a value");
            let value: f64 = value.parse().expect("a number");
            let (name, labels) = what.split_once('{').map_or((what, ""), |(name, rest)| {
                (name, rest.strip_suffix('}').expect("labels end"))
            });
            let labels: BTreeMap<String, String> = labels
                .split(',')
                .filter(|label| !label.is_empty())
                .map(|label| {
                    let (name, value) = label.split_once('=').expect("a label");
                    assert!(is_name(name), "{line}");
                    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
                    let value = value.expect("a value in quotes");
                    assert!(!value.contains(['"', '\\']), "{line}");
                    (name.to_owned(), value.to_owned())
                })
                .collect();
            let family = families.get_mut(&present).expect("a family");
            let suffix = name.strip_prefix(&present).expect("a sample of the family");
            match family.kind.as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert!(suffix.is_empty(), "{line}"),
            }
            let is_new = |(other, others, _): &(String, BTreeMap<String, String>, f64)| {
                other != name || *others != labels
            };
            assert!(family.samples.iter().all(is_new), "twice: {line}");
            family.samples.push((name.to_owned(), labels, value));
        }
    }
    families
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters.next();
    first.is_some_and(|it| it.is_ascii_lowercase())
        && characters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
}

/// Metrics with something in every family.
fn rich_metrics() -> Metrics {
    let runtime = runtime(2);
    runtime.run(|| {
        greenlet::blocking(|| thread::sleep(Duration::from_millis(2)));
        wait_until("the job is counted", || {
            greenlet::metrics().blocking.durations.count() > 0
        });
        greenlet::metrics()
    })
}

#[test]
fn the_text_keeps_to_the_format() {
    let _watchdog = watched();
    let metrics = rich_metrics();
    let families = parse(&metrics.prometheus());
    let hubs: usize = metrics.runtimes.iter().map(|it| it.hubs.len()).sum();
    assert_eq!(families["greenlet_hub_switches_total"].samples.len(), hubs);
    for runtime in &metrics.runtimes {
        for hub in &runtime.hubs {
            let switches = &families["greenlet_hub_switches_total"].samples;
            let of_hub = switches.iter().find(|(_, labels, _)| {
                labels["runtime"] == runtime.runtime.to_string()
                    && labels["hub"] == hub.hub.to_string()
            });
            assert_eq!(of_hub.expect("the hub").2, hub.switches as f64);
        }
    }
}

#[test]
fn buckets_of_histograms_are_cumulative_and_end_with_all() {
    let _watchdog = watched();
    let metrics = rich_metrics();
    let families = parse(&metrics.prometheus());
    let histograms: Vec<_> = families
        .values()
        .filter(|family| family.kind == "histogram" && !family.samples.is_empty())
        .collect();
    assert!(!histograms.is_empty());
    for family in histograms {
        let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for (name, labels, value) in &family.samples {
            if name.ends_with("_bucket") {
                let mut labels = labels.clone();
                let end = labels.remove("le").expect("le");
                let end = if end == "+Inf" {
                    f64::INFINITY
                } else {
                    end.parse().unwrap()
                };
                series.entry(labels).or_default().push((end, *value));
            }
        }
        for (labels, buckets) in series {
            assert!(
                buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
                "{buckets:?}"
            );
            let last = buckets.last().expect("buckets");
            assert_eq!(last.0, f64::INFINITY);
            let count = family
                .samples
                .iter()
                .find(|(name, of, _)| name.ends_with("_count") && *of == labels);
            assert_eq!(count.expect("a count").2, last.1);
        }
    }
    // 2 ms are in the class that ends with 2^21 ns or a longer one, and not in shorter ones.
    let durations = &metrics.blocking.durations;
    assert!(durations.sum() >= Duration::from_millis(2));
}

#[test]
fn every_name_is_documented_with_its_type() {
    let _watchdog = watched();
    let families = parse(&rich_metrics().prometheus());
    let written: BTreeSet<(String, String)> = families
        .into_iter()
        .map(|(name, family)| (name, family.kind))
        .collect();
    let documented: BTreeSet<(String, String)> = include_str!("../src/docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `greenlet_"))
        .map(|line| {
            let mut columns = line.split(" | ");
            let name = columns.next().expect("a name").trim_end_matches('`');
            let kind = columns.next().expect("a type");
            (format!("greenlet_{name}"), kind.to_owned())
        })
        .collect();
    assert_eq!(written, documented);
}

/// The parser of Prometheus' own client library, where it is installed.
#[test]
fn prometheus_own_parser_reads_it() {
    let _watchdog = watched();
    let required = env::var_os("GREENLET_REQUIRE_TOOLS").is_some_and(|it| it == "1");
    let has_parser = Command::new("python3")
        .args(["-c", "import prometheus_client.parser"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_parser {
        assert!(!required, "python3 -m pip install prometheus_client");
        return;
    }
    let metrics = rich_metrics();
    let text = metrics.prometheus();
    let mut python = Command::new("python3")
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut input = python.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let read = String::from_utf8(output.stdout).expect("UTF-8");
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    let lines: Vec<&str> = read.lines().collect();
    assert_eq!(lines[0], format!("samples {samples}"));
    let switches: u64 = metrics.runtimes.iter().map(|it| it.stats.switches).sum();
    let by_hubs: u64 = lines[1].strip_prefix("switches ").unwrap().parse().unwrap();
    let exact: u64 = metrics
        .runtimes
        .iter()
        .flat_map(|it| &it.hubs)
        .map(|hub| hub.switches)
        .sum();
    assert_eq!(by_hubs, exact);
    assert!(switches > 0);
    assert_eq!(lines[2], "types counter,gauge,histogram");
}

const PARSE: &str = r#"
import sys
from prometheus_client.parser import text_string_to_metric_families
samples = switches = 0
types = set()
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family.name
    types.add(family.type)
    for sample in family.samples:
        samples += 1
        if sample.name == "greenlet_hub_switches_total":
            switches += int(sample.value)
print("samples", samples)
print("switches", switches)
print("types", ",".join(sorted(types)))
"#;

#[test]
fn hubs_measure_runs_and_latencies_while_recording_is_on() {
    const NAME: &str = "hubs_measure_runs_and_latencies_while_recording_is_on";
    // Recording is the process's.
    child::alone(NAME, || {
        with_hubs(|runtime| {
            let work = || {
                let spawned: Vec<_> = (0..30)
                    .map(|_| {
                        greenlet::spawn(|| {
                            greenlet::yield_now();
                            greenlet::sleep(Duration::from_micros(100));
                        })
                    })
                    .collect();
                // The others wait for their turn meanwhile, where there is but this hub.
                thread::sleep(Duration::from_millis(5));
                spawned
                    .into_iter()
                    .for_each(|greenlet| greenlet.join().unwrap());
            };
            let sums = || {
                let durations = &runtime.metrics().runtimes[0].durations;
                let sum = |of: fn(&HubDurations) -> &Histogram| -> (u64, Duration) {
                    let all = durations.iter().map(of);
                    all.fold((0, Duration::ZERO), |sum, one| {
                        (sum.0 + one.count(), sum.1 + one.sum())
                    })
                };
                (sum(|it| &it.runs), sum(|it| &it.latencies))
            };
            runtime.run(work);
            assert_eq!(sums(), ((0, Duration::ZERO), (0, Duration::ZERO)));
            trace::start(Options::flight()).unwrap();
            let before = runtime.stats().switches;
            runtime.run(work);
            wait_until("all have ended", || runtime.stats().greenlets == 0);
            let switches = runtime.stats().switches - before;
            trace::stop().unwrap();
            let ((runs, time), (latencies, waited)) = sums();
            assert_eq!(runs, switches);
            assert!(latencies > 0 && latencies <= runs);
            // Nothing but a hub that had slept since before could have missed one.
            assert!(latencies >= runs - runs / 10, "{latencies} of {runs}");
            assert!(time >= Duration::from_millis(5), "{time:?}");
            assert!(time < Duration::from_secs(5), "{time:?}");
            if runtime.hubs() == 1 {
                // Thirty of them, for about 5 ms each.
                assert!(waited >= Duration::from_millis(100), "{waited:?}");
            }
            // And off again.
            runtime.run(work);
            assert_eq!(sums().0.0, runs);
        });
    });
}
