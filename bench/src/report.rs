//! What the measurements say: medians, spread, ratios, and whether the limits hold.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::args::Args;
use crate::peers::{Peer, Role};
use crate::rows::{self, Limit, Metric, USUAL_SWITCH_NS};
use crate::runner::Outcome;

/// One metric of one case.
#[derive(Debug)]
pub(crate) struct Table {
    metric: &'static Metric,
    params: String,
    lines: Vec<Line>,
    /// The best of those that greenlet is compared with.
    best: Option<(Peer, f64)>,
}

#[derive(Debug)]
struct Line {
    peer: Peer,
    summary: Result<Summary, String>,
}

#[derive(Debug)]
struct Summary {
    median: f64,
    min: f64,
    max: f64,
    runs: Vec<f64>,
    /// To the best peer.
    ratio: Option<f64>,
    /// What the median is to be at most.
    limit: Option<f64>,
}

/// All tables, with limits for this machine.
pub(crate) fn tables(outcomes: &[Outcome]) -> Vec<Table> {
    let mut tables = Vec::new();
    let speed = slowness(outcomes).unwrap_or(1.0);
    for outcome in outcomes {
        tables.extend(
            outcome
                .case
                .row
                .metrics()
                .map(|metric| table(outcome, metric, speed)),
        );
    }
    tables
}

/// How much slower a switch of corosensei is than where the limits were set, if it was measured.
pub(crate) fn slowness(outcomes: &[Outcome]) -> Option<f64> {
    let entries = outcomes.iter().flat_map(|outcome| &outcome.entries);
    let mut floor = entries.filter(|entry| entry.peer == Peer::Corosensei);
    let runs = floor.find_map(|entry| entry.of("switch").ok())?;
    Some(median(&mut runs.to_vec()) / USUAL_SWITCH_NS)
}

fn table(outcome: &Outcome, metric: &'static Metric, speed: f64) -> Table {
    let params = &outcome.case.params;
    let mut lines: Vec<Line> = outcome
        .entries
        .iter()
        .map(|entry| Line {
            peer: entry.peer,
            summary: entry.of(metric.name).map(summarise).map_err(str::to_owned),
        })
        .collect();
    let medians: Vec<(Peer, f64)> = lines
        .iter()
        .filter_map(|line| Some((line.peer, line.summary.as_ref().ok()?.median)))
        .collect();
    let best = best(&medians, metric.more_is_better);
    for line in &mut lines {
        if let Ok(summary) = &mut line.summary {
            summary.ratio = best.map(|(_, best)| summary.median / best);
            summary.limit = rows::limit(metric.name, params, line.peer.name())
                .and_then(|limit| number(limit, &medians, speed));
        }
    }
    Table {
        metric,
        params: params.to_string(),
        lines,
        best,
    }
}

fn summarise(runs: &[f64]) -> Summary {
    Summary {
        median: median(&mut runs.to_vec()),
        min: runs.iter().copied().fold(f64::INFINITY, f64::min),
        max: runs.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        runs: runs.to_vec(),
        ratio: None,
        limit: None,
    }
}

