//! What hubs did, and what kept them from it.

use std::collections::HashMap;

use serde::Serialize;

use super::labels::Labels;
use crate::record::Greenlet;
use crate::trace::analysis::{Doing, Hub, LongRun, Slice, Timeline, Trace};

/// What a hub did.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HubReport {
    /// Which of the trace's rings it is.
    #[serde(skip)]
    pub(super) ring: u16,
    /// As `hub 3`.
    pub name: String,
    /// The number of its runtime.
    pub runtime: u16,
    /// Its number.
    pub hub: u16,
    /// The kernel's number of its thread.
    pub thread: u32,
    /// From its first event to its last.
    pub duration_ns: u64,
    /// How long it ran greenlets.
    pub running_ns: u64,
    /// How long it slept.
    pub sleeping_ns: u64,
    /// How long it did neither: polls, timers, queues.
    pub scheduling_ns: u64,
    /// How long it ran greenlets, as a part of the time; from 0 to 1.
    pub utilisation: f64,
    /// How many runs there were.
    pub runs: u64,
    /// How often it slept.
    pub sleeps: u64,
    /// How often it took greenlets from another hub's queue.
    pub steals: u64,
    /// How often others took from its queue.
    pub robbed: u64,
    /// How often it asked the kernel for descriptors that are ready.
    pub polls: u64,
    /// How many greenlets that woke.
    pub polled: u64,
    /// How many greenlets were woken by deadlines.
    pub timed_out: u64,
    /// How long it was kept from running others by a greenlet that computed, as far as that was noticed.
    pub blocked_on_cpu_ns: u64,
    /// The same, by a greenlet that waited in the kernel.
    pub blocked_in_kernel_ns: u64,
}

/// A greenlet that kept its hub from running others.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LongRunReport {
    /// The greenlet; 0 if it is not known.
    pub greenlet: Greenlet,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: String,
    /// The number of the hub's runtime.
    pub runtime: u16,
    /// The number of the hub.
    pub hub: u16,
    /// Whether it waited in the kernel; otherwise it computed.
    pub in_kernel: bool,
    /// When it began.
    pub begin_ns: u64,
    /// How long it took, or, if the trace does not tell, how long it had taken when that was last noticed.
    pub nanos_ns: u64,
    /// Its stack when that was noticed, innermost function first.
    pub stack: Vec<String>,
}

pub(super) fn hubs(trace: &Trace, timeline: &Timeline) -> Vec<HubReport> {
    let ring = |hub: &Hub| &trace.rings()[usize::from(hub.ring)];
    let place = |hub: &Hub| (ring(hub).runtime, ring(hub).hub.unwrap_or_default());
    // Steals are told by the thief.
    let mut robbed: HashMap<(u16, u16), u64> = HashMap::new();
    for hub in timeline.hubs() {
        for &(_, victim) in &hub.steals {
            *robbed.entry((place(hub).0, victim)).or_default() += 1;
        }
    }
    // On the CPU, and in the kernel.
    let mut blocked: HashMap<(u16, u16), [u64; 2]> = HashMap::new();
    for Episode { last, nanos, .. } in episodes(timeline) {
        let blocked = blocked.entry((last.runtime, last.hub)).or_default();
        let blocked = &mut blocked[usize::from(last.in_kernel)];
        *blocked = blocked.saturating_add(nanos);
    }
    let mut reports = Vec::new();
    for hub in timeline.hubs() {
        let sleeps = hub.slices.iter().filter(|slice| slice.is_sleep()).count();
        let sum = |list: &[(u64, u32)]| list.iter().map(|&(_, woken)| u64::from(woken)).sum();
        let all = hub.running.saturating_add(hub.sleeping);
        let blocked = blocked.get(&place(hub)).copied().unwrap_or_default();
        reports.push(HubReport {
            ring: hub.ring,
            name: ring(hub).to_string(),
            runtime: place(hub).0,
            hub: place(hub).1,
            thread: ring(hub).thread,
            duration_ns: hub.end - hub.begin,
            running_ns: hub.running,
            sleeping_ns: hub.sleeping,
            scheduling_ns: hub.scheduling,
            utilisation: part(hub.running, all.saturating_add(hub.scheduling)),
            runs: (hub.slices.len() - sleeps) as u64,
            sleeps: sleeps as u64,
            steals: hub.steals.len() as u64,
            robbed: robbed.get(&place(hub)).copied().unwrap_or(0),
            polls: hub.polls.len() as u64,
            polled: sum(&hub.polls),
            timed_out: sum(&hub.timers),
            blocked_on_cpu_ns: blocked[0],
            blocked_in_kernel_ns: blocked[1],
        });
    }
    reports
}

