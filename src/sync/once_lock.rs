//! A value that is written once.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once::Once;
use crate::sched;

/// A value that is written once: [`std::sync::OnceLock`], which parks the greenlet that waits for
/// another one's initialisation.
///
/// The initialisation may wait, too.
///
/// # Differences
///
/// An initialisation that asks for itself, where std deadlocks or panics, panics.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenlet::sync::OnceLock;
///
/// static NAME: OnceLock<String> = OnceLock::new();
///
/// greenlet::run(|| {
///     let slow = greenlet::spawn(|| {
///         NAME.get_or_init(|| {
///             greenlet::sleep(Duration::from_millis(1));
///             "slow".to_owned()
///         })
///     });
///     // Whoever comes first initialises; the other one waits for that, and has the same value.
///     let name = NAME.get_or_init(|| "quick".to_owned());
///     assert_eq!(slow.join().unwrap(), name);
/// });
/// ```
pub struct OnceLock<T> {
    once: Once,
    /// Written by the initialisation, and read once that is complete.
    value: UnsafeCell<Option<T>>,
}

// SAFETY: one of all writes the value, and another one may drop it, which takes `Send`; then it is shared,
// which takes `Sync`.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}

impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// Without a value.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            once: Once::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// The value, if it is there. Does not wait.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if !self.once.is_completed() {
            return none();
        }
        // SAFETY: the initialisation is complete, so nobody writes any more.
        unsafe { (*self.value.get()).as_ref() }
    }

    /// The value, if it is there.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Waits until the value is there.
    #[inline]
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("it was initialised")
    }

    /// Writes the value, and waits if somebody else is at it.
    ///
    /// # Errors
    ///
    /// There is a value already. Gives back `value`.
    #[inline]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("it is called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; if it is not there, what `f` returns. Waits if somebody else is at it.
    ///
    /// # Panics
    ///
    /// If `f` does: then there is no value, and the next one tries. If the caller is inside of the
    /// initialisation.
    #[inline]
    pub fn get_or_init<F>(&self, f: F) -> &T
    where
        F: FnOnce() -> T,
    {
        if let Some(value) = self.get() {
            return value;
        }
        self.once.call_once_force(|_| {
            let value = f();
            // SAFETY: one initialisation runs at a time, and nobody reads before it is complete.
            unsafe { *self.value.get() = Some(value) };
        });
        self.get().expect("it was initialised")
    }

    /// The value, if it is there.
    #[inline]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// The value, if it is there, which is taken out.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }
}

/// Who asks again and again lets the one that initialises have its turn.
#[cold]
fn none<T>() -> Option<T> {
    sched::spend_memory();
    None
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => fields.field(value),
            None => fields.field(&format_args!("<uninit>")),
        };
        fields.finish()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get().cloned().map_or_else(Self::new, Self::from)
    }
}

impl<T> From<T> for OnceLock<T> {
    /// One that has a value.
    fn from(value: T) -> Self {
        let lock = Self::new();
        let set = lock.set(value);
        debug_assert!(set.is_ok());
        lock
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}
