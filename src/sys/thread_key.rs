//! Thread-specific values of the C library.

use std::ffi::c_void;
use std::io;
use std::ptr;

use super::thread::check;

/// Runs on the thread that ends, with the thread's value, if that is not null.
pub(crate) type Destructor = unsafe extern "C" fn(*mut c_void);

/// A word per thread. It is null on every thread at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadKey(libc::pthread_key_t);

impl ThreadKey {
    pub(crate) fn create(destructor: Option<Destructor>) -> io::Result<Self> {
        let mut key = 0;
        // SAFETY: `key` has room for the answer.
        check(unsafe { libc::pthread_key_create(&mut key, destructor) })?;
        Ok(Self(key))
    }

    /// Gives the key back. Threads that still have a value keep it; nobody will see it.
    pub(crate) fn delete(self) {
        // SAFETY: the key exists, as `self` does.
        unsafe { libc::pthread_key_delete(self.0) };
    }

    /// The C library's number for it.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// The key of that number.
    pub(crate) fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// The calling thread's value.
    pub(crate) fn get(self) -> usize {
        // SAFETY: any number may be asked for.
        unsafe { libc::pthread_getspecific(self.0) }.expose_provenance()
    }

    /// Sets the calling thread's value.
    ///
    /// # Safety
    ///
    /// The key's destructor accepts it.
    pub(crate) unsafe fn set(self, value: usize) -> io::Result<()> {
        // SAFETY: the C library only keeps the value; the destructor accepts it (caller).
        check(unsafe { libc::pthread_setspecific(self.0, ptr::with_exposed_provenance(value)) })
    }
}
