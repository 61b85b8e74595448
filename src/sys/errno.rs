//! The C library's error number.

/// Runs `f` and puts `errno` back: around what the code that runs on this thread knows nothing of. `f` stays on the
/// thread, or under the thread pointer, that it is called on.
#[inline]
pub(crate) fn keep<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: takes nothing; the address is that of the calling thread's `errno`.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above, and it stays its own while `f` runs (see above).
    let before = unsafe { *errno };
    let result = f();
    // SAFETY: as above.
    unsafe { *errno = before };
    result
}
