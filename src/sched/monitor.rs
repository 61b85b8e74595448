//! The monitor: one thread of the process that watches the hubs of all runtimes.
//!
//! While any hub is awake it looks every few milliseconds whether each has switched since the last
//! look. A hub that has not is *stuck*: its greenlet computes, or waits in the kernel. Then the
//! monitor reports it, and sees to it that what lies there goes on elsewhere: it takes the next slot,
//! wakes a hub that steals from the queue, and fires the timers. When all hubs sleep it looks for a
//! deadlock, and sleeps until one wakes.
//!
//! `README.md` has the protocol of its sleep.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::panic::Location;
use std::process;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, fence};
use std::sync::{Arc, Condvar, MutexGuard, OnceLock, PoisonError, Weak, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::blocked::{BlockedActivity, BlockedHub, BlockingGreenlet};
use super::coarse_clock;
use super::current;
use super::deadlock::{Detector, Found};
use super::greenlet_cell::GreenletCell;
use super::inspect::inspect;
use super::interrupt;
use super::quit;
use super::recording;
use super::sampler::Sample;
use super::shared::{Remote, Shared};
use crate::abort::AbortOnUnwind;
use crate::lock::StaticMutex;
use crate::record::{self, Trigger};
use crate::sys::task::{self, Activity, TaskId};
use crate::sys::{membarrier, static_futex};
use crate::waker::WakeList;

/// A hub that has not switched for so long is stuck, unless the runtime says otherwise.
pub(crate) const BLOCKED_AFTER: Duration = Duration::from_millis(10);

/// It looks at least so often.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);
/// And not more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_micros(200);
/// The message of a panic takes long with a backtrace. What takes longer hangs.
const LONGEST_MESSAGE: Duration = Duration::from_secs(10);
/// How long the end of a runtime waits for who listens to its reports.
const PATIENCE: Duration = Duration::from_secs(2);
/// And so many times as long, at the most, while nobody listens yet: names are looked up.
const LONGEST_LOOK_UP: usize = 5;

/// What a runtime wants of the monitor.
#[derive(Clone)]
pub(crate) struct MonitorOptions {
    pub(crate) blocked_after: Duration,
    pub(crate) on_blocked: OnBlocked,
    /// Threads of the blocking pool, those of them that are idle, and jobs that wait.
    pub(crate) blocking_counts: fn() -> (usize, usize, usize),
}

/// Who is told of a hub that is blocked.
#[derive(Clone)]
pub(crate) enum OnBlocked {
    /// Standard error, once for every place that greenlets are spawned at.
    Print,
    Call(Arc<dyn Fn(&BlockedHub) + Send + Sync>),
}

impl fmt::Debug for MonitorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorOptions")
            .field("blocked_after", &self.blocked_after)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OnBlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Print => "Print",
            Self::Call(_) => "Call",
        })
    }
}

static MONITOR: Monitor = Monitor {
    watched: StaticMutex::new(Watched {
        runtimes: Vec::new(),
        has_thread: false,
    }),
    round: StaticMutex::new(()),
    state: AtomicU32::new(AWAKE),
};

/// It looks, or pauses for a short time.
const AWAKE: u32 = 0;
/// It sleeps until a hub wakes.
const ASLEEP: u32 = 1;
/// It is to look at once.
const NOTIFIED: u32 = 2;

struct Monitor {
    watched: StaticMutex<Watched>,
    /// Held while the monitor looks, and so keeps runtimes alive.
    round: StaticMutex<()>,
    /// `AWAKE` and `ASLEEP` are written by the monitor, `NOTIFIED` by others. The monitor's futex.
    state: AtomicU32,
}

struct Watched {
    runtimes: Vec<Weak<Shared>>,
    /// There is a thread, which ends when there is no runtime.
    has_thread: bool,
}

/// Watches a runtime, until [`unwatch`]. Called on an OS thread's thread pointer.
pub(super) fn watch(shared: &Arc<Shared>) -> io::Result<()> {
    if is_a_parents() {
        return Ok(());
    }
    let mut watched = MONITOR.watched.lock();
    if !watched.has_thread {
        // Without it nothing is known of a greenlet that blocks, but that it does.
        let _ = membarrier::register();
        // Waited for, so that what the program does next, as to its limits, does not hit its start.
        let (begun, has_begun) = mpsc::channel();
        thread::Builder::new()
            .name("greenlet-monitor".into())
            .spawn(move || {
                drop(begun);
                MONITOR.run();
            })?;
        let _: Result<(), _> = has_begun.recv();
        watched.has_thread = true;
        coarse_clock::refresh();
    }
    watched.runtimes.push(Arc::downgrade(shared));
    drop(watched);
    MONITOR.notify();
    Ok(())
}

