//! How deep a stack was used: what is not zero any more.

use std::ops::Range;

use super::arena::page;
use crate::sys::memory;

/// The kernel is asked for so many pages at a time.
const BATCH: usize = 256;

/// Makes a stack zero: whole pages by giving them back, the rest by writing.
///
/// # Safety
///
/// The range is the stack of a slot that is the caller's, and nobody is on it.
pub(crate) unsafe fn clear(stack: Range<usize>) {
    let whole = stack.start..stack.end & !(page() - 1);
    // SAFETY: the range is the caller's, and its content is not needed.
    unsafe {
        memory::discard(whole.start, whole.len());
        std::ptr::with_exposed_provenance_mut::<u8>(whole.end)
            .write_bytes(0, stack.end - whole.end);
    }
}

/// Bytes from the top of a stack down to the lowest word that is not zero. Pages that were never
/// touched are not looked at.
///
/// # Safety
///
/// The range is the stack of a slot that is the caller's, and nobody is on it.
pub(crate) unsafe fn used(stack: Range<usize>) -> usize {
    let end = stack.end & !7;
    let mut address = stack.start;
    while address < end {
        let mut resident = [0; BATCH];
        let count = (end - address).div_ceil(page()).min(BATCH);
        let resident = &mut resident[..count];
        if memory::resident(address, resident).is_err() {
            // The kernel does not tell, so all are looked at.
            resident.fill(1);
        }
        for page_is_resident in &*resident {
            let next = (address + page()).min(end);
            if page_is_resident & 1 == 1 {
                // SAFETY: the words are the caller's, and nobody writes them.
                if let Some(word) = unsafe { first_word(address..next) } {
                    return stack.end - word;
                }
            }
            address = next;
        }
    }
    0
}

/// The lowest word that is not zero.
///
/// # Safety
///
/// The range is readable, its bounds are multiples of 8, and nobody writes to it.
unsafe fn first_word(range: Range<usize>) -> Option<usize> {
    range.step_by(8).find(|&address| {
        // SAFETY: see above.
        unsafe { std::ptr::with_exposed_provenance::<u64>(address).read() != 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::take;

    #[test]
    fn the_lowest_word_written_is_found() {
        let slot = take(1 << 22).unwrap();
        let usable = slot.usable();
        // SAFETY: the slot is ours, and all addresses lie in it.
        unsafe {
            assert_eq!(used(usable.clone()), 0);
            for depth in [8, 4096, 100_000, (4 << 20) - 8192] {
                (usable.end as *mut u64).byte_sub(depth).write_volatile(1);
                assert_eq!(used(usable.clone()), depth);
            }
            clear(usable.clone());
            assert_eq!(used(usable.clone()), 0);
        }
        slot.give_back();
    }
}
