//! The auxiliary vector: what the kernel told this process when it started.

/// `AT_HWCAP2`: features of the processor that user space may use; the bits are the architecture's.
pub(crate) fn hwcap2() -> u64 {
    // SAFETY: reads a table of the C library's; an unknown key is answered with 0.
    unsafe { libc::getauxval(libc::AT_HWCAP2) }
}
