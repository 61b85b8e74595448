//! What metrics are made of: the numbers of each hub, and of what hubs share.

use std::time::Duration;

use super::histogram::Histogram;
use super::shared::{Remote, Shared};
use crate::sys::task;

/// What a hub has done and has to do; read one after the other, from any thread.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HubMetrics {
    /// Its number, from 0.
    pub hub: usize,
    /// Switches from the hub to a greenlet.
    pub switches: u64,
    /// Parks, of every kind.
    pub parks: u64,
    /// Times that it took greenlets from another hub's queue.
    pub steals: u64,
    /// Times that it slept because there was nothing to do.
    pub sleeps: u64,
    /// Greenlets that were spawned by greenlets on it.
    pub spawned: u64,
    /// Greenlets that have ended on it.
    pub ended: u64,
    /// Reads of files that greenlets have done without leaving it.
    pub reads_inline: u64,
    /// Reads of files of its greenlets that went to the blocking pool.
    pub reads_offloaded: u64,
    /// Greenlets that are ready to run and queued here. Those that no other hub may take are counted
    /// when it looks around, every 61 switches and when it has nothing else to do.
    pub queued: u64,
    /// Greenlets pinned to it, spawned or woken elsewhere, that it has not fetched yet.
    pub inbox: u64,
    /// Deadlines of the greenlets that parked here.
    pub timers: u64,
    /// Warm stacks that it keeps for greenlets to come, when it last looked around.
    pub warm_stacks: u64,
    /// Whether it sleeps.
    pub asleep: bool,
    /// The processor time that its thread has used; `None` before it has begun and after it has ended.
    pub cpu_time: Option<Duration>,
}

/// Everything about a runtime that is not a hub's own, and not in [`Stats`](super::Stats).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedNumbers {
    /// Greenlets that are ready to run, and not at a hub yet.
    pub(crate) injector: u64,
    /// Warm stacks that no hub holds.
    pub(crate) depot: u64,
}

impl Shared {
    /// The number of this runtime in the process, from 1.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// How long runs on a hub took, and how long greenlets were ready before, while that was recorded.
    pub(crate) fn durations(&self, hub: usize) -> (&Histogram, &Histogram) {
        let durations = &self.hubs[hub].durations;
        (&durations.runs, &durations.latencies)
    }

    /// The numbers of all hubs.
    pub(crate) fn hub_metrics(&self) -> Vec<HubMetrics> {
        let numbered = self.hubs.iter().enumerate();
        numbered.map(|(hub, remote)| remote.metrics(hub)).collect()
    }

    pub(crate) fn numbers(&self) -> SharedNumbers {
        SharedNumbers {
            injector: self.injector.len() as u64,
            depot: self.depot.lock().total() as u64,
        }
    }
}

impl Remote {
    fn metrics(&self, hub: usize) -> HubMetrics {
        let counters = &self.counters;
        HubMetrics {
            hub,
            switches: counters.switches.get(),
            parks: counters.parks.get(),
            steals: counters.steals.get(),
            sleeps: counters.sleeps.get(),
            spawned: counters.spawned.get(),
            ended: counters.ended.get(),
            reads_inline: counters.reads_inline.get(),
            reads_offloaded: counters.reads_offloaded.get(),
            queued: self.stealer.len() as u64 + counters.unstealable.get(),
            inbox: self.inbox.len() as u64,
            timers: self.timers.lock().len() as u64,
            warm_stacks: counters.warm_stacks.get(),
            asleep: self.bed.is_asleep(),
            cpu_time: self.task().and_then(|task| task::cpu_time(task).ok()),
        }
    }
}
