//! A greenlet's name, as the C library has it.
//!
//! The kernel knows only the worker's. A greenlet that asks for its own gets the one that it was
//! spawned with, cut as std cuts a thread's, or the one that it gave itself since; the worker
//! keeps its. A greenlet without a name has the worker's, as a thread has that of who started it.
//!
//! Outside a greenlet, and about another thread, these are the C library's own.

use std::ffi::{CStr, c_char, c_int};

use libc::{pthread_t, size_t};

use super::real::Real;
use crate::sched::{self, OsName};
use crate::tls;

/// What the kernel takes: 15 bytes and a 0.
const SIZE: usize = size_of::<OsName>();

/// As much of `name` as there is room for.
fn cut(name: &[u8]) -> OsName {
    let mut cut = [0; SIZE];
    let length = name.len().min(SIZE - 1);
    cut[..length].copy_from_slice(&name[..length]);
    cut
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getname_np(
    thread: pthread_t,
    name: *mut c_char,
    size: size_t,
) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, *mut c_char, size_t) -> c_int;
    // SAFETY: the function's type.
    static REAL: Real<Function> = unsafe { Real::new(c"pthread_getname_np") };
    let own = tls::is_running_greenlet(thread as usize)
        .then(|| sched::os_name().or_else(|| Some(cut(sched::name()?.as_bytes()))))
        .flatten();
    let Some(own) = own else {
        return match REAL.get() {
            // SAFETY: the caller's promise is the same.
            Some(real) => unsafe { real(thread, name, size) },
            None => libc::ENOSYS,
        };
    };
    if size < SIZE {
        return libc::ERANGE;
    }
    // SAFETY: there are `size` bytes at `name` (caller), not on this function's stack.
    unsafe { own.as_ptr().copy_to_nonoverlapping(name.cast(), SIZE) };
    0
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(thread: pthread_t, name: *const c_char) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, *const c_char) -> c_int;
    // SAFETY: the function's type.
    static REAL: Real<Function> = unsafe { Real::new(c"pthread_setname_np") };
    if !tls::is_running_greenlet(thread as usize) {
        return match REAL.get() {
            // SAFETY: the caller's promise is the same.
            Some(real) => unsafe { real(thread, name) },
            None => libc::ENOSYS,
        };
    }
    // SAFETY: a string (caller).
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    if name.len() >= SIZE {
        return libc::ERANGE;
    }
    sched::set_os_name(cut(name));
    0
}