/// The best of the peers that greenlet is compared with.
fn best(medians: &[(Peer, f64)], more_is_better: bool) -> Option<(Peer, f64)> {
    let peers = medians
        .iter()
        .filter(|(peer, _)| peer.role() == Role::Peer)
        .copied();
    if more_is_better {
        peers.max_by(|(_, a), (_, b)| a.total_cmp(b))
    } else {
        peers.min_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

/// A limit as a number. `speed` is how much slower than usual the machine is.
fn number(limit: Limit, medians: &[(Peer, f64)], speed: f64) -> Option<f64> {
    match limit {
        Limit::AtMost(value) => Some(value),
        Limit::Scaled(value) => Some(value * speed),
        Limit::Times(factor, name) => {
            let (_, value) = medians.iter().find(|(peer, _)| peer.name() == name)?;
            Some(factor * value)
        }
    }
}

/// The middle number, or the mean of both.
///
/// # Panics
///
/// If there are no numbers.
pub(crate) fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() % 2 {
        1 => numbers[middle],
        _ => (numbers[middle - 1] + numbers[middle]) / 2.0,
    }
}

/// The mean of the middle half of some numbers: like the median it is not moved by a few that are far off, and chance
/// moves it less.
///
/// # Panics
///
/// If there are no numbers.
pub(crate) fn midmean(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let left_out = numbers.len() / 4;
    let middle = &numbers[left_out..numbers.len() - left_out];
    middle.iter().sum::<f64>() / middle.len() as f64
}

impl Summary {
    /// Whether the limit holds, if there is one.
    fn passes(&self) -> Option<bool> {
        self.limit.map(|limit| self.median <= limit)
    }
}

/// A line for each result: peer, bench, param, value, unit.
pub(crate) fn lines(tables: &[Table]) -> String {
    let mut text = String::new();
    for table in tables {
        for Line { peer, summary } in &table.lines {
            let (peer, name, params) = (peer.name(), table.metric.name, &table.params);
            let value = match summary {
                Ok(summary) => format!("{} {}", figure(summary.median), table.metric.unit),
                Err(reason) => format!("fails: {reason}"),
            };
            let _ = writeln!(text, "{peer} {name} {params} {value}");
        }
    }
    text
}

/// The description of the machine for people: a line for each fact.
pub(crate) fn machine(description: &Value) -> String {
    let mut text = String::new();
    for (name, value) in description.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(value) => value.clone(),
            Value::Object(parts) => {
                let parts = parts.iter().map(|(name, part)| format!("{name} {part}"));
                parts.collect::<Vec<_>>().join(", ").replace('"', "")
            }
            other => other.to_string(),
        };
        let _ = writeln!(text, "{}: {value}", name.replace('_', " "));
    }
    text
}

/// Tables for people.
pub(crate) fn text(tables: &[Table]) -> String {
    let mut text = String::new();
    for table in tables {
        let Metric {
            name, unit, what, ..
        } = table.metric;
        let _ = writeln!(text, "{name} {}, {unit}: {what}", table.params);
        let _ = writeln!(
            text,
            "  {:<16}{:>11}{:>11}{:>11}{:>8}{:>11}",
            "", "median", "min", "max", "ratio", "must"
        );
        for line in &table.lines {
            let _ = writeln!(text, "  {:<16}{}", line.peer.name(), columns(line));
        }
        text.push('\n');
    }
    text
}

fn columns(Line { peer, summary }: &Line) -> String {
    let summary = match summary {
        Ok(summary) => summary,
        Err(reason) => return format!("fails: {reason}"),
    };
    let mut text = String::new();
    for number in [summary.median, summary.min, summary.max] {
        let _ = write!(text, "{:>11}", figure(number));
    }
    let ratio = summary
        .ratio
        .map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
    let _ = write!(text, "{ratio:>8}");
    match (summary.limit, summary.passes()) {
        (Some(limit), Some(true)) => text += &format!("{:>11} passes", figure(limit)),
        (Some(limit), _) => text += &format!("{:>11} MISSED", figure(limit)),
        (None, _) if peer.role() == Role::Floor => text += "      floor",
        (None, _) => (),
    }
    text
}

