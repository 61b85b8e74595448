//! A barrier that one thread executes for all the others.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

use super::{cvt, probe};

const REGISTER: c_int = 1 << 4;
const EXECUTE: c_int = 1 << 3;

/// Asks the kernel for it, once in a process (and in a forked child again).
pub(crate) fn register() -> io::Result<()> {
    if probe::without("membarrier") {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    call(REGISTER)?;
    REGISTERED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Every thread of the process has executed a full barrier between the begin and the end of this
/// call. So what the caller has written before is seen by all that others read after, and what
/// others have written before is seen by all that the caller reads after, although the others have
/// no barrier in their code. False if the kernel cannot do that.
pub(crate) fn all_threads() -> bool {
    REGISTERED.load(Ordering::Relaxed) && call(EXECUTE).is_ok()
}

/// The side that [`all_threads`] makes cheap: what the caller has written before is seen by whoever
/// returns from that call, or what that one has written before it is seen by the caller from here on.
#[inline]
pub(crate) fn light() {
    if REGISTERED.load(Ordering::Relaxed) {
        // The processor's part is done by `all_threads`.
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The dear side of [`light`], for one who knows that [`register`] has been called if it ever is. False
/// if the kernel has stopped to do its part.
pub(crate) fn heavy() -> bool {
    if REGISTERED.load(Ordering::Relaxed) {
        return call(EXECUTE).is_ok();
    }
    fence(Ordering::SeqCst);
    true
}

static REGISTERED: AtomicBool = AtomicBool::new(false);

fn call(command: c_int) -> io::Result<()> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    cvt(result as c_int).map(drop)
}
