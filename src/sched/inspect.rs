//! Looking at the greenlet that runs on a hub, from another thread, while the hub goes on.
//!
//! A greenlet that runs keeps itself alive: its own reference is given up by the hub that sees it
//! end. So whoever has found it in `Remote::running` only has to hold up that end. This is a hazard
//! pointer whose price is paid by the side that looks:
//!
//! ```text
//!   who looks                             a hub
//!   1. INSPECTED = cell                   a. running = null
//!   2. a barrier on all threads           b. INSPECTED == cell? then wait
//!   3. running == cell? then look         c. give the reference up
//!   4. INSPECTED = null
//! ```
//!
//! If (a) comes before the barrier on that thread, (3) sees null, or another greenlet. If it comes
//! after, then so does (b), which sees (1), and the hub waits until (4).
//!
//! A greenlet that goes to another hub leaves the first one by (a), or by `running = the next one`, before it is
//! queued; the queue's Release and Acquire order that before (b) on the other hub. So there, too, (3) does not find the
//! greenlet, or (b) sees (1).

use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicPtr, compiler_fence};
use std::thread;

use super::greenlet_cell::GreenletCell;
use super::shared::Remote;
use crate::lock::StaticMutex;
use crate::sys::membarrier;

/// The greenlet that somebody looks at. Written under the lock of [`inspect`].
static INSPECTED: AtomicPtr<GreenletCell> = AtomicPtr::new(ptr::null_mut());

/// Calls `look` with the greenlet that runs on the hub. `None` if there is none, or if the kernel
/// has no such barrier.
///
/// The greenlet goes on meanwhile; only its end waits. So `look` must not.
pub(super) fn inspect<R>(remote: &Remote, look: impl FnOnce(&GreenletCell) -> R) -> Option<R> {
    static ONE_AT_A_TIME: StaticMutex<()> = StaticMutex::new(());
    let _lock = ONE_AT_A_TIME.lock();
    let cell = remote.running.load(Relaxed);
    INSPECTED.store(cell, Relaxed);
    let is_kept = membarrier::all_threads() && remote.running.load(Relaxed) == cell;
    let found = match is_kept {
        // SAFETY: it runs on that hub, or did after the barrier, so it is alive until it has ended,
        // which waits for the store below.
        true => unsafe { cell.as_ref() }.map(look),
        false => None,
    };
    // Release: pairs with the Acquire in `await_inspection`: the look is over.
    INSPECTED.store(ptr::null_mut(), Release);
    found
}

/// Returns when nobody looks at the greenlet. By the hub on which it has ended, before it gives the
/// greenlet's reference up.
#[inline]
pub(super) fn await_inspection(cell: NonNull<GreenletCell>) {
    // Keeps the compiler from moving (a) behind (b); the processor's part is the barrier's.
    compiler_fence(SeqCst);
    // Acquire: pairs with the Release in `inspect`.
    while INSPECTED.load(Acquire) == cell.as_ptr() {
        thread::yield_now();
    }
}
