//! The signals that a thread has blocked.

use std::mem::MaybeUninit;
use std::ptr;

/// A thread's signal mask.
#[derive(Clone, Copy)]
pub(crate) struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// The calling thread's.
    pub(crate) fn current() -> Self {
        Self::exchange(ptr::null())
    }

    /// Makes this the mask of the calling thread; answers with the one before.
    pub(crate) fn install(&self) -> Self {
        Self::exchange(&raw const self.0)
    }

    fn exchange(new: *const libc::sigset_t) -> Self {
        let mut before = MaybeUninit::uninit();
        // SAFETY: `new` is null or a set, and there is room for the one before.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, new, before.as_mut_ptr()) };
        debug_assert_eq!(result, 0, "the arguments are valid");
        // SAFETY: the call has written it; it fails for bad arguments only.
        Self(unsafe { before.assume_init() })
    }
}

impl std::fmt::Debug for SignalMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignalMask").finish_non_exhaustive()
    }
}
