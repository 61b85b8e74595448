//! Random bytes from the kernel.

/// A random number through the C library's `getrandom`; 0 where there is none yet.
pub(crate) fn number() -> u64 {
    let mut number = 0_u64;
    // SAFETY: eight bytes are there to be written.
    unsafe { libc::getrandom((&raw mut number).cast(), 8, libc::GRND_NONBLOCK) };
    number
}
