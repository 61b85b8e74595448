//! Handlers for memory faults.

use std::io;
use std::mem;
use std::ptr;

use super::{cvt, cvt_size};

/// What the kernel calls.
pub(crate) type Handler =
    unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs `handler` for `signal`, on the alternate stack. Answers with the previous action.
///
/// # Safety
///
/// `handler` calls only what signal handlers may.
pub(crate) unsafe fn install(signal: libc::c_int, handler: Handler) -> io::Result<libc::sigaction> {
    // SAFETY: all zero is a valid `sigaction`.
    let (mut action, mut previous): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: both are valid over the call; the handler is good (caller).
    cvt(unsafe { libc::sigaction(signal, &action, &mut previous) })?;
    Ok(previous)
}

/// Does what the process would have done without our handler. Returns when the faulting
/// instruction is to be tried again.
///
/// # Safety
///
/// Called in the handler of `signal` with its arguments; `previous` is what [`install`] answered.
pub(crate) unsafe fn chain(
    previous: &libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    match previous.sa_sigaction {
        // Without a handler the instruction faults once more, and the kernel ends the process.
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: puts a disposition back that was in force before.
            unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with SA_SIGINFO the address is that of a function of this type.
            let handler: Handler = unsafe { mem::transmute(handler) };
            // SAFETY: called as the kernel would have (caller).
            unsafe { handler(signal, info, context) };
        }
        handler => {
            // SAFETY: without SA_SIGINFO it takes the number only.
            let handler: unsafe extern "C" fn(libc::c_int) = unsafe { mem::transmute(handler) };
            // SAFETY: as above.
            unsafe { handler(signal) };
        }
    }
}

/// The address whose access faulted.
///
/// # Safety
///
/// `info` was given to a handler of SIGSEGV or SIGBUS.
pub(crate) unsafe fn address(info: *mut libc::siginfo_t) -> usize {
    // SAFETY: those signals have an address (caller).
    unsafe { (*info).si_addr() as usize }
}

/// Writes to standard error, as a signal handler may.
pub(crate) fn write_stderr(bytes: &[u8]) {
    // SAFETY: readable bytes. What cannot be written is lost: there is nobody to tell.
    let _ = cvt_size(unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) });
}
