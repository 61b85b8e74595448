//! Reading and writing descriptors of any kind, in two ways: waiting as the description does, and never.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{cvt_size, probe};

/// Whether a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// As read(2) and write(2) do: unless the description has `O_NONBLOCK`.
    Allowed,
    /// No. `WouldBlock` instead, whatever the description's mode is; and the OS error
    /// `EOPNOTSUPP` where the kernel cannot promise that for this kind of file, as for terminals, and
    /// for pipes before Linux 6.4.
    Never,
}

/// The file's own position.
const HERE: libc::off_t = -1;

pub(crate) fn read(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    waiting: Waiting,
) -> io::Result<usize> {
    let (fd, count) = (fd.as_raw_fd(), count_of(bufs.len()));
    // `IoSliceMut` has the layout of `iovec`, std says.
    let buffers = bufs.as_mut_ptr().cast();
    match waiting {
        // SAFETY: `count` buffers that are writable over the call.
        Waiting::Allowed => cvt_size(unsafe { libc::readv(fd, buffers, count) }),
        Waiting::Never => {
            refuse_if_hidden()?;
            // SAFETY: as above.
            cvt_size(unsafe { libc::preadv2(fd, buffers, count, HERE, libc::RWF_NOWAIT) })
        }
    }
}

pub(crate) fn write(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    waiting: Waiting,
) -> io::Result<usize> {
    let (fd, count) = (fd.as_raw_fd(), count_of(bufs.len()));
    // `IoSlice` has the layout of `iovec`, std says.
    let buffers = bufs.as_ptr().cast();
    match waiting {
        // SAFETY: `count` buffers that are readable over the call.
        Waiting::Allowed => cvt_size(unsafe { libc::writev(fd, buffers, count) }),
        Waiting::Never => {
            refuse_if_hidden()?;
            // SAFETY: as above.
            cvt_size(unsafe { libc::pwritev2(fd, buffers, count, HERE, libc::RWF_NOWAIT) })
        }
    }
}

/// Whether an error says that the kernel cannot do without waiting.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}

fn refuse_if_hidden() -> io::Result<()> {
    if probe::without("rwf_nowait") {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    Ok(())
}

/// The kernel refuses more buffers in one call; the rest waits for the next one.
fn count_of(buffers: usize) -> libc::c_int {
    buffers.min(libc::UIO_MAXIOV as usize) as libc::c_int
}