/// The runtime's hubs have ended. When this returns, the monitor keeps nothing of it alive, and its
/// reports are delivered, unless that takes long or the caller is who they are delivered to.
pub(super) fn unwatch(shared: &Arc<Shared>) {
    if is_a_parents() {
        return;
    }
    let mut watched = MONITOR.watched.lock();
    let is_another = |runtime: &Weak<Shared>| runtime.as_ptr() != Arc::as_ptr(shared);
    watched.runtimes.retain(is_another);
    drop(watched);
    MONITOR.notify();
    drop(MONITOR.round.lock());
    if !is_delivering() {
        shared.reports.wait();
    }
}

/// Returns when all reports of blocked hubs are delivered that are on their way, unless that takes long or
/// the caller is who they are delivered to.
pub(crate) fn await_reports() {
    // A child has no runtimes that are watched; and the lock may be held by a thread that is not here.
    if !is_a_parents() && !is_delivering() {
        // Without the runtimes: what is dropped meanwhile is to end.
        let pending = runtimes()
            .iter()
            .map(|runtime| runtime.reports.clone())
            .collect::<Vec<_>>();
        for reports in pending {
            reports.wait();
        }
    }
}

/// Whether the calling thread delivers reports.
fn is_delivering() -> bool {
    DELIVERIES.lock().thread == Some(thread::current().id())
}

/// The runtimes of this process that have begun and not ended, the oldest first.
pub(crate) fn runtimes() -> Vec<Arc<Shared>> {
    if is_a_parents() {
        return Vec::new();
    }
    let watched = MONITOR.watched.lock();
    watched.runtimes.iter().filter_map(Weak::upgrade).collect()
}

/// Whether the monitor is that of the process that this one was forked from: its thread is not here,
/// and its locks may be held by threads that are not here. A child does without one.
pub(super) fn is_a_parents() -> bool {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    *PROCESS.get_or_init(process::id) != process::id()
}

/// Has all hubs of all runtimes look around.
pub(crate) fn wake_hubs() {
    for runtime in runtimes() {
        runtime.notify_all();
    }
}

/// Runs `f`, which writes the message of a panic. With a backtrace that takes long, and is reported only if it hangs.
pub(crate) fn while_telling_of_panic(f: impl FnOnce()) {
    let current = current::get();
    let (Some(hub), Some(greenlet)) = (current.hub(), current.greenlet()) else {
        return f();
    };
    let greenlet = ptr::from_ref(greenlet).cast_mut();
    // The hub of this moment, even if `f` waits and goes on with another one.
    let (shared, index) = (hub.shared().clone(), hub.index());
    let tells = &shared.hubs[index].tells_of_panic;
    tells.store(greenlet, Relaxed);
    f();
    // Where `f` has waited, another one may have begun to tell there.
    let _ = tells.compare_exchange(greenlet, ptr::null_mut(), Relaxed, Relaxed);
}

/// There is something to look at. May be called in a signal handler.
pub(super) fn notify() {
    MONITOR.notify();
}

/// A hub has woken.
#[inline]
pub(super) fn hub_woke() {
    // Pairs with the fence in `fall_asleep`: either we see the monitor sleep, or it sees the hub awake.
    fence(SeqCst);
    if MONITOR.state.load(Relaxed) == ASLEEP {
        // It has not set the clock for a while.
        coarse_clock::refresh();
        if !is_a_parents() {
            MONITOR.notify();
        }
    }
}

impl Monitor {
    /// May be called in a signal handler.
    #[cold]
    fn notify(&self) {
        // SeqCst: what the monitor is to see was written before; pairs with the swap in `pause`.
        if self.state.swap(NOTIFIED, SeqCst) != NOTIFIED {
            static_futex::wake_one(&self.state);
        }
    }

