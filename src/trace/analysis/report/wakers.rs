//! Who wakes whom.

use std::collections::HashMap;

use serde::Serialize;

use super::labels::Labels;
use crate::trace::analysis::{Timeline, WakeEdge};

/// How often one has woken another.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WakePair {
    /// Who ended the parks: a greenlet or the place where it was spawned, a thread, a descriptor or a
    /// deadline.
    pub by: String,
    /// Whose parks: a greenlet, or the place where it was spawned.
    pub woken: String,
    /// How often.
    pub count: u64,
    /// How long it took on average until the other ran.
    pub mean_latency_ns: u64,
}

pub(super) fn by_greenlets(timeline: &Timeline, labels: &Labels<'_>, top: usize) -> Vec<WakePair> {
    let pairs = pairs(timeline, |edge| (edge.by, edge.woken), top);
    let pairs = pairs.into_iter().map(|((by, woken), sum)| {
        let (by, woken) = (labels.source(by), labels.greenlet(woken));
        sum.pair(by, woken)
    });
    pairs.collect()
}

pub(super) fn by_sites(timeline: &Timeline, labels: &Labels<'_>, top: usize) -> Vec<WakePair> {
    // By numbers first: there are far fewer places than edges.
    let pairs = pairs(
        timeline,
        |edge| (labels.kind(edge.by), labels.site_of(edge.woken)),
        top,
    );
    let pairs = pairs
        .into_iter()
        .map(|((by, woken), sum)| sum.pair(labels.kind_name(by), labels.text(woken)));
    pairs.collect()
}

#[derive(Clone, Copy, Default)]
struct Sum {
    count: u64,
    /// Of those that ran.
    ran: u64,
    latency: u64,
}

impl Sum {
    fn pair(self, by: String, woken: String) -> WakePair {
        WakePair {
            by,
            woken,
            count: self.count,
            mean_latency_ns: self.latency.checked_div(self.ran).unwrap_or(0),
        }
    }
}

/// The most frequent ones.
fn pairs<K: Copy + Ord + std::hash::Hash>(
    timeline: &Timeline,
    key: impl Fn(&WakeEdge) -> K,
    top: usize,
) -> Vec<(K, Sum)> {
    let mut sums: HashMap<K, Sum> = HashMap::new();
    for edge in timeline.wakes() {
        let sum = sums.entry(key(edge)).or_default();
        sum.count += 1;
        if let Some(ran) = edge.ran {
            sum.ran += 1;
            sum.latency = sum.latency.saturating_add(ran.saturating_sub(edge.time));
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|&(key, sum)| (u64::MAX - sum.count, key));
    sums.truncate(top);
    sums
}
