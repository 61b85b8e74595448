//! The register that thread-locals hang off.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::arch;
use crate::sys::{auxv, probe};

/// Whether only a system call may write it. True until [`choose`] knows better.
static BY_SYSTEM_CALL: AtomicBool = AtomicBool::new(true);

/// Looks whether the instruction may be used here.
pub(super) fn choose() {
    let instruction = arch::has_thread_pointer_instruction(auxv::hwcap2());
    let by_system_call = !instruction || probe::without("fsgsbase");
    BY_SYSTEM_CALL.store(by_system_call, Ordering::Relaxed);
}

/// Whether the fallback is in use.
#[cfg(test)]
pub(super) fn is_by_system_call() -> bool {
    BY_SYSTEM_CALL.load(Ordering::Relaxed)
}

/// Moves the thread pointer to `tp`.
///
/// # Safety
///
/// `tp` is that of a [`Block`](super::Block) on which nobody else is, or the calling thread's own.
/// Nothing that was computed from the old one is used until the thread is under it again: the caller has no
/// thread-local, and nothing that has one can be inlined into it.
#[inline(always)]
pub(crate) unsafe fn set_thread_pointer(tp: usize) {
    if BY_SYSTEM_CALL.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise is the same.
        unsafe { arch::set_thread_pointer_by_syscall(tp) };
    } else {
        // SAFETY: as above, and the instruction is enabled.
        unsafe { arch::set_thread_pointer(tp) };
    }
}
