//! Functions that use much stack.

use std::hint::black_box;

/// Recurses until `bytes` of stack are in use, and returns.
#[inline(never)]
pub(crate) fn use_stack(bytes: usize) {
    let top = black_box(0u8);
    dig(&raw const top as usize, bytes);
}

#[inline(never)]
fn dig(top: usize, bytes: usize) {
    let room = black_box([0u8; 512]);
    let here = room.as_ptr() as usize;
    if top - here < bytes {
        dig(top, bytes);
    }
    black_box(&room);
}

/// Recurses until there is no stack left.
pub(crate) fn overflow() {
    use_stack(usize::MAX);
}
