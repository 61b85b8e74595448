//! Models of the park word: who ends a park, and that somebody does.

use std::mem::offset_of;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicBool;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::{Header, Outcome, WakeTable, Waker};
use crate::atomic::{model, yield_now};

static TABLE: WakeTable = WakeTable { schedule, free };

/// A cell whose owner is a model's thread.
#[repr(C)]
pub(crate) struct Sleeper {
    header: Header,
    /// Used by the owner between its parks, and by whoever ends a park, as the greenlet that runs
    /// again: two at a time are an error of the model.
    stack: UnsafeCell<usize>,
    /// How often its parks were ended, less how often it has gone on.
    scheduled: Mutex<usize>,
    changed: Condvar,
    /// loom reports it if it is never dropped.
    _alive: Arc<()>,
}

/// An owning reference.
pub(crate) struct SleeperRef(NonNull<Sleeper>);

// SAFETY: as `CellRef`: everything but `stack` is Sync, and loom checks that one.
unsafe impl Send for SleeperRef {}

impl SleeperRef {
    pub(crate) fn new() -> Self {
        assert_eq!(offset_of!(Sleeper, header), 0);
        let sleeper = Box::new(Sleeper {
            header: Header::new(&TABLE, 1),
            stack: UnsafeCell::new(0),
            scheduled: Mutex::new(0),
            changed: Condvar::new(),
            _alive: Arc::new(()),
        });
        Self(NonNull::from(Box::leak(sleeper)))
    }

    pub(crate) fn header_pointer(&self) -> NonNull<Header> {
        self.0.cast()
    }

    /// The owner parks. The caller publishes the waker.
    pub(crate) fn park(&self, shielded: bool) -> Result<Waker, Outcome> {
        self.use_stack();
        // SAFETY: alive, and this is the owner.
        unsafe { Header::begin_park(self.header_pointer(), shielded) }
    }

    /// Cancels it; `committing` is the note of its hub.
    pub(crate) fn cancel(&self, committing: &AtomicBool) {
        let committed = || {
            while committing.load(Acquire) {
                yield_now();
            }
        };
        // SAFETY: `self` owns a reference.
        unsafe { Header::cancel(self.header_pointer(), committed) };
    }
}

impl Sleeper {
    /// Returns when somebody has ended the park.
    pub(crate) fn wait(&self) -> Outcome {
        let mut scheduled = self.scheduled.lock().unwrap();
        while *scheduled == 0 {
            scheduled = self.changed.wait(scheduled).unwrap();
        }
        *scheduled -= 1;
        drop(scheduled);
        self.use_stack();
        self.header.outcome()
    }

    /// The generation of the park before.
    pub(crate) fn last_park(&self) -> u32 {
        self.header.last_generation()
    }

    /// Whether a park has ended for which nobody has waited.
    pub(crate) fn is_scheduled(&self) -> bool {
        *self.scheduled.lock().unwrap() > 0
    }

    fn use_stack(&self) {
        // SAFETY: loom checks that nobody else does.
        self.stack.with_mut(|stack| unsafe { *stack += 1 });
    }
}

impl Deref for SleeperRef {
    type Target = Sleeper;

