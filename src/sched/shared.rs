//! What the hubs of a runtime share.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicI32, AtomicU16};

use super::current;
use super::debugger::{self, HubEntry};
use super::greenlet_cell::{GreenletCell, Runnable};
use super::ground::{self, GreenletGround};
use super::histogram::Histogram;
use super::idle::{Bed, Idle};
use super::mains::Mains;
use super::monitor::{HubWatch, MonitorOptions, PendingReports};
use super::queue::QueueStealer;
use super::registry::Registry;
use super::usage::{StackUsage, Usage};
use crate::atomic::deque::Injector;
use crate::atomic::{self, AtomicBool, AtomicPtr, AtomicU64};
use crate::error::ThreadLocalsError;
use crate::lock::Mutex;
use crate::reactor::Reactor;
use crate::stack::{self, Pool, Trimmer};
use crate::sys::clock;
use crate::sys::task::TaskId;
use crate::timer::Wheel;
use crate::tls::{self, Support};
use crate::waker::Waker;

/// So many stacks are given back at a time, so that no hub is busy with it for long.
pub(super) const TRIM_BATCH: usize = 256;

/// The shared part of a runtime. Lives until the last hub and the last handle are gone.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Tells the runtimes of the process apart, in traces.
    pub(super) number: u16,
    /// What is needed to build thread-locals; `None` if greenlets share their worker's.
    pub(super) support: Option<&'static Support>,
    /// The slot size of greenlets that did not ask for another.
    pub(crate) slot_size: usize,
    /// Closed when this is dropped.
    pub(crate) reactor: Arc<Reactor>,
    pub(super) injector: Injector<Runnable>,
    pub(super) hubs: Box<[Remote]>,
    pub(super) idle: Idle,
    /// Warm stacks that no hub holds.
    pub(super) depot: Mutex<Pool<GreenletGround>>,
    pub(super) usage: Usage,
    /// Greenlets spawned from outside.
    injected: AtomicU64,
    peak: AtomicU64,
    /// What the monitor does about hubs that are blocked.
    pub(super) monitor: MonitorOptions,
    /// Reports of blocked hubs that are on their way.
    pub(super) reports: Arc<PendingReports>,
    /// Times that the monitor found a hub blocked. Written by the monitor.
    pub(super) blocked: AtomicU64,
    /// The greenlets that callers of `Runtime::run` wait for.
    pub(super) mains: Mains,
    /// The runtime is being dropped.
    pub(super) ending: AtomicBool,
}

/// The part of a hub that others use.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) stealer: QueueStealer,
    /// Greenlets pinned to this hub that were woken or spawned elsewhere.
    pub(super) inbox: Injector<Runnable>,
    pub(super) bed: Bed,
    /// The deadlines of the greenlets that parked on this hub.
    pub(super) timers: Mutex<Wheel<Waker>>,
    /// Greenlets that this hub started and that have ended on another.
    pub(super) departed: Injector<Departed>,
    /// The greenlet whose park this hub is committing; null otherwise. The hub writes it, who
    /// cancels reads it.
    pub(super) committing: AtomicPtr<GreenletCell>,
    /// The greenlet that runs on this hub, is about to or has just yielded; null while the hub does something else. The hub writes it,
    /// the monitor reads it.
    pub(super) running: AtomicPtr<GreenletCell>,
    /// The kernel's number of the worker; 0 before it has begun, -1 when it has ended. Written by the
    /// worker.
    task: AtomicI32,
    /// The greenlets that this hub has started.
    pub(super) registry: Registry,
    /// The greenlet that began last on this hub to write the message of a panic and has not ended it; null otherwise.
    /// Written by itself, compared by the monitor.
    pub(super) tells_of_panic: AtomicPtr<GreenletCell>,
    /// The monitor's own.
    pub(super) watch: Mutex<HubWatch>,
    pub(super) counters: Counters,
    pub(super) durations: Durations,
    pub(super) debugger: HubEntry,
}

