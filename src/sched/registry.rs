//! The greenlets that a hub has started and that have not ended, so that all can be found.
//!
//! The list is changed by its hub only; a greenlet that ends on another hub is sent home
//! (`Remote::departed`) to be taken out of the list, and its cell is kept until then. Anybody may look
//! through it at any time, also while the hub is stuck: for dumps and for the search for deadlocks.
//!
//! *The lock* between the two is biased. The hub locks it with two stores and a load, without a barrier;
//! who looks has a barrier executed on all threads instead:
//!
//! ```text
//!   a hub                                 who looks
//!   a. changing = true                    1. looked_at = true
//!   b. looked_at? take (a) back, wait     2. a barrier on all threads
//!   c. change the list                    3. changing? wait
//!   d. changing = false                   4. look
//!                                         5. looked_at = false
//! ```
//!
//! If (a) comes before the barrier on that thread, (3) sees it. If it comes after, (b) sees (1).

use std::cell::UnsafeCell;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr};
use std::thread;

use super::greenlet_cell::GreenletCell;
use crate::lock::StaticMutex;
use crate::sys::membarrier;

/// The list of one hub.
#[derive(Debug)]
pub(super) struct Registry {
    /// Written under the lock by the hub; also read by debuggers, without.
    first: AtomicPtr<GreenletCell>,
    /// Written by the hub.
    changing: AtomicBool,
    /// Written by who holds `lookers`.
    looked_at: AtomicBool,
    /// One looks at a time.
    lookers: StaticMutex<()>,
}

/// A greenlet's place in the list of the hub that started it. Changed under the lock of the list.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Links {
    next: *mut GreenletCell,
    previous: *mut GreenletCell,
}

impl Links {
    /// Where debuggers find the next one.
    pub(super) const NEXT: usize = mem::offset_of!(Self, next);

    pub(super) fn new() -> Self {
        Self {
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
        }
    }
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            first: AtomicPtr::new(ptr::null_mut()),
            changing: AtomicBool::new(false),
            looked_at: AtomicBool::new(false),
            lookers: StaticMutex::new(()),
        }
    }

    /// Where debuggers find the first greenlet.
    pub(super) fn first_place(&self) -> *const () {
        (&raw const self.first).cast()
    }

    /// # Safety
    ///
    /// Called on the thread of the hub whose registry this is, for a live greenlet that is in
    /// none; it stays alive until it is removed.
    #[inline]
    pub(super) unsafe fn insert(&self, cell: NonNull<GreenletCell>) {
        let _change = self.begin_change();
        let next = self.first.load(Relaxed);
        // SAFETY: both are alive, the second because it is in the list; links are this thread's
        // while it changes the list.
        unsafe {
            *links(cell) = Links {
                next,
                previous: ptr::null_mut(),
            };
            if let Some(next) = NonNull::new(next) {
                (*links(next)).previous = cell.as_ptr();
            }
        }
        // Release: a debugger that stops the thread here finds the links in place.
        self.first.store(cell.as_ptr(), Release);
    }

    /// # Safety
    ///
    /// Called on the thread of the hub whose registry this is, for a greenlet that is in it.
    #[inline]
    pub(super) unsafe fn remove(&self, cell: NonNull<GreenletCell>) {
        let _change = self.begin_change();
        // SAFETY: all in the list are alive; links are this thread's while it changes the list.
        unsafe {
            let Links { next, previous } = *links(cell);
            match NonNull::new(previous) {
                Some(previous) => (*links(previous)).next = next,
                None => self.first.store(next, Relaxed),
            }
            if let Some(next) = NonNull::new(next) {
                (*links(next)).previous = previous;
            }
        }
    }

    /// Calls `f` for every greenlet in here. `f` must not insert or remove.
    ///
    /// # Safety
    ///
    /// Called on the thread of the hub whose registry this is.
    pub(super) unsafe fn for_each(&self, f: impl FnMut(&GreenletCell)) {
        // SAFETY: this thread alone changes the list (caller), and `f` does not.
        unsafe { self.visit(f) };
    }

    /// Calls `f` for every greenlet in here, from any thread. The hub waits meanwhile if it wants to
    /// start or end a greenlet, so `f` must be short, and must not wait for the hub. False, and no
    /// call, if the kernel does not help.
    #[must_use]
    pub(super) fn look(&self, f: impl FnMut(&GreenletCell)) -> bool {
        let Some(_look) = self.begin_look() else {
            return false;
        };
        // SAFETY: the hub does not change the list while `_look` lives.
        unsafe { self.visit(f) };
        true
    }

    /// # Safety
    ///
    /// The list does not change meanwhile.
    unsafe fn visit(&self, mut f: impl FnMut(&GreenletCell)) {
        let mut next = self.first.load(Relaxed);
        // SAFETY: what is in the list is alive, and the list does not change (caller).
        while let Some(cell) = unsafe { next.as_ref() } {
            f(cell);
            // SAFETY: as above.
            next = unsafe { (*cell.links.get()).next };
        }
    }

    #[inline]
    fn begin_change(&self) -> Change<'_> {
        self.changing.store(true, Relaxed);
        membarrier::light();
        // Acquire: pairs with the Release in `Look::drop`: the look is over.
        if self.looked_at.load(Acquire) {
            self.begin_change_slow();
        }
        Change(self)
    }

    #[cold]
    fn begin_change_slow(&self) {
        while self.looked_at.load(Acquire) {
            self.changing.store(false, Release);
            while self.looked_at.load(Relaxed) {
                thread::yield_now();
            }
            self.changing.store(true, Relaxed);
            membarrier::light();
        }
    }

    fn begin_look(&self) -> Option<Look<'_>> {
        let lookers = self.lookers.lock();
        self.looked_at.store(true, Relaxed);
        let look = Look {
            registry: self,
            _lookers: lookers,
        };
        if !membarrier::heavy() {
            return None;
        }
        // Acquire: pairs with the Release in `Change::drop`: the list is as the hub has left it.
        while self.changing.load(Acquire) {
            thread::yield_now();
        }
        Some(look)
    }
}

/// The links of a cell, without a reference to the rest of it.
///
/// # Safety
///
/// The cell is alive.
#[inline]
unsafe fn links(cell: NonNull<GreenletCell>) -> *mut Links {
    // SAFETY: alive (caller).
    unsafe { UnsafeCell::raw_get(&raw const (*cell.as_ptr()).links) }
}

/// While it lives, the hub changes the list.
struct Change<'a>(&'a Registry);

impl Drop for Change<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `begin_look`.
        self.0.changing.store(false, Release);
    }
}

/// While it lives, the hub does not change the list.
struct Look<'a> {
    registry: &'a Registry,
    _lookers: MutexGuard<'a, ()>,
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `begin_change`.
        self.registry.looked_at.store(false, Release);
    }
}
