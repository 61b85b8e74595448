//! The hub: the loop that a worker runs between greenlets.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use super::cell::Id;
use super::current::{self, Current};
use super::greenlet_cell::{GreenletCell, Runnable, hub_number};
use super::ground::GreenletGround;
use super::monitor;
use super::queue::{Pushed, RunQueue};
use super::recording::UNKNOWN;
use super::shared::{Counters, Departed, Remote, Shared, TRIM_BATCH};
use super::usage::Sampler;
use crate::abort::AbortOnUnwind;
use crate::arch::{self, FloatControl};
use crate::atomic::deque::{Injector, Steal};
use crate::record::{Event, Owner, Recorder};
use crate::stack::{Pool, Trimmer};
use crate::sys::clock;
use crate::sys::errno;
use crate::sys::task::TaskId;
use crate::tls::{self, Words};
use crate::waker::{Header, WakeList};

/// After so many switches a busy hub looks at the reactor, the timers and the injector first. A
/// prime, so that no pattern of the program falls in with it.
const LOOK_AROUND: u32 = 61;

/// What operations in a row may cost that need not wait; then the greenlet yields.
const BUDGET: u32 = 1024;
/// Of that, an operation whose descriptor was ready: 128 of them.
pub(super) const IO_COST: u32 = 8;
/// One that makes no system call, as on a channel.
pub(super) const MEMORY_COST: u32 = 1;

/// A hub with more timers than this wakes for several of them together,
const MANY_TIMERS: usize = 256;
/// at most so many nanoseconds late: a power of two. A wake-up costs about a tenth of that.
const TOGETHER: u64 = 1 << 16;

/// Greenlet numbers are fetched in batches.
const ID_BATCH: u64 = 1024;

/// So many warm stacks of a size stay with a hub, however long it is idle.
const KEPT_STACKS: usize = 8;

/// A spawn in this many looks how many greenlets there are.
const PEAK_SAMPLE: u64 = 32;

/// A worker's hub. Used by that worker's thread only: by its loop, and by the greenlets it runs.
/// None of the borrows of its `RefCell`s is held over a switch.
#[derive(Debug)]
pub(crate) struct Hub {
    index: usize,
    shared: Arc<Shared>,
    /// The worker's own.
    pub(super) thread_pointer: usize,
    /// From a thread pointer to that thread's or greenlet's `current` thread-local.
    pub(super) current_offset: usize,
    /// The bounds of the worker's stack.
    stack: Range<usize>,
    /// The words of thread-locals that greenlets share with their worker; `None` if they share
    /// them all.
    pub(super) words: Option<&'static Words>,
    /// How the worker's floating-point arithmetic is set.
    pub(super) float_control: FloatControl,
    pub(super) queue: RunQueue,
    pub(super) stacks: RefCell<Pool<GreenletGround>>,
    /// Whether the runtime's end was seen, and the greenlets in the registry cancelled.
    ending: Cell<bool>,
    /// Switches since the hub began, wrapping.
    tick: Cell<u32>,
    searching: Cell<bool>,
    /// It was the one that polled, and has found nothing to run since.
    has_polled: Cell<bool>,
    wakes: RefCell<WakeList>,
    budget: Cell<u32>,
    ids: RefCell<Range<u64>>,
    random: Cell<u64>,
    pub(super) sampler: Sampler,
    pub(super) recorder: Recorder,
    /// When the present run began, in ticks, while that is recorded; otherwise 0.
    pub(super) run_began: Cell<u64>,
    /// A moment, in ticks, that goes for what is recorded next: to tell the time takes longer than all
    /// else. 0 if there is none.
    pub(super) moment: Cell<u64>,
    /// The number of the greenlet that was the last to leave the CPU; 0 after a poll, [`UNKNOWN`] while nothing
    /// was recorded.
    pub(super) stopped: Cell<u64>,
}

/// What a hub does after a greenlet has left the CPU.
pub(super) enum Turn {
    /// It runs the same one, which has yielded, for there is no other.
    Same,
    /// It runs this one, which has started.
    Next(Runnable),
    /// It does something under its own thread pointer first, and then runs this one, if there is one already.
    Hub(Option<Runnable>),
}

