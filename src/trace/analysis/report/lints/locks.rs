//! Convoys and herds: what goes wrong where many wait for one thing.

use std::collections::BTreeMap;

use super::{CROWD, Count, Find, Lint, LintKind, OFTEN};
use crate::reason::WaitReason;
use crate::record::{Greenlet, Source, Wait};
use crate::trace::analysis::report::text::Nanos;
use crate::trace::analysis::{Doing, WakeEdge};

/// Wakes of one waker that follow each other as fast are one burst.
const BURST: u64 = 10_000;
/// Who has run no longer than this has not got what was waited for.
const FUTILE: u64 = 50_000;

/// Behind a wake so much of a life is looked at.
const MOST_SLICES: usize = 8;

/// A wait for something that has a number.
struct Waited {
    greenlet: Greenlet,
    begin: u64,
    end: u64,
}

type ByObject = BTreeMap<(u8, u64), Vec<Waited>>;

fn by_object(find: &Find<'_>) -> ByObject {
    let mut objects = ByObject::new();
    for life in find.timeline.greenlets() {
        for slice in &life.slices {
            if let Doing::Waiting { wait, .. } = slice.doing
                && wait.object != Wait::NO_OBJECT
            {
                let object = objects.entry((wait.reason, wait.object)).or_default();
                object.push(Waited {
                    greenlet: life.id,
                    begin: slice.begin,
                    end: slice.end,
                });
            }
        }
    }
    objects
}

/// Locks for which somebody waits most of the time.
pub(super) fn convoys(find: &Find<'_>) -> Vec<Lint> {
    let mut lints = Vec::new();
    for ((reason, object), waits) in by_object(find) {
        let is_lock = matches!(
            WaitReason::from_code(reason),
            Some(WaitReason::Mutex | WaitReason::Read | WaitReason::Write | WaitReason::FileLock)
        );
        if !is_lock || waits.len() < OFTEN {
            continue;
        }
        let (queued, deepest) = queue(&waits);
        let first = waits.iter().map(|wait| wait.begin).min().unwrap_or(0);
        let last = waits.iter().map(|wait| wait.end).max().unwrap_or(0);
        if deepest < CROWD || queued < (last - first) / 2 {
            continue;
        }
        let total = waits.iter().fold(0, |sum: u64, wait| {
            sum.saturating_add(wait.end - wait.begin)
        });
        let seen = format!(
            "{} for {}, up to {deepest} at a time, {} on average; somebody waited for {} of {}",
            Count(waits.len(), "wait"),
            Wait { reason, object },
            Nanos(total / waits.len() as u64),
            Nanos(queued),
            Nanos(last - first),
        );
        let greenlets: Vec<Greenlet> = waits.iter().map(|wait| wait.greenlet).collect();
        lints.push(find.lint(LintKind::Convoy, seen, &greenlets, total));
    }
    lints
}

/// For how long at least one waits, and how many do at the most.
fn queue(waits: &[Waited]) -> (u64, usize) {
    let mut changes: Vec<(u64, bool)> = waits
        .iter()
        .flat_map(|wait| [(wait.begin, true), (wait.end, false)])
        .collect();
    changes.sort_unstable();
    let (mut depth, mut deepest, mut queued, mut since) = (0_usize, 0, 0, 0);
    for (time, begins) in changes {
        if begins {
            if depth == 0 {
                since = time;
            }
            depth += 1;
            deepest = deepest.max(depth);
        } else {
            // A wait of no length ends before it begins, in this order.
            depth = depth.saturating_sub(1);
            if depth == 0 {
                queued += time - since.min(time);
            }
        }
    }
    (queued, deepest)
}

