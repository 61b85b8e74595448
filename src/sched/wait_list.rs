//! Those who wait for something, in order: the one queue behind locks, channels and what else is given
//! to one after the other.
//!
//! A [`WaitList`] lies under a short lock, together with what its waiters wait for. [`wait`] looks
//! at that once more under the lock, when the greenlet is off the CPU, and then puts it into the
//! list; who changes it claims waiters under the same lock, and lets them go on after it. So no
//! wake-up is lost, and nobody ever sleeps over the lock.
//!
//! *Who was claimed has won.* [`WaitList::claim_first`] ends the park under the lock: against a deadline
//! and a cancellation one of the two wins, there and then. A waiter that was claimed got what it was
//! given; one that was not got nothing, and takes itself off the list. Nothing has to be passed on.
//!
//! *No memory is allocated.* A waiter lies on the stack of the one who waits, who does not go on
//! before it is off the list: until it was claimed and scheduled, or has taken itself off.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem;
use std::ptr::NonNull;

use super::park::park_with;
use crate::lock::Mutex;
use crate::reason::Wait;
use crate::waker::{Claim, Outcome, Waker};

/// Waiters that have a `T` each: what they ask for and, once claimed, what they were given.
pub(crate) struct WaitList<T> {
    /// The links between waiters belong to who has the list, and so to who holds its lock.
    first: Link<T>,
    last: Link<T>,
}

type Link<T> = Option<NonNull<Waiter<T>>>;

// SAFETY: it leads to values of `T`, which it owns as long as they are listed. Wakers are `Send`.
unsafe impl<T: Send> Send for WaitList<T> {}

/// One who waits; on its stack. All of it belongs to the list while it is listed, then to the
/// [`Claimed`] that it is in, and before and after to the one who waits.
struct Waiter<T> {
    links: UnsafeCell<Links<T>>,
    value: UnsafeCell<T>,
}

struct Links<T> {
    previous: Link<T>,
    next: Link<T>,
    stage: Stage,
}

enum Stage {
    Unlisted,
    Listed(Waker),
    /// Its park is over, and it does not run yet.
    Claimed(Claim),
}

/// Where a waiter goes in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enlist {
    First,
    Last,
    /// Nowhere: it need not wait any more.
    No,
}

impl Enlist {
    pub(crate) fn last_if(must_wait: bool) -> Self {
        if must_wait { Self::Last } else { Self::No }
    }
}

impl<T> WaitList<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            last: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// What the first one waits for.
    pub(crate) fn first(&self) -> Option<&T> {
        // SAFETY: listed, so it is alive and the list's own.
        self.first
            .map(|waiter| unsafe { &*waiter.as_ref().value.get() })
    }

    /// Takes the first one off the list and ends its wait, unless that is over already. Adds it to
    /// `claimed`, and answers with its value, where it finds what it is given.
    pub(crate) fn try_claim_first<'a>(&mut self, claimed: &'a mut Claimed<T>) -> Option<&'a mut T> {
        let waiter = self.first?;
        // SAFETY: it is listed.
        let claim = unsafe { self.unlink(waiter) }.claim()?;
        // SAFETY: off the list; and its owner does not run before the claim is scheduled.
        Some(unsafe { claimed.push(waiter, claim) })
    }

    /// The same for the first one whose wait is not over. `None`: there is none.
    pub(crate) fn claim_first<'a>(&mut self, claimed: &'a mut Claimed<T>) -> Option<&'a mut T> {
        while let Some(waiter) = self.first {
            // SAFETY: it is listed.
            if let Some(claim) = unsafe { self.unlink(waiter) }.claim() {
                // SAFETY: off the list; and its owner does not run before the claim is scheduled.
                return Some(unsafe { claimed.push(waiter, claim) });
            }
        }
        None
    }

    /// Ends the wait of all.
    pub(crate) fn claim_all(&mut self, claimed: &mut Claimed<T>) {
        while self.claim_first(claimed).is_some() {}
    }

    /// # Safety
    ///
    /// `waiter` is alive until it is off the list, and unlisted.
    unsafe fn push(&mut self, waiter: NonNull<Waiter<T>>, waker: Waker, place: Enlist) {
        let (previous, next) = match place {
            Enlist::First => (None, self.first),
            Enlist::Last => (self.last, None),
            Enlist::No => return,
        };
        // SAFETY: alive (caller), and neighbours are listed; the list has them all to itself.
        unsafe {
            *waiter.as_ref().links.get() = Links {
                previous,
                next,
                stage: Stage::Listed(waker),
            };
            self.set_next(previous, Some(waiter));
            self.set_previous(next, Some(waiter));
        }
    }

    /// Takes `waiter` off the list, if it is there.
    ///
    /// # Safety
    ///
    /// It was pushed to this list, if to any, and is not claimed.
    unsafe fn remove(&mut self, waiter: NonNull<Waiter<T>>) -> Option<Waker> {
        // SAFETY: alive: the caller is the one who waits.
        let is_listed = unsafe { matches!((*waiter.as_ref().links.get()).stage, Stage::Listed(_)) };
        // SAFETY: it is listed.
        is_listed.then(|| unsafe { self.unlink(waiter) })
    }

    /// # Safety
    ///
    /// `waiter` is in this list.
    unsafe fn unlink(&mut self, waiter: NonNull<Waiter<T>>) -> Waker {
        // SAFETY: listed (caller), so it is alive and the list's own, and so are its neighbours.
        unsafe {
            let links = &mut *waiter.as_ref().links.get();
            let (previous, next) = (links.previous.take(), links.next.take());
            self.set_next(previous, next);
            self.set_previous(next, previous);
            match mem::replace(&mut links.stage, Stage::Unlisted) {
                Stage::Listed(waker) => waker,
                Stage::Unlisted | Stage::Claimed(_) => unreachable!("it was listed"),
            }
        }
    }

    /// # Safety
    ///
    /// `waiter`, if there is one, is in this list.
    unsafe fn set_next(&mut self, waiter: Link<T>, next: Link<T>) {
        match waiter {
            // SAFETY: listed (caller), so it is alive and the list's own.
            Some(waiter) => unsafe { (*waiter.as_ref().links.get()).next = next },
            None => self.first = next,
        }
    }

    /// # Safety
    ///
    /// `waiter`, if there is one, is in this list.
    unsafe fn set_previous(&mut self, waiter: Link<T>, previous: Link<T>) {
        match waiter {
            // SAFETY: listed (caller), so it is alive and the list's own.
            Some(waiter) => unsafe { (*waiter.as_ref().links.get()).previous = previous },
            None => self.last = previous,
        }
    }
}

