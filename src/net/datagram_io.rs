//! Receiving messages, UDP's or Unix's.

use std::io;
use std::os::fd::BorrowedFd;

use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::source::Source;
use crate::sys::socket;

/// Receives by `op`; answers `end` when the socket was shut down and no message is left.
///
/// A receive that waits is ended by the kernel then. Ours, which do not wait in the kernel, are told
/// `WouldBlock`, as though a message could come.
pub(super) fn receive<T>(
    source: &Source,
    mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    end: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    source.retry(Interest::Read, WaitReason::IoRead, |fd| match op(fd) {
        Err(error)
            if error.kind() == io::ErrorKind::WouldBlock
                && !source.is_nonblocking()
                && socket::is_read_shut_down(fd) =>
        {
            end()
        }
        answer => answer,
    })
}
