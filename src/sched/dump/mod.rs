//! Dumps: what every greenlet is doing, taken while the program runs.
//!
//! | file | noun |
//! |---|---|
//! | `collect` | looking: at hubs, at cells by references of their own, at stacks by copies |
//! | `stack` | the stack of one greenlet, as addresses |
//! | `text`, `json` | how a dump is written |
//!
//! Nobody takes part who is looked at. The lists of greenlets are read under their biased locks
//! (`registry`), which hold a hub up only if it starts or ends a greenlet at that moment; each greenlet's cell
//! is kept by a reference. A stack is copied by the kernel, which does not mind if it is gone, and the
//! copy counts only if the greenlet has not run meanwhile. Unwinding and names come last, from the copies.

mod collect;
mod json;
mod stack;
mod text;

use std::panic::Location;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use super::blocked::BlockedActivity;
use super::cell::Id;
use super::current;
use super::lock_owner::LockOwner;
use super::park;
use crate::reason::WaitReason;

/// What every greenlet of the process does: by [`dump`].
///
/// It is not a moment: the program goes on while it is taken, and each greenlet is told as it was when
/// it was looked at. What is told of one greenlet belongs together, but for a wait and its duration, which may be
/// of two waits in a row.
///
/// Its [`Display`](std::fmt::Display) is for people: greenlets that do the same at the same place are shown together,
/// and what is too long is cut. [`to_json`](Self::to_json) has everything.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dump {
    /// The runtimes, the oldest first.
    pub runtimes: Vec<RuntimeDump>,
    /// Greenlets that wait in a circle, each for the next one and the last for the first: they will wait for
    /// ever, unless a wait has a deadline.
    pub cycles: Vec<Vec<Id>>,
    /// Threads of the blocking pool.
    pub blocking_threads: usize,
    /// Those of them that have nothing to do.
    pub blocking_idle: usize,
    /// Jobs that wait for such a thread.
    pub blocking_queued: usize,
    /// Plain threads that wait in this crate without a deadline, as in [`Runtime::run`](crate::Runtime::run).
    pub waiting_threads: usize,
    /// How long it took to look, without looking up names.
    pub took: Duration,
}

/// A runtime, as in a [`Dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeDump {
    /// Its hubs, by number.
    pub hubs: Vec<HubDump>,
    /// Its greenlets that have started and not ended, by number; as many as
    /// [`max_greenlets`](DumpOptions::max_greenlets) allows.
    pub greenlets: Vec<GreenletDump>,
    /// How many there are beside those.
    pub left_out: usize,
    /// Greenlets that were spawned and have not run yet; about, because others were looked at later.
    pub not_started: usize,
    /// Greenlets in queues that every hub takes from.
    pub queued: usize,
    /// Descriptors that its reactor watches.
    pub descriptors: usize,
    /// It is being dropped.
    pub is_ending: bool,
}

/// A hub, as in a [`Dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubDump {
    /// Its number, from 0.
    pub number: usize,
    /// The kernel's number of its thread, if that runs.
    pub thread: Option<i32>,
    /// What it does.
    pub state: HubState,
    /// Greenlets that wait to be run by it, unless others take them; without the one that is next. Of those that only it
    /// may run, those that were spawned or woken elsewhere and which it has not fetched yet.
    pub queued: usize,
    /// Greenlets that have a deadline and have parked on it.
    pub timers: usize,
    /// How often it has switched to a greenlet.
    pub switches: u64,
    /// Whether its greenlets could be listed. Not where the kernel refuses `membarrier` after having
    /// granted it.
    pub is_listed: bool,
}

/// What a hub does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubState {
    /// It has not begun, or has ended.
    Absent,
    /// It sleeps: there is nothing to do.
    Asleep,
    /// It is between greenlets.
    Busy,
    /// It runs a greenlet.
    Running {
        /// Which; none if it was not found.
        greenlet: Option<Id>,
        /// For how long at least, if it has done so for the whole time of the dump.
        since: Option<Duration>,
        /// What it was doing then.
        activity: Option<BlockedActivity>,
    },
}

/// A greenlet, as in a [`Dump`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GreenletDump {
    /// Its number.
    pub id: Id,
    /// Its name.
    pub name: Option<String>,
    /// The greenlet that spawned it; none if a plain thread did.
    pub parent: Option<Id>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// The hub that it must run on, if there is one.
    pub pinned: Option<usize>,
    /// What it does.
    pub state: GreenletState,
    /// Who has called whom, the innermost function first; as a text, for people. With the feature
    /// `stacks` the whole stack, names and lines, without the scheduler's frames at both ends; otherwise where
    /// it is, and nothing more. Empty where the stack could not be had: the greenlet has yielded, or did not stay in one
    /// place for long enough, or there are more than [`max_stacks`](DumpOptions::max_stacks).
    pub stack: Vec<String>,
    /// How many bytes of its stack were in use, if it was not running.
    pub stack_used: Option<usize>,
    /// How many bytes of stack it has.
    pub stack_size: usize,
}

