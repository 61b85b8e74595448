//! Parking: the one way in which anything waits.

use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::Relaxed;

use super::coarse_clock;
use super::current;
use super::greenlet_cell::{GreenletCell, LeftAt, Run};
use super::thread_cell;
use crate::error::Cancelled;
use crate::reason::Wait;
use crate::sys::clock;
use crate::waker::{Outcome, Waker};

/// What a greenlet tells its hub when it leaves the CPU.
#[derive(Debug)]
pub(super) enum Handoff {
    /// Run others, then me.
    Yield,
    /// Run others until I am woken.
    Park(Parking),
}

/// A park, on its way from the greenlet to the hub.
#[derive(Debug)]
pub(super) struct Parking {
    pub(super) deadline: Option<u64>,
    pub(super) shielded: bool,
    /// An `Option` of the commit closure, on the greenlet's stack.
    commit: NonNull<()>,
    run: unsafe fn(NonNull<()>, Waker),
}

impl Parking {
    pub(super) fn new<C: FnOnce(Waker)>(
        deadline: Option<u64>,
        shielded: bool,
        commit: &UnsafeCell<Option<C>>,
    ) -> Self {
        Self {
            deadline,
            shielded,
            commit: NonNull::from(commit).cast(),
            run: run_commit::<C>,
        }
    }

    /// Runs the commit.
    ///
    /// # Safety
    ///
    /// Called once, while the greenlet is parked and nobody has a waker of that park yet. As soon
    /// as the commit has published the waker, the greenlet may be running elsewhere.
    #[inline]
    pub(super) unsafe fn commit(self, waker: Waker) {
        // SAFETY: `commit` points to the closure that `run` is for, and the greenlet's stack does
        // not move before the waker is published; by then `run` has moved the closure here.
        unsafe { (self.run)(self.commit, waker) }
    }
}

/// Parks the caller, a greenlet or a plain thread, until it is woken, `deadline` (in nanoseconds
/// of the monotonic clock) has passed, or it is cancelled.
///
/// `commit` publishes the waker. It runs when the greenlet's stack is off the CPU, on the hub's
/// stack and under the hub's thread pointer, so no wake can be lost and none can come too early.
/// It must not panic, and must not touch anything of the greenlet's once the waker is published.
/// It is dropped unused if the caller was cancelled before.
///
/// # Panics
///
/// Inside `on_thread_stack`.
#[inline]
pub(crate) fn park(
    wait: impl Into<Wait>,
    deadline: Option<u64>,
    commit: impl FnOnce(Waker),
) -> Outcome {
    park_with(wait.into(), deadline, false, commit)
}

/// [`park`] that cannot be cancelled: the caller has lent its stack to somebody.
pub(crate) fn park_shielded(
    wait: impl Into<Wait>,
    deadline: Option<u64>,
    commit: impl FnOnce(Waker),
) -> Outcome {
    park_with(wait.into(), deadline, true, commit)
}

/// [`park`] or [`park_shielded`].
#[inline]
pub(super) fn park_with<C: FnOnce(Waker)>(
    wait: Wait,
    deadline: Option<u64>,
    shielded: bool,
    commit: C,
) -> Outcome {
    match current::get().greenlet() {
        Some(cell) => park_greenlet(cell, wait, deadline, shielded, commit),
        None => park_thread(wait, deadline, commit),
    }
}

fn park_greenlet<C: FnOnce(Waker)>(
    cell: &GreenletCell,
    wait: Wait,
    deadline: Option<u64>,
    shielded: bool,
    commit: C,
) -> Outcome {
    let shielded = shielded || must_finish(cell);
    let commit = UnsafeCell::new(Some(commit));
    let parking = Parking::new(deadline, shielded, &commit);
    cell.cell().waits_for().begin(wait, coarse_clock::now());
    // Lives until the greenlet is back, for those who look at it meanwhile.
    let left_at = LeftAt::here();
    // SAFETY: `cell` is the running greenlet.
    let run = unsafe { switch_out(cell, &raw const left_at, Handoff::Park(parking)) };
    cell.cell().waits_for().end();
    let outcome = cell.header().outcome();
    if deadline.is_some() {
        forget_timer(cell, run, outcome);
    }
    outcome
}

