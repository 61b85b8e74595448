//! A hub's own run queue.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;

use super::greenlet_cell::Runnable;
use crate::atomic::deque::{Injector, Stealer, Worker};

/// So many times in a row the next slot may go first; then the others have their turn.
const NEXT_STREAK: u32 = 8;

/// A hub takes so many greenlets at a time from outside.
const FETCH: usize = 32;

/// What a hub will run: its next slot, its queue, and the greenlets that must stay with it.
///
/// Used by the hub's thread only, by the hub and by the greenlets that run on it.
pub(super) struct RunQueue {
    /// Woken by the greenlet that runs now: its partner, most likely, with warm caches. Nobody
    /// can steal it.
    next: Cell<Option<Runnable>>,
    /// How often in a row `next` was taken.
    streak: Cell<u32>,
    /// First in, first out; others steal from it.
    stealable: Worker<Runnable>,
    /// First in, first out: greenlets that are pinned to this hub, and all if there is no other.
    private: RefCell<VecDeque<Runnable>>,
    /// Whose turn it is, of `stealable` and `private`.
    private_first: Cell<bool>,
    /// There is no other hub.
    alone: bool,
}

/// Whether there is something new that other hubs could steal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Stealable,
    Private,
}

impl RunQueue {
    /// `alone`: there is no other hub.
    pub(super) fn new(alone: bool) -> Self {
        Self {
            next: Cell::new(None),
            streak: Cell::new(0),
            stealable: Worker::new_fifo(),
            private: RefCell::default(),
            private_first: Cell::new(false),
            alone,
        }
    }

    pub(super) fn stealer(&self) -> Stealer<Runnable> {
        self.stealable.stealer()
    }

    /// Takes half of another hub's queue: the first one to be run, the others into this queue.
    pub(super) fn rob(&self, victim: &Stealer<Runnable>) -> Option<Runnable> {
        loop {
            let stolen = victim.steal_batch_and_pop(&self.stealable);
            if !stolen.is_retry() {
                return stolen.success();
            }
        }
    }

    /// Takes some of what an injector has: the first one to be run, the others into this queue.
    pub(super) fn fetch(&self, injector: &Injector<Runnable>) -> Option<Runnable> {
        // Pinned greenlets may be among them, which nobody else may take.
        let first = take_one(injector)?;
        let mut private = self.private.borrow_mut();
        for runnable in std::iter::from_fn(|| take_one(injector)).take(FETCH - 1) {
            if self.alone || runnable.cell().pinned().is_some() {
                private.push_back(runnable);
            } else {
                self.stealable.push(runnable);
            }
        }
        Some(first)
    }

    /// At the end of the queue.
    #[inline]
    pub(super) fn push_back(&self, runnable: Runnable) -> Pushed {
        if self.alone || runnable.cell().pinned().is_some() {
            self.private.borrow_mut().push_back(runnable);
            return Pushed::Private;
        }
        self.stealable.push(runnable);
        Pushed::Stealable
    }

    /// Into the next slot; who was there goes to the end of the queue.
    #[inline]
    pub(super) fn push_next(&self, runnable: Runnable) -> Pushed {
        if self.streak.get() >= NEXT_STREAK {
            return self.push_back(runnable);
        }
        match self.next.replace(Some(runnable)) {
            Some(before) => self.push_back(before),
            None => Pushed::Private,
        }
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<Runnable> {
        if let Some(next) = self.next.take() {
            self.streak.set(self.streak.get() + 1);
            return Some(next);
        }
        self.streak.set(0);
        let mut private = self.private.borrow_mut();
        if private.is_empty() {
            drop(private);
            return self.stealable.pop();
        }
        if !self.alone && !self.private_first.replace(!self.private_first.get()) {
            let stealable = self.stealable.pop();
            if stealable.is_some() {
                return stealable;
            }
        }
        private.pop_front()
    }

    /// Whether there is something that other hubs could steal.
    pub(super) fn has_stealable(&self) -> bool {
        !self.stealable.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        let next = self.next.take();
        let has_next = next.is_some();
        self.next.set(next);
        !has_next && self.stealable.is_empty() && self.private.borrow().is_empty()
    }
}

fn take_one(injector: &Injector<Runnable>) -> Option<Runnable> {
    loop {
        let stolen = injector.steal();
        if !stolen.is_retry() {
            return stolen.success();
        }
    }
}

impl fmt::Debug for RunQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunQueue")
            .field("stealable", &self.stealable)
            .finish_non_exhaustive()
    }
}