impl Hub {
    pub(super) fn new(
        index: usize,
        shared: Arc<Shared>,
        queue: RunQueue,
        stack: Range<usize>,
    ) -> Self {
        let owner = Owner {
            runtime: shared.number,
            hub: hub_number(index),
            thread: TaskId::current().as_raw() as u32,
        };
        Self {
            index,
            thread_pointer: arch::thread_pointer(),
            current_offset: (current::place() as usize).wrapping_sub(arch::thread_pointer()),
            stack,
            words: shared.support.map(tls::Support::words),
            float_control: arch::float_control(),
            shared,
            queue,
            stacks: RefCell::new(Pool::new(KEPT_STACKS)),
            ending: Cell::new(false),
            tick: Cell::new(0),
            searching: Cell::new(false),
            has_polled: Cell::new(false),
            wakes: RefCell::new(WakeList::new()),
            budget: Cell::new(BUDGET),
            ids: RefCell::new(0..0),
            random: Cell::new(arch::cycles() | 1),
            sampler: Sampler::new(),
            recorder: Recorder::new(owner),
            run_began: Cell::new(0),
            moment: Cell::new(0),
            stopped: Cell::new(UNKNOWN),
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn thread_pointer(&self) -> usize {
        self.thread_pointer
    }

    /// The bounds of the worker's own stack.
    pub(super) fn stack(&self) -> Range<usize> {
        self.stack.clone()
    }

    #[inline]
    pub(super) fn belongs_to(&self, shared: *const Shared) -> bool {
        ptr::eq(Arc::as_ptr(&self.shared), shared)
    }

    pub(super) fn remote(&self) -> &Remote {
        &self.shared.hubs[self.index]
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.remote().counters
    }

    /// Runs greenlets until the runtime ends.
    pub(super) fn run(&self) {
        let guard = AbortOnUnwind::arm("a hub");
        current::set(Current::new(self, ptr::null()));
        self.recorder.attached(|| self.run_greenlets());
        // The end that made it over may not have seen that the runtime ends, and told nobody.
        self.shared.notify_all();
        current::set(Current::new(ptr::null(), ptr::null()));
        self.welcome_home();
        self.stacks
            .borrow_mut()
            .drain()
            .for_each(GreenletGround::discard);
        guard.disarm();
    }

    /// Not inlined: it changes the thread pointer, and its caller uses a thread-local.
    #[inline(never)]
    fn run_greenlets(&self) {
        self.attend_recording();
        let mut next = None;
        loop {
            // Now and then look around, however much there is to do.
            let tick = self.tick.get().wrapping_add(1);
            self.tick.set(tick);
            if tick.is_multiple_of(LOOK_AROUND) {
                self.look_around();
                // What has come may run instead of one that has yielded, of which nobody was told.
                self.notify_if_mixed();
                // Without unwinding, greenlets that only yield would go on for ever.
                if cfg!(panic = "abort") && self.shared.is_over() {
                    break;
                }
            }
            if let Some(runnable) = next.take().or_else(|| self.find_work()) {
                next = self.switch_in(runnable);
            } else if self.shared.is_over() {
                break;
            } else {
                self.sleep();
            }
        }
    }

    /// What comes after a greenlet that has yielded, and is in no queue yet. If the hub need not go home for it,
    /// it is recorded.
    ///
    /// Called under that greenlet's thread pointer; it finds `errno` as it was. Not inlined, because its caller
    /// changes the thread pointer.
    #[inline(never)]
    pub(super) fn turn(&self, yielded: &GreenletCell) -> Turn {
        let tick = self.tick.get().wrapping_add(1);
        if tick.is_multiple_of(LOOK_AROUND) {
            return Turn::Hub(None);
        }
        self.tick.set(tick);
        errno::keep(|| {
            let next = self.queue.pop();
            if next.as_ref().is_some_and(|next| !next.is_started()) {
                return Turn::Hub(next);
            }
            let runs = next.as_ref().map_or(yielded, Runnable::cell);
            if self.recorder.takes_part() && !self.record_turn(yielded, runs) {
                return Turn::Hub(next);
            }
            next.map_or(Turn::Same, Turn::Next)
        })
    }

    #[inline]
    pub(super) fn find_work(&self) -> Option<Runnable> {
        // Try the own queue.
        let found = self.queue.pop();
        if found.is_some() && !self.searching.get() && !self.has_polled.get() {
            return found;
        }
        found
            .or_else(|| self.find_work_slow())
            .inspect(|_| self.found_work())
    }

    /// Not inlined: a deque of another hub may use a thread-local, and the caller changes the thread pointer.
    #[cold]
    #[inline(never)]
    fn find_work_slow(&self) -> Option<Runnable> {
        self.moment.set(0);
        self.attend();
        // Try what others have left for this hub, or for any.
        self.take_from_outside()
            // Try greenlets whose time has come.
            .or_else(|| self.expire_timers().then(|| self.queue.pop()).flatten())
            // Try stealing.
            .or_else(|| self.steal())
    }

    /// A searching hub that has found work stops searching. The last one wakes another, because
    /// nobody was woken for what was pushed while it searched. And so does the one that polled:
    /// who knows how long it will be away.
    fn found_work(&self) {
        let was_last = self.searching.replace(false) && self.shared.idle.stop_searching();
        if self.has_polled.replace(false) || was_last {
            self.shared.notify();
        }
    }

    fn take_from_outside(&self) -> Option<Runnable> {
        let fetched = self
            .fetch(&self.remote().inbox)
            .or_else(|| self.fetch(&self.shared.injector));
        fetched.and_then(|()| self.queue.pop())
    }

    fn fetch(&self, injector: &Injector<Runnable>) -> Option<()> {
        self.queue
            .fetch(injector)
            .map(|pushed| self.notify_of(pushed))
    }

    /// Takes half of what another hub has queued.
    fn steal(&self) -> Option<Runnable> {
        let count = self.shared.hub_count();
        if count == 1 || !self.may_search() {
            return None;
        }
        let first = self.next_random() as usize % count;
        for victim in (0..count).map(|offset| (first + offset) % count) {
            if victim == self.index {
                continue;
            }
            let stolen = self.queue.rob(&self.shared.hubs[victim].stealer);
            if stolen.is_some() {
                self.counters().steals.increment();
                if self.recorder.takes_part() {
                    let victim = hub_number(victim);
                    self.record(|_| Event::Steal { victim });
                }
                return stolen;
            }
        }
        None
    }

    fn may_search(&self) -> bool {
        if !self.searching.get() {
            self.searching.set(self.shared.idle.start_searching());
        }
        self.searching.get()
    }

    /// xorshift64: any numbers will do.
    pub(super) fn next_random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }

    /// Gives everybody a chance whom a full queue would starve.
    #[cold]
    fn look_around(&self) {
        self.moment.set(0);
        self.attend();
        self.fetch(&self.remote().inbox);
        self.fetch(&self.shared.injector);
        self.expire_timers();
        if self.shared.reactor.registered() > 0 {
            let mut wakes = self.wakes.take();
            let has_polled = self.shared.reactor.poll(&mut wakes);
            if has_polled && self.recorder.takes_part() {
                self.record_poll(wakes.len());
            }
            wakes.wake_all();
            self.moment.set(0);
            self.wakes.replace(wakes);
            if has_polled {
                // Nobody waits in the poll: one that sleeps should, for this hub is busy.
                self.shared.notify();
            }
        }
        self.shared.sample_peak();
        if self.trim_due().is_some() {
            self.trim(Trimmer::Busy);
        }
    }

    /// Does what others have asked of this hub.
    fn attend(&self) {
        self.welcome_home();
        self.publish_numbers();
        self.attend_recording();
        if self.shared.is_ending() && !self.ending.replace(true) && cfg!(panic = "unwind") {
            // Without unwinding a greenlet cannot be ended; then the hub just stops.
            // SAFETY: this is the hub's thread.
            unsafe { self.remote().registry.for_each(GreenletCell::cancel) };
        }
    }

    /// Says what others cannot see, for the metrics.
    fn publish_numbers(&self) {
        let counters = self.counters();
        counters.unstealable.set(self.queue.unstealable());
        counters.warm_stacks.set(self.stacks.borrow().total());
    }

    /// Takes greenlets that have ended elsewhere out of the registry.
    fn welcome_home(&self) {
        loop {
            let cell = match self.remote().departed.steal() {
                Steal::Success(Departed(cell)) => cell,
                Steal::Retry => continue,
                Steal::Empty => return,
            };
            // SAFETY: this hub started it, and it was not removed before; its own reference came
            // with it.
            unsafe {
                self.remote().registry.remove(cell);
                Header::release(cell.cast());
            }
        }
    }

    /// Wakes the greenlets whose deadline has passed. Answers whether there were any.
    fn expire_timers(&self) -> bool {
        let mut timers = self.remote().timers.lock();
        if timers.is_empty() {
            return false;
        }
        let mut wakes = self.wakes.take();
        timers.expire(clock::now(), &mut |waker| wakes.push(waker));
        drop(timers);
        let any = !wakes.is_empty();
        if any && self.recorder.takes_part() {
            self.record_timers(wakes.len());
        }
        wakes.expire_all();
        self.moment.set(0);
        self.wakes.replace(wakes);
        any
    }

    /// Waits for something to do.
    #[cold]
    pub(super) fn sleep(&self) {
        self.shared.sample_peak();
        let shared = &*self.shared;
        // Say so, then look once more: whoever pushes work after this look sees the sleeper.
        shared
            .idle
            .announce_sleep(self.index, self.searching.replace(false));
        if !self.sees_work() {
            let deadline = self.next_deadline();
            let timeout = deadline.map(|deadline| deadline.saturating_sub(clock::now()));
            let mut wakes = self.wakes.take();
            let timeout = timeout.map(Duration::from_nanos);
            self.counters().sleeps.increment();
            if self.recorder.takes_part() {
                self.record(|_| Event::Sleep);
            }
            let bed = &self.remote().bed;
            // Only `found_work` takes it back: an earlier poll may not have found anything to run.
            let has_polled = bed.sleep(&shared.reactor, timeout, &mut wakes);
            if has_polled {
                self.has_polled.set(true);
            }
            if self.recorder.takes_part() {
                self.record_awake(has_polled.then_some(wakes.len()));
            }
            monitor::hub_woke();
            if deadline.is_some() {
                self.trim(Trimmer::Idle);
            }
            self.searching.set(shared.idle.retract_sleep(self.index));
            wakes.wake_all();
            self.moment.set(0);
            self.wakes.replace(wakes);
        } else {
            self.searching.set(shared.idle.retract_sleep(self.index));
        }
    }

    /// Whether there is work that this hub could take.
    fn sees_work(&self) -> bool {
        !self.queue.is_empty()
            || !self.remote().inbox.is_empty()
            || !self.shared.injector.is_empty()
            || self
                .shared
                .hubs
                .iter()
                .any(|remote| !remote.stealer.is_empty())
            || self.shared.is_over()
    }

    /// When the hub has to look around again, at the latest.
    fn next_deadline(&self) -> Option<u64> {
        let timers = self.remote().timers.lock();
        let timer = timers.next_deadline();
        let many = timers.len() > MANY_TIMERS;
        drop(timers);
        // Where there are many, several are due at every wake-up.
        let timer = timer.map(|deadline| match many {
            true => deadline | (TOGETHER - 1),
            false => deadline,
        });
        [timer, self.trim_due()].into_iter().flatten().min()
    }

    /// When warm stacks, the hub's own or the depot's, should be looked at, if there are any.
    fn trim_due(&self) -> Option<u64> {
        let due = [self.stacks.borrow().trim_due(), self.shared.trim_due()];
        due.into_iter().flatten().min()
    }

    /// Gives stacks back that nobody missed for a while.
    #[cold]
    fn trim(&self, trimmer: Trimmer) {
        let now = clock::now();
        self.shared.trim(now, trimmer);
        let trimmed = (self.stacks.borrow_mut()).trim(now, trimmer, TRIM_BATCH);
        trimmed.into_iter().for_each(GreenletGround::discard);
    }

    /// Queues a greenlet behind all others.
    #[inline]
    pub(super) fn push_back(&self, runnable: Runnable) {
        self.notify_of(self.queue.push_back(runnable));
    }

    /// Queues a greenlet whose deadline has passed.
    pub(super) fn push_due(&self, runnable: Runnable) {
        self.notify_of(self.queue.push_due(runnable));
    }

    /// Queues a greenlet that has yielded. Others need not be told: there is as much to run as before,
    /// unless what runs now instead is where nobody could have stolen it.
    #[inline]
    pub(super) fn push_yielded(&self, runnable: Runnable) {
        self.queue.push_back(runnable);
        self.notify_if_mixed();
    }

    /// Queues a greenlet that has yielded when the next one was taken from the queue already. Others are
    /// told: while it was in no queue they may have found nothing.
    ///
    /// Called on the hub, or under the thread pointer of the greenlet that runs next, which finds `errno` as it
    /// was. Not inlined, because its caller changes the thread pointer.
    #[inline(never)]
    pub(super) fn push_overtaken(&self, runnable: Runnable) {
        errno::keep(|| self.push_back(runnable));
    }

    /// Queues a greenlet that the running one has woken, to be run next.
    #[inline]
    pub(super) fn push_next(&self, runnable: Runnable) {
        self.notify_of(self.queue.push_next(runnable));
    }

    #[inline]
    fn notify_of(&self, pushed: Pushed) {
        if pushed == Pushed::Stealable && self.shared.hub_count() > 1 {
            self.shared.notify();
        }
    }

    /// Others are told of what they could steal when something else may run instead.
    #[inline]
    fn notify_if_mixed(&self) {
        if self.queue.is_mixed() {
            self.shared.notify();
        }
    }

    /// A number for a new greenlet.
    pub(super) fn next_id(&self) -> Id {
        let mut ids = self.ids.borrow_mut();
        let number = ids.next().unwrap_or_else(|| {
            *ids = Id::reserve(ID_BATCH);
            ids.next().expect("a batch is not empty")
        });
        Id::new(number)
    }

    /// Counts and queues a new greenlet.
    pub(super) fn spawn(&self, runnable: Runnable) {
        let counters = self.counters();
        counters.spawned.increment();
        if counters.spawned.get().is_multiple_of(PEAK_SAMPLE) {
            self.shared.sample_peak();
        }
        match runnable.cell().pinned() {
            Some(hub) if hub != self.index => self.shared.push_pinned(hub, runnable),
            _ => self.push_back(runnable),
        }
    }

    /// A greenlet is about to run: it may do so much without a wait.
    #[inline]
    pub(super) fn grant_budget(&self) {
        self.budget.set(BUDGET);
    }

    /// A greenlet has read a file.
    #[inline]
    pub(super) fn count_read(&self, offloaded: bool) {
        let counters = self.counters();
        if offloaded {
            counters.reads_offloaded.increment();
        } else {
            counters.reads_inline.increment();
        }
    }

    /// An operation need not wait. Answers whether it is somebody else's turn.
    #[inline]
    pub(super) fn spend(&self, cost: u32) -> bool {
        let left = self.budget.get().saturating_sub(cost);
        self.budget.set(left);
        left == 0 && self.spent()
    }

    /// Those whose turn it is may be waiting for a descriptor or a timer themselves, so the hub
    /// looks around next: so many operations can take as long as thousands of switches.
    #[cold]
    fn spent(&self) -> bool {
        self.budget.set(BUDGET);
        self.tick.set(LOOK_AROUND - 1);
        true
    }
}