    fn run(&self) {
        let guard = AbortOnUnwind::arm("the monitor");
        let mut detector = Detector::new();
        let mut may_sleep = false;
        loop {
            let round = self.round.lock();
            let Some(runtimes) = self.runtimes() else {
                break;
            };
            let mut reports = Vec::new();
            let pause = look(&runtimes, &mut reports);
            // Who is told of a blocked hub may wake somebody.
            let sleeps = may_sleep && reports.is_empty() && self.fall_asleep(&runtimes);
            let found = sleeps.then(|| detector.look(&runtimes));
            if interrupt::has_come() {
                for runtime in &runtimes {
                    runtime.mains.interrupt();
                }
            }
            if quit::has_come() {
                quit::write_dump();
            }
            deliver(reports);
            // The last owner of a runtime runs destructors of the user's: with no lock held.
            let last: Vec<_> = runtimes.into_iter().filter_map(Arc::into_inner).collect();
            drop(round);
            drop(last);
            if let Some(Found { deadlock, again }) = found {
                if let Some(deadlock) = deadlock {
                    print(format_args!("{deadlock}"));
                }
                self.pause(ASLEEP, again);
            } else {
                self.pause(AWAKE, Some(pause));
            }
            // Hubs that wake and sleep all the time do not make the monitor do the same.
            may_sleep = !sleeps;
        }
        guard.disarm();
    }

    /// The runtimes there are; `None`, and the thread is to end, if there are none.
    fn runtimes(&self) -> Option<Vec<Arc<Shared>>> {
        let mut watched = self.watched.lock();
        watched
            .runtimes
            .retain(|runtime| runtime.strong_count() > 0);
        let runtimes: Vec<_> = watched.runtimes.iter().filter_map(Weak::upgrade).collect();
        watched.has_thread = !runtimes.is_empty();
        watched.has_thread.then_some(runtimes)
    }

    /// Whether all hubs sleep; then the state says that the monitor does, too.
    fn fall_asleep(&self, runtimes: &[Arc<Shared>]) -> bool {
        let all_sleep = || {
            let mut hubs = runtimes.iter().flat_map(|runtime| &runtime.hubs);
            hubs.all(|remote| remote.bed.is_asleep() || remote.has_ended())
        };
        if !all_sleep() || !self.change(AWAKE, ASLEEP) {
            return false;
        }
        // Pairs with the fence in `hub_woke`.
        fence(SeqCst);
        all_sleep()
    }

    /// Waits in this state, unless somebody has notified it since the last pause.
    fn pause(&self, state: u32, time: Option<Duration>) {
        let now = self.state.load(Relaxed);
        if now != NOTIFIED && self.change(now, state) {
            // A notification that comes now makes it return at once, and so may a signal.
            static_futex::wait(&self.state, state, time);
        }
        // Acquire: pairs with the SeqCst in `notify`.
        self.state.swap(AWAKE, Acquire);
    }

    fn change(&self, from: u32, to: u32) -> bool {
        self.state
            .compare_exchange(from, to, Relaxed, Relaxed)
            .is_ok()
    }
}

/// What changes where a hub goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// So far.
    switches: u64,
    sleeps: u64,
    /// The address of who tells of a panic: what comes after that counts anew.
    teller: usize,
}

impl Seen {
    fn of(remote: &Remote) -> Self {
        Self {
            switches: remote.counters.switches.get(),
            sleeps: remote.counters.sleeps.get(),
            teller: remote.tells_of_panic.load(Relaxed).addr(),
        }
    }
}

/// What the monitor remembers of a hub.
#[derive(Debug, Default)]
pub(super) struct HubWatch {
    /// At the last look.
    seen: Seen,
    /// When the monitor has looked last.
    looked_at: u64,
    /// Nanoseconds since these numbers were seen first, less the times that the monitor was away.
    stopped: u64,
    /// The worker's processor time when they were seen again.
    computed: Option<Duration>,
    /// This stop was told to the user.
    is_reported: bool,
    /// In which place of the kernel it was seen waiting, and since when.
    waits: Option<(Activity, u64)>,
}

/// A report that is still without its stack's names, and who is told.
struct Report {
    /// The number of the runtime.
    runtime: u16,
    listener: OnBlocked,
    blocked: BlockedHub,
    sample: Option<Sample>,
    /// Of the runtime.
    pending: Arc<PendingReports>,
}