/// How long things took on a hub, while that was recorded. Written by its thread only.
#[derive(Debug)]
pub(super) struct Durations {
    /// From a switch to a greenlet to where that left the CPU.
    pub(super) runs: Histogram,
    /// From when a greenlet was ready to the switch.
    pub(super) latencies: Histogram,
}

/// A greenlet that has ended, with its own reference, on its way to the hub that started it.
#[derive(Debug)]
pub(super) struct Departed(pub(super) NonNull<GreenletCell>);

// SAFETY: a cell may be freed by any thread; the value is the only right to do so.
unsafe impl Send for Departed {}

/// What a hub counts. Written by its thread only, so an increment is a load and a store.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) spawned: Counter,
    pub(super) ended: Counter,
    pub(super) switches: Counter,
    pub(super) parks: Counter,
    pub(super) steals: Counter,
    pub(super) sleeps: Counter,
    pub(super) reads_inline: Counter,
    pub(super) reads_offloaded: Counter,
    /// Greenlets in the queue that others do not take, when the hub last looked around.
    pub(super) unstealable: Counter,
    /// Warm stacks that the hub has, as above.
    pub(super) warm_stacks: Counter,
}

/// A number with one writer.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn increment(&self) {
        // Release: pairs with the SeqCst loads in `alive`: who sees that a greenlet has ended sees
        // that it was spawned.
        self.0.store(self.0.load(Relaxed) + 1, Release);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// For what goes up and down.
    pub(super) fn set(&self, value: usize) {
        self.0.store(value as u64, Relaxed);
    }
}

/// What a runtime has done so far; a snapshot whose numbers were read one after the other.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Greenlets that were spawned and have not ended. One may be counted for a moment longer than
    /// its `join` waits.
    pub greenlets: u64,
    /// The most there have been at a time; sampled, so a short peak may be missed.
    pub greenlets_peak: u64,
    /// Greenlets spawned so far.
    pub spawned: u64,
    /// Switches from a hub to a greenlet.
    pub switches: u64,
    /// Parks, of every kind.
    pub parks: u64,
    /// Times that a hub took greenlets from another hub's queue.
    pub steals: u64,
    /// Times that a hub slept because there was nothing to do.
    pub sleeps: u64,
    /// Times that a greenlet kept its hub from running others for longer than
    /// [`blocked_after`](crate::RuntimeBuilder::blocked_after).
    pub blocked: u64,
    /// Descriptors that the reactor watches.
    pub descriptors: u64,
    /// Threads of the blocking pool, which is the process's.
    pub blocking_threads: u64,
    /// Those of them that have nothing to do.
    pub blocking_idle: u64,
    /// Jobs that wait for a thread of the blocking pool.
    pub blocking_queued: u64,
    /// Greenlets that wait for a place in its queue.
    pub blocking_waiting: u64,
    /// Jobs that threads of the blocking pool have begun.
    pub blocking_jobs: u64,
    /// How many threads the blocking pool may have.
    pub blocking_threads_max: u64,
    /// How many jobs its queue has places for.
    pub blocking_queue_max: u64,
    /// Reads of files that greenlets have done without leaving their hub: what was wanted was in the
    /// page cache.
    pub reads_inline: u64,
    /// Reads of files that went to the blocking pool.
    pub reads_offloaded: u64,
}

impl Shared {
    pub(super) fn new(
        stealers: Vec<QueueStealer>,
        slot_size: usize,
        support: Option<&'static Support>,
        monitor: MonitorOptions,
    ) -> io::Result<Self> {
        let now = clock::now();
        let hubs: Box<[Remote]> = stealers
            .into_iter()
            .map(|stealer| Remote::new(stealer, now))
            .collect();
        static NUMBERS: AtomicU16 = AtomicU16::new(1);
        Ok(Self {
            number: NUMBERS.fetch_add(1, Relaxed),
            support,
            slot_size,
            reactor: Arc::new(Reactor::new()?),
            injector: Injector::new(),
            idle: Idle::new(hubs.len()),
            hubs,
            depot: Mutex::new(Pool::new(0)),
            usage: Usage::new(),
            injected: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            monitor,
            reports: Arc::default(),
            blocked: AtomicU64::new(0),
            mains: Mains::default(),
            ending: AtomicBool::new(false),
        })
    }

