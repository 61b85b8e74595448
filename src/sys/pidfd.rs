//! pidfd: a descriptor that is readable when a process has ended.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::{cvt, probe};

/// A descriptor for the process of this number, closed on exec. `ENOSYS` before Linux 5.3.
pub(crate) fn open(process: u32) -> io::Result<OwnedFd> {
    if probe::without("pidfd") {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, process as libc::pid_t, 0) };
    let fd = cvt(fd as RawFd)?;
    // SAFETY: the kernel has just opened `fd` for us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