/// The busiest and the least busy hub of one runtime: of the one where they differ most.
pub(super) fn extremes(hubs: &[HubReport]) -> Option<(&HubReport, &HubReport)> {
    let runtimes = hubs.chunk_by(|a, b| a.runtime == b.runtime);
    let pairs = runtimes.filter_map(|hubs| {
        let by_part = |a: &&HubReport, b: &&HubReport| a.utilisation.total_cmp(&b.utilisation);
        Some((hubs.iter().max_by(by_part)?, hubs.iter().min_by(by_part)?))
    });
    let gap = |(most, least): &(&HubReport, &HubReport)| most.utilisation - least.utilisation;
    pairs.max_by(|a, b| gap(a).total_cmp(&gap(b)))
}

/// By how much the busiest was busier than the least busy one of its runtime.
pub(super) fn imbalance(hubs: &[HubReport]) -> f64 {
    extremes(hubs).map_or(0.0, |(most, least)| most.utilisation - least.utilisation)
}

pub(super) fn part(of: u64, all: u64) -> f64 {
    match all {
        0 => 0.0,
        _ => of as f64 / all as f64,
    }
}

/// A long run, which may have been noticed several times.
struct Episode {
    last: LongRun,
    begin: u64,
    nanos: u64,
}

/// Noticed again: the beginning differs by no more than this.
const SAME: u64 = 5_000_000;

fn episodes(timeline: &Timeline) -> Vec<Episode> {
    let mut runs: Vec<LongRun> = timeline.long_runs().to_vec();
    runs.sort_by_key(|run| (run.runtime, run.hub, run.greenlet, run.time));
    let mut episodes: Vec<Episode> = Vec::new();
    for run in runs {
        let begin = run.time.saturating_sub(run.nanos);
        let place = |run: &LongRun| (run.runtime, run.hub, run.greenlet);
        match episodes.last_mut() {
            Some(episode)
                if place(&episode.last) == place(&run) && begin.abs_diff(episode.begin) < SAME =>
            {
                episode.last = run;
                episode.nanos = episode.nanos.max(run.nanos);
            }
            _ => episodes.push(Episode {
                last: run,
                begin,
                nanos: run.nanos,
            }),
        }
    }
    for episode in &mut episodes {
        episode.see_whole(timeline);
    }
    episodes
}

impl Episode {
    /// The run itself, if it is in the trace, is longer than what was noticed of it.
    fn see_whole(&mut self, timeline: &Timeline) {
        let Some(life) = timeline.greenlet(self.last.greenlet) else {
            return;
        };
        let behind = life
            .slices
            .partition_point(|slice| slice.begin <= self.last.time);
        let slice = behind.checked_sub(1).map(|place| &life.slices[place]);
        let is_run = |slice: &&Slice| {
            matches!(slice.doing, Doing::Running { .. }) && slice.end >= self.last.time
        };
        if let Some(slice) = slice.filter(is_run) {
            self.begin = slice.begin;
            self.nanos = self.nanos.max(slice.nanos());
        }
    }
}

pub(super) fn long_runs(timeline: &Timeline, labels: &Labels<'_>) -> Vec<LongRunReport> {
    let mut episodes = episodes(timeline);
    episodes.sort_by_key(|episode| (u64::MAX - episode.nanos, episode.begin));
    let reports = episodes
        .into_iter()
        .map(|Episode { last, begin, nanos }| LongRunReport {
            greenlet: last.greenlet,
            name: labels.name(last.greenlet),
            site: labels.text(labels.site_of(last.greenlet)),
            runtime: last.runtime,
            hub: last.hub,
            in_kernel: last.in_kernel,
            begin_ns: begin,
            nanos_ns: nanos,
            stack: labels.stack(last.stack),
        });
    reports.collect()
}
