//! `pthread_` functions that tell the kernel which thread is meant.
//!
//! A greenlet goes by a number of its own, which no thread has (see `tls/ids.rs`), so the kernel
//! would answer "no such thread". Asked about itself, a greenlet gets the answer for the worker
//! that runs it: what it asks for, like its processor affinity, is the worker's. The one that
//! matters is `pthread_getattr_np`, by which programs find the bounds of their stack: glibc
//! asks for the affinity along the way.
//!
//! Outside a greenlet, and about another thread, these are the C library's own.

use std::ffi::c_int;

use libc::{clockid_t, cpu_set_t, pthread_attr_t, pthread_t, sched_param, size_t};

use super::real::Real;
use crate::tls::KernelId;

/// Calls the real function while the greenlet, if it asks about itself, has its worker's id.
#[inline]
fn identified<F: Copy>(real: &Real<F>, thread: pthread_t, call: impl FnOnce(F) -> c_int) -> c_int {
    let Some(real) = real.get() else {
        return libc::ENOSYS;
    };
    let _id = KernelId::lend_to(thread as usize);
    call(real)
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getattr_np(
    thread: pthread_t,
    attributes: *mut pthread_attr_t,
) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, *mut pthread_attr_t) -> c_int;
    // SAFETY: the function's type.
    static REAL: Real<Function> = unsafe { Real::new(c"pthread_getattr_np") };
    // SAFETY: the caller's promise is the same.
    identified(&REAL, thread, |real| unsafe { real(thread, attributes) })
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getaffinity_np(
    thread: pthread_t,
    size: size_t,
    set: *mut cpu_set_t,
) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, size_t, *mut cpu_set_t) -> c_int;
    // SAFETY: the function's type.
    static REAL: Real<Function> = unsafe { Real::new(c"pthread_getaffinity_np") };
    // SAFETY: the caller's promise is the same.
    identified(&REAL, thread, |real| unsafe { real(thread, size, set) })
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setaffinity_np(
    thread: pthread_t,
    size: size_t,
    set: *const cpu_set_t,
) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, size_t, *const cpu_set_t) -> c_int;
    // SAFETY: the function's type.
    static REAL: Real<Function> = unsafe { Real::new(c"pthread_setaffinity_np") };
    // SAFETY: the caller's promise is the same.
    identified(&REAL, thread, |real| unsafe { real(thread, size, set) })
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getschedparam(
    thread: pthread_t,
    policy: *mut c_int,
    parameters: *mut sched_param,
) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, *mut c_int, *mut sched_param) -> c_int;
    // SAFETY: the function's type.
    static REAL: Real<Function> = unsafe { Real::new(c"pthread_getschedparam") };
    // SAFETY: the caller's promise is the same.
    identified(&REAL, thread, |real| unsafe {
        real(thread, policy, parameters)
    })
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setschedparam(
    thread: pthread_t,
    policy: c_int,
    parameters: *const sched_param,
) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, c_int, *const sched_param) -> c_int;
    // SAFETY: the function's type.
    static REAL: Real<Function> = unsafe { Real::new(c"pthread_setschedparam") };
    // SAFETY: the caller's promise is the same.
    identified(&REAL, thread, |real| unsafe {
        real(thread, policy, parameters)
    })
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setschedprio(thread: pthread_t, priority: c_int) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, c_int) -> c_int;
    // SAFETY: the function's type.
    static REAL: Real<Function> = unsafe { Real::new(c"pthread_setschedprio") };
    // SAFETY: the caller's promise is the same.
    identified(&REAL, thread, |real| unsafe { real(thread, priority) })
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getcpuclockid(thread: pthread_t, clock: *mut clockid_t) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, *mut clockid_t) -> c_int;
    // SAFETY: the function's type.
    static REAL: Real<Function> = unsafe { Real::new(c"pthread_getcpuclockid") };
    // SAFETY: the caller's promise is the same.
    identified(&REAL, thread, |real| unsafe { real(thread, clock) })
}