/// What a greenlet does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GreenletState {
    /// It runs.
    Running {
        /// On this hub.
        hub: usize,
    },
    /// It could run, and is in a queue.
    Ready,
    /// It waits.
    Waiting {
        /// For what, as one word, as in `mutex` or `io-read`.
        reason: &'static str,
        /// The same as a text, as in `for the Mutex at 0x7f001000`.
        what: String,
        /// The number of what it waits for: a descriptor, an address, a greenlet.
        object: Option<u64>,
        /// Who has it, or is to end, where that is known.
        owner: Option<LockOwner>,
        /// How long, up to some milliseconds.
        since: Duration,
    },
    /// It takes this dump.
    Dumping,
}

/// What is wanted of a dump.
///
/// ```
/// # greenlet::run(|| {
/// let dump = greenlet::DumpOptions::new().stacks(false).take();
/// println!("{} greenlets", dump.greenlets().count());
/// # assert_eq!(dump.greenlets().count(), 1);
/// # });
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing before `take`"]
pub struct DumpOptions {
    max_greenlets: usize,
    max_stacks: usize,
}

/// So many greenlets are listed, and so many stacks are copied, unless somebody says otherwise.
const MAX_GREENLETS: usize = 1 << 20;
const MAX_STACKS: usize = 10_000;

impl Default for DumpOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl DumpOptions {
    /// All greenlets up to a million, and the stacks of up to 10,000 of them.
    pub fn new() -> Self {
        Self {
            max_greenlets: MAX_GREENLETS,
            max_stacks: MAX_STACKS,
        }
    }

    /// Whether stacks are wanted: yes, unless this says otherwise. Without them a dump takes less than a
    /// microsecond for each greenlet.
    pub fn stacks(mut self, wanted: bool) -> Self {
        self.max_stacks = if wanted { MAX_STACKS } else { 0 };
        self
    }

    /// How many greenlets are listed, over all runtimes; others are counted.
    pub fn max_greenlets(mut self, count: usize) -> Self {
        self.max_greenlets = count;
        self
    }

    /// How many stacks are copied, over all runtimes: hub by hub, of each first those of greenlets that were started
    /// last. Each takes some microseconds to copy, up to 16 KiB meanwhile, and, with the feature `stacks`, some tens of
    /// microseconds to unwind.
    pub fn max_stacks(mut self, count: usize) -> Self {
        self.max_stacks = count;
        self
    }

    /// Takes the dump, as [`dump`] does.
    #[must_use]
    pub fn take(&self) -> Dump {
        let caller = current::get().greenlet().map(|cell| cell.cell().id());
        let take = || collect::dump(self, caller);
        if caller.is_none() || !park::can_park() {
            return take();
        }
        // Names take long to look up, and much stack: on a thread of its own, whatever the pool does. It is
        // started by the hub, since OS threads are to be started by OS threads.
        let result = Arc::new(Mutex::new(None));
        let options = self.clone();
        let place = result.clone();
        let _ = park::park_shielded(WaitReason::Blocking, None, move |waker| {
            let woken = waker.clone();
            let thread = thread::Builder::new()
                .name("greenlet-dump".into())
                .spawn(move || {
                    let dump = collect::dump(&options, caller);
                    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(dump);
                    waker.wake();
                });
            if thread.is_err() {
                woken.wake();
            }
        });
        let dump = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        // There is no thread to be had.
        dump.unwrap_or_else(|| park::on_thread_stack(take))
    }
}

/// What every greenlet of the process does, with names and stacks: of all runtimes. [`_documentation::dumps`](crate::_documentation::dumps)
/// shows one, and other ways to get it.
///
/// May be called on a greenlet, which waits meanwhile, and on a plain thread. The program goes on: only a hub that starts
/// or ends a greenlet at that moment waits until the list of its greenlets was read, a tenth of a microsecond
/// for each. Hubs that are stuck do not matter. A greenlet that keeps its hub to itself for the
/// whole time is sent a signal for its stack, as for a [`BlockedHub`](crate::BlockedHub).
///
/// In a process that was forked there are no runtimes but its own.
///
/// ```
/// greenlet::run(|| {
///     let waiter = greenlet::Builder::new().name("waiter".into()).spawn(greenlet::park);
///     # let waiter = waiter.unwrap();
///     greenlet::yield_now();
///     let dump = greenlet::dump();
///     println!("{dump}");
///     # assert!(dump.to_string().contains("'waiter'"), "{dump}");
///     # waiter.thread().unpark();
/// });
/// ```
#[must_use]
pub fn dump() -> Dump {
    DumpOptions::new().take()
}

impl Dump {
    /// The greenlets of all runtimes.
    pub fn greenlets(&self) -> impl Iterator<Item = &GreenletDump> {
        self.runtimes.iter().flat_map(|runtime| &runtime.greenlets)
    }
}

impl GreenletDump {
    /// Who keeps it waiting, where that is known.
    pub fn waits_for(&self) -> Option<LockOwner> {
        match self.state {
            GreenletState::Waiting { owner, .. } => owner,
            _ => None,
        }
    }
}
