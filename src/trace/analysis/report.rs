//! Analyses of a trace.
//!
//! | file | noun |
//! |---|---|
//! | `figures` | percentiles of many values, by groups |
//! | `labels` | how greenlets, places and objects are called |
//! | `latency`, `totals`, `hubs`, `wakers`, `program` | the parts of a report |
//! | `lints` | what looks like a mistake |
//! | `text` | a report for people |

mod figures;
mod hubs;
mod labels;
mod latency;
mod lints;
mod program;
mod text;
mod totals;
mod wakers;

use serde::Serialize;

pub use self::figures::Figures;
pub use self::hubs::{HubReport, LongRunReport};
pub use self::latency::{GroupLatency, Latency};
pub use self::lints::{Lint, LintKind};
pub use self::program::{CounterReport, MarkReport, SpanReport};
pub use self::totals::{GreenletTotals, ObjectTotals, SiteTotals, Totals, WaitTotals};
pub use self::wakers::WakePair;

use self::labels::Labels;
use super::{Timeline, Trace};

/// What a trace tells, in figures: how long greenlets wait for their turn, what they wait for, what hubs
/// do, and what looks like a mistake.
///
/// As text it is for people; by [`serde`] for programs. All times are nanoseconds, and the names of
/// such fields end in `_ns`.
///
/// ```no_run
/// use greenlet::trace::analysis::{Report, Timeline, Trace};
///
/// let trace = Trace::open("crawl.trace")?;
/// let report = Report::new(&trace, &Timeline::new(&trace), 10);
/// println!("{report}");
/// # Ok::<(), greenlet::trace::analysis::ReadError>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What the trace is about.
    pub overview: Overview,
    /// From when a greenlet became ready to when it ran.
    pub latency: Latency,
    /// What all greenlets did, together.
    pub totals: Totals,
    /// What they waited for, the longest first.
    pub waits: Vec<WaitTotals>,
    /// What they waited for in particular, the longest first.
    pub objects: Vec<ObjectTotals>,
    /// By where they were spawned; those that ran longest first.
    pub sites: Vec<SiteTotals>,
    /// The greenlets that ran longest.
    pub most_running: Vec<GreenletTotals>,
    /// The greenlets that waited longest for their turn.
    pub most_ready: Vec<GreenletTotals>,
    /// Every hub.
    pub hubs: Vec<HubReport>,
    /// By how much the busiest hub of a runtime was busier than the least busy one, as a part of the time;
    /// from 0 to 1. Of several runtimes that of the one where this is most.
    pub imbalance: f64,
    /// Greenlets that kept their hubs from running others, the longest first.
    pub long_runs: Vec<LongRunReport>,
    /// Which greenlets woke which, the most frequent first.
    pub wakes: Vec<WakePair>,
    /// The same, by where they were spawned.
    pub wakes_by_site: Vec<WakePair>,
    /// The program's spans by their names, the longest first.
    pub spans: Vec<SpanReport>,
    /// The program's counters, by their names.
    pub counters: Vec<CounterReport>,
    /// What happened, says the program, in the order of time.
    pub marks: Vec<MarkReport>,
    /// Who has panicked.
    pub panics: Vec<String>,
    /// What looks like a mistake, the worst first.
    pub lints: Vec<Lint>,
}

/// What a trace is about.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Overview {
    /// The program's file, if the trace tells.
    pub program: Option<String>,
    /// The number of the process.
    pub process: u32,
    /// From the first event to the last.
    pub duration_ns: u64,
    /// Greenlets that the trace knows of.
    pub greenlets: u64,
    /// Those that were spawned within it.
    pub spawned: u64,
    /// Those that ended within it.
    pub ended: u64,
    /// Runs of greenlets that ended within it.
    pub switches: u64,
    /// Parks that were ended.
    pub wakes: u64,
    /// Events that were read.
    pub events: u64,
    /// Events of kinds that this version does not know.
    pub unknown_events: u64,
    /// Events that are missing between others, by rings.
    pub lost: Vec<LostEvents>,
    /// Events that a flight recorder had written over.
    pub overwritten: u64,
    /// What is damaged in the file.
    pub problems: Vec<String>,
}

/// Events of one ring that are missing.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LostEvents {
    /// The ring.
    pub ring: String,
    /// How many.
    pub events: u64,
}

impl Report {
    /// Analyses a trace. Lists of what may be many have at most `top` entries.
    pub fn new(trace: &Trace, timeline: &Timeline, top: usize) -> Self {
        let labels = Labels::new(trace, timeline);
        let totals = totals::Sums::new(timeline);
        let hubs = hubs::hubs(trace, timeline);
        let long_runs = hubs::long_runs(timeline, &labels);
        let lints = lints::all(timeline, &labels, &hubs, &long_runs);
        let mut report = Self {
            overview: Overview::new(trace, timeline),
            latency: Latency::new(trace, timeline, &labels, top),
            totals: totals.all(),
            waits: totals.waits(),
            objects: totals.objects(top),
            sites: totals.sites(&labels, top),
            most_running: totals.most(&labels, top, |sum| sum.running_ns),
            most_ready: totals.most(&labels, top, |sum| sum.ready_ns),
            imbalance: hubs::imbalance(&hubs),
            hubs,
            long_runs,
            wakes: wakers::by_greenlets(timeline, &labels, top),
            wakes_by_site: wakers::by_sites(timeline, &labels, top),
            spans: program::spans(timeline, &labels, top),
            counters: program::counters(timeline, &labels, top),
            marks: program::marks(timeline, &labels, top),
            panics: Vec::new(),
            lints,
        };
        let panics = timeline.panics().iter().take(top);
        report.panics = panics.map(|&(_, who)| labels.actor(who)).collect();
        report.long_runs.truncate(top);
        report
    }
}

impl Overview {
    fn new(trace: &Trace, timeline: &Timeline) -> Self {
        let greenlets = timeline.greenlets();
        let count = |test: fn(&super::Life) -> bool| {
            greenlets.iter().filter(|life| test(life)).count() as u64
        };
        let runs = greenlets.iter().flat_map(|life| &life.slices);
        let runs = runs.filter(|slice| totals::is_whole_run(slice));
        let mut lost: Vec<LostEvents> = Vec::new();
        let gaps = trace.lost().iter().filter(|lost| lost.after.is_some());
        for gaps in gaps.collect::<Vec<_>>().chunk_by(|a, b| a.ring == b.ring) {
            lost.push(LostEvents {
                ring: trace.rings()[usize::from(gaps[0].ring)].to_string(),
                events: gaps
                    .iter()
                    .fold(0, |sum, gap| sum.saturating_add(gap.events)),
            });
        }
        let overwritten = trace.lost().iter().filter(|lost| lost.after.is_none());
        Self {
            program: trace.fact("program").map(str::to_owned),
            process: trace.process(),
            duration_ns: trace.end() - trace.begin(),
            greenlets: greenlets.len() as u64,
            spawned: count(|life| life.spawned.is_some()),
            ended: count(|life| life.ended.is_some()),
            switches: runs.count() as u64,
            wakes: timeline.wakes().len() as u64,
            events: trace.records().len() as u64,
            unknown_events: trace.unknown_events(),
            lost,
            overwritten: overwritten.fold(0, |sum, lost| sum.saturating_add(lost.events)),
            problems: trace.problems().iter().map(ToString::to_string).collect(),
        }
    }
}
