//! What kind of file a descriptor stands for.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::cvt;

/// As far as it matters to who reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// On a disk: always ready, and slow all the same.
    Disk,
    /// A pipe or a FIFO.
    Pipe,
    /// Anything else.
    Other,
}

impl FileKind {
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let mut status = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: room for what the call writes.
        cvt(unsafe { libc::fstat(fd.as_raw_fd(), status.as_mut_ptr()) })?;
        // SAFETY: the call went through, so it has written all.
        let mode = unsafe { status.assume_init() }.st_mode;
        Ok(match mode & libc::S_IFMT {
            libc::S_IFREG | libc::S_IFBLK | libc::S_IFDIR => Self::Disk,
            libc::S_IFIFO => Self::Pipe,
            _ => Self::Other,
        })
    }
}
