//! The end of a greenlet, and the one who waits for it.

#[cfg(all(test, loom))]
mod models;

use std::mem;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::cell::Id;
use super::park;
use crate::atomic::{AtomicU8, UnsafeCell};
use crate::reason::WaitReason;
use crate::waker::{Header, Outcome, Waker};

/// Somebody waits; the waker is in its place.
const WAITING: u8 = 1;
/// The greenlet has run its thread-locals' destructors and left its stack; it does not touch the
/// result any more.
const ENDED: u8 = 2;
/// Nobody will ask for the result.
const DETACHED: u8 = 4;
/// The result is in its place. It is the handle's, unless `DETACHED` was there before.
const RETURNED: u8 = 8;

/// Where a greenlet's end is told. One may wait, the holder of the join handle.
#[derive(Debug)]
pub(crate) struct JoinSlot {
    state: AtomicU8,
    /// The waker's generation; its cell is behind it. In two parts they leave room for `state`.
    generation: UnsafeCell<u32>,
    /// The waker is written by the one who waits, before it sets `WAITING`. Taken by the greenlet's hub if it
    /// finds `WAITING` when it sets `ENDED`; by the one who waits if it takes `WAITING` back
    /// before that.
    waiting: UnsafeCell<NonNull<Header>>,
}

// SAFETY: the waker has one owner at a time, told by `state` as its comment says.
unsafe impl Sync for JoinSlot {}

impl JoinSlot {
    /// Where debuggers find the state in it, and the bit of that which says that the greenlet has ended.
    pub(super) const STATE: usize = mem::offset_of!(Self, state);
    pub(super) const ENDED_BIT: u8 = ENDED;

    pub(super) fn new() -> Self {
        Self {
            state: AtomicU8::new(0),
            generation: UnsafeCell::new(0),
            waiting: UnsafeCell::new(NonNull::dangling()),
        }
    }

    /// Whether the greenlet has ended.
    pub(crate) fn has_ended(&self) -> bool {
        // Acquire: pairs with the AcqRel in `end`; the result can be read.
        self.state.load(Acquire) & ENDED != 0
    }

    /// Waits until the greenlet, whose number is `of`, has ended: `Woken`; or until the waiting one
    /// is cancelled, unless `shielded`.
    ///
    /// # Safety
    ///
    /// Only one at a time waits.
    pub(crate) unsafe fn wait(&self, of: Id, shielded: bool) -> Outcome {
        let wait = WaitReason::Join.on(of.number());
        while !self.has_ended() {
            // SAFETY: only one waits, and its waker of the park before is gone.
            let commit = |waker| unsafe { self.publish(waker) };
            let outcome = if shielded {
                park::park_shielded(wait, None, commit)
            } else {
                park::park(wait, None, commit)
            };
            if outcome == Outcome::Cancelled {
                self.withdraw();
                return outcome;
            }
        }
        Outcome::Woken
    }

    /// The commit of a park: puts the waker into the slot, and wakes it if the end came first.
    ///
    /// # Safety
    ///
    /// `WAITING` is not set.
    unsafe fn publish(&self, waker: Waker) {
        let (cell, generation) = waker.into_parts();
        // SAFETY: `WAITING` is not set (caller), so the slot is the waiting one's.
        self.generation
            .with_mut(|place| unsafe { *place = generation });
        // SAFETY: as above.
        self.waiting.with_mut(|place| unsafe { *place = cell });
        // AcqRel: the waker is there for `end`; and if it came first, its result is here.
        if self.state.fetch_or(WAITING, AcqRel) & ENDED != 0 {
            // SAFETY: written above, and `end` saw no `WAITING`, so it is still ours.
            unsafe { self.take_waker() }.wake();
        }
    }

    /// # Safety
    ///
    /// There is a waker, and the caller owns it, as `state` tells.
    unsafe fn take_waker(&self) -> Waker {
        // SAFETY: nobody else uses it (caller).
        let generation = self.generation.with_mut(|place| unsafe { *place });
        // SAFETY: as above.
        let cell = self.waiting.with_mut(|place| unsafe { *place });
        // SAFETY: the parts of the waker that `publish` was given; whose it is takes it once (caller).
        unsafe { Waker::from_parts(cell, generation) }
    }

    fn withdraw(&self) {
        // AcqRel: pairs with `end`. If it came first, it takes the waker; else it is ours again.
        let before = self.state.fetch_and(!WAITING, AcqRel);
        if before & WAITING != 0 && before & ENDED == 0 {
            // SAFETY: taken back in time, as said.
            drop(unsafe { self.take_waker() });
        }
    }

    /// On the greenlet, when the result is in its place: whether nobody will ask for it. Then the
    /// greenlet drops it, while it still is one; otherwise the result is the handle's from now on.
    pub(super) fn hand_over(&self) -> bool {
        // AcqRel: pairs with `detach`, to which it may give the result.
        self.state.fetch_or(RETURNED, AcqRel) & DETACHED != 0
    }

    /// The handle goes. Answers whether the result is there and the handle's to drop; if not, it is
    /// dropped by the greenlet.
    pub(super) fn detach(&self) -> bool {
        // AcqRel: pairs with `hand_over`, whose result it sees, and with `end` for a greenlet
        // that never ran.
        self.state.fetch_or(DETACHED, AcqRel) & (RETURNED | ENDED) != 0
    }

    /// On the hub: the greenlet is over.
    pub(super) fn end(&self) {
        // AcqRel: all the greenlet did is there for `has_ended`, and the waker is here.
        if self.state.fetch_or(ENDED, AcqRel) & WAITING != 0 {
            // SAFETY: `WAITING` was set and `ENDED` was not: the waker is the hub's to take.
            unsafe { self.take_waker() }.wake();
        }
    }
}