impl Report {
    fn deliver(mut self) {
        let stack = self.sample.take().map(|sample| sample.describe());
        self.blocked.stack = stack.unwrap_or_default();
        if record::is_on() {
            // Once more, with its stack, whose names took a while.
            if !self.blocked.stack.is_empty() {
                recording::record_long_run(self.runtime, &self.blocked);
            }
            record::pull(Trigger::LongRun);
        }
        DELIVERIES.lock().is_listened_to = true;
        match &self.listener {
            OnBlocked::Print => print_once(&self.blocked),
            OnBlocked::Call(hook) => hook(&self.blocked),
        }
        DELIVERIES.lock().is_listened_to = false;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        *self.pending.count() -= 1;
        self.pending.fewer.notify_all();
    }
}

/// How many reports of a runtime are on their way.
#[derive(Debug, Default)]
pub(super) struct PendingReports {
    count: std::sync::Mutex<usize>,
    fewer: Condvar,
}

impl PendingReports {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when all are delivered, or after a while: who listens may be waiting for the caller.
    fn wait(&self) {
        for _ in 0..LONGEST_LOOK_UP {
            let waited = self
                .fewer
                .wait_timeout_while(self.count(), PATIENCE, |count| *count > 0);
            let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if *count == 0 {
                break;
            }
            drop(count);
            // On a busy machine names take longer than that.
            let deliveries = DELIVERIES.lock();
            if deliveries.is_listened_to || deliveries.thread.is_none() {
                break;
            }
        }
    }
}

/// The reports that are on their way, and the thread that delivers them, if there are any.
struct Deliveries {
    reports: VecDeque<Report>,
    thread: Option<ThreadId>,
    /// Whether that thread is in a listener's call.
    is_listened_to: bool,
}

static DELIVERIES: StaticMutex<Deliveries> = StaticMutex::new(Deliveries {
    reports: VecDeque::new(),
    thread: None,
    is_listened_to: false,
});

/// On a thread of their own: looking up names, and whatever listeners do, takes longer than a hub's
/// timers can wait.
fn deliver(reports: Vec<Report>) {
    if reports.is_empty() {
        return;
    }
    let mut deliveries = DELIVERIES.lock();
    deliveries.reports.extend(reports);
    if deliveries.thread.is_none() {
        let thread = thread::Builder::new()
            .name("greenlet-report".into())
            .spawn(deliver_all);
        // Without a thread they wait for the next one.
        deliveries.thread = thread.ok().map(|thread| thread.thread().id());
    }
}

fn deliver_all() {
    let guard = AbortOnUnwind::arm("a listener to reports of blocked hubs");
    loop {
        let mut deliveries = DELIVERIES.lock();
        let Some(report) = deliveries.reports.pop_front() else {
            deliveries.thread = None;
            break;
        };
        drop(deliveries);
        report.deliver();
    }
    guard.disarm();
}

/// Looks at all hubs. Answers when to look again.
fn look(runtimes: &[Arc<Shared>], reports: &mut Vec<Report>) -> Duration {
    let now = coarse_clock::refresh();
    let mut pause = LONGEST_PAUSE;
    for runtime in runtimes {
        for (index, remote) in runtime.hubs.iter().enumerate() {
            let mut watch = remote.watch.lock();
            pause = pause.min(watch.look(runtime, index, now, reports));
        }
    }
    pause
}

impl HubWatch {
    /// How long the hub has not switched or slept, as far as the monitor has seen.
    pub(super) fn stopped(&self) -> Duration {
        Duration::from_nanos(self.stopped)
    }