impl<T> Default for WaitList<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for WaitList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitList")
            .field("is_empty", &self.is_empty())
            .finish_non_exhaustive()
    }
}

/// Waiters whose wait is over and who go on, in order, when this is dropped: after the lock of their
/// list.
#[must_use = "they go on when this is dropped"]
pub(crate) struct Claimed<T> {
    first: Link<T>,
    last: Link<T>,
}

impl<T> Claimed<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            last: None,
        }
    }

    /// Lets all of them go on.
    pub(crate) fn schedule(self) {
        drop(self);
    }

    /// # Safety
    ///
    /// `waiter` is off its list, and `claim` is that of its owner.
    unsafe fn push(&mut self, waiter: NonNull<Waiter<T>>, claim: Claim) -> &mut T {
        // SAFETY: alive as long as its claim, which is kept in it up to the end of `self`; so is the
        // last one.
        unsafe {
            (*waiter.as_ref().links.get()).stage = Stage::Claimed(claim);
            match self.last.replace(waiter) {
                Some(last) => (*last.as_ref().links.get()).next = Some(waiter),
                None => self.first = Some(waiter),
            }
            &mut *waiter.as_ref().value.get()
        }
    }
}

impl<T> Drop for Claimed<T> {
    #[inline]
    fn drop(&mut self) {
        while let Some(waiter) = self.first {
            // SAFETY: alive, for it was not scheduled yet.
            let stage = unsafe {
                let links = &mut *waiter.as_ref().links.get();
                self.first = links.next.take();
                mem::replace(&mut links.stage, Stage::Unlisted)
            };
            if let Stage::Claimed(claim) = stage {
                claim.schedule();
            }
        }
    }
}

/// A list, and the lock that it lies under.
pub(crate) type Place<'a, S, T> = (&'a Mutex<S>, fn(&mut S) -> &mut WaitList<T>);

/// Waits in the list that `list` finds in what `lock` guards.
///
/// When the caller is off the CPU, `enlist` looks under the lock whether it has to wait still, and
/// may change its value if not. If the wait ends otherwise than by a claim or by `enlist`, whether or
/// not it was ever in the list, `withdraw` is called under the lock; what that answers is dropped
/// after it.
///
/// Answers how the wait ended, and the value.
#[inline]
pub(crate) fn wait<S, T, R>(
    place: Place<'_, S, T>,
    value: T,
    (wait, deadline): (Wait, Option<u64>),
    enlist: impl FnOnce(&mut S, &mut T) -> Enlist,
    withdraw: impl FnOnce(&mut S) -> R,
) -> (Outcome, T) {
    wait_with(place, value, (wait, deadline, false), enlist, withdraw)
}

/// [`wait`] that is not cancelled and has no deadline: it ends by a claim or by `enlist`.
pub(crate) fn wait_shielded<S, T>(
    place: Place<'_, S, T>,
    value: T,
    wait: Wait,
    enlist: impl FnOnce(&mut S, &mut T) -> Enlist,
) -> T {
    wait_with(place, value, (wait, None, true), enlist, |_| ()).1
}

fn wait_with<S, T, R>(
    (lock, list): Place<'_, S, T>,
    value: T,
    (wait, deadline, shielded): (Wait, Option<u64>, bool),
    enlist: impl FnOnce(&mut S, &mut T) -> Enlist,
    withdraw: impl FnOnce(&mut S) -> R,
) -> (Outcome, T) {
    let waiter = Waiter {
        links: UnsafeCell::new(Links {
            previous: None,
            next: None,
            stage: Stage::Unlisted,
        }),
        value: UnsafeCell::new(value),
    };
    let pointer = NonNull::from(&waiter);
    let outcome = park_with(wait, deadline, shielded, |waker| {
        let mut state = lock.lock();
        // SAFETY: alive, for its owner is parked, and unlisted, so it is its owner's.
        match enlist(&mut state, unsafe { &mut *pointer.as_ref().value.get() }) {
            Enlist::No => {
                drop(state);
                waker.wake();
            }
            // SAFETY: unlisted; and its owner does not leave before it is off the list: see below.
            place => unsafe { list(&mut state).push(pointer, waker, place) },
        }
    });
    // Whoever was woken was claimed, which took it off the list, or never was in it.
    if outcome != Outcome::Woken {
        let mut state = lock.lock();
        // SAFETY: it was pushed to no other list, and who is claimed is woken.
        let waker = unsafe { list(&mut state).remove(pointer) };
        let left = withdraw(&mut state);
        drop(state);
        drop((waker, left));
    }
    (outcome, waiter.value.into_inner())
}
