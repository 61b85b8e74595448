//! What a thread finds when it starts: no error, and the process's locale.

unsafe extern "C" {
    fn uselocale(locale: libc::locale_t) -> libc::locale_t;
    fn __h_errno_location() -> *mut libc::c_int;
}

/// Makes the calling thread's `errno`, `h_errno` and locale those of a new thread.
///
/// The locale is more than a setting: the C library's character classes are found through
/// thread-local pointers into it, and those are null on a thread that never set them.
pub(crate) fn reset() {
    // (locale_t)-1, LC_GLOBAL_LOCALE: the process's locale.
    let global = std::ptr::without_provenance_mut(usize::MAX);
    // SAFETY: the first call takes that value; the others give the calling thread's words.
    unsafe {
        uselocale(global);
        *libc::__errno_location() = 0;
        *__h_errno_location() = 0;
    }
}

/// Where the calling thread's `errno` and `h_errno` are.
pub(crate) fn error_words() -> [usize; 2] {
    // SAFETY: both calls give the address of a thread-local.
    unsafe { [libc::__errno_location().addr(), __h_errno_location().addr()] }
}