    /// Looks at a hub. Answers when to look again.
    fn look(
        &mut self,
        runtime: &Arc<Shared>,
        index: usize,
        now: u64,
        reports: &mut Vec<Report>,
    ) -> Duration {
        let remote = &runtime.hubs[index];
        let options = &runtime.monitor;
        let pause = (options.blocked_after / 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let seen = Seen::of(remote);
        let away = now.saturating_sub(mem::replace(&mut self.looked_at, now));
        if seen != self.seen || remote.bed.is_asleep() {
            *self = Self {
                seen,
                looked_at: now,
                ..Self::default()
            };
            return pause;
        }
        // Before the worker has begun, and after it has ended, there is nobody to look at.
        let Some(task) = remote.task() else {
            return pause;
        };
        self.stopped += away.min(2 * pause.as_nanos() as u64);
        if self.computed.is_none() {
            self.computed = task::cpu_time(task).ok();
        }
        let stopped = Duration::from_nanos(self.stopped);
        if stopped < options.blocked_after {
            return pause;
        }
        let again = offer(runtime, remote, now);
        let running = remote.running.load(Relaxed);
        if !running.is_null() && running.addr() == seen.teller && stopped < LONGEST_MESSAGE {
            return pause.min(again);
        }
        // A hub that is in its own code is not blocked by a greenlet.
        if !self.is_reported
            && !running.is_null()
            && let Some((activity, sample)) = self.activity(task, options.blocked_after, now)
        {
            let greenlet = inspect(remote, BlockingGreenlet::of);
            // It has gone on just now, so what was seen may be another one's, or the hub's.
            if seen != Seen::of(remote) || remote.running.load(Relaxed).is_null() {
                return pause.min(again);
            }
            self.is_reported = true;
            runtime.blocked.fetch_add(1, Relaxed);
            *runtime.reports.count() += 1;
            let blocked = BlockedHub {
                hub: index,
                greenlet,
                since: stopped,
                activity,
                stack: Vec::new(),
            };
            if record::is_on() {
                recording::record_long_run(runtime.number, &blocked);
            }
            reports.push(Report {
                runtime: runtime.number,
                pending: runtime.reports.clone(),
                listener: options.on_blocked.clone(),
                blocked,
                sample,
            });
        }
        pause.min(again)
    }

    /// What keeps the hub, and where. `None` if it was mostly waiting for a processor: it has not
    /// computed for half of `least` yet, or was not seen in the same place of the kernel for as long; or
    /// if nothing is known.
    fn activity(
        &mut self,
        task: TaskId,
        least: Duration,
        now: u64,
    ) -> Option<(BlockedActivity, Option<Sample>)> {
        // Without a descriptor the kernel cannot be asked, but the clock can.
        let activity = task::activity(task).unwrap_or(Activity::Running);
        match activity {
            Activity::Waiting {
                syscall,
                stack_pointer,
                program_counter,
            } => {
                let since = match self.waits {
                    Some((before, since)) if before == activity => since,
                    _ => now,
                };
                self.waits = Some((activity, since));
                let waited = Duration::from_nanos(now.saturating_sub(since));
                (waited >= least / 2).then(|| {
                    let sample = Sample::of_waiting(stack_pointer, program_counter);
                    (BlockedActivity::Waiting { syscall }, Some(sample))
                })
            }
            Activity::Running => {
                self.waits = None;
                let computed = task::cpu_time(task).ok()?.saturating_sub(self.computed?);
                (computed >= least / 2)
                    .then(|| (BlockedActivity::Computing, Sample::of_computing(task)))
            }
        }
    }
}

/// Gives what waits for a hub that is stuck to the others: all that is not pinned to it. Answers
/// when there is more to do.
fn offer(runtime: &Arc<Shared>, remote: &Remote, now: u64) -> Duration {
    if runtime.hub_count() == 1 {
        return LONGEST_PAUSE;
    }
    while let Some(runnable) = remote.stealer.take_any() {
        runtime.push(runnable);
    }
    let mut wakes = WakeList::new();
    let mut timers = remote.timers.lock();
    timers.expire(now, &mut |waker| wakes.push(waker));
    let next = timers.next_deadline();
    drop(timers);
    wakes.expire_all();
    next.map_or(LONGEST_PAUSE, |deadline| {
        Duration::from_nanos(deadline.saturating_sub(now)).max(SHORTEST_PAUSE)
    })
}

impl BlockingGreenlet {
    fn of(greenlet: &GreenletCell) -> Self {
        let cell = greenlet.cell();
        Self {
            id: cell.id(),
            name: cell.name().map(str::to_owned),
            spawned_at: cell.spawned_at(),
        }
    }
}

/// Writes a report to standard error, unless there was one for the same place.
fn print_once(report: &BlockedHub) {
    static PLACES: StaticMutex<Vec<Option<&Location<'_>>>> = StaticMutex::new(Vec::new());
    let place = report.greenlet.as_ref().map(|greenlet| greenlet.spawned_at);
    let mut places = PLACES.lock();
    if !places.contains(&place) {
        places.push(place);
        print(format_args!("{report}"));
    }
}

/// Writes a report to standard error.
pub(super) fn print(report: fmt::Arguments<'_>) {
    // Not `eprintln`, which panics when standard error cannot be written.
    let _ = writeln!(io::stderr(), "greenlet: {report}");
}
