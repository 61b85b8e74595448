//! `setuid` and its family.
//!
//! The kernel changes the identity of one thread, POSIX asks for the process. So glibc sends
//! signal 33 to all threads, whose handler makes the system call and ticks off the thread under
//! the thread pointer. On a greenlet that would be the greenlet: the worker stays unticked, and
//! glibc sends again, for ever, with a lock held. So its handler is wrapped by one that runs
//! it under the worker's thread pointer.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{hooks, set_thread_pointer};
use crate::arch;
use crate::error::ThreadLocalsError;
use crate::sys::signal_action::SignalAction;

/// glibc's SIGSETXID, the second of the real-time signals.
const SIGSETXID: c_int = 33;

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// The address of glibc's handler. Written before ours is installed, and always with the same value.
static GLIBC_HANDLER: AtomicUsize = AtomicUsize::new(0);

/// Puts our handler in front of glibc's, if it is not there yet. glibc installs its own with the
/// first thread that a process creates, and again with the first that a forked child creates.
pub(super) fn wrap() -> Result<(), ThreadLocalsError> {
    let refusal = |found: String| ThreadLocalsError::new("signal of setuid", found);
    let failed = |error| refusal(format!("the system refused: {error}"));
    let mut action = SignalAction::of(SIGSETXID).map_err(failed)?;
    let ours = handle as *const () as usize;
    if action.handler == ours {
        return Ok(());
    }
    if action.handler <= libc::SIG_IGN {
        return Err(refusal("glibc has no handler".into()));
    }
    GLIBC_HANDLER.store(action.handler, Ordering::Relaxed);
    action.handler = ours;
    // SAFETY: `handle` takes what glibc's handler takes, and does only what is allowed in one.
    unsafe { action.install(SIGSETXID) }.map_err(failed)
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the handler runs only after `wrap` has stored that of glibc, which has this type.
    let handler =
        unsafe { std::mem::transmute::<usize, Handler>(GLIBC_HANDLER.load(Ordering::Relaxed)) };
    match hooks::worker_thread_pointer() {
        0 => handler(signal, info, context),
        // SAFETY: the worker's thread pointer, on its thread, and only for the call.
        worker => unsafe { call_on(worker, handler, signal, info, context) },
    }
}

/// # Safety
///
/// `worker` is the thread pointer of the calling thread, which is on a greenlet's.
#[inline(never)]
unsafe fn call_on(
    worker: usize,
    handler: Handler,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    let greenlet = arch::thread_pointer();
    // SAFETY: both are good (caller); nothing in this function has a thread-local.
    unsafe {
        set_thread_pointer(worker);
        handler(signal, info, context);
        set_thread_pointer(greenlet);
    }
}
