//! How long greenlets ran, were ready and waited, and for what.

use std::collections::HashMap;

use serde::Serialize;

use super::figures::{Figures, Groups};
use super::labels::{self, Labels};
use crate::record::{Greenlet, Text, Wait};
use crate::trace::analysis::{Doing, Life, Slice, Timeline};

/// How long greenlets did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// How often they ran.
    pub runs: u64,
    /// How long they ran.
    pub running_ns: u64,
    /// How long they waited for their turn.
    pub ready_ns: u64,
    /// How long they were parked.
    pub waiting_ns: u64,
    /// The longest run.
    pub longest_run_ns: u64,
    /// The longest wait for a turn.
    pub longest_ready_ns: u64,
}

/// How long one greenlet did what.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct GreenletTotals {
    /// Its number.
    pub greenlet: Greenlet,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: String,
    /// How long.
    #[serde(flatten)]
    pub totals: Totals,
}

/// How long the greenlets that were spawned at one place did what.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SiteTotals {
    /// Where.
    pub site: String,
    /// How many greenlets.
    pub greenlets: u64,
    /// How long.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Waits for one reason. Those that go on when the trace ends are in it, up to there.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WaitTotals {
    /// One word for it.
    pub reason: String,
    /// How long the waits were.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Waits for one thing.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ObjectTotals {
    /// What is waited for: one word for the reason, and the descriptor, the number of a greenlet, or an
    /// address.
    pub object: String,
    /// How many greenlets did.
    pub greenlets: u64,
    /// How long the waits were.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Whether it is a run from its beginning to its end.
pub(super) fn is_whole_run(slice: &Slice) -> bool {
    matches!(slice.doing, Doing::Running { stop: Some(_), .. }) && !slice.cut
}

impl Totals {
    fn of(life: &Life) -> Self {
        let mut totals = Self::default();
        for slice in &life.slices {
            totals.add_slice(slice);
        }
        totals
    }

    fn add_slice(&mut self, slice: &Slice) {
        let nanos = slice.nanos();
        match slice.doing {
            Doing::Running { .. } => {
                self.runs += 1;
                self.running_ns = self.running_ns.saturating_add(nanos);
                self.longest_run_ns = self.longest_run_ns.max(nanos);
            }
            Doing::Ready(_) => {
                self.ready_ns = self.ready_ns.saturating_add(nanos);
                self.longest_ready_ns = self.longest_ready_ns.max(nanos);
            }
            Doing::Waiting { .. } => self.waiting_ns = self.waiting_ns.saturating_add(nanos),
        }
    }

    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.running_ns = self.running_ns.saturating_add(other.running_ns);
        self.ready_ns = self.ready_ns.saturating_add(other.ready_ns);
        self.waiting_ns = self.waiting_ns.saturating_add(other.waiting_ns);
        self.longest_run_ns = self.longest_run_ns.max(other.longest_run_ns);
        self.longest_ready_ns = self.longest_ready_ns.max(other.longest_ready_ns);
    }
}

/// What every greenlet did.
pub(super) struct Sums<'a> {
    timeline: &'a Timeline,
    each: Vec<(Greenlet, Text, Totals)>,
}

impl<'a> Sums<'a> {
    pub(super) fn new(timeline: &'a Timeline) -> Self {
        let lives = timeline.greenlets().iter();
        Self {
            timeline,
            each: lives
                .map(|life| (life.id, life.site, Totals::of(life)))
                .collect(),
        }
    }

    pub(super) fn all(&self) -> Totals {
        let mut sum = Totals::default();
        self.each.iter().for_each(|(_, _, totals)| sum.add(totals));
        sum
    }

    /// The greenlets of which something is most.
    pub(super) fn most(
        &self,
        labels: &Labels<'_>,
        top: usize,
        of: impl Fn(&Totals) -> u64,
    ) -> Vec<GreenletTotals> {
        let mut each: Vec<_> = self.each.iter().filter(|(.., sum)| of(sum) > 0).collect();
        each.sort_by_key(|(greenlet, _, totals)| (u64::MAX - of(totals), *greenlet));
        let top = each.into_iter().take(top);
        top.map(|&(greenlet, site, totals)| GreenletTotals {
            greenlet,
            name: labels.name(greenlet),
            site: labels.text(site),
            totals,
        })
        .collect()
    }

    pub(super) fn sites(&self, labels: &Labels<'_>, top: usize) -> Vec<SiteTotals> {
        let mut sites: HashMap<Text, (u64, Totals)> = HashMap::new();
        for (_, site, totals) in &self.each {
            let (greenlets, sum) = sites.entry(*site).or_default();
            *greenlets += 1;
            sum.add(totals);
        }
        let mut sites: Vec<_> = sites.into_iter().collect();
        sites.sort_by_key(|&(site, (_, sum))| (u64::MAX - sum.running_ns, site));
        let top = sites.into_iter().take(top);
        top.map(|(site, (greenlets, totals))| SiteTotals {
            site: labels.text(site),
            greenlets,
            totals,
        })
        .collect()
    }

    fn all_waits(&self) -> impl Iterator<Item = (Greenlet, Wait, u64)> {
        let lives = self.timeline.greenlets().iter();
        lives.flat_map(|life| {
            life.slices.iter().filter_map(|slice| match slice.doing {
                Doing::Waiting { wait, .. } => Some((life.id, wait, slice.nanos())),
                _ => None,
            })
        })
    }

    pub(super) fn waits(&self) -> Vec<WaitTotals> {
        let mut reasons = Groups::new();
        for (_, wait, nanos) in self.all_waits() {
            reasons.add(wait.reason, nanos);
        }
        let reasons = reasons.figures().into_iter();
        reasons
            .map(|(code, figures)| WaitTotals {
                reason: labels::reason(code),
                figures,
            })
            .collect()
    }

    pub(super) fn objects(&self, top: usize) -> Vec<ObjectTotals> {
        let mut objects = Groups::new();
        let mut pairs = Vec::new();
        for (greenlet, wait, nanos) in self.all_waits() {
            if wait.object != Wait::NO_OBJECT {
                let object = (wait.reason, wait.object);
                objects.add(object, nanos);
                pairs.push((object, greenlet));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        let greenlets = |object: (u8, u64)| {
            let begin = pairs.partition_point(|pair| pair.0 < object);
            let end = pairs.partition_point(|pair| pair.0 <= object);
            (end - begin) as u64
        };
        let objects = objects.figures().into_iter().take(top);
        objects
            .map(|((reason, object), figures)| ObjectTotals {
                object: Wait { reason, object }.to_string(),
                greenlets: greenlets((reason, object)),
                figures,
            })
            .collect()
    }
}
