//! What happens on a signal, as the kernel keeps it.
//!
//! Not through the C library's `sigaction`: that one hides the signals which it uses itself,
//! and those are what this is for.

use std::ffi::c_int;
use std::io;
use std::ptr;

use crate::arch;

/// The kernel's record of a signal's action.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignalAction {
    /// The address of the handler, or 0 or 1 for the default action and none.
    pub(crate) handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

impl SignalAction {
    /// The action of `signal`.
    pub(crate) fn of(signal: c_int) -> io::Result<Self> {
        let mut action = Self {
            handler: 0,
            flags: 0,
            restorer: 0,
            mask: 0,
        };
        // SAFETY: `action` has room for what the call writes.
        unsafe { rt_sigaction(signal, ptr::null(), &mut action) }?;
        Ok(action)
    }

    /// Makes this the action of `signal`.
    ///
    /// # Safety
    ///
    /// The handler may run at any time, on any thread, and gets what the flags say.
    pub(crate) unsafe fn install(&self, signal: c_int) -> io::Result<()> {
        // SAFETY: `self` is a whole record, and the handler is fit to run (caller).
        unsafe { rt_sigaction(signal, self, ptr::null_mut()) }
    }
}

/// # Safety
///
/// Null or valid pointers; a new action must be fit to run.
unsafe fn rt_sigaction(
    signal: c_int,
    new: *const SignalAction,
    old: *mut SignalAction,
) -> io::Result<()> {
    let number = libc::SYS_rt_sigaction as usize;
    let (new, old) = (new.expose_provenance(), old.expose_provenance());
    // SAFETY: the kernel reads and writes records of this shape (caller).
    let result = unsafe { arch::syscall4(number, signal as usize, new, old, size_of::<u64>()) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result as i32));
    }
    Ok(())
}
