//! The C library's functions that this folder's hide.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::dl;

/// The function called `name` behind this module, of type `F`, looked up when first called.
pub(super) struct Real<F> {
    name: &'static CStr,
    /// 0 until it was looked up. Every thread stores the same.
    address: AtomicUsize,
    function: PhantomData<fn() -> F>,
}

impl<F: Copy> Real<F> {
    /// # Safety
    ///
    /// `F` is a function pointer, of the type that the C library gives to `name`.
    pub(super) const unsafe fn new(name: &'static CStr) -> Self {
        assert!(size_of::<F>() == size_of::<usize>());
        Self {
            name,
            address: AtomicUsize::new(0),
            function: PhantomData,
        }
    }

    /// The function; `None` if the C library has none of that name.
    #[inline]
    pub(super) fn get(&self) -> Option<F> {
        let address = match self.address.load(Ordering::Relaxed) {
            0 => self.look_up_slow()?,
            address => address,
        };
        // SAFETY: `F` is the type of the function at that address (see `new`).
        Some(unsafe { std::mem::transmute_copy::<usize, F>(&address) })
    }

    /// Works from the first instruction of a program on, and does not come back to this crate: the
    /// loader neither allocates nor asks for a thread's attributes when the symbol is there.
    #[cold]
    fn look_up_slow(&self) -> Option<usize> {
        let address = dl::next_symbol(self.name)?;
        self.address.store(address, Ordering::Relaxed);
        Some(address)
    }
}