/// Bursts of wakes after which most wait for the same thing again.
pub(super) fn herds(find: &Find<'_>) -> Vec<Lint> {
    // By what was waited for: the burst so far.
    let mut open: BTreeMap<(u8, u64), Burst> = BTreeMap::new();
    let mut herds: BTreeMap<(u8, u64), Herd> = BTreeMap::new();
    for edge in find.timeline.wakes() {
        let Some(wait) = edge.wait.filter(|wait| is_for_one(*wait)) else {
            continue;
        };
        let object = (wait.reason, wait.object);
        let burst = open.entry(object).or_insert_with(|| Burst::new(edge));
        if !burst.goes_on(edge) {
            let over = std::mem::replace(burst, Burst::new(edge));
            over.judge(find, object, &mut herds);
        }
        burst.last = edge.time;
        burst.woken.push((edge.woken, edge.run));
    }
    for (object, burst) in open {
        burst.judge(find, object, &mut herds);
    }
    let lints = herds.into_iter().map(|((reason, object), herd)| {
        let seen = format!(
            "{} of up to {} greenlets that wait for {}; {} of {} went back to wait",
            Count(herd.bursts, "wake-up"),
            herd.largest,
            Wait { reason, object },
            herd.futile,
            herd.woken,
        );
        // Two switches each.
        let cost = herd.futile as u64 * 200;
        find.lint(LintKind::Herd, seen, &herd.greenlets, cost)
    });
    lints.collect()
}

/// Wakes by one, one after the other.
struct Burst {
    by: Source,
    begin: u64,
    last: u64,
    /// Who, and the numbers of their runs before.
    woken: Vec<(Greenlet, u16)>,
}

#[derive(Default)]
struct Herd {
    bursts: usize,
    largest: usize,
    woken: usize,
    futile: usize,
    greenlets: Vec<Greenlet>,
}

impl Burst {
    fn new(edge: &WakeEdge) -> Self {
        Self {
            by: edge.by,
            begin: edge.time,
            last: edge.time,
            woken: Vec::new(),
        }
    }

    fn goes_on(&self, edge: &WakeEdge) -> bool {
        edge.by == self.by && edge.time.abs_diff(self.last) < BURST
    }

    fn judge(self, find: &Find<'_>, object: (u8, u64), herds: &mut BTreeMap<(u8, u64), Herd>) {
        if self.woken.len() < CROWD {
            return;
        }
        let futile: Vec<Greenlet> = self
            .woken
            .iter()
            .filter(|&&(greenlet, run)| waits_again(find, greenlet, run, self.begin, object))
            .map(|&(greenlet, _)| greenlet)
            .collect();
        if futile.len() * 2 < self.woken.len() {
            return;
        }
        let herd = herds.entry(object).or_default();
        herd.bursts += 1;
        herd.largest = herd.largest.max(self.woken.len());
        herd.woken += self.woken.len();
        herd.futile += futile.len();
        herd.greenlets.extend(futile);
    }
}

/// Whether it is something that one of many gets: a barrier lets all go on, and a message in a channel wakes
/// one alone.
fn is_for_one(wait: Wait) -> bool {
    wait.object != Wait::NO_OBJECT
        && matches!(
            WaitReason::from_code(wait.reason),
            Some(
                WaitReason::Condvar
                    | WaitReason::Mutex
                    | WaitReason::IoRead
                    | WaitReason::IoWrite
                    | WaitReason::Accept
            )
        )
}

/// Whether the greenlet, from the run after the one with this number on, does next to nothing but wait for the
/// same thing again.
fn waits_again(
    find: &Find<'_>,
    greenlet: Greenlet,
    run: u16,
    woken: u64,
    object: (u8, u64),
) -> bool {
    let Some(life) = find.timeline.greenlet(greenlet) else {
        return false;
    };
    let from = life.slices.partition_point(|slice| slice.end < woken);
    let after = life.slices[from..].iter();
    let after = after.skip_while(|slice| slice.run == run).take(MOST_SLICES);
    let mut ran = 0;
    for slice in after {
        match slice.doing {
            Doing::Running { .. } => ran = slice.nanos().saturating_add(ran),
            Doing::Waiting { wait, .. } if (wait.reason, wait.object) == object => {
                return ran <= FUTILE;
            }
            // As for the mutex of a condition variable.
            Doing::Waiting { .. } | Doing::Ready(_) => {}
        }
    }
    false
}