/// Moves the closure to the present stack and calls it.
///
/// # Safety
///
/// `commit` points to an `UnsafeCell<Option<C>>` that nobody else uses up to the moment in which
/// the closure publishes its waker.
unsafe fn run_commit<C: FnOnce(Waker)>(commit: NonNull<()>, waker: Waker) {
    // SAFETY: the type and the exclusive use are the caller's promise.
    let commit = unsafe { (*commit.cast::<UnsafeCell<Option<C>>>().as_ref().get()).take() };
    commit.expect("a park is committed once")(waker);
}

/// The timer of a park with a deadline, if the park ended otherwise.
pub(super) fn forget_timer(cell: &GreenletCell, run: *mut Run, outcome: Outcome) {
    // SAFETY: the greenlet runs, so its `run` is its own.
    let (timer, hub) = unsafe { ((*run).timer.take(), (*run).timer_hub) };
    let Some(key) = timer.filter(|_| outcome != Outcome::Deadline) else {
        return;
    };
    // SAFETY: the greenlet is alive, so its runtime is.
    let remote = unsafe { &(*cell.shared()).hubs[usize::from(hub)] };
    let waker = remote.timers.lock().cancel(key);
    drop(waker);
}

/// Leaves the CPU at `left_at`, null if that is not noted. Returns when the greenlet is resumed, perhaps on
/// another worker.
///
/// # Safety
///
/// `cell` is the running greenlet.
#[inline]
unsafe fn switch_out(cell: &GreenletCell, left_at: *const LeftAt, handoff: Handoff) -> *mut Run {
    let run = cell.run.get();
    // SAFETY: the greenlet runs, so its `run` is its own; the yielder lies on its stack.
    unsafe {
        if (*run).off_stack {
            cannot_park();
        }
        (*run).left_at.store(left_at.cast_mut(), Relaxed);
        (*(*run).yielder).suspend(handoff);
    }
    run
}

fn park_thread(wait: Wait, deadline: Option<u64>, commit: impl FnOnce(Waker)) -> Outcome {
    let cell = current::thread();
    cell.waits_for().begin(wait, clock::now());
    // SAFETY: `current::thread` answers with this thread's cell.
    let outcome = unsafe { thread_cell::park(&cell, deadline, commit) };
    cell.waits_for().end();
    outcome
}

/// Lets others run. On a plain thread: `std::thread::yield_now`.
///
/// # Panics
///
/// Inside `on_thread_stack`. Unwinds if the greenlet was cancelled.
#[inline]
pub(crate) fn yield_now() {
    let Some(cell) = current::get().greenlet() else {
        return std::thread::yield_now();
    };
    // Where it is is not noted: with a thousand greenlets that yield, another line of the cache costs a tenth.
    // SAFETY: `cell` is the running greenlet.
    unsafe { switch_out(cell, ptr::null(), Handoff::Yield) };
    unwind_if(cell);
}

/// For what cannot be cancelled once it has begun: unwinds a greenlet that was cancelled before.
#[inline]
pub(crate) fn unwind_if_cancelled() {
    if let Some(cell) = current::get().greenlet() {
        unwind_if(cell);
    }
}

/// Unwinds the running greenlet, which is `cell`, if it was cancelled and need not finish first.
#[inline]
fn unwind_if(cell: &GreenletCell) {
    if cell.header().is_cancelled() && !must_finish(cell) {
        unwind_cancelled();
    }
}

/// [`yield_now`], but not inside `on_thread_stack`: for a caller that does not have to wait.
#[cold]
pub(super) fn yield_if_possible() {
    if can_park() {
        yield_now();
    }
}

/// Whether the caller may park: it is not inside `on_thread_stack`.
pub(crate) fn can_park() -> bool {
    current::get().greenlet().is_none_or(|cell| {
        // SAFETY: the greenlet runs, so its `run` is its own.
        unsafe { !(*cell.run.get()).off_stack }
    })
}

