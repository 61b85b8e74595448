//! A value that one at a time uses.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockError, TryLockResult};

use super::poison::{Entered, Poison, would_block};
use super::raw_mutex::RawMutex;

/// A mutual exclusion lock: [`std::sync::Mutex`], which parks the greenlet that waits for it.
///
/// It works between greenlets, between hubs and with plain threads, and may be held over a wait of
/// any kind. Locking and unlocking are one atomic exchange each while nobody waits.
///
/// # Fairness
///
/// Nobody starves. Whoever runs may lock a mutex that is free, though others wait; so short critical
/// sections do not wait for a switch each. Those who wait are woken first in, first out; one that finds
/// the mutex taken again, a millisecond or more after it had come, stays the first and is handed the
/// mutex when it is next unlocked.
///
/// # Poisoning
///
/// As in std: a panic in a greenlet or thread that has the mutex poisons it. What unwinds a greenlet
/// when its runtime is dropped counts as a panic, too.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use greenlet::sync::Mutex;
///
/// greenlet::run(|| {
///     let total = Arc::new(Mutex::new(0));
///     let tasks: Vec<_> = (1..=10)
///         .map(|number| {
///             let total = total.clone();
///             greenlet::spawn(move || {
///                 let mut total = total.lock().unwrap();
///                 // The others wait for the mutex, and their hub is free for more.
///                 greenlet::sleep(Duration::from_millis(1));
///                 *total += number;
///             })
///         })
///         .collect();
///     tasks.into_iter().for_each(|task| task.join().unwrap());
///     assert_eq!(*total.lock().unwrap(), 55);
/// });
/// ```
///
/// A guard stays with the greenlet or thread that has locked:
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// is_send(greenlet::sync::Mutex::new(0).lock());
/// ```
///
/// Only what may be sent may be shared this way:
///
/// ```compile_fail,E0277
/// fn is_sync<T: Sync>(_: T) {}
/// is_sync(greenlet::sync::Mutex::new(std::rc::Rc::new(0)));
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: Poison,
    value: UnsafeCell<T>,
}

// SAFETY: the value goes to whoever has the lock, one at a time.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

/// The right to use the value of a [`Mutex`], which is unlocked when this is dropped:
/// [`std::sync::MutexGuard`].
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    mutex: &'a Mutex<T>,
    entered: Entered,
    /// Not `Send`, as std's: it tells panics of its own thread from others.
    _not_send: PhantomData<*const ()>,
}

// SAFETY: it gives out references to the value, and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

// As std's, which has no pointer in it.
impl<T: ?Sized> UnwindSafe for MutexGuard<'_, T> {}
impl<T: ?Sized> RefUnwindSafe for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// A mutex that is free.
    #[inline]
    pub const fn new(t: T) -> Self {
        Self {
            raw: RawMutex::new(),
            poison: Poison::new(),
            value: UnsafeCell::new(t),
        }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the mutex is free, and locks it.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned. It is locked all the same.
    ///
    /// # Panics
    ///
    /// If it has to wait inside [`on_thread_stack`](crate::on_thread_stack). A greenlet that locks a
    /// mutex which it has locked waits for ever: a [`Deadlock`](crate::Deadlock).
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.lock();
        // SAFETY: it has just been locked.
        unsafe { MutexGuard::new(self) }
    }

    /// Locks the mutex if it is free. Does not wait.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if it is not free;
    /// [`Poisoned`](TryLockError::Poisoned), with the lock, if it is poisoned.
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if !self.raw.try_lock() {
            return would_block();
        }
        // SAFETY: it has just been locked.
        Ok(unsafe { MutexGuard::new(self) }?)
    }

    /// Whether somebody has panicked with the mutex locked. If others use it meanwhile, that may have
    /// changed when this returns.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Takes the poison away: the value has been looked at, and is as it should be.
    #[inline]
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned. The error has the value.
    pub fn into_inner(self) -> LockResult<T>
    where
        T: Sized,
    {
        let value = self.value.into_inner();
        self.poison.wrap(value)
    }

    /// The value, which needs no lock as nobody else has the mutex.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned. The error has the reference.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.value.get_mut())
    }
}

impl<T> From<T> for Mutex<T> {
    /// The same as [`Mutex::new`].
    fn from(t: T) -> Self {
        Self::new(t)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => fields.field("data", &&*guard),
            Err(TryLockError::Poisoned(poisoned)) => fields.field("data", &&**poisoned.get_ref()),
            Err(TryLockError::WouldBlock) => fields.field("data", &"<locked>"),
        };
        fields.field("poisoned", &self.is_poisoned());
        fields.finish_non_exhaustive()
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// # Safety
    ///
    /// The caller has locked `mutex`, and gives that up.
    #[inline]
    pub(super) unsafe fn new(mutex: &'a Mutex<T>) -> LockResult<Self> {
        mutex.poison.wrap(Self {
            mutex,
            entered: Poison::enter(),
            _not_send: PhantomData,
        })
    }

    /// What it guards, for a [`Condvar`](super::Condvar), which unlocks and locks it again.
    pub(super) fn mutex(guard: &Self) -> &'a Mutex<T> {
        guard.mutex
    }
}

impl<T: ?Sized> Mutex<T> {
    pub(super) fn raw(&self) -> &RawMutex {
        &self.raw
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the mutex is locked, and this is its only guard.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the mutex is locked, and this is its only guard.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.leave(self.entered);
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
