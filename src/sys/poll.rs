//! poll(2): for OS threads that are no greenlets, and for a look that does not wait.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::cvt;

/// A descriptor, what it is polled for, and what the last poll found.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Polled<'fd> {
    pollfd: libc::pollfd,
    fd: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> Polled<'fd> {
    pub(crate) fn new(fd: BorrowedFd<'fd>, events: libc::c_short) -> Self {
        Self {
            pollfd: libc::pollfd {
                fd: fd.as_raw_fd(),
                events,
                revents: 0,
            },
            fd: PhantomData,
        }
    }

    /// Whether one of the events has come, or the descriptor is in error or hung up.
    pub(crate) fn is_ready(&self) -> bool {
        self.pollfd.revents != 0
    }
}

/// Waits until one of `events` has come, `fd` is in error or hung up (true), or `timeout` has
/// passed (false). `Interrupted` when a signal came.
pub(crate) fn poll(
    fd: BorrowedFd<'_>,
    events: libc::c_short,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    poll_all(&mut [Polled::new(fd, events)], timeout)
}

/// The same for several: true when at least one is ready.
///
/// `EBADF` when one is not open.
pub(crate) fn poll_all(all: &mut [Polled<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    let timeout = timeout.map_or(-1, |timeout| {
        timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as libc::c_int
    });
    let count = all.len() as libc::nfds_t;
    // SAFETY: so many pollfds, each in a `Polled`, which has its layout; writable over the call.
    let ready = cvt(unsafe { libc::poll(all.as_mut_ptr().cast(), count, timeout) })?;
    let is_none = |polled: &Polled<'_>| polled.pollfd.revents & libc::POLLNVAL != 0;
    if all.iter().any(is_none) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(ready > 0)
}