    pub(crate) fn hub_count(&self) -> usize {
        self.hubs.len()
    }

    /// The slot that a stack of `size` bytes needs. `None` if it does not fit into memory.
    pub(crate) fn slot_size_for(&self, size: usize) -> Option<usize> {
        slot_size(size, self.support)
    }

    /// A stack for a greenlet that is about to be spawned: a warm one of the caller's hub or of the
    /// depot, or a new one.
    pub(crate) fn reserve_ground(&self, slot_size: usize) -> io::Result<GreenletGround> {
        if let Some(hub) = current::get().hub_of(self) {
            return hub.ground(slot_size);
        }
        let warm = self.depot.lock().take(slot_size);
        warm.map_or_else(|| GreenletGround::build(slot_size, self.support), Ok)
    }

    /// What was seen of the use of stacks.
    pub(crate) fn stack_usage(&self) -> Vec<StackUsage> {
        self.usage.list()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(SeqCst)
    }

    /// Counts a greenlet that is spawned from outside.
    pub(super) fn count_injected(&self) {
        assert!(
            !current::was_forked(),
            "this process was forked on a greenlet: the runtime is its parent's"
        );
        self.injected.fetch_add(1, SeqCst);
    }

    /// Queues a greenlet where every hub finds it, or in the inbox of the only one that may run
    /// it.
    pub(super) fn push(&self, runnable: Runnable) {
        match runnable.cell().pinned() {
            Some(hub) => self.push_pinned(hub, runnable),
            None => {
                self.injector.push(runnable);
                self.notify();
            }
        }
    }

    pub(super) fn push_pinned(&self, hub: usize, runnable: Runnable) {
        let remote = &self.hubs[hub];
        remote.inbox.push(runnable);
        remote.bed.notify(&self.reactor);
    }

    /// Wakes a hub for work that was pushed where every hub finds it, if one sleeps and none
    /// searches.
    #[inline]
    pub(super) fn notify(&self) {
        if let Some(hub) = self.idle.claim_sleeper() {
            self.hubs[hub].bed.notify(&self.reactor);
        }
    }

    pub(super) fn notify_all(&self) {
        self.hubs
            .iter()
            .for_each(|remote| remote.bed.notify(&self.reactor));
    }

    /// The runtime is being dropped: every hub cancels the greenlets that it has started, and ends
    /// when no greenlet is left.
    pub(crate) fn end(&self) {
        // SeqCst: comes before the notifications; the hubs look after they have woken.
        self.ending.store(true, SeqCst);
        self.notify_all();
    }

    /// Returns when no hub is about to publish a waker of this greenlet's.
    ///
    /// The caller has seen it parked, in an exchange that pairs with that of `begin_park`; so the
    /// hub's note, which came before, is seen too, or what the hub has written after it.
    pub(super) fn await_commit(&self, cell: *const GreenletCell) {
        for remote in &self.hubs {
            // Acquire: pairs with the Release in `Hub::park`: the commit is through.
            while ptr::eq(remote.committing.load(Acquire), cell) {
                atomic::yield_now();
            }
        }
    }

    /// Whether the hubs may stop: the runtime is being dropped and no greenlet is left.
    pub(super) fn is_over(&self) -> bool {
        self.is_ending() && (cfg!(panic = "abort") || self.alive() == 0)
    }

    /// Tells all hubs to look whether it is over.
    pub(super) fn notify_if_over(&self) {
        if self.is_over() {
            self.notify_all();
        }
    }

    /// Greenlets that have not ended.
    ///
    /// Zero is exact once nobody spawns from outside: `ended` is read first, and a greenlet that
    /// spawns has not ended, so equal sums mean that none was alive when `ended` was read.
    pub(super) fn alive(&self) -> u64 {
        let ended: u64 = self
            .hubs
            .iter()
            .map(|remote| remote.counters.ended.0.load(SeqCst))
            .sum();
        (self.spawned()).saturating_sub(ended)
    }

