//! Figures of the whole trace.

use std::cmp::Reverse;
use std::collections::HashMap;

use hdrhistogram::Histogram as Values;
use serde::Serialize;

use super::super::names;
use super::page::Index;
use crate::record::{Actor, Source, Wait};
use crate::trace::analysis::{Doing, Life, Ready, Slice, Timeline};

/// Lines of a table of offenders.
const ROWS: usize = 20;
/// Objects that a reason of waits is broken down to.
const OBJECTS: usize = 4;
/// Names on a side of the wakes, and pairs of them.
const NAMES: usize = 14;
const PAIRS: usize = 60;

/// How often something took how long.
#[derive(Serialize)]
pub(super) struct Histogram {
    title: &'static str,
    about: &'static str,
    total: u64,
    /// From, to, and how many; only what is not empty.
    bins: Vec<(u64, u64, u64)>,
    percentiles: Vec<(&'static str, u64)>,
}

/// Waits for one reason.
#[derive(Serialize)]
pub(super) struct Waits {
    reason: u8,
    total: u64,
    count: u64,
    p50: u64,
    p99: u64,
    most: u64,
    /// What was waited for: its text, how long together, and how often. The longest.
    objects: Vec<(u32, u64, u64)>,
}

/// What took longest, or happened most.
#[derive(Serialize)]
pub(super) struct Offenders {
    title: &'static str,
    /// What the value is.
    figure: &'static str,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    person: i64,
    value: u64,
    start: u64,
    duration: u64,
    what: u32,
}

/// Who wakes whom.
#[derive(Serialize)]
pub(super) struct Wakes {
    /// Texts of who wakes, and of who is woken.
    left: Vec<u32>,
    right: Vec<u32>,
    /// Places in these, and how many wakes.
    edges: Vec<(usize, usize, u64)>,
    /// What is left out.
    more: String,
}

/// Four bins for each power of two.
#[derive(Default)]
struct Bins(HashMap<u32, u64>);

impl Bins {
    fn add(&mut self, value: u64) {
        *self.0.entry(Self::bin(value)).or_default() += 1;
    }

    fn bin(value: u64) -> u32 {
        match value.checked_ilog2() {
            Some(power @ 2..) => 4 * (power - 1) + (value >> (power - 2) & 3) as u32,
            _ => value as u32,
        }
    }

    /// The least value of a bin.
    fn least(bin: u32) -> u64 {
        match bin {
            0..4 => bin.into(),
            _ => u64::from(4 + bin % 4) << (bin / 4 - 1),
        }
    }

    fn list(&self) -> Vec<(u64, u64, u64)> {
        let mut bins: Vec<_> = self.0.iter().map(|(&bin, &count)| (bin, count)).collect();
        bins.sort_unstable();
        bins.into_iter()
            .map(|(bin, count)| (Self::least(bin), Self::least(bin + 1), count))
            .collect()
    }
}

/// Percentiles with three digits.
struct Percentiles(Values<u64>);

impl Percentiles {
    fn new() -> Self {
        // It grows as values want it.
        Self(Values::new(3).expect("three digits are allowed"))
    }

    fn add(&mut self, value: u64) {
        let recorded = self.0.record(value.min(u64::MAX / 4));
        recorded.expect("it grows");
    }

    fn at(&self, part: f64) -> u64 {
        self.0.value_at_quantile(part).min(self.0.max())
    }
}

impl Histogram {
    fn new(title: &'static str, about: &'static str, values: impl Iterator<Item = u64>) -> Self {
        let (mut bins, mut percentiles) = (Bins::default(), Percentiles::new());
        let mut total = 0;
        for value in values {
            bins.add(value);
            percentiles.add(value);
            total += 1;
        }
        let parts = [
            ("p50", 0.5),
            ("p90", 0.9),
            ("p99", 0.99),
            ("p99.9", 0.999),
            ("p99.99", 0.9999),
            ("most", 1.0),
        ];
        Self {
            title,
            about,
            total,
            bins: bins.list(),
            percentiles: parts
                .map(|(name, part)| (name, percentiles.at(part)))
                .into(),
        }
    }

