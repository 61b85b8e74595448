//! loom's mutex, with a `try_lock` that answers: loom's own may block its thread instead.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{LockResult, TryLockError, TryLockResult};

use loom::sync;
use loom::sync::atomic::AtomicBool;

/// One mutex is either locked or tried, never both.
#[derive(Debug)]
pub(crate) struct Mutex<T> {
    value: sync::Mutex<T>,
    /// Held by the one who has tried first.
    is_held: AtomicBool,
}

pub(crate) struct MutexGuard<'a, T> {
    value: ManuallyDrop<sync::MutexGuard<'a, T>>,
    is_held: Option<&'a AtomicBool>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: sync::Mutex::new(value),
            is_held: AtomicBool::new(false),
        }
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        Ok(self.guard(None))
    }

    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let taken = self.is_held.compare_exchange(false, true, Acquire, Relaxed);
        match taken {
            Ok(_) => Ok(self.guard(Some(&self.is_held))),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    fn guard<'a>(&'a self, is_held: Option<&'a AtomicBool>) -> MutexGuard<'a, T> {
        let value = self.value.lock().expect("a model ends at its first panic");
        MutexGuard {
            value: ManuallyDrop::new(value),
            is_held,
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: not used after this.
        unsafe { ManuallyDrop::drop(&mut self.value) };
        if let Some(is_held) = self.is_held {
            is_held.store(false, Release);
        }
    }
}
