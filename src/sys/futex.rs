//! Blocking an OS thread on a word.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::clock;

/// Blocks while `*word == expected`, until woken, the time is up or a signal came; the caller
/// looks at the word again in every case.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(clock::timespec);
    let timeout = timeout
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the time-out live over the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            timeout,
        );
    }
}

/// Wakes one thread that waits on the word at `word`.
///
/// Takes an address, not a reference: the word may be gone by now, which costs a stranger at
/// most one look at its own word.
pub(crate) fn wake_one(word: *const AtomicU32) {
    // SAFETY: FUTEX_WAKE does not read the word; an address that is no longer mapped answers
    // EFAULT.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word,
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        );
    }
}

/// Wakes all threads that wait on the word.
pub(crate) fn wake_all(word: &AtomicU32) {
    // SAFETY: as for one.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            libc::c_int::MAX,
        );
    }
}
