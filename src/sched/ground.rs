//! What a greenlet stands on: a slot of the stack arena, with a block of thread-locals at its top.

use std::io;

use crate::stack::{self, Ground, Slot};
use crate::tls::{Block, Support};

/// A stack, and the thread-locals that live at its top unless the worker's are shared.
///
/// One allocation for the life of both, so that pools and greenlets hand on a pointer.
#[derive(Debug)]
pub(crate) struct GreenletGround(Box<Parts>);

#[derive(Debug)]
struct Parts {
    slot: Slot,
    block: Option<Block>,
}

impl GreenletGround {
    /// Takes a cold slot and builds a block into it, if `support` is there to build one.
    ///
    /// `OutOfMemory` when there is no room.
    #[cold]
    pub(super) fn build(slot_size: usize, support: Option<&'static Support>) -> io::Result<Self> {
        let slot = stack::take(slot_size)?;
        match build_block(&slot, support) {
            Ok(block) => Ok(Self(Box::new(Parts { slot, block }))),
            Err(error) => {
                slot.give_back();
                Err(error)
            }
        }
    }

    /// Makes a ground that a greenlet has left fit for the next one.
    #[inline]
    pub(super) fn renew(mut self, support: Option<&'static Support>) -> io::Result<Self> {
        // SAFETY: the greenlet that ran on it has ended, and nobody else runs on it; this is a hub,
        // a thread, or a greenlet that runs.
        let renewed = self
            .0
            .block
            .as_mut()
            .is_none_or(|block| unsafe { block.renew() });
        if renewed {
            Ok(self)
        } else {
            self.rebuild(support)
        }
    }

    #[cold]
    fn rebuild(self, support: Option<&'static Support>) -> io::Result<Self> {
        let slot_size = self.slot().size();
        self.discard();
        Self::build(slot_size, support)
    }

    /// Gives the slot back to the arena, its memory to the kernel.
    pub(super) fn discard(self) {
        let Parts { slot, block } = *self.0;
        if let Some(block) = block {
            // SAFETY: no greenlet runs on it, and none will; this is an OS thread or a greenlet.
            unsafe { block.destroy() };
        }
        slot.give_back();
    }

    #[inline]
    pub(super) fn slot(&self) -> &Slot {
        &self.0.slot
    }

    #[inline]
    pub(super) fn block(&self) -> Option<&Block> {
        self.0.block.as_ref()
    }

    /// The stack, below the block.
    ///
    /// # Safety
    ///
    /// No other stack was made of it that is still in use, and `self` outlives this one.
    #[inline]
    pub(super) unsafe fn stack(&self, support: Option<&Support>) -> Ground {
        let usable = self.slot().usable();
        let reserved = support.map_or(0, Support::block_size);
        // SAFETY: the range is ours: above the guard page, below the block.
        unsafe { Ground::new(usable.start, usable.end - reserved) }
    }
}

fn build_block(slot: &Slot, support: Option<&'static Support>) -> io::Result<Option<Block>> {
    let Some(support) = support else {
        return Ok(None);
    };
    let usable = slot.usable();
    let stack = usable.start..usable.end - support.block_size();
    // SAFETY: the slot is ours and zero, `slot_size` has left room for a block at its top, which is
    // aligned to cache lines; and this is a hub, a thread or a greenlet that runs.
    unsafe { support.create(usable.end, stack) }.map(Some)
}
