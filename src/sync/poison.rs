//! Whether somebody has panicked while it held a lock.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::thread;

use crate::sched;

/// Set when a guard is dropped by a panic that has begun since the guard was made.
///
/// All is `Relaxed`: who may write it holds the lock, and who has the lock sees what was written
/// under it; others are told what was so at some time.
#[derive(Debug)]
pub(super) struct Poison(AtomicBool);

/// What a guard remembers for [`Poison::leave`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Entered {
    was_panicking: bool,
}

impl Poison {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    #[inline]
    pub(super) fn clear(&self) {
        self.0.store(false, Relaxed);
    }

    /// The lock was taken.
    #[inline]
    pub(super) fn enter() -> Entered {
        Entered {
            was_panicking: thread::panicking(),
        }
    }

    /// The lock is about to be given back.
    #[inline]
    pub(super) fn leave(&self, entered: Entered) {
        if !entered.was_panicking && thread::panicking() {
            self.0.store(true, Relaxed);
        }
    }

    /// `value`, which is an error if this is set.
    #[inline]
    pub(super) fn wrap<T>(&self, value: T) -> LockResult<T> {
        if self.is_set() {
            Err(PoisonError::new(value))
        } else {
            Ok(value)
        }
    }
}

/// Who tries again and again lets the one that has the lock have its turn.
#[cold]
pub(super) fn would_block<G>() -> TryLockResult<G> {
    sched::spend_memory();
    Err(TryLockError::WouldBlock)
}