    fn spawned(&self) -> u64 {
        let by_hubs = self
            .hubs
            .iter()
            .map(|remote| remote.counters.spawned.0.load(SeqCst));
        by_hubs.sum::<u64>() + self.injected.load(SeqCst)
    }

    /// Looks how many greenlets there are, for the peak.
    pub(super) fn sample_peak(&self) {
        let alive = self.alive();
        if alive > self.peak.load(Relaxed) {
            self.peak.fetch_max(alive, Relaxed);
        }
    }

    /// All but what the blocking pool counts.
    pub(crate) fn stats(&self) -> Stats {
        self.sample_peak();
        let sum = |counter: fn(&Counters) -> &Counter| {
            self.hubs
                .iter()
                .map(|remote| counter(&remote.counters).get())
                .sum()
        };
        Stats {
            greenlets: self.alive(),
            greenlets_peak: self.peak.load(Relaxed),
            spawned: self.spawned(),
            switches: sum(|counters| &counters.switches),
            parks: sum(|counters| &counters.parks),
            steals: sum(|counters| &counters.steals),
            sleeps: sum(|counters| &counters.sleeps),
            reads_inline: sum(|counters| &counters.reads_inline),
            reads_offloaded: sum(|counters| &counters.reads_offloaded),
            blocked: self.blocked.load(Relaxed),
            descriptors: self.reactor.registered() as u64,
            ..Stats::default()
        }
    }

    /// When the depot should be looked at, if there is anything in it.
    pub(super) fn trim_due(&self) -> Option<u64> {
        self.depot.lock().trim_due()
    }

    /// Gives stacks of the depot back that nobody missed for a while.
    pub(super) fn trim(&self, now: u64, trimmer: Trimmer) {
        let trimmed = self.depot.lock().trim(now, trimmer, TRIM_BATCH);
        trimmed.into_iter().for_each(GreenletGround::discard);
    }
}

impl Remote {
    /// The worker, while it runs.
    pub(super) fn task(&self) -> Option<TaskId> {
        let number = self.task.load(Relaxed);
        (number > 0).then(|| TaskId::from_raw(number))
    }

    /// Where debuggers find the greenlet that runs.
    pub(super) fn running_place(&self) -> *const () {
        (&raw const self.running).cast()
    }

    /// Where debuggers find the worker's number.
    pub(super) fn task_place(&self) -> *const () {
        (&raw const self.task).cast()
    }

    /// By the worker.
    pub(super) fn begin_task(&self) {
        self.task.store(TaskId::current().as_raw(), Relaxed);
    }

    /// By the worker.
    pub(super) fn end_task(&self) {
        self.task.store(-1, Relaxed);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.task.load(Relaxed) == -1
    }

    fn new(stealer: QueueStealer, now: u64) -> Self {
        Self {
            stealer,
            inbox: Injector::new(),
            bed: Bed::new(),
            timers: Mutex::new(Wheel::new(now)),
            departed: Injector::new(),
            committing: AtomicPtr::new(ptr::null_mut()),
            running: AtomicPtr::new(ptr::null_mut()),
            task: AtomicI32::new(0),
            registry: Registry::new(),
            tells_of_panic: AtomicPtr::new(ptr::null_mut()),
            watch: Mutex::default(),
            counters: Counters::default(),
            durations: Durations {
                runs: Histogram::new(),
                latencies: Histogram::new(),
            },
            debugger: HubEntry::new(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        debugger::remove(&self.hubs);
        self.depot.lock().drain().for_each(GreenletGround::discard);
    }
}

/// Probes whether greenlets can have thread-locals of their own in this process.
pub(crate) fn support() -> Result<&'static Support, ThreadLocalsError> {
    tls::support(tls::Hooks {
        current: || current::place() as usize,
        worker_thread_pointer: current::worker_thread_pointer,
        forked_child: current::become_plain_thread,
    })
}

/// The slot that a stack of `size` bytes needs beside a block of thread-locals.
pub(crate) fn slot_size(size: usize, support: Option<&Support>) -> Option<usize> {
    stack::slot_size(size, ground::reserved(support))
}
