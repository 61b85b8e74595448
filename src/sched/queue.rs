//! A hub's own run queue.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::greenlet_cell::{GreenletCell, Runnable};
use crate::atomic::AtomicPtr;
use crate::atomic::deque::{Injector, Stealer, Worker};

/// So many times in a row the next slot may go first; then the others have their turn.
const NEXT_STREAK: u32 = 8;

/// A hub takes so many greenlets at a time from outside.
const FETCH: usize = 32;

/// What a hub will run: its next slot, those whose time has come, and all others.
///
/// Used by the hub's thread only, by the hub and by the greenlets that run on it.
pub(super) struct RunQueue {
    /// Woken by the greenlet that runs now: its partner, most likely, with warm caches. Hubs do
    /// not steal it; the monitor takes it if that greenlet blocks the hub.
    next: Arc<NextSlot>,
    /// How often in a row `next` was taken.
    streak: Cell<u32>,
    ready: Lane,
    /// Greenlets whose deadline has passed, so that they are not late by a whole queue.
    due: Lane,
    /// Whose turn it is, of `due` and `ready`.
    due_first: Cell<bool>,
}

/// Whether there is something new that other hubs could steal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pushed {
    Private,
    Stealable,
}

impl RunQueue {
    /// `alone`: there is no other hub.
    pub(super) fn new(alone: bool) -> Self {
        Self {
            next: Arc::default(),
            streak: Cell::new(0),
            ready: Lane::new(alone),
            due: Lane::new(alone),
            due_first: Cell::new(false),
        }
    }

    pub(super) fn stealer(&self) -> QueueStealer {
        QueueStealer {
            ready: self.ready.stealable.stealer(),
            due: self.due.stealable.stealer(),
            next: self.next.clone(),
        }
    }

    /// Takes half of what another hub has due, or else of its queue: the first one to be run, the
    /// others into this queue.
    pub(super) fn rob(&self, victim: &QueueStealer) -> Option<Runnable> {
        let due = self.due.rob(&victim.due);
        due.or_else(|| self.ready.rob(&victim.ready))
    }

    /// Takes some of what an injector has to the end of the queue. `None` if it has nothing.
    ///
    /// On its way from one to the other nobody sees a greenlet. So whoever looked for work
    /// meanwhile, and found none, is to be notified.
    pub(super) fn fetch(&self, injector: &Injector<Runnable>) -> Option<Pushed> {
        // Pinned greenlets may be among them, which nobody else may take.
        std::iter::from_fn(|| take_one(injector))
            .take(FETCH)
            .map(|runnable| self.push_back(runnable))
            .max()
    }

    /// At the end of the queue.
    #[inline]
    pub(super) fn push_back(&self, runnable: Runnable) -> Pushed {
        self.ready.push(runnable)
    }

    /// Behind those whose time has come, too. They and the others take turns.
    pub(super) fn push_due(&self, runnable: Runnable) -> Pushed {
        self.due.push(runnable)
    }

    /// Into the next slot; who was there goes to the end of the queue.
    #[inline]
    pub(super) fn push_next(&self, runnable: Runnable) -> Pushed {
        if self.streak.get() >= NEXT_STREAK {
            return self.push_back(runnable);
        }
        match self.next.replace(runnable) {
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
        if self.due.is_empty() {
            return self.ready.pop();
        }
        if self.due_first.replace(!self.due_first.get()) {
            self.due.pop().or_else(|| self.ready.pop())
        } else {
            self.ready.pop().or_else(|| self.due.pop())
        }
    }

    /// Whether there is something that other hubs steal beside something that they do not.
    #[inline]
    pub(super) fn is_mixed(&self) -> bool {
        let has_unstealable =
            || !self.next.is_empty() || self.ready.has_private() || self.due.has_private();
        let has_stealable = || self.ready.has_stealable() || self.due.has_stealable();
        !self.ready.alone && has_unstealable() && has_stealable()
    }

    /// How many there are that other hubs do not steal.
    pub(super) fn unstealable(&self) -> usize {
        usize::from(!self.next.is_empty()) + self.ready.private_len() + self.due.private_len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty() && self.ready.is_empty() && self.due.is_empty()
    }
}

/// A queue, first in, first out, of which pinned greenlets are a part of their own.
struct Lane {
    /// Others steal from it.
    stealable: Worker<Runnable>,
    /// Greenlets that are pinned to this hub, and all if there is no other.
    private: RefCell<VecDeque<Runnable>>,
    /// Whose turn it is, of `stealable` and `private`.
    private_first: Cell<bool>,
    /// There is no other hub.
    alone: bool,
}

impl Lane {
    fn new(alone: bool) -> Self {
        Self {
            stealable: Worker::new_fifo(),
            private: RefCell::default(),
            private_first: Cell::new(false),
            alone,
        }
    }

