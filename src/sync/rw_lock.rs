//! A value that many read or one writes.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, TryLockError, TryLockResult};

use super::poison::{Entered, Poison, would_block};
use super::raw_rw_lock::RawRwLock;

/// A reader-writer lock: [`std::sync::RwLock`], which parks the greenlet that waits for it.
///
/// It works between greenlets, between hubs and with plain threads, and may be held over a wait of
/// any kind.
///
/// # Fairness
///
/// Nobody starves. While somebody waits, newcomers wait behind: a writer that waits keeps new readers out.
/// The lock goes to the one who has waited longest, and if that reads, to all readers up to the next
/// writer. So a reader that takes the lock a second time waits for ever if a writer has come in between, as
/// std says that it may.
///
/// # Poisoning
///
/// As in std: a panic in a greenlet or thread that may write poisons it, one that may read does not.
///
/// # Examples
///
/// ```
/// use greenlet::sync::RwLock;
///
/// let lock = RwLock::new(5);
/// {
///     let one = lock.read().unwrap();
///     let two = lock.read().unwrap();
///     assert_eq!(*one + *two, 10);
/// }
/// *lock.write().unwrap() += 1;
/// assert_eq!(*lock.read().unwrap(), 6);
/// ```
///
/// A guard stays with the greenlet or thread that has locked:
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// is_send(greenlet::sync::RwLock::new(0).read());
/// ```
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// is_send(greenlet::sync::RwLock::new(0).write());
/// ```
///
/// What several read at once must be `Sync`:
///
/// ```compile_fail,E0277
/// fn is_sync<T: Sync>(_: T) {}
/// is_sync(greenlet::sync::RwLock::new(std::cell::Cell::new(0)));
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    poison: Poison,
    value: UnsafeCell<T>,
}

// SAFETY: the value goes with the lock.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: the value goes to one writer at a time, which takes `Send`, or is shared by readers, which takes
// `Sync`.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

/// The right to read the value of a [`RwLock`], given back when this is dropped:
/// [`std::sync::RwLockReadGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'rwlock, T: ?Sized + 'rwlock> {
    /// A pointer, as a reference would have to be good up to the end of `drop`, when somebody may
    /// write already.
    value: NonNull<T>,
    raw: &'rwlock RawRwLock,
}

// SAFETY: it gives out shared references to the value, and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

impl<T: ?Sized + RefUnwindSafe> UnwindSafe for RwLockReadGuard<'_, T> {}
impl<T: ?Sized + RefUnwindSafe> RefUnwindSafe for RwLockReadGuard<'_, T> {}

/// The right to write the value of a [`RwLock`], given back when this is dropped:
/// [`std::sync::RwLockWriteGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'rwlock, T: ?Sized + 'rwlock> {
    lock: &'rwlock RwLock<T>,
    entered: Entered,
    /// Not `Send`, as std's: it tells panics of its own thread from others.
    _not_send: PhantomData<*const ()>,
}

// SAFETY: it gives out references to the value, and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

// As std's, which has no pointer in it.
impl<T: ?Sized> UnwindSafe for RwLockWriteGuard<'_, T> {}
impl<T: ?Sized> RefUnwindSafe for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// A lock that is free.
    #[inline]
    pub const fn new(t: T) -> Self {
        Self {
            raw: RawRwLock::new(),
            poison: Poison::new(),
            value: UnsafeCell::new(t),
        }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes, or waits to write, and locks to read.
    ///
    /// # Errors
    ///
    /// The lock is poisoned. It is locked all the same.
    ///
    /// # Panics
    ///
    /// If it has to wait inside [`on_thread_stack`](crate::on_thread_stack), and after some 2^30 read guards
    /// were forgotten.
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.raw.read();
        // SAFETY: it has just been locked to read.
        unsafe { RwLockReadGuard::new(self) }
    }

    /// Locks to read if nobody writes, or waits to write. Does not wait.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if it would have to wait;
    /// [`Poisoned`](TryLockError::Poisoned), with the lock, if it is poisoned.
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if !self.raw.try_read() {
            return would_block();
        }
        // SAFETY: it has just been locked to read.
        Ok(unsafe { RwLockReadGuard::new(self) }?)
    }

    /// Waits until nobody reads or writes, and locks to write.
    ///
    /// # Errors
    ///
    /// The lock is poisoned. It is locked all the same.
    ///
    /// # Panics
    ///
    /// If it has to wait inside [`on_thread_stack`](crate::on_thread_stack).
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.raw.write();
        // SAFETY: it has just been locked to write.
        unsafe { RwLockWriteGuard::new(self) }
    }

    /// Locks to write if nobody reads or writes. Does not wait.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock) if it would have to wait;
    /// [`Poisoned`](TryLockError::Poisoned), with the lock, if it is poisoned.
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if !self.raw.try_write() {
            return would_block();
        }
        // SAFETY: it has just been locked to write.
        Ok(unsafe { RwLockWriteGuard::new(self) }?)
    }

    /// Whether somebody has panicked who could write. If others use the lock meanwhile, that may have
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
    /// The lock is poisoned. The error has the value.
    pub fn into_inner(self) -> LockResult<T>
    where
        T: Sized,
    {
        let value = self.value.into_inner();
        self.poison.wrap(value)
    }

    /// The value, which needs no lock as nobody else has it.
    ///
    /// # Errors
    ///
    /// The lock is poisoned. The error has the reference.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.value.get_mut())
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    /// The same as [`RwLock::new`].
    fn from(t: T) -> Self {
        Self::new(t)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => fields.field("data", &&*guard),
            Err(TryLockError::Poisoned(poisoned)) => fields.field("data", &&**poisoned.get_ref()),
            Err(TryLockError::WouldBlock) => fields.field("data", &format_args!("<locked>")),
        };
        fields.field("poisoned", &self.is_poisoned());
        fields.finish_non_exhaustive()
    }
}

impl<'rwlock, T: ?Sized> RwLockReadGuard<'rwlock, T> {
    /// # Safety
    ///
    /// The caller has locked `lock` to read, and gives that up.
    #[inline]
    unsafe fn new(lock: &'rwlock RwLock<T>) -> LockResult<Self> {
        lock.poison.wrap(Self {
            // SAFETY: an `UnsafeCell` is not at address 0.
            value: unsafe { NonNull::new_unchecked(lock.value.get()) },
            raw: &lock.raw,
        })
    }
}

impl<'rwlock, T: ?Sized> RwLockWriteGuard<'rwlock, T> {
    /// # Safety
    ///
    /// The caller has locked `lock` to write, and gives that up.
    #[inline]
    unsafe fn new(lock: &'rwlock RwLock<T>) -> LockResult<Self> {
        lock.poison.wrap(Self {
            lock,
            entered: Poison::enter(),
            _not_send: PhantomData,
        })
    }

    /// The right to read, instead of the right to write; nobody writes in between. Readers that wait come
    /// in with it, up to the next writer.
    pub fn downgrade(s: Self) -> RwLockReadGuard<'rwlock, T> {
        let lock = s.lock;
        // Whoever panics from now on could not have written.
        lock.poison.leave(s.entered);
        mem::forget(s);
        lock.raw.downgrade();
        RwLockReadGuard {
            // SAFETY: an `UnsafeCell` is not at address 0.
            value: unsafe { NonNull::new_unchecked(lock.value.get()) },
            raw: &lock.raw,
        }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: it is locked to read, so nobody writes; and it outlives this guard.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: it is locked to write, and this is its only guard.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: it is locked to write, and this is its only guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.raw.leave_read();
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.leave(self.entered);
        self.lock.raw.leave_write();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
