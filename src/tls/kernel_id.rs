//! The kernel's id of a greenlet, for the calls that hand it to the kernel.

use super::{hooks, place, support};
use crate::arch;
use crate::sys::thread;

/// Whether `handle` (a `pthread_t`) is that of the greenlet that is running. Never where greenlets
/// have no blocks.
pub(crate) fn is_running_greenlet(handle: usize) -> bool {
    hooks::worker_thread_pointer() != 0 && handle == thread::handle()
}

/// While it exists, the `tid` in the running greenlet's `struct pthread` is its worker's.
///
/// Locks would take the greenlet for its worker meanwhile: for one call that takes none.
#[derive(Debug)]
pub(crate) struct KernelId {
    /// The `tid`, and what to put back.
    field: *mut i32,
    own: i32,
}

impl KernelId {
    /// For the greenlet that is running, if `handle` (a `pthread_t`) is its own.
    pub(crate) fn lend_to(handle: usize) -> Option<Self> {
        if !is_running_greenlet(handle) {
            return None;
        }
        let layout = &support::installed().layout;
        let field = place::<i32>(arch::thread_pointer(), layout.tid);
        // SAFETY: a field of the running greenlet's, which nobody else writes.
        let own = unsafe { field.replace(thread::kernel_id()) };
        Some(Self { field, own })
    }
}

impl Drop for KernelId {
    fn drop(&mut self) {
        // SAFETY: the greenlet did not end since: this is a value on its stack.
        unsafe { *self.field = self.own };
    }
}
