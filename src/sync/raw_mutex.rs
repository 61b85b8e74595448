//! Mutual exclusion, without the value and without poison.
//!
//! ```text
//!   31                4         3        2         1        0
//! +--------------------+---------+-------+---------+--------+
//! |        zero        | STARVED | WOKEN | WAITING | LOCKED |
//! +--------------------+---------+-------+---------+--------+
//! ```
//!
//! `LOCKED` is set by whoever finds it clear. `WAITING` and `STARVED` tell about the list and change
//! under its lock. Locking and unlocking are one exchange each while nobody waits.
//!
//! *Who is next.* Unlocking with somebody in the list takes the first one off it and gives it a *turn*:
//! it may try once it runs, while newcomers may be quicker, as those that run already are. So a lock
//! that is held for a few instructions does not wait for a switch each time. `WOKEN` is set
//! meanwhile, and nobody else gets a turn. A waiter that loses goes back to the front. If by then it has
//! waited for more than [`PATIENCE`], it sets `STARVED`: the next unlock leaves the lock locked and
//! gives it to that one. So nobody starves: every waiter becomes the first, and the first gets the lock
//! after one lost turn past that time.
//!
//! *Nobody is forgotten.* If the lock is free and the list is not empty, somebody has a turn (`WOKEN`), or
//! is about to give one, with the lock of the list. It holds because a waiter enlists only by an exchange that finds
//! `LOCKED`, and because whoever has a turn ends it by locking, by enlisting, or, when it was cancelled, by
//! passing it on.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::spin;
use crate::atomic::ConstAtomicU32;
use crate::lock::Mutex;
use crate::owner::OwnerCell;
use crate::reason::WaitReason;
use crate::sched;
use crate::sched::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::sys::clock;
use crate::waker::Outcome;

const LOCKED: u32 = 1;
/// The list is not empty.
const WAITING: u32 = 2;
/// Somebody who was taken off the list has its turn.
const WOKEN: u32 = 4;
/// The first in the list is to be given the lock.
const STARVED: u32 = 8;

/// How long a waiter lets others be quicker. In a model it is handed the lock at the first lost turn.
const PATIENCE: Duration = Duration::from_millis(if cfg!(loom) { 0 } else { 1 });

/// A lock. It is not tied to a greenlet or thread: the guard above is.
#[repr(C)]
#[derive(Debug)]
pub(super) struct RawMutex {
    /// Must be the first field: see [`Holder::of`](crate::owner::Holder::of).
    owner: OwnerCell,
    state: ConstAtomicU32,
    waiters: Mutex<WaitList<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    is_starved: bool,
    given: Given,
}

/// What a waiter has when its park is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Nothing,
    /// It may try.
    Turn,
    /// It has the lock.
    Lock,
}

impl RawMutex {
    pub(super) const fn new() -> Self {
        Self {
            owner: OwnerCell::new(),
            state: ConstAtomicU32::new(0),
            waiters: Mutex::new(WaitList::new()),
        }
    }

    #[inline]
    pub(super) fn try_lock(&self) -> bool {
        let mut state = 0;
        loop {
            // Acquire: pairs with the Release of the one who had it.
            match self
                .state
                .compare_exchange(state, state | LOCKED, Acquire, Relaxed)
            {
                Ok(_) => {
                    self.owner.set(sched::current_number());
                    return true;
                }
                Err(now) if now & LOCKED != 0 => return false,
                // It is free, and somebody has a turn.
                Err(now) => state = now,
            }
        }
    }

    /// Waits until it has the lock.
    ///
    /// Unwinds if the greenlet is cancelled; then it does not have it.
    #[inline]
    pub(super) fn lock(&self) {
        // Acquire: pairs with the Release of the one who had it.
        if self
            .state
            .compare_exchange(0, LOCKED, Acquire, Relaxed)
            .is_err()
        {
            self.lock_slow();
        }
        self.owner.set(sched::current_number());
    }

    #[cold]
    fn lock_slow(&self) {
        let mut has_turn = false;
        let mut since = None;
        loop {
            // Not beside those who wait, unless it is one of them.
            let hopeless = if has_turn { 0 } else { WAITING };
            spin::until(|| self.state.load(Relaxed) & (LOCKED | hopeless) != LOCKED);
            if self.take(has_turn) {
                return;
            }
            // It has lost, or has just come.
            let now = clock::now();
            let waited = Duration::from_nanos(now.saturating_sub(*since.get_or_insert(now)));
            match self.wait(&mut has_turn, waited > PATIENCE) {
                Given::Lock => return,
                Given::Turn => has_turn = true,
                Given::Nothing => {
                    if has_turn {
                        self.pass_turn();
                    }
                    sched::unwind_cancelled();
                }
            }
        }
    }

