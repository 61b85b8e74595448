//! Wakers: the right to make a parked greenlet (or plain thread) runnable, once.
//!
//! The state of a park is one word, in the [`Header`] at the start of every cell. Everything that
//! may end a park (a wake, a deadline, a cancellation) is one compare-exchange on that word, so
//! exactly one of them wins, and a waker of an earlier park is refused by its generation.
//! `sched/README.md` has the whole protocol.

#[cfg(all(test, loom))]
pub(crate) mod models;

use std::fmt;
use std::mem;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::atomic::{AtomicU64, AtomicUsize, fence};

/// How a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By a [`Waker`].
    Woken,
    /// The deadline passed first.
    Deadline,
    /// The greenlet was cancelled. What it waited for has not happened.
    Cancelled,
}

/// The word that says what a cell's owner is doing.
///
/// ```text
///  63           8 7   6   5   4   3   2   1   0
/// +--------------+-------+---+---+---+---+-----+
/// |  generation  |   -   |outcome| S | C |phase|   S: shielded   C: cancelled
/// +--------------+-------+---+---+---+---+-----+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    const PHASE: u64 = 0b11;
    const ACTIVE: u64 = 0;
    const PARKED: u64 = 1;
    const CANCELLED: u64 = 1 << 2;
    const SHIELDED: u64 = 1 << 3;
    const OUTCOME: u64 = 0b11 << 4;
    const GENERATION_SHIFT: u32 = 8;

    fn phase(self) -> u64 {
        self.0 & Self::PHASE
    }

    fn is_cancelled(self) -> bool {
        self.0 & Self::CANCELLED != 0
    }

    fn is_shielded(self) -> bool {
        self.0 & Self::SHIELDED != 0
    }

    fn generation(self) -> u64 {
        self.0 >> Self::GENERATION_SHIFT
    }

    fn outcome(self) -> Outcome {
        match (self.0 & Self::OUTCOME) >> 4 {
            0 => Outcome::Woken,
            1 => Outcome::Deadline,
            _ => Outcome::Cancelled,
        }
    }

    fn parked(self, shielded: bool) -> Self {
        let shield = if shielded { Self::SHIELDED } else { 0 };
        Self(self.0 & !(Self::PHASE | Self::SHIELDED) | Self::PARKED | shield)
    }

    /// Active again, with the answer to the park and the generation of the next one.
    fn answered(self, outcome: Outcome) -> Self {
        let code = match outcome {
            Outcome::Woken => 0,
            Outcome::Deadline => 1,
            Outcome::Cancelled => 2,
        };
        let kept = self.0 & !(Self::PHASE | Self::SHIELDED | Self::OUTCOME);
        Self((kept | code << 4).wrapping_add(1 << Self::GENERATION_SHIFT))
    }
}

/// What a waker has to know about the kind of cell behind it.
#[derive(Debug)]
pub(crate) struct WakeTable {
    /// Makes the cell's owner run. Called once for every park that was ended.
    ///
    /// # Safety
    ///
    /// The cell is alive, and the caller has just ended its park.
    pub(crate) schedule: unsafe fn(NonNull<Header>),
    /// Frees the cell.
    ///
    /// # Safety
    ///
    /// The last reference is gone.
    pub(crate) free: unsafe fn(NonNull<Header>),
}

/// The start of every cell: the state of its park, and how many references there are.
pub(crate) struct Header {
    /// A [`State`]. The owner writes it to park; whoever ends the park writes it back.
    state: AtomicU64,
    /// References to the cell. At zero, `table.free` runs.
    references: AtomicUsize,
    table: &'static WakeTable,
}

impl Header {
    pub(crate) fn new(table: &'static WakeTable, references: usize) -> Self {
        Self {
            state: AtomicU64::new(0),
            references: AtomicUsize::new(references),
            table,
        }
    }

    /// The owner parks. `None`: parked, and every waker of this generation ends it; otherwise it
    /// was cancelled before and is active still.
    ///
    /// Only the owner calls it, or the hub for it once its stack is off the CPU.
    #[inline]
    pub(crate) fn begin_park(&self, shielded: bool) -> Option<Outcome> {
        let mut state = State(self.state.load(Relaxed));
        loop {
            debug_assert_eq!(state.phase(), State::ACTIVE);
            let (next, answer) = if state.is_cancelled() && !shielded {
                (state.answered(Outcome::Cancelled), Some(Outcome::Cancelled))
            } else {
                (state.parked(shielded), None)
            };
            // Release: pairs with the Acquire in `end_park`; who ends the park, and then runs
            // the greenlet, sees all that it did before.
            match self
                .state
                .compare_exchange_weak(state.0, next.0, Release, Relaxed)
            {
                Ok(_) => return answer,
                Err(now) => state = State(now),
            }
        }
    }

