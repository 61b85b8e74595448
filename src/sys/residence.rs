//! Which addresses are in use.

/// Whether `address` lies in a mapping of this process.
pub(crate) fn is_mapped(address: usize) -> bool {
    let page = std::ptr::without_provenance_mut(address & !0xfff);
    let mut resident = 0_u8;
    // SAFETY: asks about one page, for which one byte is written; no memory is touched there.
    unsafe { libc::mincore(page, 1, &mut resident) == 0 }
}
