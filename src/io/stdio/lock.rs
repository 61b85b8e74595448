//! The locks of the standard streams: held by a greenlet or a thread, over waits too.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::MutexGuard;

use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::sched::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::sched::{self, Id};
use crate::waker::Outcome;

/// A lock that its owner may take again. Who waits for it parks.
///
/// A waiter that is woken looks again, and somebody else may be faster: streams are held for short times,
/// or by one who means to write much.
#[derive(Debug)]
pub(super) struct ReentrantLock<T> {
    state: Mutex<State>,
    value: T,
}

#[derive(Debug)]
struct State {
    /// A greenlet or a thread, which both have numbers.
    owner: Option<Id>,
    /// How often the owner has it.
    depth: usize,
    waiters: WaitList<()>,
}

// SAFETY: the value is reached by the owner only, one greenlet or thread at a time.
unsafe impl<T: Send> Sync for ReentrantLock<T> {}

impl<T> ReentrantLock<T> {
    pub(super) const fn new(value: T) -> Self {
        Self {
            state: Mutex::new(State {
                owner: None,
                depth: 0,
                waiters: WaitList::new(),
            }),
            value,
        }
    }

    pub(super) fn lock(&self) -> Held<'_, T> {
        let cell = sched::current_cell();
        while !self.try_take(cell.id()) {
            let (outcome, ()) = wait(
                (&self.state, |state| &mut state.waiters),
                (),
                (WaitReason::Stream.into(), None),
                |state, ()| Enlist::last_if(state.owner.is_some()),
                |_| (),
            );
            if outcome == Outcome::Cancelled {
                sched::unwind_cancelled();
            }
        }
        Held {
            lock: self,
            not_send: PhantomData,
        }
    }

    fn try_take(&self, me: Id) -> bool {
        let mut state = self.state.lock();
        if state.owner.is_some_and(|owner| owner != me) {
            return false;
        }
        state.owner = Some(me);
        state.depth += 1;
        true
    }

    fn release(&self) {
        let mut claimed = Claimed::new();
        let mut state = self.state.lock();
        state.depth -= 1;
        if state.depth > 0 {
            return;
        }
        state.owner = None;
        let _ = state.waiters.claim_first(&mut claimed);
        drop(state);
        claimed.schedule();
    }
}

/// The lock, taken once. As std's guards, it stays with the greenlet or thread that has taken it.
#[derive(Debug)]
pub(super) struct Held<'a, T> {
    lock: &'a ReentrantLock<T>,
    not_send: PhantomData<MutexGuard<'a, ()>>,
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lock.value
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.lock.release();
    }
}

/// A lock that is taken once at a time.
#[derive(Debug)]
pub(super) struct Lock<T>(ReentrantLock<UnsafeCell<T>>);

impl<T> Lock<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(ReentrantLock::new(UnsafeCell::new(value)))
    }

    /// # Panics
    ///
    /// If the caller has it already, where std's mutex may do the same or wait for ever.
    pub(super) fn lock(&self) -> Exclusive<'_, T> {
        let held = self.0.lock();
        let depth = self.0.state.lock().depth;
        assert!(depth == 1, "standard input is locked by the caller already");
        Exclusive(held)
    }
}

/// Such a lock, taken.
#[derive(Debug)]
pub(super) struct Exclusive<'a, T>(Held<'a, UnsafeCell<T>>);

impl<T> Exclusive<'_, T> {
    pub(super) fn get_mut(&mut self) -> &mut T {
        // SAFETY: the lock is taken once, by this value, which is borrowed mutably.
        unsafe { &mut *self.0.get() }
    }
}
