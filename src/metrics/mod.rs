//! What the runtimes of the process have done and have to do: in numbers, hub by hub, and as a text for
//! Prometheus.
//!
//! [`metrics()`] and [`Runtime::metrics`](crate::Runtime::metrics) read them, at any time and from
//! anywhere; hubs are not disturbed, and what they count they count anyway. Each number is read on its own,
//! so two of them may be of slightly different moments.
//!
//! ```
//! greenlet::run(|| {
//!     (0..100).for_each(|_| greenlet::yield_now());
//!     let metrics = greenlet::metrics();
//!     let switches: u64 = metrics.runtimes[0].hubs.iter().map(|hub| hub.switches).sum();
//!     assert!(switches > 100);
//!     assert!(metrics.prometheus().contains("greenlet_hub_switches_total"));
//! });
//! ```
//!
//! [`_documentation::metrics`](crate::_documentation::metrics) lists the names that Prometheus sees, and
//! has a server that answers it.

mod histogram;
mod prometheus;

use std::sync::Arc;

use crate::blocking;
use crate::sched::{self, Shared, Stats};
use crate::stack;

pub use crate::sched::HubMetrics;
pub use histogram::Histogram;

/// The numbers of one runtime or of all.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// One for each runtime.
    pub runtimes: Vec<RuntimeMetrics>,
    /// The blocking pool, which is the process's.
    pub blocking: BlockingMetrics,
    /// How many stacks there are of each size, in the whole process.
    pub stacks: Vec<StackMetrics>,
}

/// The numbers of a runtime.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeMetrics {
    /// Which runtime of the process it is, from 1.
    pub runtime: u16,
    /// All hubs together.
    pub stats: Stats,
    /// One for each hub, in the order of their numbers.
    pub hubs: Vec<HubMetrics>,
    /// What hubs measure while recording is on, one for each hub.
    pub durations: Vec<HubDurations>,
    /// Greenlets that are ready to run and not queued at a hub yet.
    pub injector: u64,
    /// Warm stacks that no hub holds; each hub keeps some of its own.
    pub warm_stacks: u64,
}

/// What a hub measures while recording is on: see [`trace`](crate::trace). Otherwise nobody looks at the clock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubDurations {
    /// How long greenlets ran at a stretch: from a switch to where they left the CPU.
    pub runs: Histogram,
    /// How long greenlets had been ready to run when they were switched in: since they were spawned, woken, or
    /// had yielded.
    pub latencies: Histogram,
}

/// The numbers of the blocking pool; see [`blocking`](crate::blocking()).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BlockingMetrics {
    /// Threads that exist.
    pub threads: u64,
    /// Those of them that have nothing to do.
    pub idle: u64,
    /// Jobs that wait for a thread.
    pub queued: u64,
    /// Greenlets that wait for a place in the queue.
    pub waiting: u64,
    /// Jobs that threads have begun.
    pub jobs: u64,
    /// How many threads there may be.
    pub threads_max: u64,
    /// How many jobs may wait for one.
    pub queue_max: u64,
    /// How long jobs took that threads have done.
    pub durations: Histogram,
}

/// Stacks of one size.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StackMetrics {
    /// Bytes of address space that each of them takes.
    pub size: u64,
    /// How many there are: those that greenlets run on, and those kept warm for greenlets to come.
    pub count: u64,
}

/// The numbers of all runtimes of the process that have not ended.
pub fn metrics() -> Metrics {
    of(&sched::runtimes())
}

/// The numbers of these runtimes.
pub(crate) fn of(runtimes: &[Arc<Shared>]) -> Metrics {
    let pool = blocking::counts();
    let stacks = stack::taken().into_iter();
    Metrics {
        runtimes: runtimes.iter().map(|shared| of_one(shared)).collect(),
        blocking: BlockingMetrics {
            threads: pool.threads as u64,
            idle: pool.idle as u64,
            queued: pool.queued as u64,
            waiting: pool.waiting as u64,
            jobs: pool.begun,
            threads_max: pool.limits.threads as u64,
            queue_max: pool.limits.queue as u64,
            durations: Histogram::of(blocking::durations()),
        },
        stacks: stacks
            .map(|(size, count)| StackMetrics {
                size: size as u64,
                count: count as u64,
            })
            .collect(),
    }
}

fn of_one(shared: &Shared) -> RuntimeMetrics {
    let numbers = shared.numbers();
    let durations = (0..shared.hub_count()).map(|hub| {
        let (runs, latencies) = shared.durations(hub);
        HubDurations {
            runs: Histogram::of(runs),
            latencies: Histogram::of(latencies),
        }
    });
    RuntimeMetrics {
        runtime: shared.number(),
        stats: stats_of(shared),
        hubs: shared.hub_metrics(),
        durations: durations.collect(),
        injector: numbers.injector,
        warm_stacks: numbers.depot,
    }
}

/// What a runtime has done so far, and the blocking pool.
pub(crate) fn stats_of(shared: &Shared) -> Stats {
    let pool = blocking::counts();
    let mut stats = shared.stats();
    stats.blocking_threads = pool.threads as u64;
    stats.blocking_idle = pool.idle as u64;
    stats.blocking_queued = pool.queued as u64;
    stats.blocking_waiting = pool.waiting as u64;
    stats.blocking_jobs = pool.begun;
    stats.blocking_threads_max = pool.limits.threads as u64;
    stats.blocking_queue_max = pool.limits.queue as u64;
    stats
}
