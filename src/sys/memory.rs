//! Address space: reserving, guarding, giving back.

use std::fs;
use std::io;
use std::ptr::NonNull;

use super::cvt;

/// `MADV_GUARD_INSTALL` (Linux 6.13): pages that fault, without a mapping of their own.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// The size of a page in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf only reads its argument.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Reserves `size` bytes of private zero pages; none costs memory before it is touched, and
/// none becomes a huge page.
pub(crate) fn reserve(size: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY: a new mapping, placed by the kernel, touches no existing memory.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is the mapping that was just made; the advice changes no content. An
    // error (a kernel without huge pages) leaves what we want anyway.
    unsafe { libc::madvise(address, size, libc::MADV_NOHUGEPAGE) };
    Ok(NonNull::new(address.cast()).expect("mmap does not answer with address 0"))
}

/// Gives a range back to the kernel.
///
/// # Safety
///
/// The range was reserved by [`reserve`] and nothing uses it any more.
pub(crate) unsafe fn release(address: usize, size: usize) {
    // SAFETY: nothing uses the range (caller).
    let result = unsafe { libc::munmap(address as *mut _, size) };
    debug_assert_eq!(result, 0);
}

/// Makes the pages of a range fault on every access, without splitting the mapping.
///
/// `InvalidInput` from a kernel that does not know how.
///
/// # Safety
///
/// The range lies in a mapping of [`reserve`] and its content is not needed.
pub(crate) unsafe fn install_guard(address: usize, size: usize) -> io::Result<()> {
    // SAFETY: the content is not needed (caller).
    cvt(unsafe { libc::madvise(address as *mut _, size, MADV_GUARD_INSTALL) }).map(drop)
}

/// Makes the pages of a range fault on every access, at the price of a mapping.
///
/// `OutOfMemory` when the process has `vm.max_map_count` mappings already.
///
/// # Safety
///
/// The range lies in a mapping of [`reserve`] and its content is not needed.
pub(crate) unsafe fn protect(address: usize, size: usize) -> io::Result<()> {
    // SAFETY: the content is not needed (caller).
    cvt(unsafe { libc::mprotect(address as *mut _, size, libc::PROT_NONE) }).map(drop)
}

/// Tells which pages from `address` on, the start of one, are resident: the lowest bit of a byte
/// each.
pub(crate) fn resident(address: usize, pages: &mut [u8]) -> io::Result<()> {
    let size = pages.len() * page_size();
    // SAFETY: it writes a byte for each page, for which there is room, and changes nothing else.
    cvt(unsafe { libc::mincore(address as *mut _, size, pages.as_mut_ptr()) }).map(drop)
}

/// How many mappings more the process may have now, if the kernel tells.
pub(crate) fn mappings_left() -> Option<usize> {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    let mappings = fs::read("/proc/self/maps").ok()?;
    let taken = mappings.iter().filter(|&&byte| byte == b'\n').count();
    Some(limit.trim().parse::<usize>().ok()?.saturating_sub(taken))
}

/// Provides the pages of a range that are missing, in one call instead of a fault for each. A kernel
/// that cannot (before Linux 5.14), or has none, leaves that to the faults.
pub(crate) fn populate(address: usize, size: usize) {
    // SAFETY: what is there already stays as it is, and what is not reads as zero, as it would anyway.
    unsafe { libc::madvise(address as *mut _, size, libc::MADV_POPULATE_WRITE) };
}

/// Gives the pages of a range back; they read as zero when touched again.
///
/// # Safety
///
/// The range lies in a mapping of [`reserve`] and its content is not needed.
pub(crate) unsafe fn discard(address: usize, size: usize) {
    // SAFETY: the content is not needed (caller).
    let result = unsafe { libc::madvise(address as *mut _, size, libc::MADV_DONTNEED) };
    if result != 0 {
        // Locked memory (mlockall) is not given back; but it must read as zero.
        // SAFETY: the range is writable, and its content not needed (caller).
        unsafe { std::ptr::write_bytes(address as *mut u8, 0, size) };
    }
}
