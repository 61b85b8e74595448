//! What the program records itself: spans, counters and marks.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::{Figures, Groups};
use super::labels::Labels;
use crate::record::Text;
use crate::trace::analysis::Timeline;

/// The spans of one name.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SpanReport {
    /// The name.
    pub name: String,
    /// Those that have not ended within the trace.
    pub open: u64,
    /// How long the others took.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The values of one counter.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CounterReport {
    /// The name.
    pub name: String,
    /// How many values there are, without those that are no numbers.
    pub count: u64,
    /// The first.
    pub first: f64,
    /// The last.
    pub last: f64,
    /// The smallest.
    pub min: f64,
    /// Half of them are at most this.
    pub p50: f64,
    /// 99 in 100 are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// What happened, says the program.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MarkReport {
    /// When, from the trace's beginning.
    pub after_ns: u64,
    /// Who says so.
    pub who: String,
    /// What.
    pub name: String,
}

pub(super) fn spans(timeline: &Timeline, labels: &Labels<'_>, top: usize) -> Vec<SpanReport> {
    let mut ended = Groups::new();
    let mut open: BTreeMap<Text, u64> = BTreeMap::new();
    let of_greenlets = timeline.greenlets().iter().flat_map(|life| &life.spans);
    for span in of_greenlets.chain(timeline.thread_spans()) {
        match span.end {
            Some(end) => ended.add(span.name, end.saturating_sub(span.begin)),
            None => *open.entry(span.name).or_default() += 1,
        }
    }
    let mut spans = Vec::new();
    for (name, figures) in ended.figures() {
        let open = open.remove(&name).unwrap_or(0);
        spans.push((name, open, figures));
    }
    let never_ended = open.into_iter();
    spans.extend(never_ended.map(|(name, open)| (name, open, Figures::default())));
    let top = spans.into_iter().take(top);
    top.map(|(name, open, figures)| SpanReport {
        name: labels.text(name),
        open,
        figures,
    })
    .collect()
}

pub(super) fn counters(timeline: &Timeline, labels: &Labels<'_>, top: usize) -> Vec<CounterReport> {
    let mut values: BTreeMap<Text, Vec<f64>> = BTreeMap::new();
    for counter in timeline.counters() {
        if counter.value.is_finite() {
            values.entry(counter.name).or_default().push(counter.value);
        }
    }
    let mut reports: Vec<CounterReport> = values
        .into_iter()
        .map(|(name, values)| counter(labels.text(name), values))
        .collect();
    reports.sort_by(|a, b| a.name.cmp(&b.name));
    reports.truncate(top);
    reports
}

/// Of at least one value.
fn counter(name: String, mut values: Vec<f64>) -> CounterReport {
    let (first, last) = (values[0], values[values.len() - 1]);
    values.sort_by(f64::total_cmp);
    let below = |part: f64| {
        let rank = (part * values.len() as f64).ceil() as usize;
        values[rank.clamp(1, values.len()) - 1]
    };
    CounterReport {
        name,
        count: values.len() as u64,
        first,
        last,
        min: values[0],
        p50: below(0.5),
        p99: below(0.99),
        max: values[values.len() - 1],
    }
}

pub(super) fn marks(timeline: &Timeline, labels: &Labels<'_>, top: usize) -> Vec<MarkReport> {
    let marks = timeline.marks().iter().take(top);
    marks
        .map(|mark| MarkReport {
            after_ns: mark.time.saturating_sub(timeline.begin()),
            who: labels.actor(mark.who),
            name: labels.text(mark.name),
        })
        .collect()
}
