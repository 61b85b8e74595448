//! Mapped memory: private, or that of a file.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

use super::cvt;

/// Words of memory that are zero at first, in a mapping of their own. Unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: NonNull<AtomicU64>,
    bytes: usize,
}

// SAFETY: it is memory that is used as atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Private memory: pages that nobody touches cost nothing.
    pub(crate) fn private(bytes: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        Self::new(bytes, flags, -1, 0)
    }

    /// Part of a file, which grows as needed. What is written there is in the file, even if the process
    /// is killed. `StorageFull` if the disk has no room: that is found out here, not by a SIGBUS later.
    /// Nobody may truncate the file.
    pub(crate) fn of_file(file: &File, offset: u64, bytes: usize) -> io::Result<Self> {
        let (fd, at) = (file.as_raw_fd(), offset as libc::off_t);
        loop {
            // SAFETY: allocates blocks of a file that is open.
            match unsafe { libc::posix_fallocate(fd, at, bytes as libc::off_t) } {
                0 => break,
                // Signals come often, as those of a profiler.
                libc::EINTR => {}
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        }
        Self::new(bytes, libc::MAP_SHARED, fd, at)
    }

    fn new(bytes: usize, flags: libc::c_int, fd: libc::c_int, at: libc::off_t) -> io::Result<Self> {
        // SAFETY: a new mapping, placed by the kernel, touches no existing memory.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                at,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            address: NonNull::new(address.cast()).expect("mmap does not answer with address 0"),
            bytes,
        })
    }

    /// Has it as huge pages, if the kernel has any: then what is written in a row for a long time finds the page
    /// of memory it writes to where the processor keeps the addresses of few.
    pub(crate) fn prefer_huge_pages(&self) {
        // SAFETY: changes nothing that a program sees, of memory that is this value's. Not every kernel can.
        unsafe {
            libc::madvise(
                self.address.as_ptr().cast(),
                self.bytes,
                libc::MADV_HUGEPAGE,
            )
        };
    }

    /// All of it.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped, aligned, zero at first, and used as atomics only.
        unsafe { slice::from_raw_parts(self.address.as_ptr(), self.bytes / 8) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing borrows from it any more.
        let result = cvt(unsafe { libc::munmap(self.address.as_ptr().cast(), self.bytes) });
        debug_assert!(result.is_ok());
    }
}
