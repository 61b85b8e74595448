//! `fork` on a greenlet.
//!
//! In the child, glibc takes the thread that it finds under the thread pointer for the one that
//! is left, and all other stacks for free: also the worker's, on which the child goes on. So the
//! thread pointer is the worker's while glibc forks, by handlers of `pthread_atfork`, which covers
//! everything in glibc that calls `fork`.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{hooks, place, set_thread_pointer, support};
use crate::arch;
use crate::sys::thread_key::ThreadKey;
use crate::sys::{random, thread};

/// The number of a pthread key: on a worker that forks, the thread pointer of the greenlet that
/// asked for it, between the handlers. A value per thread, because several threads may be between
/// the handlers at once, and one that the child inherits. Written once, before the handlers run.
static FORKING: AtomicU32 = AtomicU32::new(0);

/// Registers the handlers.
pub(super) fn install() -> io::Result<()> {
    FORKING.store(ThreadKey::create(None)?.number(), Ordering::Relaxed);
    thread::at_fork(Some(prepare), Some(parent), Some(child))
}

/// Gives the calling thread room for its value of the key, so that `prepare` cannot fail.
pub(super) fn adopt_worker() {
    // SAFETY: the key has no destructor.
    let _ = unsafe { key().set(1).and_then(|()| key().set(0)) };
}

extern "C" fn prepare() {
    let worker = hooks::worker_thread_pointer();
    if worker != 0 {
        // SAFETY: we are on a greenlet of that worker, and come back from `fork` on the same
        // thread, to `parent` or `child`.
        unsafe { leave_greenlet(worker) };
    }
}

extern "C" fn parent() {
    if let Some(greenlet) = forking() {
        // SAFETY: `prepare` left that greenlet.
        unsafe { return_to_greenlet(greenlet) };
    }
}

extern "C" fn child() {
    let greenlet = forking();
    let support = support::installed();
    support.ids.restart(random::number());
    // SAFETY: the child has one thread, and `prepare` put it on its own thread pointer.
    unsafe { support.list.forked(greenlet) };
    if let Some(greenlet) = greenlet {
        // As a thread, the greenlet is somebody else in the child: what it holds of locks in shared
        // memory is its parent's. (There have been no numbers since `restart`, so there is one.)
        if let Some(id) = support.ids.take_fresh() {
            // SAFETY: a field of the greenlet's, which does not run yet.
            unsafe { *place(greenlet, support.layout.tid) = id };
        }
        // SAFETY: `prepare` left that greenlet.
        unsafe { return_to_greenlet(greenlet) };
        hooks::forked_child();
    }
}

/// The greenlet that `prepare` left on this thread. Asked once, then forgotten.
fn forking() -> Option<usize> {
    let key = key();
    let greenlet = key.get();
    if greenlet == 0 {
        return None;
    }
    // SAFETY: the key has no destructor. Setting a value that is set already cannot fail.
    let _ = unsafe { key.set(0) };
    Some(greenlet)
}

/// # Safety
///
/// The caller is on a greenlet that `worker` runs, and calls [`return_to_greenlet`].
#[inline(never)]
unsafe fn leave_greenlet(worker: usize) {
    let greenlet = arch::thread_pointer();
    // SAFETY: it is the worker's own thread pointer, on its own thread; nothing in this function
    // has a thread-local. The key has no destructor.
    unsafe {
        support::installed().words.copy(greenlet, worker);
        set_thread_pointer(worker);
        if key().set(greenlet).is_err() {
            // There was no memory for the value when the worker was adopted, and there is none
            // now: fork as we are. The child may then only exec, which is what nearly all do.
            return_to_greenlet(greenlet);
        }
    }
}

/// # Safety
///
/// [`leave_greenlet`] was called on `greenlet`, on this thread.
#[inline(never)]
unsafe fn return_to_greenlet(greenlet: usize) {
    let worker = arch::thread_pointer();
    // SAFETY: the greenlet goes on where it was; nothing in this function has a thread-local.
    unsafe {
        support::installed().words.copy(worker, greenlet);
        set_thread_pointer(greenlet);
    }
}

fn key() -> ThreadKey {
    ThreadKey::from_number(FORKING.load(Ordering::Relaxed))
}