    #[inline]
    fn push(&self, runnable: Runnable) -> Pushed {
        if self.alone || runnable.cell().pinned().is_some() {
            self.private.borrow_mut().push_back(runnable);
            return Pushed::Private;
        }
        self.stealable.push(runnable);
        Pushed::Stealable
    }

    #[inline]
    fn pop(&self) -> Option<Runnable> {
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

    fn rob(&self, victim: &Stealer<Runnable>) -> Option<Runnable> {
        loop {
            let stolen = victim.steal_batch_and_pop(&self.stealable);
            if !stolen.is_retry() {
                return stolen.success();
            }
        }
    }

    #[inline]
    fn has_private(&self) -> bool {
        !self.private.borrow().is_empty()
    }

    fn private_len(&self) -> usize {
        self.private.borrow().len()
    }

    #[inline]
    fn has_stealable(&self) -> bool {
        !self.alone && !self.stealable.is_empty()
    }

    #[inline]
    fn is_empty(&self) -> bool {
        !self.has_private() && !self.has_stealable()
    }
}

/// What others may take from a hub's queue.
#[derive(Debug)]
pub(super) struct QueueStealer {
    ready: Stealer<Runnable>,
    due: Stealer<Runnable>,
    next: Arc<NextSlot>,
}

impl QueueStealer {
    /// Whether there is nothing that other hubs steal.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.due.is_empty()
    }

    /// How many greenlets other hubs could steal.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.due.len()
    }

    /// Takes one greenlet, the next slot's first, from a hub that is blocked.
    pub(super) fn take_any(&self) -> Option<Runnable> {
        let next = self.next.take();
        next.or_else(|| steal_one(&self.due))
            .or_else(|| steal_one(&self.ready))
    }
}

fn steal_one(stealer: &Stealer<Runnable>) -> Option<Runnable> {
    loop {
        let stolen = stealer.steal();
        if !stolen.is_retry() {
            return stolen.success();
        }
    }
}

/// A place for one greenlet. Only its hub fills it; anybody may empty it.
#[derive(Debug, Default)]
struct NextSlot(AtomicPtr<GreenletCell>);

impl NextSlot {
    /// By its hub only. Answers who was there.
    #[inline]
    fn replace(&self, runnable: Runnable) -> Option<Runnable> {
        let cell = runnable.into_cell().as_ptr();
        if self.0.load(Relaxed).is_null() {
            // Nobody else fills it, so it stays empty up to here. Release: pairs with the Acquire
            // in `take`.
            self.0.store(cell, Release);
            return None;
        }
        // AcqRel: as above, and as in `take`.
        Self::runnable(self.0.swap(cell, AcqRel))
    }

    #[inline]
    fn take(&self) -> Option<Runnable> {
        if self.is_empty() {
            return None;
        }
        // Acquire: pairs with the Release in `replace`.
        Self::runnable(self.0.swap(ptr::null_mut(), Acquire))
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.0.load(Relaxed).is_null()
    }

    fn runnable(cell: *mut GreenletCell) -> Option<Runnable> {
        // SAFETY: it came from a `Runnable` in `replace`, and was swapped out once.
        NonNull::new(cell).map(|cell| unsafe { Runnable::new(cell) })
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
            .field("ready", &self.ready.stealable)
            .field("due", &self.due.stealable)
            .finish_non_exhaustive()
    }
}
