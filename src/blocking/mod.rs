//! Layer 5: calls that block the OS thread go to a pool of threads, while the greenlet parks.

mod pool;

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use crate::reason::WaitReason;
use crate::sched;
use crate::waker::Waker;
use pool::Pool;

/// Runs `f` on the blocking pool while the calling greenlet parks; on a plain thread, in place.
///
/// `f` may borrow: the wait ends with `f`, and cannot be cancelled. A panic of `f` goes on here.
/// If no thread can be had, `f` runs on the hub and blocks it.
pub(crate) fn offload<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if !sched::on_greenlet() {
        return f();
    }
    let job = Job {
        closure: UnsafeCell::new(Some(f)),
        result: UnsafeCell::new(None),
    };
    sched::park_shielded(WaitReason::Blocking, None, |waker| submit(&job, waker));
    let result = job.result.into_inner().expect("woken when the job is done");
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Has `job` run on the blocking pool, and does not wait for it. If no thread can be had, it runs here.
///
/// May start a thread, so it is called by a plain thread or in the commit of a park. `job` must not
/// unwind.
pub(crate) fn start(job: pool::Job) {
    if let Err(refused) = Pool::global().submit(job) {
        (refused.job)();
    }
}

/// The threads of the pool: how many there are, how many of them have nothing to do, and how many
/// jobs wait for one.
pub(crate) fn counts() -> (usize, usize, usize) {
    let pool = Pool::global();
    (pool.threads(), pool.idle(), pool.queued())
}

/// On the stack of the greenlet that waits for it.
struct Job<F, T> {
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
        let result = catch_unwind(AssertUnwindSafe(f));
        // SAFETY: as above.
        unsafe { *self.result.get() = Some(result) };
    }
}

/// Hands the job to the pool, or does it here if the pool has no thread and can get none.
///
/// Called on the hub, under its worker's thread pointer, where a thread may be started.
fn submit<F: FnOnce() -> T + Send, T: Send>(job: &Job<F, T>, waker: Waker) {
    let run: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
        // SAFETY: the greenlet is parked until it is woken below.
        unsafe { job.run() };
        waker.wake();
    });
    // SAFETY: the job lives on the greenlet's stack until the greenlet is woken, which is the last
    // that the closure does; what is dropped with the closure after that refers to nothing.
    let run: Box<dyn FnOnce() + Send> = unsafe { std::mem::transmute(run) };
    start(run);
}
