//! What a page shows.

use std::collections::{BTreeSet, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::super::names::Names;
use super::super::perfetto::ready_greenlets;
use super::figures::{self, Histogram, Offenders, Waits, Wakes};
use super::lanes::{self, GreenletLane, SpanLane};
use crate::record::{Actor, Greenlet, Text};
use crate::trace::analysis::{Lost, Report, Timeline, Trace};
use crate::trace::wait_reason;

/// The others are not as bad.
const MOST_LINTS: usize = 20;

/// Parts that the trace is divided into for the utilisation.
const BUCKETS: usize = 480;
/// Counters that are shown, and values of each.
const COUNTERS: usize = 20;
const VALUES: usize = 2_000;
const MARKS: usize = 500;

/// The page's data. All times are nanoseconds since the trace begins, and all texts are places in `texts`, unless
/// they are strings; `page.js` reads it.
#[derive(Serialize)]
pub(super) struct Page {
    program: String,
    recorded: String,
    duration: u64,
    /// Figures at the top: what, how much, and whether it is bad.
    tiles: Vec<(&'static str, String, bool)>,
    /// What the reader should know about the trace.
    notes: Vec<String>,
    lints: Vec<Finding>,
    facts: Vec<(String, String)>,
    hubs: Vec<HubSums>,
    utilisation: Utilisation,
    /// Names of reasons of waits, by their codes.
    reasons: Vec<String>,
    lanes: Lanes,
    counters: Vec<Counter>,
    spans: Vec<SpanLane>,
    /// When, and what.
    marks: Vec<(u64, u32)>,
    /// What was left out of the timeline.
    thinning: String,
    histograms: Vec<Histogram>,
    waits: Vec<Waits>,
    offenders: Vec<Offenders>,
    wakes: Wakes,
    /// Greenlets that are mentioned: number, name, and where they were spawned.
    people: Vec<(u64, u32, u32)>,
    texts: Vec<String>,
}

/// Something that looks like a mistake.
#[derive(Serialize)]
struct Finding {
    kind: &'static str,
    seen: String,
    explanation: String,
    advice: String,
    sites: Vec<String>,
    /// Some of them, and how many there are.
    people: Vec<i64>,
    count: u64,
    /// About how long others waited for it.
    cost: u64,
}

#[derive(Serialize)]
struct HubSums {
    name: String,
    thread: u32,
    run: u64,
    sleep: u64,
    switches: usize,
}

/// Of each part of the trace: of each hub, how many thousandths it ran greenlets and slept; and how many greenlets
/// were ready at the most.
#[derive(Serialize)]
struct Utilisation {
    /// How long a part is.
    bucket: f64,
    run: Vec<Vec<u32>>,
    sleep: Vec<Vec<u32>>,
    ready: Vec<i64>,
}

#[derive(Serialize)]
struct Lanes {
    hubs: Vec<Vec<i64>>,
    greenlets: Vec<GreenletLane>,
}

#[derive(Serialize)]
struct Counter {
    name: u32,
    least: f64,
    most: f64,
    /// Times and values in turn.
    points: Vec<f64>,
}

/// Gives greenlets and texts the numbers that they have in the page.
pub(super) struct Index<'a> {
    pub(super) trace: &'a Trace,
    pub(super) names: Names<'a>,
    pub(super) timeline: &'a Timeline,
    people: HashMap<Greenlet, i64>,
    listed: Vec<(u64, u32, u32)>,
    places: HashMap<String, u32>,
    texts: Vec<String>,
}

impl<'a> Index<'a> {
    /// The place of a greenlet among the page's people.
    pub(super) fn person(&mut self, id: Greenlet) -> i64 {
        if let Some(&person) = self.people.get(&id) {
            return person;
        }
        let life = self.timeline.greenlet(id);
        let (name, site) = life.map_or((0, 0), |life| (life.name, life.site));
        let entry = (id, self.known(name), self.known(site));
        let person = self.listed.len() as i64;
        self.listed.push(entry);
        self.people.insert(id, person);
        person
    }

    /// The place of a text of the trace.
    pub(super) fn known(&mut self, text: Text) -> u32 {
        let text = self.names.text(text);
        self.text(&text)
    }

    /// The place of a text. That of the empty one is 0.
    pub(super) fn text(&mut self, text: &str) -> u32 {
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        let place = self.texts.len() as u32;
        self.texts.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }

    /// Nanoseconds since the trace begins.
    pub(super) fn since_begin(&self, time: u64) -> u64 {
        time.saturating_sub(self.timeline.begin())
    }

    /// A greenlet, or a thread by a number below -15.
    pub(super) fn actor(&mut self, actor: Actor) -> i64 {
        match actor {
            Actor::Greenlet(id) => self.person(id),
            Actor::Thread(number) => -16 - i64::from(number),
        }
    }
}

impl Page {
    pub(super) fn new(trace: &Trace, timeline: &Timeline) -> Self {
        let names = Names::new(trace, timeline);
        let mut index = Index {
            trace,
            names,
            timeline,
            people: HashMap::new(),
            listed: Vec::new(),
            places: HashMap::new(),
            texts: Vec::new(),
        };
        index.text("");
        let histograms = figures::histograms(timeline);
        let offenders = figures::offenders(&mut index);
        let important: BTreeSet<Greenlet> = offenders
            .iter()
            .flat_map(Offenders::people)
            .map(|person| index.listed[person as usize].0)
            .collect();
        let mut thinning = Vec::new();
        let hubs = lanes::hubs(&mut index, &mut thinning);
        let greenlets = lanes::greenlets(&mut index, &important, &mut thinning);
        let spans = lanes::spans(&mut index, &mut thinning);
        let counters = counters(&mut index, &mut thinning);
        let marks = marks(&mut index, &mut thinning);
        let waits = figures::waits(&mut index);
        let wakes = figures::wakes(&mut index);
        let reasons = (0..=u8::MAX).map(|code| match wait_reason(code) {
            Some(reason) => reason.into(),
            None => format!("reason {code}"),
        });
        Self {
            program: names.program().into_owned(),
            recorded: recorded(trace),
            duration: (timeline.end() - timeline.begin()).max(1),
            tiles: tiles(trace, timeline, &histograms[0]),
            notes: notes(trace),
            lints: findings(&mut index),
            facts: facts(trace),
            hubs: sums(trace, &names, timeline),
            utilisation: utilisation(timeline),
            reasons: reasons.collect(),
            lanes: Lanes { hubs, greenlets },
            counters,
            spans,
            marks,
            thinning: thinning.join(" "),
            histograms,
            waits,
            offenders,
            wakes,
            people: index.listed,
            texts: index.texts,
        }
    }
}

fn tiles(
    trace: &Trace,
    timeline: &Timeline,
    latency: &Histogram,
) -> Vec<(&'static str, String, bool)> {
    let hubs = timeline.hubs();
    let switches: usize = timeline
        .greenlets()
        .iter()
        .map(|life| figures::runs(life).count())
        .sum();
    let seconds = trace.duration().as_secs_f64();
    let running: u64 = hubs
        .iter()
        .fold(0, |sum, hub| sum.saturating_add(hub.running));
    let available = trace.duration().as_nanos() as f64 * hubs.len() as f64;
    let steals: usize = hubs.iter().map(|hub| hub.steals.len()).sum();
    let lost: u64 = trace
        .lost()
        .iter()
        .fold(0, |sum, lost| sum.saturating_add(lost.events));
    let mut tiles = vec![
        (
            "greenlets",
            figures::thousands(timeline.greenlets().len() as u64),
        ),
        ("hubs", hubs.len().to_string()),
        ("runs", figures::thousands(switches as u64)),
        (
            "runs a second",
            figures::thousands(per(switches as f64, seconds) as u64),
        ),
        (
            "hubs running",
            format!("{:.1} %", 100.0 * per(running as f64, available)),
        ),
        ("wakes", figures::thousands(timeline.wakes().len() as u64)),
        ("steals", figures::thousands(steals as u64)),
    ];
    for (label, name) in [("wake to run, median", "p50"), ("wake to run, p99", "p99")] {
        if let Some(value) = latency.percentile(name) {
            tiles.push((label, figures::duration(value)));
        }
    }
    let mut tiles: Vec<_> = tiles
        .into_iter()
        .map(|(label, value)| (label, value, false))
        .collect();
    if lost > 0 {
        tiles.push(("events lost", figures::thousands(lost), true));
    }
    tiles
}

fn findings(index: &mut Index<'_>) -> Vec<Finding> {
    let report = Report::new(index.trace, index.timeline, 1);
    let findings = report
        .lints
        .into_iter()
        .take(MOST_LINTS)
        .map(|lint| Finding {
            kind: lint.kind.name(),
            seen: lint.seen,
            explanation: lint.explanation,
            advice: lint.advice,
            sites: lint.sites,
            people: lint
                .greenlets
                .iter()
                .take(5)
                .map(|&id| index.person(id))
                .collect(),
            count: lint.count,
            cost: lint.cost_ns,
        });
    findings.collect()
}

fn per(value: f64, by: f64) -> f64 {
    if by > 0.0 { value / by } else { 0.0 }
}

fn notes(trace: &Trace) -> Vec<String> {
    let mut notes = Vec::new();
    let (overwritten, lost): (Vec<&Lost>, Vec<&Lost>) =
        trace.lost().iter().partition(|lost| lost.after.is_none());
    if !overwritten.is_empty() {
        notes.push(
            "The trace begins in the middle: what was recorded before is overwritten.".into(),
        );
    }
    if !lost.is_empty() {
        let events: u64 = lost
            .iter()
            .fold(0, |sum, lost| sum.saturating_add(lost.events));
        notes.push(format!(
            "{} events are missing in {} places: greenlets have gaps there.",
            figures::thousands(events),
            lost.len()
        ));
    }
    if let Some(problem) = trace.problems().first() {
        notes.push(format!(
            "The file is damaged in {} places; the first: {problem}.",
            trace.problems().len()
        ));
    }
    if trace.unknown_events() > 0 {
        notes.push(format!(
            "{} events are of a newer version and left out.",
            figures::thousands(trace.unknown_events())
        ));
    }
    notes
}

fn facts(trace: &Trace) -> Vec<(String, String)> {
    let (major, minor) = trace.version();
    let own = [
        ("format", format!("{major}.{minor}")),
        (
            "page by",
            concat!("greenlet ", env!("CARGO_PKG_VERSION")).into(),
        ),
    ];
    let facts = trace.facts().map(|(key, value)| (key.into(), value.into()));
    facts
        .chain(own.map(|(key, value)| (key.into(), value)))
        .collect()
}

fn sums(trace: &Trace, names: &Names<'_>, timeline: &Timeline) -> Vec<HubSums> {
    let hubs = timeline.hubs().iter();
    hubs.map(|hub| HubSums {
        name: names.ring(hub.ring),
        thread: trace
            .rings()
            .get(usize::from(hub.ring))
            .map_or(0, |ring| ring.thread),
        run: hub.running,
        sleep: hub.sleeping,
        switches: hub.slices.iter().filter(|slice| !slice.is_sleep()).count(),
    })
    .collect()
}

fn utilisation(timeline: &Timeline) -> Utilisation {
    let duration = (timeline.end() - timeline.begin()).max(1);
    let bucket = duration as f64 / BUCKETS as f64;
    let place = |time: u64| {
        let place = (time.saturating_sub(timeline.begin()) as f64 / bucket) as usize;
        place.min(BUCKETS - 1)
    };
    let shares = |slices: &mut dyn Iterator<Item = (u64, u64)>| {
        let mut nanos = vec![0.0; BUCKETS];
        for (begin, end) in slices {
            let (first, last) = (place(begin), place(end));
            let (begin, end) = (
                begin.saturating_sub(timeline.begin()) as f64,
                end.saturating_sub(timeline.begin()) as f64,
            );
            for (index, nanos) in nanos[first..=last].iter_mut().enumerate() {
                let from = (first + index) as f64 * bucket;
                *nanos += (end.min(from + bucket) - begin.max(from)).max(0.0);
            }
        }
        let shares = nanos
            .iter()
            .map(|nanos| (1000.0 * nanos / bucket).round().min(1000.0) as u32);
        shares.collect::<Vec<u32>>()
    };
    let (mut run, mut sleep) = (Vec::new(), Vec::new());
    for hub in timeline.hubs() {
        let of = |sleeps: bool| {
            let slices = hub
                .slices
                .iter()
                .filter(move |slice| slice.is_sleep() == sleeps);
            slices.map(|slice| (slice.begin, slice.end))
        };
        run.push(shares(&mut of(false)));
        sleep.push(shares(&mut of(true)));
    }
    let mut ready = vec![0; BUCKETS];
    let mut now = 0;
    let mut filled = 0;
    for (time, value) in ready_greenlets(timeline) {
        let at = place(time);
        // Up to here it was as before.
        for bucket in &mut ready[filled..=at] {
            *bucket = now.max(*bucket);
        }
        ready[at] = ready[at].max(value);
        (now, filled) = (value, at);
    }
    Utilisation {
        bucket,
        run,
        sleep,
        ready,
    }
}

fn counters(index: &mut Index<'_>, thinning: &mut Vec<String>) -> Vec<Counter> {
    let mut of_name: Vec<(Text, Vec<(u64, f64)>)> = Vec::new();
    let mut places = HashMap::new();
    for counter in index.timeline.counters() {
        let place = *places.entry(counter.name).or_insert_with(|| {
            of_name.push((counter.name, Vec::new()));
            of_name.len() - 1
        });
        if counter.value.is_finite() {
            of_name[place].1.push((counter.time, counter.value));
        }
    }
    if of_name.len() > COUNTERS {
        thinning.push(format!(
            "{COUNTERS} of {} counters are shown.",
            of_name.len()
        ));
        of_name.truncate(COUNTERS);
    }
    let mut counters = Vec::new();
    for (name, mut values) in of_name {
        values.sort_by_key(|&(time, _)| time);
        let fold = |with: fn(f64, f64) -> f64| values.iter().map(|&(_, value)| value).reduce(with);
        let (Some(least), Some(most)) = (fold(f64::min), fold(f64::max)) else {
            continue;
        };
        // The last of so many.
        let every = values.len().div_ceil(VALUES);
        if every > 1 {
            thinning.push(format!(
                "Of counter {:?} each {every}th value is shown.",
                index.names.text(name)
            ));
        }
        let kept = values.chunks(every).filter_map(|chunk| chunk.last());
        let points = kept.flat_map(|&(time, value)| [index.since_begin(time) as f64, value]);
        let points = points.collect();
        counters.push(Counter {
            name: index.known(name),
            least,
            most,
            points,
        });
    }
    counters
}

fn marks(index: &mut Index<'_>, thinning: &mut Vec<String>) -> Vec<(u64, u32)> {
    let mut marks = Vec::new();
    for mark in index.timeline.marks() {
        let who = index.names.actor(mark.who);
        let what = format!("{} ({who})", index.names.text(mark.name));
        marks.push((index.since_begin(mark.time), index.text(&what)));
    }
    for &(time, who) in index.timeline.panics() {
        let what = format!("panic of {}", index.names.actor(who));
        marks.push((index.since_begin(time), index.text(&what)));
    }
    if marks.len() > MARKS {
        thinning.push(format!("{MARKS} of {} marks are shown.", marks.len()));
        marks.truncate(MARKS);
    }
    marks.sort_unstable();
    marks
}

/// As `on 2026-11-21 at 14:03:22 UTC`.
fn recorded(trace: &Trace) -> String {
    match trace.wall_time(trace.begin()) {
        Some(time) => format!("on {}", date(time)),
        None => "at an unknown time".into(),
    }
}

fn date(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let mut month = 1;
    for length in [
        31,
        if is_leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
    ] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!(
        "{year}-{month:02}-{:02} at {:02}:{:02}:{:02} UTC",
        days + 1,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 at 00:00:00 UTC"),
            (951_782_399, "2000-02-28 at 23:59:59 UTC"),
            (951_782_400, "2000-02-29 at 00:00:00 UTC"),
            (1_795_262_602, "2026-11-21 at 12:03:22 UTC"),
            (1_798_761_599, "2026-12-31 at 23:59:59 UTC"),
        ] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
