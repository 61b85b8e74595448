//! A mutex that its owner may lock again: the kind that asks the C library who is calling.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use super::thread::check;

/// A recursive `pthread_mutex_t` without content.
pub(crate) struct RecursiveMutex(Box<UnsafeCell<libc::pthread_mutex_t>>);

// SAFETY: a mutex is made to be used from several threads.
unsafe impl Sync for RecursiveMutex {}

impl RecursiveMutex {
    pub(crate) fn new() -> io::Result<Self> {
        Self::of_kind(libc::PTHREAD_MUTEX_RECURSIVE)
    }

    /// A mutex of another kind that knows its owner.
    pub(crate) fn of_kind(kind: c_int) -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        let mutex = Box::new(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        // SAFETY: the attributes are set up before they are used and ended after; the mutex
        // lies in a box, so it stays where it is set up.
        unsafe {
            check(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
            let mut result = libc::pthread_mutexattr_settype(attributes.as_mut_ptr(), kind);
            if result == 0 {
                result = libc::pthread_mutex_init(mutex.get(), attributes.as_ptr());
            }
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
            check(result)?;
        }
        Ok(Self(mutex))
    }

    /// Locks it, or fails with `EBUSY` at once if somebody else holds it.
    pub(crate) fn try_lock(&self) -> io::Result<()> {
        // SAFETY: the mutex was set up in `of_kind`.
        check(unsafe { libc::pthread_mutex_trylock(self.0.get()) })
    }

    /// Unlocks it once, or fails with `EPERM` if the caller does not hold it.
    pub(crate) fn unlock(&self) -> io::Result<()> {
        // SAFETY: as above; a recursive mutex checks who calls.
        check(unsafe { libc::pthread_mutex_unlock(self.0.get()) })
    }
}

impl Drop for RecursiveMutex {
    fn drop(&mut self) {
        // SAFETY: nobody else has it any more. A locked one is refused, and costs nothing.
        unsafe { libc::pthread_mutex_destroy(self.0.get()) };
    }
}

impl std::fmt::Debug for RecursiveMutex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RecursiveMutex")
            .field(&ptr::from_ref(&*self.0))
            .finish()
    }
}
