//! Many readers or one writer, without the value and without poison.
//!
//! ```text
//!  31                          2         1        0
//! +-----------------------------+---------+--------+
//! |           readers           | WAITING | WRITER |
//! +-----------------------------+---------+--------+
//! ```
//!
//! `WAITING` tells that the list is not empty, and changes under its lock. While it is set nobody comes in
//! but by being let in from the front of the list ([`RawRwLock::admit`]), when the last one leaves: a writer
//! alone, or all readers up to the next writer. So nobody starves, neither readers nor writers: those in
//! front of somebody get no more.
//!
//! *Nobody is forgotten.* Whoever leaves last, or takes itself off the list, looks under the lock of the list
//! who may come in. A waiter enlists only by an exchange that finds somebody inside, or others
//! waiting.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::spin;
use crate::atomic::ConstAtomicU32;
use crate::lock::Mutex;
use crate::owner::OwnerCell;
use crate::reason::WaitReason;
use crate::sched;
use crate::sched::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::waker::Outcome;

const WRITER: u32 = 1;
const WAITING: u32 = 2;
const READER: u32 = 4;
const READERS: u32 = !(WRITER | WAITING);
// What `Holder::of` divides by.
const _: () = assert!(READER == 1 << 2);

/// The lock. The guards above tie it to a greenlet or thread.
#[repr(C)]
#[derive(Debug)]
pub(super) struct RawRwLock {
    /// The writer. Must be the first field, and the state the second: see
    /// [`Holder::of`](crate::owner::Holder::of).
    owner: OwnerCell,
    state: ConstAtomicU32,
    waiters: Mutex<WaitList<Access>>,
}

/// What somebody waits to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl Access {
    /// The state with one more inside, if that one may come in.
    #[inline]
    fn enter(self, state: u32) -> Option<u32> {
        match self {
            Self::Read if state & (WRITER | WAITING) == 0 && state < READERS => {
                Some(state + READER)
            }
            Self::Write if state == 0 => Some(WRITER),
            Self::Read | Self::Write => None,
        }
    }
}

impl RawRwLock {
    pub(super) const fn new() -> Self {
        Self {
            owner: OwnerCell::new(),
            state: ConstAtomicU32::new(0),
            waiters: Mutex::new(WaitList::new()),
        }
    }

    #[inline]
    pub(super) fn try_read(&self) -> bool {
        self.try_enter(Access::Read)
    }

    #[inline]
    pub(super) fn try_write(&self) -> bool {
        let is_writer = self.try_enter(Access::Write);
        if is_writer {
            self.owner.set(sched::current_number());
        }
        is_writer
    }

    /// Waits until it may read. Unwinds if the greenlet is cancelled; then it may not.
    #[inline]
    pub(super) fn read(&self) {
        if !self.try_read() {
            self.enter_slow(Access::Read);
        }
    }

    /// The same to write.
    #[inline]
    pub(super) fn write(&self) {
        if !self.try_write() {
            self.enter_slow(Access::Write);
            self.owner.set(sched::current_number());
        }
    }

    #[inline]
    fn try_enter(&self, access: Access) -> bool {
        let mut state = self.state.load(Relaxed);
        while let Some(next) = access.enter(state) {
            // Acquire: pairs with the Release of those who were inside before.
            match self
                .state
                .compare_exchange_weak(state, next, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    #[cold]
    fn enter_slow(&self, access: Access) {
        spin::until(|| {
            let state = self.state.load(Relaxed);
            state & WAITING != 0 || access.enter(state).is_some()
        });
        if self.try_enter(access) {
            return;
        }
        let readers = self.state.load(Relaxed) & READERS;
        assert!(readers != READERS, "too many active read locks on RwLock");
        let reason = match access {
            Access::Read => WaitReason::Read,
            Access::Write => WaitReason::Write,
        };
        let reason = reason.at(self);
        let (outcome, _) = wait(
            (&self.waiters, |waiters| waiters),
            access,
            (reason, None),
            |_, access| self.enlist(*access),
            // Those behind it may be let in now.
            |waiters| self.admit(waiters),
        );
        if outcome != Outcome::Woken {
            sched::unwind_cancelled();
        }
    }

    /// Under the lock of the list: comes in if that has become possible.
    fn enlist(&self, access: Access) -> Enlist {
        loop {
            if self.try_enter(access) {
                return Enlist::No;
            }
            let state = self.state.load(Relaxed);
            let must_wait = access.enter(state).is_none();
            let waiting = || {
                self.state
                    .compare_exchange(state, state | WAITING, Relaxed, Relaxed)
            };
            if must_wait && waiting().is_ok() {
                return Enlist::Last;
            }
        }
    }

    /// A reader leaves.
    #[inline]
    pub(super) fn leave_read(&self) {
        // Release: pairs with the Acquire of those who come in next.
        if self.state.fetch_sub(READER, Release) == READER | WAITING {
            self.admit_slow();
        }
    }

    /// The writer leaves.
    #[inline]
    pub(super) fn leave_write(&self) {
        self.owner.clear();
        // Release: pairs with the Acquire of those who come in next.
        if self.state.fetch_and(!WRITER, Release) & WAITING != 0 {
            self.admit_slow();
        }
    }

    /// The writer becomes a reader.
    #[inline]
    pub(super) fn downgrade(&self) {
        self.owner.clear();
        // It is odd and becomes a multiple of `READER` more. Release: pairs with the Acquire of the readers
        // who come in next.
        if self.state.fetch_add(READER - WRITER, Release) & WAITING != 0 {
            self.admit_slow();
        }
    }

    #[cold]
    fn admit_slow(&self) {
        let claimed = self.admit(&mut self.waiters.lock());
        claimed.schedule();
    }

    /// Under the lock of the list: lets in those at the front who may come in.
    fn admit(&self, waiters: &mut WaitList<Access>) -> Claimed<Access> {
        let mut claimed = Claimed::new();
        loop {
            // While somebody waits, others can only leave. Who leaves last comes here after this.
            let state = self.state.load(Relaxed);
            let inside = match waiters.first() {
                Some(Access::Read) if state & WRITER == 0 => READER,
                Some(Access::Write) if state & !WAITING == 0 => WRITER,
                Some(_) => break,
                None => {
                    self.state.fetch_and(!WAITING, Relaxed);
                    break;
                }
            };
            // Before the claim, for the one who was claimed is inside. Acquire: pairs with the Release
            // of those who have left; the claim hands it on.
            self.state.fetch_add(inside, AcqRel);
            if waiters.try_claim_first(&mut claimed).is_none() {
                self.state.fetch_sub(inside, Relaxed);
            }
        }
        claimed
    }
}
