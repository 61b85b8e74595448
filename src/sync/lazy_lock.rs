//! A value that is made when it is first asked for.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::once::Once;

/// A value that is made when it is first asked for: [`std::sync::LazyLock`], which parks the greenlet that
/// waits for another one's initialisation.
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
/// use greenlet::sync::LazyLock;
///
/// static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| "green threads".split(' ').collect());
/// assert_eq!(WORDS.len(), 2);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    /// Changed by the initialisation, and read once that is complete.
    value: UnsafeCell<Value<T, F>>,
}

enum Value<T, F> {
    /// Not made yet.
    Recipe(F),
    Made(T),
    /// The recipe is running, or has panicked.
    Lost,
}

// SAFETY: one of all calls the recipe, which takes `F: Send`. One of all writes the value, and another one
// may drop it, which takes `T: Send`; then it is shared, which takes `T: Sync`.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}

impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// A value that `f` will make.
    #[inline]
    pub const fn new(f: F) -> Self {
        Self {
            once: Once::new(),
            value: UnsafeCell::new(Value::Recipe(f)),
        }
    }

    /// The value, which is made if it has to be. Waits if somebody else is at it.
    ///
    /// # Panics
    ///
    /// If the initialisation does, or has done before. If the caller is inside of it.
    #[inline]
    pub fn force(this: &Self) -> &T {
        this.once.call_once_force(|state| {
            if state.is_poisoned() {
                poisoned();
            }
            // SAFETY: one initialisation runs at a time, and nobody reads before it is complete.
            let value = unsafe { &mut *this.value.get() };
            value.make();
        });
        Self::get(this).expect("it was initialised")
    }

    /// The value, which is made if it has to be.
    ///
    /// # Panics
    ///
    /// If the initialisation does, or has done before.
    #[inline]
    pub fn force_mut(this: &mut Self) -> &mut T {
        let value = this.value.get_mut();
        if !this.once.is_completed() {
            // It poisons the `Once` if it panics.
            this.once.call_once_force(|state| {
                if state.is_poisoned() {
                    poisoned();
                }
                value.make();
            });
        }
        Self::get_mut(this).expect("it was initialised")
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it was made. Does not wait.
    #[inline]
    pub fn get(this: &Self) -> Option<&T> {
        if !this.once.is_completed() {
            return None;
        }
        // SAFETY: the initialisation is complete, so nobody writes any more.
        match unsafe { &*this.value.get() } {
            Value::Made(value) => Some(value),
            Value::Recipe(_) | Value::Lost => None,
        }
    }

    /// The value, if it was made.
    #[inline]
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        match this.value.get_mut() {
            Value::Made(value) => Some(value),
            Value::Recipe(_) | Value::Lost => None,
        }
    }
}

impl<T, F: FnOnce() -> T> Value<T, F> {
    /// Calls the recipe.
    fn make(&mut self) {
        if let Self::Recipe(recipe) = mem::replace(self, Self::Lost) {
            *self = Self::Made(recipe());
        }
    }
}

#[cold]
fn poisoned() -> ! {
    panic!("LazyLock instance has previously been poisoned")
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    /// [`LazyLock::force`].
    #[inline]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    /// [`LazyLock::force_mut`].
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        Self::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    /// A value that `T::default` will make.
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_tuple("LazyLock");
        match Self::get(self) {
            Some(value) => fields.field(value),
            None => fields.field(&format_args!("<uninit>")),
        };
        fields.finish()
    }
}
