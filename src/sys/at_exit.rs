//! What is done when the process ends.

use std::io;
use std::sync::OnceLock;

/// Has `f` called when the process ends by `exit` or by returning from `main`, on the thread that does
/// that; once, however often this is called. Not if it is killed, aborts, or calls `_exit`.
pub(crate) fn call_once(f: extern "C" fn()) -> io::Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    // SAFETY: the function is in this module, which is not unloaded before the process ends, or else with
    // the C library knowing of it.
    let registered = REGISTERED.get_or_init(|| unsafe { libc::atexit(f) } == 0);
    match registered {
        true => Ok(()),
        false => Err(io::ErrorKind::OutOfMemory.into()),
    }
}
