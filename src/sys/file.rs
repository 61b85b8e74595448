//! Files: reading and writing with a choice of whether to wait, and what kind a file is.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::OnceLock;

use libc::c_int;

use super::{cvt, cvt_size, probe};

/// The kernel refuses more buffers than this in one call; the rest waits for the next one.
const BUFFERS_MAX: usize = libc::UIO_MAXIOV as usize;

/// Whether a call may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It may.
    Blocking,
    /// `WouldBlock` if it had to; `Unsupported` (`EOPNOTSUPP`) if the kernel cannot do without for this
    /// file. Asked of the call and not of the description, which others share.
    Now,
}

impl Mode {
    fn flags(self) -> c_int {
        match self {
            Self::Blocking => 0,
            Self::Now => libc::RWF_NOWAIT,
        }
    }
}

/// Reads at `offset`, or at the file's position, which then moves on.
#[inline]
pub(crate) fn read(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    offset: Option<u64>,
    mode: Mode,
) -> io::Result<usize> {
    let offset = raw_offset(offset)?;
    // SAFETY: `IoSliceMut` has the layout of `iovec`, std says; the buffers are valid for writes for
    // the call.
    cvt_size(unsafe {
        libc::preadv2(
            fd.as_raw_fd(),
            bufs.as_mut_ptr().cast(),
            bufs.len().min(BUFFERS_MAX) as c_int,
            offset,
            mode.flags(),
        )
    })
}

/// Writes at `offset`, or at the file's position, which then moves on.
#[inline]
pub(crate) fn write(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    offset: Option<u64>,
    mode: Mode,
) -> io::Result<usize> {
    let offset = raw_offset(offset)?;
    // SAFETY: `IoSlice` has the layout of `iovec`, std says; the buffers are valid for the call.
    cvt_size(unsafe {
        libc::pwritev2(
            fd.as_raw_fd(),
            bufs.as_ptr().cast(),
            bufs.len().min(BUFFERS_MAX) as c_int,
            offset,
            mode.flags(),
        )
    })
}

/// The kernel takes -1 for the file's position, so no offset that a user gives may become that.
#[inline]
fn raw_offset(offset: Option<u64>) -> io::Result<i64> {
    let Some(offset) = offset else {
        return Ok(-1);
    };
    i64::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Whether [`Mode::Now`] can be relied on.
///
/// Linux 5.9 and 5.10 may answer 0 in the middle of a file, says the manual of `preadv2`.
pub(crate) fn can_read_now() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let release = release();
        let lies = [&b"5.9."[..], b"5.10."]
            .iter()
            .any(|version| release.starts_with(version));
        !lies && !probe::without("rwf_nowait")
    })
}

/// The version of the kernel, as `uname -r` shows it.
fn release() -> Vec<u8> {
    let mut name = MaybeUninit::<libc::utsname>::uninit();
    // SAFETY: the pointer is valid for writes for the call.
    if unsafe { libc::uname(name.as_mut_ptr()) } != 0 {
        return Vec::new();
    }
    // SAFETY: the call has filled it.
    let name = unsafe { name.assume_init() };
    let bytes = name.release.iter().map(|byte| *byte as u8);
    bytes.take_while(|byte| *byte != 0).collect()
}

/// What is behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file or a block device: waits for the disk only.
    Storage,
    /// What waits for others, and can be polled: FIFOs, character devices, sockets.
    Stream,
    /// What is neither read nor written: directories and whatever else there may be.
    Other,
}

/// What the descriptor is for. Asks no server for it.
pub(crate) fn kind(fd: BorrowedFd<'_>) -> io::Result<Kind> {
    let mode = u32::from(stat(fd, libc::STATX_TYPE)?.stx_mode);
    Ok(match mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFBLK => Kind::Storage,
        // 0: an eventfd and others that have no name.
        libc::S_IFIFO | libc::S_IFCHR | libc::S_IFSOCK | 0 => Kind::Stream,
        _ => Kind::Other,
    })
}

/// What tells one file from all others: device and inode.
pub(crate) fn identity(fd: BorrowedFd<'_>) -> io::Result<(u32, u32, u64)> {
    let stat = stat(fd, libc::STATX_INO)?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
}

/// The length that is known without asking a server.
pub(crate) fn known_len(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(stat(fd, libc::STATX_SIZE)?.stx_size)
}

fn stat(fd: BorrowedFd<'_>, mask: libc::c_uint) -> io::Result<libc::statx> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the path is a string, and `stat` is valid for writes for the call.
    cvt(unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, mask, stat.as_mut_ptr()) })?;
    // SAFETY: it is made of numbers, and was zero before the call filled it.
    Ok(unsafe { stat.assume_init() })
}

/// Whether the file lies in memory, so that it waits no more than memory does.
pub(crate) fn is_in_memory(fd: BorrowedFd<'_>) -> bool {
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    let mut stat = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the pointer is valid for writes for the call.
    if unsafe { libc::fstatfs(fd.as_raw_fd(), stat.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has filled it.
    let found = unsafe { stat.assume_init() }.f_type;
    found == libc::TMPFS_MAGIC || found == RAMFS_MAGIC
}

/// The flags of the open description: how it was opened, and `O_NONBLOCK`.
pub(crate) fn flags(fd: BorrowedFd<'_>) -> io::Result<c_int> {
    // SAFETY: F_GETFL takes no argument and touches no memory.
    cvt(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

/// Whether a FIFO that was opened for reading with `O_NONBLOCK` has had a writer since.
pub(crate) fn fifo_has_writer(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // Something to read, or the end of what a writer wrote.
    if super::poll::poll(fd, libc::POLLIN, Some(std::time::Duration::ZERO))? {
        return Ok(true);
    }
    // A read of a byte to nowhere takes none: the kernel answers 0 without a writer, `EAGAIN` with
    // one that has not written, and `EFAULT` if there are bytes now.
    // SAFETY: the kernel refuses the address instead of writing there.
    let answer = cvt_size(unsafe { libc::read(fd.as_raw_fd(), ptr::null_mut(), 1) });
    match answer {
        Ok(_) => Ok(false),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EFAULT) => Ok(true),
            Some(libc::EINTR) => Ok(false),
            _ => Err(error),
        },
    }
}
