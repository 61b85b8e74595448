//! Layer 5: calls that block the OS thread go to a pool of threads, while the greenlet parks.

mod pool;
mod queue;

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

use crate::reason::WaitReason;
use crate::record::{self, Actor, Event};
use crate::sched::{self, Histogram};
use crate::sys::clock;
use crate::sys::task::TaskId;
use crate::waker::{Outcome, Waker};
use pool::{Place, Pool};

pub(crate) use pool::Counts;

/// How often a plain thread looks for a place in the queue.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Runs `f`, which blocks, on a thread of the blocking pool while the calling greenlet parks; on a
/// plain thread, in place.
///
/// For what this crate does not know to wait for: a foreign library's calls, a long computation, a lock of
/// another process. `f` may borrow, because this returns when `f` has ended. A panic of `f` goes on in
/// the caller.
///
/// The pool is the process's. A thread is started when a job finds none idle, up to
/// [`RuntimeBuilder::blocking_threads`](crate::RuntimeBuilder::blocking_threads); one that was idle for 10
/// seconds ends. Above that jobs wait in a queue, in the order of submission, and when that is full, too
/// ([`RuntimeBuilder::blocking_queue`](crate::RuntimeBuilder::blocking_queue)), greenlets wait for a
/// place in it, first come, first served. [`Stats`](crate::Stats) shows all of it. If the system refuses
/// even the first thread, `f` runs on the hub and blocks it.
///
/// To `f` the thread of the pool is the current one: thread-locals are that thread's, not the
/// greenlet's, and are the same for later jobs that it runs; waiting in `f` blocks it as a plain
/// thread. Jobs that wait for other jobs need as many threads as there are of them.
///
/// [`fs`](crate::fs), [`process`](crate::process) and lookups of names use the same pool: where jobs
/// take all of its threads for long, so that others queue, opening a file waits in that queue, too.
///
/// # Cancellation
///
/// A greenlet that is cancelled before a thread was found for `f`, while it waits for a place in the
/// queue, unwinds, and `f` is dropped unrun. Once `f` is in the queue it runs, and this returns when
/// it has ended.
///
/// # Panics
///
/// With the panic of `f`, and inside [`on_thread_stack`](crate::on_thread_stack).
///
/// # Examples
///
/// ```
/// greenlet::run(|| {
///     let mut numbers = vec![3, 1, 2];
///     let largest = greenlet::blocking(|| {
///         numbers.sort();
///         numbers.last().copied()
///     });
///     assert_eq!(largest, Some(3));
///     assert_eq!(numbers, [1, 2, 3]);
/// });
/// ```
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if !sched::on_greenlet() {
        return f();
    }
    sched::unwind_if_cancelled();
    let place = Pool::global().reserve().unwrap_or_else(|| {
        // Without a deadline it ends with a place.
        wait_for_place(None).expect("a place")
    });
    run_on_pool(place, f)
}

/// [`blocking`] that cannot be cancelled, not even before it begins.
pub(crate) fn offload<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if !sched::on_greenlet() {
        return f();
    }
    let pool = Pool::global();
    let place = pool
        .reserve()
        .unwrap_or_else(|| pool.wait_for_place_shielded());
    run_on_pool(place, f)
}

/// [`offload`] for a drop, which must not panic: where the caller cannot park it blocks the hub.
pub(crate) fn offload_drop<F>(f: F)
where
    F: FnOnce() + Send,
{
    if sched::can_park() { offload(f) } else { f() }
}

/// How the pool of the process is doing.
pub(crate) fn counts() -> Counts {
    Pool::global().counts()
}

/// How long the jobs of the pool of the process took.
pub(crate) fn durations() -> &'static Histogram {
    Pool::global().durations()
}

/// Changes how large the pool of the process may become.
///
/// # Panics
///
/// For a limit of zero.
pub(crate) fn set_limits(threads: Option<usize>, queue: Option<usize>) {
    Pool::global().set_limits(threads, queue);
}

/// Parks until there is a place in the queue; unwinds if the greenlet is cancelled. `None` when
/// `deadline` passes first.
fn wait_for_place(deadline: Option<u64>) -> Option<Place<'static>> {
    match Pool::global().wait_for_place(deadline) {
        Ok(place) => Some(place),
        Err(Outcome::Cancelled) => sched::unwind_cancelled(),
        Err(_) => None,
    }
}

