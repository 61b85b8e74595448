//! The C library's own allocator, whatever Rust's global allocator is.

use std::hint::black_box;
use std::ptr;

/// Allocates and frees a little, so that the calling thread has what its malloc keeps per thread.
pub(crate) fn warm() {
    // SAFETY: what is freed was just allocated; null may be freed.
    unsafe { libc::free(black_box(libc::malloc(black_box(64)))) };
}

/// Frees what the C library allocated.
///
/// # Safety
///
/// `address` is 0 or came from malloc and was not freed.
pub(crate) unsafe fn free(address: usize) {
    // SAFETY: see above.
    unsafe { libc::free(ptr::with_exposed_provenance_mut(address)) };
}

/// The address of the malloc that this module calls.
pub(crate) fn malloc_address() -> usize {
    libc::malloc as *const () as usize
}