    fn deref(&self) -> &Sleeper {
        // SAFETY: `self` owns a reference.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for SleeperRef {
    fn clone(&self) -> Self {
        self.header.retain();
        Self(self.0)
    }
}

impl Drop for SleeperRef {
    fn drop(&mut self) {
        // SAFETY: `self` owns a reference and is gone after this.
        unsafe { Header::release(self.0.cast()) };
    }
}

unsafe fn schedule(header: NonNull<Header>) {
    // SAFETY: all cells with this table are `Sleeper`s, and it is alive (caller).
    let sleeper = unsafe { header.cast::<Sleeper>().as_ref() };
    sleeper.use_stack();
    // Its owner may go on, and give it up, as soon as it is scheduled.
    sleeper.header.retain();
    *sleeper.scheduled.lock().unwrap() += 1;
    sleeper.changed.notify_one();
    // SAFETY: the reference that was taken above.
    unsafe { Header::release(header) };
}

unsafe fn free(header: NonNull<Header>) {
    // SAFETY: made from a `Box<Sleeper>`; the last reference is gone.
    let sleeper = unsafe { Box::from_raw(header.cast::<Sleeper>().as_ptr()) };
    sleeper.use_stack();
}

#[test]
fn one_of_two_wakers_ends_a_park() {
    model(|| {
        let sleeper = SleeperRef::new();
        let waker = sleeper.park(false).unwrap();
        let late = waker.clone();
        let woken = thread::spawn(move || waker.wake());
        let expired = thread::spawn(move || late.expire());
        assert_ne!(sleeper.wait(), Outcome::Cancelled);
        woken.join().unwrap();
        expired.join().unwrap();
        assert!(!sleeper.is_scheduled());
    });
}

#[test]
fn a_waker_of_an_earlier_park_does_nothing() {
    model(|| {
        let sleeper = SleeperRef::new();
        let first = sleeper.park(false).unwrap();
        let stale = first.clone();
        let woken = thread::spawn(move || first.wake());
        let late = thread::spawn(move || stale.wake());
        sleeper.wait();
        let second = sleeper.park(false).unwrap();
        woken.join().unwrap();
        late.join().unwrap();
        assert!(!sleeper.is_scheduled());
        second.expire();
        assert_eq!(sleeper.wait(), Outcome::Deadline);
    });
}

/// What a hub does for a greenlet that parks, and a canceller that has no waker.
#[test]
fn a_cancelled_park_ends_and_not_before_its_commit_is_through() {
    model(|| {
        let sleeper = SleeperRef::new();
        let committing = Arc::new(AtomicBool::new(false));
        let canceller = thread::spawn({
            let (sleeper, committing) = (sleeper.clone(), committing.clone());
            move || sleeper.cancel(&committing)
        });
        committing.store(true, Relaxed);
        match sleeper.park(false) {
            Ok(waker) => {
                // The commit: it is on the stack, and gives the waker to somebody who drops it.
                sleeper.use_stack();
                drop(waker);
                committing.store(false, Release);
                assert_eq!(sleeper.wait(), Outcome::Cancelled);
            }
            Err(outcome) => {
                committing.store(false, Release);
                assert_eq!(outcome, Outcome::Cancelled);
            }
        }
        canceller.join().unwrap();
        assert!(!sleeper.is_scheduled());
        // The next one does not even begin.
        assert_eq!(sleeper.park(false).err(), Some(Outcome::Cancelled));
    });
}

#[test]
fn a_wake_and_a_cancellation_end_a_park_once() {
    model(|| {
        let sleeper = SleeperRef::new();
        let committing = Arc::new(AtomicBool::new(false));
        let waker = sleeper.park(false).unwrap();
        let canceller = thread::spawn({
            let sleeper = sleeper.clone();
            move || sleeper.cancel(&committing)
        });
        let woken = thread::spawn(move || waker.wake());
        assert_ne!(sleeper.wait(), Outcome::Deadline);
        canceller.join().unwrap();
        woken.join().unwrap();
        assert!(!sleeper.is_scheduled());
        assert_eq!(sleeper.park(false).err(), Some(Outcome::Cancelled));
    });
}

#[test]
fn a_shielded_park_is_ended_by_its_waker_only() {
    model(|| {
        let sleeper = SleeperRef::new();
        let committing = Arc::new(AtomicBool::new(false));
        let canceller = thread::spawn({
            let (sleeper, committing) = (sleeper.clone(), committing.clone());
            move || sleeper.cancel(&committing)
        });
        committing.store(true, Relaxed);
        let waker = sleeper.park(true).unwrap();
        committing.store(false, Release);
        let woken = thread::spawn(move || waker.wake());
        assert_eq!(sleeper.wait(), Outcome::Woken);
        canceller.join().unwrap();
        woken.join().unwrap();
        assert!(!sleeper.is_scheduled());
    });
}

#[test]
fn the_last_reference_frees_the_cell_after_all_others_are_done() {
    model(|| {
        let sleeper = SleeperRef::new();
        let waker = sleeper.park(false).unwrap();
        let again = waker.clone();
        let woken = thread::spawn(move || waker.wake());
        let dropped = thread::spawn(move || drop(again));
        // Who is parked keeps its own reference until it is woken.
        assert_eq!(sleeper.wait(), Outcome::Woken);
        drop(sleeper);
        woken.join().unwrap();
        dropped.join().unwrap();
    });
}
