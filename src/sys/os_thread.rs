//! The calling OS thread.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

/// Lets the kernel end this thread's waits at most `nanoseconds` late, instead of 50 us.
pub(crate) fn set_timer_slack(nanoseconds: usize) {
    // SAFETY: this option takes a number. It does not fail.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) };
}

/// The bounds of this thread's stack, if the C library tells.
pub(crate) fn stack_bounds() -> Option<Range<usize>> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut size) = (ptr::null_mut(), 0);
    // SAFETY: `attributes` is initialised if the first call answers 0, and destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let result = libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (result == 0).then(|| low as usize..low as usize + size)
    }
}
