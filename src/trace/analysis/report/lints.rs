//! What looks like a mistake.
//!
//! A lint is a guess from what was recorded; each says what was seen, why that is a problem, and what to do.
//!
//! | file | noun |
//! |---|---|
//! | `locks` | convoys and herds |

mod locks;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::hubs::{self, HubReport, LongRunReport};
use super::labels::{self, Labels};
use super::text::Nanos;
use crate::reason::WaitReason;
use crate::record::{Actor, Ended, Greenlet, Source, Stop, Text, Wait};
use crate::trace::analysis::{Doing, Life, Slice, Timeline};

/// A run that is as long keeps others waiting.
const LONG_RUN: u64 = 10_000_000;
/// So often is often.
const OFTEN: usize = 100;
/// A park that nobody has ended for so long may be forgotten.
const FORGOTTEN: u64 = 1_000_000_000;
/// So many greenlets parked at one place are no coincidence.
const CROWD: usize = 4;
/// Lists of greenlets are cut here.
const MOST_GREENLETS: usize = 20;

/// Something that looks like a mistake.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Lint {
    /// Which one.
    pub kind: LintKind,
    /// What was seen, with figures.
    pub seen: String,
    /// Why that is a problem.
    pub explanation: String,
    /// What to do.
    pub advice: String,
    /// Some of the greenlets concerned, at most 20.
    pub greenlets: Vec<Greenlet>,
    /// How many there are.
    pub count: u64,
    /// Where they were spawned.
    pub sites: Vec<String>,
    /// About how long others had to wait for it, all together.
    pub cost_ns: u64,
}

/// Which mistake it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LintKind {
    /// Greenlets run long without letting others run: 10 ms or more, computing.
    NeverYields,
    /// Greenlets wait in the kernel and keep their hubs from running others: 10 ms or more, as the monitor has
    /// seen it.
    BlocksHub,
    /// Greenlets end their own parks, or yield again and again: a hundred times or more.
    WakesItself,
    /// Many are woken for something that only one of them gets.
    Herd,
    /// Greenlets queue for a lock all the time: half of the time or more somebody waits, at some moment four do, and
    /// there are a hundred waits or more.
    Convoy,
    /// Greenlets are parked, and nobody seems to wake them, until the trace or their runtime ends: four or more of
    /// one spawn site, for a second or more, which is half of the trace or more. A single one may well be meant to
    /// wait so.
    Leaked,
    /// Greenlets use more than three quarters of their stacks.
    StackNearlyFull,
    /// Some hubs have much to do, more than 90 % of the time, while others run less than 40 %, and greenlets wait for
    /// their turn.
    Imbalance,
}

impl LintKind {
    /// Its name, as `never-yields`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NeverYields => "never-yields",
            Self::BlocksHub => "blocks-hub",
            Self::WakesItself => "wakes-itself",
            Self::Herd => "herd",
            Self::Convoy => "convoy",
            Self::Leaked => "leaked",
            Self::StackNearlyFull => "stack-nearly-full",
            Self::Imbalance => "imbalance",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::NeverYields => {
                "greenlets are switched when they wait or yield, never by force; \
                 while one computes, those in its hub's queue wait or must be stolen; \
                 on a busy machine it may itself have waited for a processor"
            }
            Self::BlocksHub => {
                "a system call that waits in the kernel keeps the whole hub, with all greenlets \
                 in its queue, from going on"
            }
            Self::WakesItself => {
                "a park that its own greenlet has ended, or a yield with nothing done before, only \
                 costs a switch: this is a busy loop"
            }
            Self::Herd => {
                "all that wait are woken, one gets what they wait for, and the others go back to \
                 sleep: each costs two switches and the hub's caches"
            }
            Self::Convoy => {
                "there is hardly a time when nobody waits for this lock, so greenlets run one after \
                 the other as they get it, whatever the number of hubs"
            }
            Self::Leaked => {
                "their parks end only if a greenlet or a thread ends them, and none has for long: \
                 so long they keep their stacks, and what those own"
            }
            Self::StackNearlyFull => {
                "a call that goes a little deeper than these did runs into the guard page, \
                 which ends the process"
            }
            Self::Imbalance => {
                "one hub had much more to do than another, while greenlets waited for their turn"
            }
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::NeverYields => {
                "call `greenlet::yield_now` in the loop, or compute in `greenlet::blocking`"
            }
            Self::BlocksHub => {
                "use this crate's `fs`, `net` and `process`, which park the greenlet, or put \
                 the call into `greenlet::blocking`"
            }
            Self::WakesItself => {
                "wait for what is to come with a channel, a `Condvar` or a deadline instead of \
                 asking for it again and again"
            }
            Self::Herd => "wake one with `notify_one`, or give each its own channel",
            Self::Convoy => {
                "hold the lock for less, split what it protects, or give the state to one greenlet \
                 that the others send to"
            }
            Self::Leaked => {
                "drop the other end of the channel, cancel them, or wait with a deadline; \
                 `greenlet::dump` shows where they are"
            }
            Self::StackNearlyFull => {
                "give them larger stacks with `Builder::stack_size`, or keep large values on the heap"
            }
            Self::Imbalance => {
                "greenlets of `spawn_local` and pinned ones cannot be stolen: spread them, or let \
                 them wait for others that can"
            }
        }
    }
}