    /// `None` if there is nothing.
    pub(super) fn percentile(&self, name: &str) -> Option<u64> {
        let mut found = self.percentiles.iter().filter(|(known, _)| *known == name);
        found
            .next()
            .filter(|_| self.total > 0)
            .map(|&(_, value)| value)
    }
}

impl Offenders {
    /// Who is in it.
    pub(super) fn people(&self) -> impl Iterator<Item = i64> {
        self.rows.iter().map(|row| row.person)
    }
}

/// The slices in which a greenlet runs.
pub(super) fn runs(life: &Life) -> impl Iterator<Item = &Slice> {
    let slices = life.slices.iter();
    slices.filter(|slice| matches!(slice.doing, Doing::Running { .. }))
}

/// The first one is that from wake to run.
pub(super) fn histograms(timeline: &Timeline) -> Vec<Histogram> {
    // What has no end or no begin says little about how long it takes.
    let of = |wanted: fn(&Doing) -> bool| {
        let slices = timeline.greenlets().iter().flat_map(|life| &life.slices);
        let whole = slices.filter(move |slice| !slice.open && !slice.cut && wanted(&slice.doing));
        whole.map(Slice::nanos)
    };
    vec![
        Histogram::new(
            "Wake to run",
            "From the end of a greenlet's wait until a hub runs it.",
            of(|doing| matches!(doing, Doing::Ready(Ready::Woken(..)))),
        ),
        Histogram::new(
            "Ready to run",
            "From when a greenlet was spawned, yielded or was woken until a hub runs it.",
            of(|doing| matches!(doing, Doing::Ready(_))),
        ),
        Histogram::new(
            "Runs",
            "From when a hub runs a greenlet until it waits, yields or ends.",
            of(|doing| matches!(doing, Doing::Running { .. })),
        ),
        Histogram::new(
            "Waits",
            "From when a greenlet waits until that ends.",
            of(|doing| matches!(doing, Doing::Waiting { .. })),
        ),
    ]
}

/// The longest time first.
pub(super) fn waits(index: &mut Index<'_>) -> Vec<Waits> {
    struct Sums {
        total: u64,
        values: Percentiles,
        objects: HashMap<u64, (u64, u64)>,
    }
    let mut reasons: HashMap<u8, Sums> = HashMap::new();
    for slice in index
        .timeline
        .greenlets()
        .iter()
        .flat_map(|life| &life.slices)
    {
        let Doing::Waiting { wait, .. } = slice.doing else {
            continue;
        };
        let sums = reasons.entry(wait.reason).or_insert_with(|| Sums {
            total: 0,
            values: Percentiles::new(),
            objects: HashMap::new(),
        });
        sums.total = sums.total.saturating_add(slice.nanos());
        sums.values.add(slice.nanos());
        let object = sums.objects.entry(wait.object).or_default();
        object.0 = slice.nanos().saturating_add(object.0);
        object.1 += 1;
    }
    let mut waits: Vec<Waits> = reasons
        .into_iter()
        .map(|(reason, sums)| {
            let mut objects: Vec<_> = sums.objects.into_iter().collect();
            objects.sort_by_key(|&(object, (nanos, _))| (Reverse(nanos), object));
            let objects = objects.into_iter().take(OBJECTS);
            let objects = objects.filter_map(|(object, (nanos, count))| {
                let text = names::object(Wait { reason, object })?;
                Some((index.text(&text), nanos, count))
            });
            Waits {
                reason,
                total: sums.total,
                count: sums.values.0.len(),
                p50: sums.values.at(0.5),
                p99: sums.values.at(0.99),
                most: sums.values.at(1.0),
                objects: objects.collect(),
            }
        })
        .collect();
    waits.sort_by_key(|waits| (Reverse(waits.total), waits.reason));
    waits
}

/// The largest of many values.
struct Top<T>(Vec<(u64, T)>);

impl<T> Top<T> {
    fn add(&mut self, value: u64, what: T) {
        self.0.push((value, what));
        if self.0.len() >= 2 * ROWS {
            self.cut();
        }
    }

    /// Of equal ones, those stay that came first.
    fn cut(&mut self) {
        self.0.sort_by_key(|&(value, _)| Reverse(value));
        self.0.truncate(ROWS);
    }

    fn list(mut self) -> Vec<(u64, T)> {
        self.cut();
        self.0
    }
}

pub(super) fn offenders(index: &mut Index<'_>) -> Vec<Offenders> {
    let timeline = index.timeline;
    let [
        mut waits,
        mut longest_runs,
        mut ready,
        mut switches,
        mut running,
    ] = [const { Top(Vec::new()) }; 5];
    for life in timeline.greenlets() {
        for slice in &life.slices {
            let top = match slice.doing {
                Doing::Waiting { .. } => &mut waits,
                Doing::Running { .. } => &mut longest_runs,
                Doing::Ready(_) => &mut ready,
            };
            top.add(slice.nanos(), (life, *slice));
        }
        let (Some(first), Some(last)) = (life.slices.first(), life.slices.last()) else {
            continue;
        };
        let whole = Slice {
            end: last.end,
            ..*first
        };
        switches.add(runs(life).count() as u64, (life, whole));
        let nanos = runs(life).map(Slice::nanos);
        running.add(nanos.fold(0, u64::saturating_add), (life, whole));
    }
    let mut table = |title, figure, top: Top<(&Life, Slice)>, whole: bool| {
        let rows = top.list().into_iter().map(|(value, (life, slice))| {
            let what = if whole {
                String::new()
            } else {
                describe(index, &slice)
            };
            Row {
                person: index.person(life.id),
                value,
                start: index.since_begin(slice.begin),
                duration: slice.nanos(),
                what: index.text(&what),
            }
        });
        let rows = rows.filter(|row| row.value > 0).collect();
        Offenders {
            title,
            figure,
            rows,
        }
    };
    vec![
        table("Longest runs", "ran for", longest_runs, false),
        table("Longest ready", "was ready for", ready, false),
        table("Longest waits", "waited for", waits, false),
        table("Most runs", "runs", switches, true),
        table("Most running", "ran for", running, true),
    ]
}

fn describe(index: &Index<'_>, slice: &Slice) -> String {
    match slice.doing {
        Doing::Running { ring, stop } => {
            let hub = ring.map(|ring| format!("on {}", index.names.ring(ring)));
            let then = stop.map(|stop| format!("then {}", names::stop(stop)));
            [hub, then]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", ")
        }
        Doing::Ready(Ready::Woken(by, _)) => format!("woken by {}", index.names.source(by)),
        Doing::Ready(ready) => names::ready(ready).into(),
        Doing::Waiting { wait, .. } => match names::object(wait) {
            Some(object) => format!("{}, {object}", names::reason(wait)),
            None => names::reason(wait).into_owned(),
        },
    }
}

