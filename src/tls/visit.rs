//! A call under the worker's thread pointer, from a greenlet.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{hooks, set_thread_pointer, support};
use crate::arch;

/// Whether some allocator said that it makes such calls.
static ANNOUNCED: AtomicBool = AtomicBool::new(false);

/// Says that an allocator that is not the C library's makes its calls in a [`Visit`].
#[inline]
pub(crate) fn announce_allocator() {
    // Read first: this is on the path of every allocation, and the line stays shared.
    if !ANNOUNCED.load(Ordering::Relaxed) {
        ANNOUNCED.store(true, Ordering::Relaxed);
    }
}

/// Whether an allocator said so.
pub(super) fn is_allocator_announced() -> bool {
    ANNOUNCED.load(Ordering::Relaxed)
}

/// While it exists, the thread pointer is the worker's, and so is everything per thread.
#[derive(Debug)]
pub(crate) struct Visit {
    greenlet: usize,
    worker: usize,
}

impl Visit {
    /// `None` when not on a greenlet with a block.
    ///
    /// # Safety
    ///
    /// Until the visit is dropped the caller parks nowhere, and neither it nor what may be
    /// inlined into it uses a thread-local: the compiler may have looked up its address before,
    /// or may keep it for after.
    #[inline(always)]
    pub(crate) unsafe fn begin() -> Option<Self> {
        let worker = hooks::worker_thread_pointer();
        if worker == 0 {
            return None;
        }
        let greenlet = arch::thread_pointer();
        // SAFETY: the worker's thread pointer, on its own thread. Its words go along, since malloc
        // may change them there.
        unsafe {
            support::installed().words.copy(greenlet, worker);
            set_thread_pointer(worker);
        }
        Some(Self { greenlet, worker })
    }
}

impl Drop for Visit {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: back to where `begin` was called, on the same thread.
        unsafe {
            set_thread_pointer(self.greenlet);
            support::installed().words.copy(self.worker, self.greenlet);
        }
    }
}