impl fmt::Display for LintKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// All, the worst first.
pub(super) fn all(
    timeline: &Timeline,
    labels: &Labels<'_>,
    hubs: &[HubReport],
    long_runs: &[LongRunReport],
) -> Vec<Lint> {
    let find = Find { timeline, labels };
    let mut lints = Vec::new();
    lints.extend(find.never_yields(long_runs));
    lints.extend(find.blocks_hub(long_runs));
    lints.extend(find.wakes_itself());
    lints.extend(locks::herds(&find));
    lints.extend(locks::convoys(&find));
    lints.extend(find.leaked());
    lints.extend(find.stack_nearly_full());
    lints.extend(find.imbalance(hubs));
    lints.sort_by_key(|lint| (u64::MAX - lint.cost_ns, lint.kind));
    lints
}

struct Find<'a> {
    timeline: &'a Timeline,
    labels: &'a Labels<'a>,
}

/// Greenlets by where they were spawned, with what each has cost.
type BySite = BTreeMap<Text, Vec<(Greenlet, u64)>>;

impl Find<'_> {
    fn lint(&self, kind: LintKind, seen: String, greenlets: &[Greenlet], cost_ns: u64) -> Lint {
        let mut greenlets = greenlets.to_vec();
        greenlets.sort_unstable();
        greenlets.dedup();
        let mut sites: Vec<Text> = greenlets
            .iter()
            .map(|&id| self.labels.site_of(id))
            .collect();
        sites.sort_unstable();
        sites.dedup();
        let count = greenlets.len() as u64;
        greenlets.truncate(MOST_GREENLETS);
        let sites = sites.into_iter().take(MOST_GREENLETS);
        Lint {
            kind,
            seen,
            explanation: kind.explanation().into(),
            advice: kind.advice().into(),
            greenlets,
            count,
            sites: sites.map(|site| self.labels.text(site)).collect(),
            cost_ns,
        }
    }

    /// One lint for each place where greenlets are spawned that have cost something.
    fn by_site(
        &self,
        kind: LintKind,
        found: BySite,
        seen: impl Fn(usize, u64) -> String,
    ) -> Vec<Lint> {
        let lints = found.into_values().map(|list| {
            let greenlets: Vec<Greenlet> = list.iter().map(|&(id, _)| id).collect();
            let most = list.iter().map(|&(_, cost)| cost).max().unwrap_or(0);
            let cost = list
                .iter()
                .fold(0, |sum: u64, &(_, cost)| sum.saturating_add(cost));
            self.lint(kind, seen(list.len(), most), &greenlets, cost)
        });
        lints.collect()
    }

    /// Runs that are long, and of which it is not known that they waited in the kernel.
    fn never_yields(&self, long_runs: &[LongRunReport]) -> Vec<Lint> {
        let in_kernel: BTreeSet<(Greenlet, u64)> = long_runs
            .iter()
            .filter(|run| run.in_kernel)
            .map(|run| (run.greenlet, run.begin_ns))
            .collect();
        let mut found = BySite::new();
        for life in self.timeline.greenlets() {
            let computes = |slice: &&Slice| {
                matches!(slice.doing, Doing::Running { .. })
                    && slice.nanos() >= LONG_RUN
                    && !in_kernel.contains(&(life.id, slice.begin))
            };
            let long = life.slices.iter().filter(computes).map(Slice::nanos);
            if let Some(longest) = long.max() {
                found.entry(life.site).or_default().push((life.id, longest));
            }
        }
        self.by_site(LintKind::NeverYields, found, |count, most| {
            let greenlets = Count(count, "greenlet");
            format!("{greenlets} ran for up to {} at a stretch", Nanos(most))
        })
    }

    fn blocks_hub(&self, long_runs: &[LongRunReport]) -> Vec<Lint> {
        let mut found = BySite::new();
        for run in long_runs.iter().filter(|run| run.in_kernel) {
            let site = self.labels.site_of(run.greenlet);
            let list = found.entry(site).or_default();
            list.push((run.greenlet, run.nanos_ns));
        }
        self.by_site(LintKind::BlocksHub, found, |count, most| {
            let times = Count(count, "time");
            format!(
                "{times}, for up to {}, a hub was kept in the kernel",
                Nanos(most)
            )
        })
    }

    /// Parks that end themselves, and yields without anything between.
    fn wakes_itself(&self) -> Vec<Lint> {
        let mut found = BySite::new();
        for life in self.timeline.greenlets() {
            let is_own = |slice: &&Slice| match slice.doing {
                Doing::Waiting {
                    ended: Some((Source::Actor(Actor::Greenlet(by)), _)),
                    wait,
                } => by == life.id && WaitReason::from_code(wait.reason) == Some(WaitReason::Park),
                Doing::Running {
                    stop: Some(Stop::Yield),
                    ..
                } => slice.nanos() < 20_000,
                _ => false,
            };
            let own = life.slices.iter().filter(is_own).count();
            let runs = life
                .slices
                .iter()
                .filter(|slice| matches!(slice.doing, Doing::Running { .. }));
            let runs = runs.clone().count();
            if own >= OFTEN && own * 10 >= runs * 9 {
                found
                    .entry(life.site)
                    .or_default()
                    .push((life.id, own as u64));
            }
        }
        let mut lints = self.by_site(LintKind::WakesItself, found, |count, most| {
            let greenlets = Count(count, "greenlet");
            format!("{greenlets} went on by themselves, up to {most} times each")
        });
        // A switch is about as long.
        lints
            .iter_mut()
            .for_each(|lint| lint.cost_ns = lint.cost_ns.saturating_mul(100));
        lints
    }

    /// Parked when the trace ends, for long, and only greenlets or threads could change that.
    fn leaked(&self) -> Vec<Lint> {
        let mut found: BTreeMap<(Text, u8), Vec<(Greenlet, u64)>> = BTreeMap::new();
        let half = (self.timeline.end() - self.timeline.begin()) / 2;
        for life in self.timeline.greenlets() {
            if let Some((wait, nanos)) = self.parked(life)
                && nanos >= FORGOTTEN.max(half)
            {
                let place = (life.site, wait.reason);
                found.entry(place).or_default().push((life.id, nanos));
            }
        }
        let crowds = found.into_iter().filter(|(_, list)| list.len() >= CROWD);
        let lints = crowds.map(|((_, reason), list)| {
            let greenlets: Vec<Greenlet> = list.iter().map(|&(id, _)| id).collect();
            let least = list.iter().map(|&(_, nanos)| nanos).min().unwrap_or(0);
            let seen = format!(
                "{} were parked for {} or more, to the end, waiting for {}",
                Count(list.len(), "greenlet"),
                Nanos(least),
                labels::reason(reason)
            );
            self.lint(LintKind::Leaked, seen, &greenlets, 0)
        });
        lints.collect()
    }

    /// What it waits for when the trace or its runtime ends, and for how long, if only greenlets or
    /// threads end that. The end of a runtime has no source; that of a scope and Ctrl-C have.
    fn parked(&self, life: &Life) -> Option<(Wait, u64)> {
        let waits = |slice: &&Slice| matches!(slice.doing, Doing::Waiting { .. });
        let last = life.slices.iter().rev().find(waits)?;
        match last.doing {
            Doing::Waiting { wait, ended }
                if (last.open || matches!(ended, Some((Source::Unknown, Ended::Cancelled))))
                    && WaitReason::from_code(wait.reason).is_some_and(WaitReason::is_for_others)
                    // They wait for those that are leaked.
                    && !matches!(
                        WaitReason::from_code(wait.reason),
                        Some(WaitReason::Join | WaitReason::Scope)
                    ) =>
            {
                Some((wait, last.nanos()))
            }
            _ => None,
        }
    }

    fn stack_nearly_full(&self) -> Vec<Lint> {
        let mut found = BySite::new();
        for life in self.timeline.greenlets() {
            if let Some((used, size)) = life.stack
                && u128::from(used) * 4 > u128::from(size) * 3
            {
                // In percent.
                let part = u128::from(used) * 100 / u128::from(size.max(1));
                let list = found.entry(life.site).or_default();
                list.push((life.id, part as u64));
            }
        }
        let mut lints = self.by_site(LintKind::StackNearlyFull, found, |count, most| {
            let greenlets = Count(count, "greenlet");
            format!("{greenlets} used up to {most} % of the stack")
        });
        lints.iter_mut().for_each(|lint| lint.cost_ns = 0);
        lints
    }

    fn imbalance(&self, hubs: &[HubReport]) -> Option<Lint> {
        let (busiest, idlest) = hubs::extremes(hubs)?;
        let is_much = busiest.utilisation > 0.9 && idlest.utilisation < 0.4;
        // If there was hardly anybody to take over, nothing is wrong.
        let ready = self.ready_at(busiest);
        if !is_much || busiest.duration_ns < FORGOTTEN / 10 || ready < busiest.duration_ns / 10 {
            return None;
        }
        let seen = format!(
            "{} ran greenlets {:.0} % of the time, {} {:.0} %",
            busiest.name,
            busiest.utilisation * 100.0,
            idlest.name,
            idlest.utilisation * 100.0
        );
        Some(self.lint(LintKind::Imbalance, seen, &[], ready))
    }

    /// How long greenlets waited for their turn on a hub while that ran others, all together. Else it was the hub that
    /// waited, for a processor.
    fn ready_at(&self, hub: &HubReport) -> u64 {
        let lives = || self.timeline.greenlets().iter();
        let is_here = |slice: &Slice| {
            let Doing::Running { ring, .. } = slice.doing else {
                return false;
            };
            ring == Some(hub.ring)
        };
        let busy = Busy::new(
            lives()
                .flat_map(|life| &life.slices)
                .filter(|slice| is_here(slice)),
        );
        let pairs = lives().flat_map(|life| life.slices.windows(2));
        let waits = pairs
            .filter(|pair| matches!(pair[0].doing, Doing::Ready(_)) && is_here(&pair[1]))
            .map(|pair| {
                busy.until(pair[0].end)
                    .saturating_sub(busy.until(pair[0].begin))
            });
        waits.fold(0, u64::saturating_add)
    }
}

/// When a hub ran greenlets.
struct Busy {
    /// Begin and end of each run, in their order, and how long those before took together.
    runs: Vec<(u64, u64, u64)>,
}

impl Busy {
    fn new<'a>(runs: impl Iterator<Item = &'a Slice>) -> Self {
        let runs = runs.map(|slice| (slice.begin, slice.begin + slice.nanos(), 0));
        let mut runs: Vec<_> = runs.collect();
        runs.sort_unstable();
        let mut before = 0_u64;
        for (begin, end, sum) in &mut runs {
            *sum = before;
            before = before.saturating_add(*end - *begin);
        }
        Self { runs }
    }

    /// How long it ran some, up to this time.
    fn until(&self, time: u64) -> u64 {
        let behind = self.runs.partition_point(|&(begin, ..)| begin < time);
        let last = behind.checked_sub(1).map(|last| self.runs[last]);
        last.map_or(0, |(begin, end, before)| {
            before.saturating_add(time.min(end) - begin)
        })
    }
}

/// A number and what is counted.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{ending}", self.0, self.1)
    }
}
