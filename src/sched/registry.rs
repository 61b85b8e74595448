//! The greenlets that a hub has started and that have not ended, so that all can be found.
//!
//! The list is its hub's own: no lock, no atomics. A greenlet that ends on another hub is sent
//! home (`Remote::departed`) to be taken out of the list, and its cell is kept until then.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use super::greenlet_cell::GreenletCell;

/// The list of one hub. Used by that hub's thread only.
#[derive(Debug)]
pub(super) struct Registry {
    first: Cell<*mut GreenletCell>,
}

/// A greenlet's place in the list of the hub that started it.
#[derive(Debug)]
pub(super) struct Links {
    previous: *mut GreenletCell,
    next: *mut GreenletCell,
}

impl Links {
    pub(super) fn new() -> Self {
        Self {
            previous: ptr::null_mut(),
            next: ptr::null_mut(),
        }
    }
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            first: Cell::new(ptr::null_mut()),
        }
    }

    /// # Safety
    ///
    /// Called on the thread of the hub whose registry this is, for a live greenlet that is in
    /// none; it stays alive until it is removed.
    #[inline]
    pub(super) unsafe fn insert(&self, cell: NonNull<GreenletCell>) {
        let next = self.first.replace(cell.as_ptr());
        // SAFETY: both are alive, the second because it is in the list; links
        // are used by this thread only.
        unsafe {
            *cell.as_ref().links.get() = Links {
                previous: ptr::null_mut(),
                next,
            };
            if let Some(next) = next.as_ref() {
                (*next.links.get()).previous = cell.as_ptr();
            }
        }
    }

    /// # Safety
    ///
    /// Called on the thread of the hub whose registry this is, for a greenlet that is in it.
    #[inline]
    pub(super) unsafe fn remove(&self, cell: NonNull<GreenletCell>) {
        // SAFETY: all in the list are alive; links are used by this thread only.
        unsafe {
            let Links { previous, next, .. } = *cell.as_ref().links.get();
            match previous.as_ref() {
                Some(previous) => (*previous.links.get()).next = next,
                None => self.first.set(next),
            }
            if let Some(next) = next.as_ref() {
                (*next.links.get()).previous = previous;
            }
        }
    }

    /// Calls `f` for every greenlet in here. `f` must not insert or remove.
    pub(super) fn for_each(&self, mut f: impl FnMut(&GreenletCell)) {
        let mut next = self.first.get();
        // SAFETY: what is in the list is alive, and this thread alone changes it.
        while let Some(cell) = unsafe { next.as_ref() } {
            f(cell);
            // SAFETY: links are used by this thread only.
            next = unsafe { (*cell.links.get()).next };
        }
    }
}
