//! Handles to greenlets, and the one that is running.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::sched::{self, CellRef, Id};
use crate::sys::clock;
use crate::waker::Outcome;

/// A handle to a greenlet, or to a plain thread that has asked for its own; std's
/// [`Thread`](std::thread::Thread).
#[derive(Clone)]
#[repr(transparent)]
pub struct Greenlet(CellRef);

impl Greenlet {
    pub(crate) fn from_ref(cell: &CellRef) -> &Self {
        // SAFETY: the same layout, by `repr(transparent)`.
        unsafe { &*std::ptr::from_ref(cell).cast() }
    }

    pub(crate) fn cell(&self) -> &CellRef {
        &self.0
    }

    /// Its number.
    pub fn id(&self) -> Id {
        self.0.id()
    }

    /// The name it was given by [`Builder::name`](crate::Builder::name); for a plain thread, that
    /// thread's.
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.0.spawned_at()
    }

    /// Makes its token available: its present [`park`], or the next one, returns. The token does
    /// not count: several calls are as one. May be called from any thread, and after the greenlet
    /// has ended.
    ///
    /// Follows [`std::thread::Thread::unpark`].
    pub fn unpark(&self) {
        self.0.give_token();
    }
}

/// Tells also what the greenlet waits for at the moment, if it does.
impl fmt::Debug for Greenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greenlet")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("spawned_at", &format_args!("{}", self.spawned_at()))
            .field("waits_for", &self.0.waits_for().get())
            .finish()
    }
}

/// A handle to the running greenlet. On a plain thread: to that thread.
///
/// Follows [`std::thread::current`].
///
/// ```
/// greenlet::run(|| assert_eq!(greenlet::current().name(), Some("main")));
/// ```
pub fn current() -> Greenlet {
    Greenlet(sched::current_cell())
}

/// Waits until the token of the running greenlet (or plain thread) is available, and takes it.
/// May return without it; callers check what they wait for in a loop.
///
/// Follows [`std::thread::park`].
///
/// # Panics
///
/// Inside [`on_thread_stack`]. Unwinds with [`Cancelled`](crate::Cancelled) when the runtime is
/// dropped.
///
/// ```
/// greenlet::run(|| {
///     let main = greenlet::current();
///     greenlet::spawn(move || main.unpark());
///     greenlet::park();
/// });
/// ```
pub fn park() {
    take_token(None);
}

/// [`park`], for `timeout` at most.
///
/// Follows [`std::thread::park_timeout`].
///
/// # Panics
///
/// As [`park`].
pub fn park_timeout(timeout: Duration) {
    take_token(Some(clock::after(timeout)));
}

fn take_token(deadline: Option<u64>) {
    // SAFETY: the cell of who calls this.
    finish(unsafe { sched::current_cell().take_token(deadline) });
}

/// Waits for `duration`, or some microseconds more. On a plain thread: [`std::thread::sleep`].
///
/// A sleep of zero lets others run.
///
/// # Panics
///
/// As [`park`].
///
/// ```
/// use std::time::{Duration, Instant};
///
/// greenlet::run(|| {
///     let start = Instant::now();
///     greenlet::sleep(Duration::from_millis(5));
///     assert!(start.elapsed() >= Duration::from_millis(5));
/// });
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return yield_now();
    }
    if !sched::on_greenlet() {
        return std::thread::sleep(duration);
    }
    sleep_to(clock::after(duration));
}

/// Waits until `deadline`; a moment that has passed lets others run.
///
/// # Panics
///
/// As [`park`].
pub fn sleep_until(deadline: Instant) {
    sleep(deadline.saturating_duration_since(Instant::now()));
}

fn sleep_to(deadline: u64) {
    finish(sched::park(
        crate::reason::WaitReason::Sleep,
        Some(deadline),
        drop,
    ));
}

/// Lets other greenlets run. On a plain thread: [`std::thread::yield_now`].
///
/// # Panics
///
/// As [`park`].
///
/// ```
/// greenlet::run(|| {
///     let other = greenlet::spawn(|| 1);
///     while !other.is_finished() {
///         greenlet::yield_now();
///     }
/// });
/// ```
#[inline]
pub fn yield_now() {
    sched::yield_now();
}

/// The number of the hub that runs the caller, from 0; `None` on a thread that is no worker.
///
/// A greenlet that is not pinned may be on another hub after its next wait.
pub fn hub_id() -> Option<usize> {
    sched::hub_id()
}

/// Runs `f` on the worker's own stack: for a function that needs more stack than the greenlet
/// has. The thread-locals stay the greenlet's. On a plain thread, and inside another
/// `on_thread_stack`, `f` is simply called.
///
/// The worker's stack is as large as that of an OS thread (2 MiB, or `RUST_MIN_STACK`). The hub
/// runs nobody else meanwhile.
///
/// # Panics
///
/// If `f` waits or yields: it cannot leave a stack that is not its own. A panic of `f` goes on in
/// the caller.
///
/// ```
/// fn depth(n: u32) -> u32 {
///     let room = std::hint::black_box([n; 256]);
///     if n == 0 { 0 } else { 1 + depth(room[0] - 1) }
/// }
///
/// greenlet::run(|| {
///     assert_eq!(greenlet::on_thread_stack(|| depth(200)), 200);
/// });
/// ```
pub fn on_thread_stack<R>(f: impl FnOnce() -> R) -> R {
    sched::on_thread_stack(f)
}

fn finish(outcome: Outcome) {
    if outcome == Outcome::Cancelled {
        sched::unwind_cancelled();
    }
}