/// A number with at least three digits that count.
fn figure(number: f64) -> String {
    match number {
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// The limits: how many hold, and which do not.
pub(crate) fn verdict(tables: &[Table]) -> String {
    let mut passed = 0;
    let mut missed = Vec::new();
    for table in tables {
        for line in &table.lines {
            match line.summary.as_ref().map_or(None, Summary::passes) {
                Some(true) => passed += 1,
                Some(false) => missed.push(format!("{} {}", table.metric.name, table.params)),
                None => (),
            }
        }
    }
    let missing = if missing_greenlets(tables) {
        "; greenlet FAILS in a row"
    } else {
        ""
    };
    match missed.as_slice() {
        [] => format!("{passed} limits hold{missing}"),
        missed => format!(
            "{passed} limits hold, missed{missing}: {}",
            missed.join("; ")
        ),
    }
}

/// Whether greenlet itself has failed somewhere.
pub(crate) fn missing_greenlets(tables: &[Table]) -> bool {
    let mut lines = tables.iter().flat_map(|table| &table.lines);
    lines.any(|line| line.peer.role() == Role::Greenlet && line.summary.is_err())
}

/// Everything for programs.
pub(crate) fn json(args: &Args, machine: Value, notes: &[String], tables: &[Table]) -> Value {
    let tables: Vec<Value> = tables.iter().map(table_json).collect();
    json!({
        "machine": machine,
        "runs": args.runs,
        "quick": args.quick,
        "notes": notes,
        "results": tables,
    })
}

fn table_json(table: &Table) -> Value {
    let lines: Vec<Value> = table.lines.iter().map(line_json).collect();
    json!({
        "bench": table.metric.name,
        "param": table.params,
        "unit": table.metric.unit,
        "more_is_better": table.metric.more_is_better,
        "what": table.metric.what,
        "best_peer": table.best.map(|(peer, _)| peer.name()),
        "peers": lines,
    })
}

fn line_json(Line { peer, summary }: &Line) -> Value {
    match summary {
        Err(reason) => json!({ "peer": peer.name(), "fails": reason }),
        Ok(summary) => json!({
            "peer": peer.name(),
            "median": summary.median,
            "min": summary.min,
            "max": summary.max,
            "runs": summary.runs,
            "ratio": summary.ratio,
            "must": summary.limit,
            "passes": summary.passes(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
    }

    #[test]
    fn midmeans_leave_out_a_quarter_on_each_side() {
        assert_eq!(midmean(&mut [900.0, 2.0, 1.0, 4.0]), 3.0);
        assert_eq!(midmean(&mut [3.0, 5.0, 1.0]), 3.0);
        assert_eq!(midmean(&mut [7.0]), 7.0);
    }

    #[test]
    fn a_summary_has_the_spread() {
        let summary = summarise(&[5.0, 1.0, 3.0]);
        assert_eq!((summary.median, summary.min, summary.max), (3.0, 1.0, 5.0));
    }

    #[test]
    fn the_best_peer_is_neither_greenlet_nor_the_floor() {
        let medians = [
            (Peer::Greenlet, 2.0),
            (Peer::Smol, 4.0),
            (Peer::May, 3.0),
            (Peer::Corosensei, 1.0),
        ];
        assert_eq!(best(&medians, false), Some((Peer::May, 3.0)));
        assert_eq!(best(&medians, true), Some((Peer::Smol, 4.0)));
        assert_eq!(best(&medians[..1], false), None);
    }

    #[test]
    fn limits_follow_the_machine_and_the_peer() {
        let medians = [(Peer::TokioCt, 4_000.0)];
        assert_eq!(number(Limit::AtMost(30.0), &medians, 2.0), Some(30.0));
        assert_eq!(number(Limit::Scaled(30.0), &medians, 2.0), Some(60.0));
        assert_eq!(
            number(Limit::Times(0.5, "tokio-ct"), &medians, 2.0),
            Some(2_000.0)
        );
        assert_eq!(number(Limit::Times(0.5, "tokio-mt"), &medians, 2.0), None);
    }

    #[test]
    fn a_limit_may_be_reached_but_not_passed() {
        let mut summary = summarise(&[10.0]);
        assert_eq!(summary.passes(), None);
        summary.limit = Some(10.0);
        assert_eq!(summary.passes(), Some(true));
        summary.limit = Some(9.9);
        assert_eq!(summary.passes(), Some(false));
    }
}
