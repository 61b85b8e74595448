//! loom's mutex, with a `try_lock` that answers: loom's own may block its thread instead.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{LockResult, TryLockError, TryLockResult};

use loom::sync;
use loom::sync::atomic::AtomicBool;

/// One mutex is either locked or tried, never both.
///
/// What is loom's is made when it is first used, for loom makes nothing in a `const fn`; or by
/// [`default`](Self::default), as loom must see what is tried made before it is shared.
pub(crate) struct Mutex<T> {
    /// Used by whoever holds `lock`.
    value: UnsafeCell<T>,
    lock: OnceLock<sync::Mutex<()>>,
    /// Held by the one who has tried first.
    is_held: OnceLock<AtomicBool>,
}

// SAFETY: the value goes to whoever holds the lock, one at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

pub(crate) struct MutexGuard<'a, T> {
    value: &'a UnsafeCell<T>,
    held: Option<sync::MutexGuard<'a, ()>>,
    is_held: Option<&'a AtomicBool>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            value: UnsafeCell::new(value),
            lock: OnceLock::new(),
            is_held: OnceLock::new(),
        }
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        Ok(self.guard(None))
    }

    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let is_held = self.is_held.get_or_init(|| AtomicBool::new(false));
        let taken = is_held.compare_exchange(false, true, Acquire, Relaxed);
        match taken {
            Ok(_) => Ok(self.guard(Some(is_held))),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    fn guard<'a>(&'a self, is_held: Option<&'a AtomicBool>) -> MutexGuard<'a, T> {
        let lock = self.lock.get_or_init(|| sync::Mutex::new(()));
        let held = lock.lock().expect("a model ends at its first panic");
        MutexGuard {
            value: &self.value,
            held: Some(held),
            is_held,
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self {
            value: UnsafeCell::default(),
            lock: OnceLock::from(sync::Mutex::new(())),
            is_held: OnceLock::from(AtomicBool::new(false)),
        }
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held.
        unsafe { &mut *self.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.held.take());
        if let Some(is_held) = self.is_held {
            is_held.store(false, Release);
        }
    }
}