fn run_on_pool<F, T>(place: Place<'_>, f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let job = Job {
        greenlet: record::is_on().then(sched::who).and_then(Actor::greenlet),
        closure: UnsafeCell::new(Some(f)),
        result: UnsafeCell::new(None),
    };
    sched::park_shielded(WaitReason::Blocking, None, |waker| {
        submit(&job, place, waker);
    });
    let result = job.result.into_inner().expect("woken when the job is done");
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Has `job` run on the blocking pool, and does not wait for its end. It must not unwind. If no thread
/// can be had, it runs here.
///
/// False when `deadline` has passed before there was a place in the queue; `job` is dropped then, as
/// it is when the caller is cancelled meanwhile, and unwinds.
pub(crate) fn start(deadline: Option<u64>, job: pool::Job) -> bool {
    let Some(place) = Pool::global().reserve().or_else(|| place_before(deadline)) else {
        return false;
    };
    if !sched::on_greenlet() {
        hand_over(place, job);
        return true;
    }
    // On the hub, where a thread may be started.
    sched::park_shielded(WaitReason::Blocking, None, |waker| {
        hand_over(place, job);
        waker.wake();
    });
    true
}

/// A place in the queue, if there is one before `deadline`.
#[cold]
fn place_before(deadline: Option<u64>) -> Option<Place<'static>> {
    if sched::on_greenlet() {
        return wait_for_place(deadline);
    }
    // Only greenlets queue up for a place, so a plain thread looks again and again.
    loop {
        if let Some(place) = Pool::global().reserve() {
            return Some(place);
        }
        if deadline.is_some_and(|deadline| deadline <= clock::now()) {
            return None;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// On the stack of the greenlet that waits for it.
struct Job<F, T> {
    /// The number of the greenlet, while that is recorded.
    greenlet: Option<u64>,
    closure: UnsafeCell<Option<F>>,
    result: UnsafeCell<Option<thread::Result<T>>>,
}

// SAFETY: used by the greenlet before it parks and after it was woken, by a thread of the pool in
// between; what moves from one to the other is Send.
unsafe impl<F: Send, T: Send> Sync for Job<F, T> {}

impl<F: FnOnce() -> T, T> Job<F, T> {
    /// # Safety
    ///
    /// The greenlet is parked.
    unsafe fn run(&self) {
        // SAFETY: the greenlet is parked, so the job is this thread's (caller).
        let f = unsafe { (*self.closure.get()).take() };
        let f = f.expect("a job runs once");
        let result = recorded(self.greenlet, || catch_unwind(AssertUnwindSafe(f)));
        // SAFETY: as above.
        unsafe { *self.result.get() = Some(result) };
    }
}

/// Records that this thread does a job of the greenlet's, unless that was not recorded when it was given.
fn recorded<R>(greenlet: Option<u64>, job: impl FnOnce() -> R) -> R {
    let Some(greenlet) = greenlet else {
        return job();
    };
    let thread = TaskId::current().as_raw() as u32;
    record_begin(thread, greenlet);
    let result = job();
    record_end(thread);
    result
}

#[cold]
fn record_begin(thread: u32, greenlet: u64) {
    sched::record(|_| Event::JobBegin { thread, greenlet });
}

#[cold]
fn record_end(thread: u32) {
    sched::record(|_| Event::JobEnd { thread });
}

/// Hands the job to the pool, or does it here if the pool has no thread and can get none.
///
/// Called on the hub, under its worker's thread pointer, where a thread may be started.
fn submit<F: FnOnce() -> T + Send, T: Send>(job: &Job<F, T>, place: Place<'_>, waker: Waker) {
    let run: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
        // SAFETY: the greenlet is parked until it is woken below.
        unsafe { job.run() };
        waker.wake();
    });
    // SAFETY: the job lives on the greenlet's stack until the greenlet is woken, which is the last
    // that the closure does; what is dropped with the closure after that refers to nothing.
    let run: Box<dyn FnOnce() + Send> = unsafe { std::mem::transmute(run) };
    hand_over(place, run);
}

/// Gives the job to the pool, or does it here. Called where a thread may be started.
fn hand_over(place: Place, job: pool::Job) {
    if let Err(refused) = Pool::global().submit(place, job) {
        (refused.job)();
    }
}
