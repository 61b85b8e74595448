//! Layer 3: stacks. The [`arena`] owns address space and hands out slots with a guard page;
//! a [`Pool`] keeps slots warm between greenlets.
//!
//! A slot, from low to high addresses:
//!
//! ```text
//! base          base + page                                          top      end
//!  |  guard page |  stack, grows down  <------------|  what its user  | colour |
//!                                                      puts there
//! ```
//!
//! The colour is a gap of 0 to 15 cache lines that differs from slot to slot. Without it the hot
//! ends of all stacks fall into the same few sets of the first-level cache.

mod arena;
mod depth;
mod pool;

use corosensei::stack::{Stack, StackPointer};

pub(crate) use arena::{Slot, find, slot_size, take, taken};
pub(crate) use depth::{clear, used};
pub(crate) use pool::{Pool, Trimmer};

/// The address space of a greenlet that did not ask for another size.
pub(crate) const DEFAULT_SIZE: usize = 256 * 1024;

/// The smallest size that may be asked for.
pub(crate) const MIN_SIZE: usize = 16 * 1024;

/// What corosensei sees of a slot: the part that the stack may grow into.
#[derive(Debug)]
pub(crate) struct Ground {
    base: StackPointer,
    limit: StackPointer,
}

impl Ground {
    /// # Safety
    ///
    /// `[limit, base)` is writable, used by nobody else while this lives, and below it lies a
    /// guard page.
    pub(crate) unsafe fn new(limit: usize, base: usize) -> Self {
        let pointer = |address| StackPointer::new(address).expect("no stack lies at address 0");
        Self {
            base: pointer(base & !15),
            limit: pointer(limit),
        }
    }
}

// SAFETY: base is aligned to 16 by `new`, and the range is a guarded stack (`new`'s contract).
unsafe impl Stack for Ground {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}
