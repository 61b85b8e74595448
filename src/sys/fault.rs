//! Signal handlers that are told registers: of memory faults, of the monitor's signal, and of those
//! that users wait for.

use std::io;
use std::mem;
use std::ptr;

use super::{cvt, cvt_size};

/// What the kernel calls.
pub(crate) type Handler =
    unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// What was done about a signal before [`install`].
pub(crate) struct ActionBefore(libc::sigaction);

/// Installs `handler` for `signal`, on the alternate stack, with these `SA_` flags besides.
///
/// # Safety
///
/// `handler` calls only what signal handlers may.
pub(crate) unsafe fn install(
    signal: libc::c_int,
    handler: Handler,
    flags: libc::c_int,
) -> io::Result<ActionBefore> {
    // SAFETY: all zero is a valid `sigaction`.
    let (mut action, mut previous): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | flags;
    // SAFETY: both are valid over the call; the handler is good (caller).
    cvt(unsafe { libc::sigaction(signal, &action, &mut previous) })?;
    Ok(ActionBefore(previous))
}

impl ActionBefore {
    pub(crate) fn has_handler(&self) -> bool {
        ![libc::SIG_DFL, libc::SIG_IGN].contains(&self.0.sa_sigaction)
    }

    /// Whether it was the default action.
    pub(crate) fn is_default(&self) -> bool {
        self.0.sa_sigaction == libc::SIG_DFL
    }

    /// Whether both call the same function in the same way, or none.
    pub(crate) fn calls_the_same_as(&self, other: &Self) -> bool {
        /// Set by the C library, in what it puts back, too.
        const SA_RESTORER: libc::c_int = 0x0400_0000;
        let flags = |action: &libc::sigaction| action.sa_flags & !SA_RESTORER;
        self.0.sa_sigaction == other.0.sa_sigaction && flags(&self.0) == flags(&other.0)
    }

    /// Makes it the action of `signal` again.
    pub(crate) fn restore(&self, signal: libc::c_int) -> io::Result<()> {
        // SAFETY: puts a disposition back that was in force before.
        cvt(unsafe { libc::sigaction(signal, &self.0, ptr::null_mut()) }).map(drop)
    }

    /// Does about a fault what the process would have done without our handler. Returns when the
    /// faulting instruction is to be tried again.
    ///
    /// # Safety
    ///
    /// Called in the handler of `signal` with its arguments.
    pub(crate) unsafe fn chain(
        &self,
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        if self.has_handler() {
            // SAFETY: the caller's promise is the same.
            unsafe { self.call_handler(signal, info, context) };
        } else {
            // Without a handler the instruction faults once more, and the kernel ends the process.
            // SAFETY: puts a disposition back that was in force before.
            unsafe { libc::sigaction(signal, &self.0, ptr::null_mut()) };
        }
    }

    /// Calls the handler that there was, if any.
    ///
    /// # Safety
    ///
    /// As for [`chain`](Self::chain).
    pub(crate) unsafe fn call_handler(
        &self,
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        if !self.has_handler() {
            return;
        }
        if self.0.sa_flags & libc::SA_SIGINFO != 0 {
            // SAFETY: with SA_SIGINFO the address is that of a function of this type.
            let handler: Handler = unsafe { mem::transmute(self.0.sa_sigaction) };
            // SAFETY: called as the kernel would have (caller).
            unsafe { handler(signal, info, context) };
        } else {
            // SAFETY: without SA_SIGINFO it takes the number only.
            let handler: unsafe extern "C" fn(libc::c_int) =
                unsafe { mem::transmute(self.0.sa_sigaction) };
            // SAFETY: as above.
            unsafe { handler(signal) };
        }
    }
}

impl std::fmt::Debug for ActionBefore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ActionBefore")
            .field(&self.has_handler())
            .finish()
    }
}

/// Ends the process by `signal`, as if there had never been a handler for it. Called in a handler, which
/// must then return.
pub(crate) fn die_of(signal: libc::c_int) {
    // SAFETY: all zero is a valid `sigaction`, with the default action; and signals to oneself are
    // allowed. This thread has it blocked until the handler returns, if no other thread takes it.
    unsafe {
        let default: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, &default, ptr::null_mut());
        libc::kill(libc::getpid(), signal);
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