    /// The generation of the park that has just begun.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        State(self.state.load(Relaxed)).generation()
    }

    /// How the last park ended. For the owner, when it runs again.
    #[inline]
    pub(crate) fn outcome(&self) -> Outcome {
        State(self.state.load(Relaxed)).outcome()
    }

    /// Whether this cell's park `generation` is over. Acquire: pairs with the Release of the wake.
    pub(crate) fn is_answered(&self, generation: u64) -> bool {
        State(self.state.load(Acquire)).generation() != generation
    }

    /// Ends park `generation` with `outcome`, if nobody has done so yet.
    #[inline]
    fn end_park(&self, generation: u64, outcome: Outcome) -> bool {
        let mut state = State(self.state.load(Relaxed));
        loop {
            if state.phase() != State::PARKED || state.generation() != generation {
                return false;
            }
            let next = state.answered(outcome);
            // Acquire: pairs with the Release in `begin_park`. Release: pairs with the Acquire in
            // `is_answered`, and with the run queue for a greenlet.
            match self
                .state
                .compare_exchange_weak(state.0, next.0, AcqRel, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => state = State(now),
            }
        }
    }

    /// From now on every park that is not shielded answers `Cancelled`, the present one too.
    ///
    /// Whoever parks may still be about to publish its waker; `committed` returns when that is
    /// through.
    ///
    /// # Safety
    ///
    /// `this` is alive over the call.
    pub(crate) unsafe fn cancel(this: NonNull<Self>, committed: impl FnOnce()) {
        // SAFETY: alive (caller).
        let header = unsafe { this.as_ref() };
        // Acquire: pairs with the Release in `begin_park`, for `committed`. Release: as in
        // `end_park`.
        let before = State(header.state.fetch_or(State::CANCELLED, AcqRel));
        if before.phase() != State::PARKED || before.is_shielded() {
            return;
        }
        committed();
        if header.end_park(before.generation(), Outcome::Cancelled) {
            // SAFETY: alive (caller), and its park has just been ended here.
            unsafe { (header.table.schedule)(this) };
        }
    }

    /// Whether `cancel` was called.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        State(self.state.load(Relaxed)).is_cancelled()
    }

    /// One reference more.
    #[inline]
    pub(crate) fn retain(&self) {
        // Relaxed: the caller has a reference, so the count is not zero and stays so.
        let before = self.references.fetch_add(1, Relaxed);
        if before > isize::MAX as usize {
            std::process::abort();
        }
    }

    /// One reference less; at none, the cell is freed.
    ///
    /// # Safety
    ///
    /// The caller owns one reference to the live cell at `this`, and gives it up.
    #[inline]
    pub(crate) unsafe fn release(this: NonNull<Self>) {
        // SAFETY: the caller's reference keeps it alive up to here.
        let header = unsafe { this.as_ref() };
        // A last reference can neither be copied nor given up by anybody else, so it needs no
        // atomic subtraction. Acquire: pairs with the Release below.
        let is_last = header.references.load(Acquire) == 1;
        // Release: what this owner did comes before the freeing; pairs with the fence below.
        if is_last || header.references.fetch_sub(1, Release) == 1 {
            fence(Acquire);
            // SAFETY: that was the last reference.
            unsafe { (header.table.free)(this) };
        }
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = State(self.state.load(Relaxed));
        f.debug_struct("Header")
            .field("phase", &state.phase())
            .field("cancelled", &state.is_cancelled())
            .field("generation", &state.generation())
            .finish_non_exhaustive()
    }
}

/// Ends one park of one greenlet or thread. A late or second wake does nothing.
pub(crate) struct Waker {
    /// Owns one reference to the cell.
    cell: NonNull<Header>,
    generation: u64,
}

// SAFETY: the header is made of atomics, and `schedule` and `free` may be called on any thread:
// that is what the makers of a `WakeTable` promise.
unsafe impl Send for Waker {}
// SAFETY: as above; all methods that take `&self` only use atomics.
unsafe impl Sync for Waker {}

impl Waker {
    /// A waker for the park that has just begun.
    ///
    /// # Safety
    ///
    /// `cell` is alive and parked, and nobody else could have ended that park yet.
    #[inline]
    pub(crate) unsafe fn new(cell: NonNull<Header>) -> Self {
        // SAFETY: alive (caller).
        let header = unsafe { cell.as_ref() };
        header.retain();
        Self {
            cell,
            generation: header.generation(),
        }
    }

    /// Makes the parked one runnable, unless its park is over.
    #[inline]
    pub(crate) fn wake(self) {
        self.wake_with(Outcome::Woken);
    }

    /// The same for a deadline that has passed.
    #[inline]
    pub(crate) fn expire(self) {
        self.wake_with(Outcome::Deadline);
    }

    #[inline]
    fn wake_with(&self, outcome: Outcome) {
        // SAFETY: `cell` is alive: this waker owns a reference.
        let header = unsafe { self.cell.as_ref() };
        if header.end_park(self.generation, outcome) {
            // SAFETY: alive as above, and its park was ended right here.
            unsafe { (header.table.schedule)(self.cell) };
        }
    }

    /// Whether both end the same park.
    pub(crate) fn is_for(&self, cell: NonNull<Header>, generation: u64) -> bool {
        self.cell == cell && self.generation == generation
    }
}

impl Clone for Waker {
    fn clone(&self) -> Self {
        // SAFETY: alive: `self` owns a reference.
        unsafe { self.cell.as_ref() }.retain();
        Self { ..*self }
    }
}

impl Drop for Waker {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this waker owns a reference and is gone after this.
        unsafe { Header::release(self.cell) };
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker")
            .field("cell", &self.cell)
            .field("generation", &self.generation)
            .finish()
    }
}

/// Wakers collected under a lock, to be woken after it.
#[derive(Debug, Default)]
pub(crate) struct WakeList(Vec<Waker>);

impl WakeList {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    #[inline]
    pub(crate) fn push(&mut self, waker: Waker) {
        self.0.push(waker);
    }

    /// Wakes all, in the order in which they were pushed. Keeps the memory for the next time.
    pub(crate) fn wake_all(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }

    /// Ends all with `Deadline`, in order.
    pub(crate) fn expire_all(&mut self) {
        for waker in self.0.drain(..) {
            waker.expire();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// A waker must stay two words: it is stored in every queue that somebody may wait in.
const _: () = assert!(mem::size_of::<Waker>() == 16);
