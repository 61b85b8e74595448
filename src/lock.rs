//! A mutex for the runtime's own state: std's, without poisoning.
//!
//! Runtime code does not unwind (see `abort.rs`), so poison could never be seen. std's mutex
//! is used rather than parking_lot's because the latter keeps a record per thread that ever
//! waited, in a table that grows with the number of threads and never shrinks: with a
//! greenlet counting as a thread that is a table for a million threads.

use std::sync::{self, PoisonError, TryLockError};

use crate::atomic::{self, MutexGuard};

/// A mutual exclusion lock that is held for a few instructions, never over a park.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(atomic::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(atomic::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The same for a `static`, which takes part in no model.
#[derive(Debug, Default)]
pub(crate) struct StaticMutex<T>(sync::Mutex<T>);

impl<T> StaticMutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Option<sync::MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