/// For who must not begin what it could not wait for.
///
/// # Panics
///
/// Inside `on_thread_stack`, as a park would.
#[track_caller]
pub(crate) fn assert_can_park() {
    if !can_park() {
        cannot_park();
    }
}

#[cold]
#[track_caller]
fn cannot_park() -> ! {
    panic!("a greenlet cannot park or yield inside `on_thread_stack`");
}

/// Whether the running greenlet, which is `cell`, finishes what it has begun though it was
/// cancelled: while it unwinds, because a second unwinding would abort, and when it closes.
fn must_finish(cell: &GreenletCell) -> bool {
    // SAFETY: the greenlet runs, so its `run` is its own.
    std::thread::panicking() || unsafe { (*cell.run.get()).closing }
}

/// Runs `f`, whose waits are not cancelled: nobody could catch what they would unwind with.
pub(super) fn shielded<R>(f: impl FnOnce() -> R) -> R {
    let Some(cell) = current::get().greenlet() else {
        return f();
    };
    let run = cell.run.get();
    // SAFETY: the greenlet runs, before `f` and after, so its `run` is its own; `f` does not unwind.
    unsafe {
        let before = std::mem::replace(&mut (*run).closing, true);
        let result = f();
        (*run).closing = before;
        result
    }
}

/// Ends the greenlet by unwinding it, without a panic message: it was cancelled.
#[cold]
pub(crate) fn unwind_cancelled() -> ! {
    std::panic::resume_unwind(Box::new(Cancelled::new()))
}

/// Runs `f` on the worker's own stack, which is as large as OS threads' stacks are.
pub(crate) fn on_thread_stack<R>(f: impl FnOnce() -> R) -> R {
    let Some(cell) = current::get().greenlet() else {
        return f();
    };
    let run = cell.run.get();
    // SAFETY: the greenlet runs, so its `run` is its own; so far for every use below.
    let (off_stack, yielder) = unsafe { ((*run).off_stack, (*run).yielder) };
    if off_stack {
        return f();
    }
    let hub = current::get().hub().expect("a greenlet runs on a hub");
    let _back = OffStack::enter(run, hub.stack());
    let f = SameThread(f);
    // SAFETY: the yielder lies on the greenlet's stack, and the greenlet is running.
    unsafe { (*yielder).on_parent_stack(|| f.call()) }
}

/// `on_parent_stack` takes the parent for another thread. Here it is not: the thread pointer
/// stays, and with it all that Rust knows a thread by.
struct SameThread<F>(F);

// SAFETY: the closure is called by the same greenlet, with the same thread-locals.
unsafe impl<F> Send for SameThread<F> {}

impl<F: FnOnce() -> R, R> SameThread<F> {
    fn call(self) -> R {
        (self.0)()
    }
}

/// While it lives, the greenlet is on its worker's stack, and says so.
struct OffStack {
    run: *mut Run,
    /// The bounds of the greenlet's own stack, if it has a block that tells them.
    bounds: Option<std::ops::Range<usize>>,
}

impl OffStack {
    fn enter(run: *mut Run, worker: std::ops::Range<usize>) -> Self {
        // SAFETY: `run` is the running greenlet's, whose frame this is called from.
        let ground = unsafe {
            (*run).off_stack = true;
            (*run).ground.as_ref()
        };
        let block = ground.and_then(|ground| ground.block());
        // SAFETY: the greenlet is about to go over to the worker's stack.
        let bounds = block.map(|block| unsafe { block.swap_stack_bounds(worker) });
        Self { run, bounds }
    }
}

impl Drop for OffStack {
    fn drop(&mut self) {
        // SAFETY: as in `enter`: no park came in between.
        let ground = unsafe {
            (*self.run).off_stack = false;
            (*self.run).ground.as_ref()
        };
        if let (Some(bounds), Some(block)) = (self.bounds.take(), ground.and_then(|g| g.block())) {
            // SAFETY: the greenlet is back on its own stack.
            unsafe { block.swap_stack_bounds(bounds) };
        }
    }
}
