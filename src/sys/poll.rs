//! poll(2) on one descriptor, for OS threads that are no greenlets.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::cvt;

/// Waits until one of `events` has come, `fd` is in error or hung up (true), or `timeout` has
/// passed (false). `Interrupted` when a signal came.
pub(crate) fn poll(
    fd: BorrowedFd<'_>,
    events: libc::c_short,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let mut pollfd = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    let timeout = timeout.map_or(-1, |timeout| {
        timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as libc::c_int
    });
    // SAFETY: one pollfd, writable over the call.
    let ready = cvt(unsafe { libc::poll(&mut pollfd, 1, timeout) })?;
    if pollfd.revents & libc::POLLNVAL != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(ready == 1)
}
