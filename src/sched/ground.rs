//! What a greenlet stands on: a slot of the stack arena, with a block of thread-locals at its top.
//!
//! ```text
//! slot                                                             top      end
//!  |  guard page |  stack, grows down  <----|  thread-locals  | parts | colour |
//! ```

use std::io;
use std::mem;
use std::ops::Range;
use std::ptr::{self, NonNull};

use crate::stack::{self, Ground, Slot};
use crate::tls::{Block, Support};

/// A stack, and the thread-locals that live at its top unless the worker's are shared.
///
/// A pointer to what is known of it, which lies in the slot itself, so that pools and greenlets hand
/// on one word. It is given up by [`Self::discard`]; one that is merely dropped is leaked.
#[derive(Debug)]
pub(crate) struct GreenletGround(NonNull<Parts>);

// SAFETY: what it points to is its own, and may be used by any thread.
unsafe impl Send for GreenletGround {}

#[derive(Debug)]
struct Parts {
    slot: Slot,
    block: Option<Block>,
    state: State,
    /// The stack was zero when its greenlet began, so that its end can tell how much it used.
    is_sampled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has run on it, and the stack is zero.
    Cold,
    /// A greenlet runs on it.
    LivedOn,
    /// A greenlet has left it.
    Warm,
}

/// What lies at the top of every slot: [`Parts`], in whole cache lines.
const TOP: usize = mem::size_of::<Parts>().next_multiple_of(64);

/// A greenlet uses at least so much of its stack.
const FIRST_FRAMES: usize = 512;

/// Bytes of a slot that are not stack.
pub(super) fn reserved(support: Option<&Support>) -> usize {
    TOP + support.map_or(0, Support::block_size)
}

impl GreenletGround {
    /// Takes a cold slot and builds a block into it, if `support` is there to build one.
    ///
    /// `OutOfMemory` when there is no room.
    #[cold]
    pub(super) fn build(slot_size: usize, support: Option<&'static Support>) -> io::Result<Self> {
        let slot = stack::take(slot_size)?;
        slot.populate(reserved(support) + FIRST_FRAMES);
        let block = match build_block(&slot, support) {
            Ok(block) => block,
            Err(error) => {
                slot.give_back();
                return Err(error);
            }
        };
        let top = slot.usable().end - TOP;
        let parts = ptr::with_exposed_provenance_mut::<Parts>(top);
        // SAFETY: the slot is ours, `slot_size` has left room for the parts at its top, which is
        // aligned to cache lines, and the block ends below them.
        unsafe {
            parts.write(Parts {
                slot,
                block,
                state: State::Cold,
                is_sampled: false,
            });
        }
        Ok(Self(NonNull::new(parts).expect("no slot lies at 0")))
    }

    #[inline]
    fn parts(&self) -> &Parts {
        // SAFETY: written by `build`, and `self` owns it.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn parts_mut(&mut self) -> &mut Parts {
        // SAFETY: as above.
        unsafe { self.0.as_mut() }
    }

    /// Makes it fit for a greenlet to begin on, whoever was on it before.
    ///
    /// Called on the worker's own thread pointer.
    #[inline]
    pub(super) fn ready(mut self, support: Option<&'static Support>) -> io::Result<Self> {
        let parts = self.parts_mut();
        // SAFETY: the greenlet that ran on it has ended, and nobody else runs on it; this is a hub.
        let is_ready = parts.state == State::Cold
            || (parts.block.as_mut()).is_none_or(|block| unsafe { block.renew() });
        if is_ready {
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

    /// Whether nobody has run on it.
    #[inline]
    pub(super) fn is_cold(&self) -> bool {
        self.parts().state == State::Cold
    }

    /// A greenlet begins on it.
    #[inline]
    pub(super) fn enter(&mut self) {
        self.parts_mut().state = State::LivedOn;
    }

    /// Its greenlet has ended.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.parts_mut().state = State::Warm;
    }

    /// Makes the stack zero, so that [`Self::used`] can tell what its greenlet has used. Nobody is
    /// on it.
    #[cold]
    pub(super) fn sample(&mut self, support: Option<&Support>) {
        if !self.is_cold() {
            // SAFETY: the stack is ours, and nobody is on it.
            unsafe { stack::clear(self.stack_range(support)) };
        }
        self.parts_mut().is_sampled = true;
    }

    /// Whether the next [`Self::used`] has something to tell.
    #[inline]
    pub(super) fn is_sampled(&self) -> bool {
        self.parts().is_sampled
    }

    /// How many bytes of stack its greenlet has used, which has ended.
    #[cold]
    pub(super) fn used(&mut self, support: Option<&Support>) -> usize {
        debug_assert!(self.is_sampled());
        self.parts_mut().is_sampled = false;
        // SAFETY: the stack is ours, and nobody is on it.
        unsafe { stack::used(self.stack_range(support)) }
    }

    /// Gives the slot back to the arena, its memory to the kernel.
    pub(super) fn discard(self) {
        // SAFETY: `self` owns the parts, and is gone after this.
        let Parts { slot, block, .. } = unsafe { self.0.read() };
        if let Some(block) = block {
            // SAFETY: no greenlet runs on it, and none will; this is an OS thread or a greenlet.
            unsafe { block.destroy() };
        }
        slot.give_back();
    }

    #[inline]
    pub(super) fn slot(&self) -> &Slot {
        &self.parts().slot
    }

    #[inline]
    pub(super) fn block(&self) -> Option<&Block> {
        self.parts().block.as_ref()
    }

    /// The stack, below the block.
    ///
    /// # Safety
    ///
    /// No other stack was made of it that is still in use, and `self` outlives this one.
    #[inline]
    pub(super) unsafe fn stack(&self, support: Option<&Support>) -> Ground {
        let range = self.stack_range(support);
        // SAFETY: the range is ours: above the guard page, below the block.
        unsafe { Ground::new(range.start, range.end) }
    }

    #[inline]
    fn stack_range(&self, support: Option<&Support>) -> Range<usize> {
        stack_range(self.slot(), support)
    }
}

fn stack_range(slot: &Slot, support: Option<&Support>) -> Range<usize> {
    let usable = slot.usable();
    usable.start..usable.end - reserved(support)
}

fn build_block(slot: &Slot, support: Option<&'static Support>) -> io::Result<Option<Block>> {
    let Some(support) = support else {
        return Ok(None);
    };
    let top = slot.usable().end - TOP;
    let stack = stack_range(slot, Some(support));
    // SAFETY: the slot is ours and zero, `slot_size` has left room for a block and the parts at its
    // top, which is aligned to cache lines; and this is a hub, a thread or a greenlet that runs.
    unsafe { support.create(top, stack) }.map(Some)
}