    /// Takes the lock if it is free, and with that ends a turn.
    fn take(&self, has_turn: bool) -> bool {
        let ended = if has_turn { WOKEN } else { 0 };
        let mut state = self.state.load(Relaxed);
        while state & LOCKED == 0 {
            // Acquire: pairs with the Release of the one who had it.
            match self.state.compare_exchange_weak(
                state,
                (state | LOCKED) & !ended,
                Acquire,
                Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Waits in the list; a turn ends with that. `Nothing` when it was cancelled.
    fn wait(&self, has_turn: &mut bool, is_starved: bool) -> Given {
        let waiter = Waiter {
            is_starved,
            given: Given::Nothing,
        };
        let reason = WaitReason::Mutex.at(self);
        let (outcome, waiter) = wait(
            (&self.waiters, |waiters| waiters),
            waiter,
            (reason, None),
            |_, waiter| self.enlist(has_turn, waiter),
            |waiters| self.update(waiters),
        );
        match outcome {
            Outcome::Woken => waiter.given,
            Outcome::Deadline | Outcome::Cancelled => Given::Nothing,
        }
    }

    /// Under the lock of the list: takes the lock if it has become free, and else says where to wait.
    fn enlist(&self, has_turn: &mut bool, waiter: &mut Waiter) -> Enlist {
        let ended = if *has_turn { WOKEN } else { 0 };
        let mut state = self.state.load(Relaxed);
        loop {
            if self.take(*has_turn) {
                waiter.given = Given::Lock;
                return Enlist::No;
            }
            state |= LOCKED;
            let starved = if waiter.is_starved { STARVED } else { 0 };
            let next = (state | WAITING | starved) & !ended;
            match self.state.compare_exchange(state, next, Relaxed, Relaxed) {
                // Back to the front, with a turn that was lost.
                Ok(_) if std::mem::take(has_turn) => return Enlist::First,
                Ok(_) if waiter.is_starved => return Enlist::First,
                Ok(_) => return Enlist::Last,
                Err(now) => state = now,
            }
        }
    }

    #[inline]
    pub(super) fn unlock(&self) {
        self.owner.clear();
        // Release: pairs with the Acquire of the next one.
        if self
            .state
            .compare_exchange(LOCKED, 0, Release, Relaxed)
            .is_err()
        {
            self.unlock_slow();
        }
    }

    #[cold]
    fn unlock_slow(&self) {
        let mut state = self.state.load(Relaxed);
        // Nobody waits, or somebody has a turn already.
        while state & WAITING == 0 || state & (WOKEN | STARVED) == WOKEN {
            // Release: pairs with the Acquire of the next one.
            match self
                .state
                .compare_exchange_weak(state, state & !LOCKED, Release, Relaxed)
            {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        let mut claimed = Claimed::new();
        let mut waiters = self.waiters.lock();
        // Who has the lock and that of the list has the state for itself.
        let state = self.state.load(Relaxed) & WOKEN;
        let next = match waiters.claim_first(&mut claimed) {
            None => 0,
            Some(waiter) if waiter.is_starved => {
                waiter.given = Given::Lock;
                LOCKED
            }
            Some(waiter) => {
                waiter.given = Given::Turn;
                WOKEN
            }
        };
        // Release: pairs with the Acquire of the next one, if it was not given it.
        self.state.store(state | next | about(&waiters), Release);
        drop(waiters);
        claimed.schedule();
    }

    /// The one who has a turn does not want the lock any more.
    #[cold]
    fn pass_turn(&self) {
        let mut claimed = Claimed::new();
        let mut waiters = self.waiters.lock();
        match waiters.claim_first(&mut claimed) {
            Some(waiter) => waiter.given = Given::Turn,
            None => {
                self.state.fetch_and(!WOKEN, Relaxed);
            }
        }
        self.update(&waiters);
        drop(waiters);
        claimed.schedule();
    }

    /// Under the lock of the list: the state tells what has become of it.
    fn update(&self, waiters: &WaitList<Waiter>) {
        let about = about(waiters);
        self.state.fetch_and(about | LOCKED | WOKEN, Relaxed);
        self.state.fetch_or(about, Relaxed);
    }
}

/// The bits that tell about the list.
fn about(waiters: &WaitList<Waiter>) -> u32 {
    match waiters.first() {
        None => 0,
        Some(first) if first.is_starved => WAITING | STARVED,
        Some(_) => WAITING,
    }
}