pub(super) fn wakes(index: &mut Index<'_>) -> Wakes {
    let mut pairs: HashMap<(u32, u32), u64> = HashMap::new();
    for wake in index.timeline.wakes() {
        let from = match wake.by {
            Source::Actor(Actor::Greenlet(id)) => origin(index, id),
            Source::Actor(Actor::Thread(_)) => index.text("threads"),
            Source::Reactor => index.text("the reactor"),
            Source::Timer => index.text("timers"),
            Source::Unknown => index.text("not known"),
        };
        let to = origin(index, wake.woken);
        *pairs.entry((from, to)).or_default() += 1;
    }
    let left = most_frequent(pairs.iter().map(|(&(from, _), &count)| (from, count)));
    let right = most_frequent(pairs.iter().map(|(&(_, to), &count)| (to, count)));
    let mut edges = Vec::new();
    let mut others = 0;
    for (&(from, to), &count) in &pairs {
        let place = |list: &[u32], name| list.iter().position(|&known| known == name);
        match (place(&left, from), place(&right, to)) {
            (Some(from), Some(to)) => edges.push((from, to, count)),
            _ => others += count,
        }
    }
    edges.sort_by_key(|&(from, to, count)| (Reverse(count), from, to));
    others += edges
        .iter()
        .skip(PAIRS)
        .map(|&(_, _, count)| count)
        .sum::<u64>();
    edges.truncate(PAIRS);
    // Who is in none of the pairs that are left is not shown.
    let (left, right) = (
        used(&left, &mut edges, true),
        used(&right, &mut edges, false),
    );
    edges.sort_unstable();
    Wakes {
        left,
        right,
        edges,
        more: match others {
            0 => String::new(),
            others => format!("{} wakes between others are left out.", thousands(others)),
        },
    }
}

/// Those that have the most.
fn most_frequent(counts: impl Iterator<Item = (u32, u64)>) -> Vec<u32> {
    let mut sums: HashMap<u32, u64> = HashMap::new();
    for (name, count) in counts {
        *sums.entry(name).or_default() += count;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|&(name, count)| (Reverse(count), name));
    sums.into_iter().take(NAMES).map(|(name, _)| name).collect()
}

/// The names that edges have on this side, which get new places in them.
fn used(names: &[u32], edges: &mut [(usize, usize, u64)], left: bool) -> Vec<u32> {
    let mut kept = Vec::new();
    for (place, &name) in names.iter().enumerate() {
        let mut any = false;
        for (from, to, _) in edges.iter_mut() {
            let side = if left { from } else { to };
            if *side == place {
                *side = kept.len();
                any = true;
            }
        }
        if any {
            kept.push(name);
        }
    }
    kept
}

/// The text of where a greenlet was spawned, or else of its name.
fn origin(index: &mut Index<'_>, id: u64) -> u32 {
    let life = index.timeline.greenlet(id);
    let known = life.map(|life| if life.site == 0 { life.name } else { life.site });
    match known {
        Some(text @ 1..) => index.known(text),
        _ => index.text("not known"),
    }
}

/// A number with commas.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds with a unit that fits.
pub(super) fn duration(nanos: u64) -> String {
    for (unit, size) in [("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)] {
        if nanos >= size {
            let number = nanos as f64 / size as f64;
            let digits = if number >= 100.0 {
                0
            } else if number >= 10.0 {
                1
            } else {
                2
            };
            return format!("{number:.digits$} {unit}");
        }
    }
    format!("{nanos} ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_its_bin() {
        for value in (0..5_000).chain([u64::MAX / 2 - 1, u64::MAX / 3, 1 << 40, (1 << 40) - 1]) {
            let bin = Bins::bin(value);
            assert!(
                Bins::least(bin) <= value && value < Bins::least(bin + 1),
                "{value}"
            );
        }
    }

    #[test]
    fn numbers_have_commas_and_durations_units() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_500), "1.50 µs");
        assert_eq!(duration(123_456_789), "123 ms");
        assert_eq!(duration(12_345_678_901), "12.3 s");
    }
}
