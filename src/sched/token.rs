//! The token of the public `park` and `unpark`.

#[cfg(all(test, loom))]
mod models;

use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::park;
use crate::atomic::AtomicU64;
use crate::reason::WaitReason;
use crate::waker::{Header, Outcome, Waker};

/// It is absent, and nobody waits for it.
const ABSENT: u64 = 0;
/// It is there.
const THERE: u64 = 1;
/// It is absent, and its owner waits. With the generation of that park in the low half: all that a waker is, beside
/// the cell that the token belongs to. Whoever replaces this word owns the waker's reference.
const AWAITED: u64 = 1 << 32;

/// There or not. Its owner, who may wait for it, is the greenlet or thread of one cell.
#[derive(Debug)]
pub(super) struct Token(AtomicU64);

impl Token {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(ABSENT))
    }

    /// Waits until it is there, and takes it.
    ///
    /// # Safety
    ///
    /// Called by its owner, whose cell `cell` is.
    pub(super) unsafe fn take(&self, cell: NonNull<Header>, deadline: Option<u64>) -> Outcome {
        // AcqRel, here and in the two other exchanges, which pair with each other: what the one who gives has done
        // before is seen by who takes, and the park that a waker is for by who gets that. The owner does not wait, so
        // there is no waker.
        if self.0.swap(ABSENT, AcqRel) == THERE {
            return Outcome::Woken;
        }
        let outcome = park::park(WaitReason::Park, deadline, |waker| {
            // While its thread-locals are destroyed, a thread has a new cell whenever it asks for its own. To this one
            // nobody else has a handle, so nobody will give.
            if waker.is_of(cell) {
                self.await_with(waker);
            }
        });
        // What is left of a wait that has ended otherwise.
        // SAFETY: the owner's cell (caller).
        drop(unsafe { self.replace(ABSENT, cell) });
        outcome
    }

    /// The commit of a park of its owner's. The exchange is the last thing that it does to the token.
    fn await_with(&self, waker: Waker) {
        let (cell, generation) = waker.into_parts();
        let awaited = AWAITED | u64::from(generation);
        // Acquire for the failure: it came first, and will be taken when the park is over.
        if (self.0.compare_exchange(ABSENT, awaited, AcqRel, Acquire)).is_err() {
            // SAFETY: just taken apart.
            unsafe { Waker::from_parts(cell, generation) }.wake();
        }
    }

    /// Puts it there, and wakes its owner if that waits for it.
    ///
    /// # Safety
    ///
    /// `cell` is its owner's.
    pub(super) unsafe fn give(&self, cell: NonNull<Header>) {
        // SAFETY: the owner's cell (caller).
        if let Some(waker) = unsafe { self.replace(THERE, cell) } {
            waker.wake();
        }
    }

    /// Answers the waker that was there.
    ///
    /// # Safety
    ///
    /// `cell` is its owner's.
    unsafe fn replace(&self, next: u64, cell: NonNull<Header>) -> Option<Waker> {
        let before = self.0.swap(next, AcqRel);
        // SAFETY: `await_with` has put it there, which took apart a waker of the owner's, whose cell this is (caller);
        // and only this exchange has answered it.
        (before >= AWAITED).then(|| unsafe { Waker::from_parts(cell, before as u32) })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sched::thread_cell;

    /// As while the thread-locals of a thread are destroyed: then each look at its cell answers a new one.
    #[test]
    fn a_thread_that_parks_as_another_cell_takes_no_reference_of_this_one() {
        let cell = thread_cell::allocate();
        let _second_reference = cell.clone();
        for _ in 0..3 {
            // SAFETY: this thread's own, as far as anybody can tell.
            let outcome = unsafe { cell.take_token(Some(0)) };
            assert_eq!(outcome, Outcome::Deadline);
            let header = format!("{:?}", cell.header());
            assert!(header.contains("references: 2"), "{header}");
        }
    }
}
