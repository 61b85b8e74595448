//! Wakers: the right to make a parked greenlet (or plain thread) runnable, once.
//!
//! The state of a park is one word, in the [`Header`] at the start of every cell. Everything that
//! may end a park (a wake, a deadline, a cancellation) is one compare-exchange on that word, so
//! exactly one of them wins, and a waker of an earlier park is refused by its generation.
//! `sched/README.md` has the whole protocol.

#[cfg(all(test, loom))]
pub(crate) mod models;

use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::atomic::{AtomicU64, fence};

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

/// The word that says what a cell's owner is doing, and how many references there are to the cell.
///
/// ```text
///  63           33 32           5 4     3   2   1     0
/// +---------------+--------------+-------+---+---+-------+
/// |  generation   |  references  |outcome| S | C | parked|   S: shielded   C: cancelled
/// +---------------+--------------+-------+---+---+-------+
/// ```
///
/// One word, so that a park and the reference of its waker are one exchange, and so are the end
/// of the park and the end of that reference.
///
/// A stale waker is told by its generation. One that is kept over exactly 2^31 parks, or a
/// multiple, would end a park that is not its own: wakers are taken back or used when the wait
/// that they were made for ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    const PARKED: u64 = 1;
    const CANCELLED: u64 = 1 << 1;
    const SHIELDED: u64 = 1 << 2;
    const OUTCOME_SHIFT: u32 = 3;
    const OUTCOME: u64 = 0b11 << Self::OUTCOME_SHIFT;
    const REFERENCE_SHIFT: u32 = 5;
    const REFERENCE: u64 = 1 << Self::REFERENCE_SHIFT;
    const GENERATION_SHIFT: u32 = 33;
    const GENERATION: u64 = 1 << Self::GENERATION_SHIFT;
    /// Half of the references that there is room for.
    const MANY_REFERENCES: u64 = 1 << 27;

    fn new(references: u64) -> Self {
        Self(references << Self::REFERENCE_SHIFT)
    }

    fn is_parked(self) -> bool {
        self.0 & Self::PARKED != 0
    }

    fn is_cancelled(self) -> bool {
        self.0 & Self::CANCELLED != 0
    }

    fn is_shielded(self) -> bool {
        self.0 & Self::SHIELDED != 0
    }

    fn references(self) -> u64 {
        (self.0 & (Self::GENERATION - 1)) >> Self::REFERENCE_SHIFT
    }

    fn generation(self) -> u32 {
        (self.0 >> Self::GENERATION_SHIFT) as u32
    }

    fn last_generation(self) -> u32 {
        Self(self.0.wrapping_sub(Self::GENERATION)).generation()
    }

    fn outcome(self) -> Outcome {
        match (self.0 & Self::OUTCOME) >> Self::OUTCOME_SHIFT {
            0 => Outcome::Woken,
            1 => Outcome::Deadline,
            _ => Outcome::Cancelled,
        }
    }

    /// Parked, with a reference for the waker.
    fn parked(self, shielded: bool) -> Self {
        let shield = if shielded { Self::SHIELDED } else { 0 };
        let kept = self.0 & !(Self::PARKED | Self::SHIELDED);
        Self((kept | Self::PARKED | shield) + Self::REFERENCE)
    }

    /// Active again, with the answer to the park and the generation of the next one.
    fn answered(self, outcome: Outcome) -> Self {
        let code = match outcome {
            Outcome::Woken => 0,
            Outcome::Deadline => 1,
            Outcome::Cancelled => 2,
        };
        let kept = self.0 & !(Self::PARKED | Self::SHIELDED | Self::OUTCOME);
        Self((kept | code << Self::OUTCOME_SHIFT).wrapping_add(Self::GENERATION))
    }

    fn without_reference(self) -> Self {
        Self(self.0 - Self::REFERENCE)
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

/// What a cell's owner does, with the number of the park that this is, or that comes next. Equal numbers mean that
/// it has not parked in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Still {
    Parked(u32),
    Active(u32),
}

/// The start of every cell: the state of its park, and how many references there are.
pub(crate) struct Header {
    /// A [`State`]. The owner writes it to park; whoever ends the park writes it back. At the last
    /// reference, `table.free` runs.
    state: AtomicU64,
    table: &'static WakeTable,
}

impl Header {
    /// Where debuggers find the state in it, and the bit of that which says that the owner is parked.
    pub(crate) const STATE: usize = mem::offset_of!(Self, state);
    pub(crate) const PARKED_BIT: u64 = State::PARKED;

    pub(crate) fn new(table: &'static WakeTable, references: u64) -> Self {
        Self {
            state: AtomicU64::new(State::new(references).0),
            table,
        }
    }

    /// The owner parks, and this is the waker of that park. `Err`: it was cancelled before and is
    /// active still.
    ///
    /// # Safety
    ///
    /// `this` is alive. Only the owner calls it, or the hub for it once its stack is off the CPU.
    #[inline]
    pub(crate) unsafe fn begin_park(this: NonNull<Self>, shielded: bool) -> Result<Waker, Outcome> {
        // SAFETY: alive (caller).
        let header = unsafe { this.as_ref() };
        let mut state = State(header.state.load(Relaxed));
        loop {
            debug_assert!(!state.is_parked());
            let is_cancelled = state.is_cancelled() && !shielded;
            let next = if is_cancelled {
                state.answered(Outcome::Cancelled)
            } else {
                state.parked(shielded)
            };
            // Release: pairs with the Acquire in `end_park`; who ends the park, and then runs
            // the greenlet, sees all that it did before.
            match header
                .state
                .compare_exchange_weak(state.0, next.0, Release, Relaxed)
            {
                Ok(_) if is_cancelled => return Err(Outcome::Cancelled),
                Ok(_) => {
                    return Ok(Waker {
                        cell: this,
                        generation: state.generation(),
                        _spare: Spare::Zero,
                    });
                }
                Err(now) => state = State(now),
            }
        }
    }

    /// The generation of the park that has just begun, or that comes next.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        State(self.state.load(Relaxed)).generation()
    }

    /// The generation of the last park that is over. For the owner.
    #[inline]
    pub(crate) fn last_generation(&self) -> u32 {
        State(self.state.load(Relaxed)).last_generation()
    }

    /// How the last park ended. For the owner, when it runs again.
    #[inline]
    pub(crate) fn outcome(&self) -> Outcome {
        State(self.state.load(Relaxed)).outcome()
    }

    /// Whether this cell's park `generation` is over. Acquire: pairs with the Release of the wake.
    pub(crate) fn is_answered(&self, generation: u32) -> bool {
        State(self.state.load(Acquire)).generation() != generation
    }

    /// What the owner does, to be compared with what it does later.
    pub(crate) fn still(&self) -> Still {
        // Acquire: pairs with the Release in `begin_park`: where it has parked can be read.
        let state = State(self.state.load(Acquire));
        match state.is_parked() {
            true => Still::Parked(state.generation()),
            false => Still::Active(state.generation()),
        }
    }

    /// Ends park `generation` with `outcome`, if nobody has done so yet; then the caller's
    /// reference, if it has `given` one, is gone with it.
    #[inline]
    fn end_park(&self, generation: u32, outcome: Outcome, given: bool) -> bool {
        let mut state = State(self.state.load(Relaxed));
        loop {
            if !state.is_parked() || state.generation() != generation {
                return false;
            }
            let mut next = state.answered(outcome);
            if given {
                // Not the last one: who is parked has its own.
                next = next.without_reference();
            }
            // Acquire: pairs with the Release in `begin_park`. Release: pairs with the Acquire in
            // `is_answered` and in `release`, and with the run queue for a greenlet.
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
        if !before.is_parked() || before.is_shielded() {
            return;
        }
        committed();
        if header.end_park(before.generation(), Outcome::Cancelled, false) {
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
        let before = State(self.state.fetch_add(State::REFERENCE, Relaxed));
        if before.references() > State::MANY_REFERENCES {
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
        let is_last = |state| State(state).references() == 1;
        // Release: what this owner did comes before the freeing; pairs with the fence below.
        if is_last(header.state.load(Acquire))
            || is_last(header.state.fetch_sub(State::REFERENCE, Release))
        {
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
            .field("parked", &state.is_parked())
            .field("cancelled", &state.is_cancelled())
            .field("references", &state.references())
            .field("generation", &state.generation())
            .finish_non_exhaustive()
    }
}

/// Ends one park of one greenlet or thread. A late or second wake does nothing.
pub(crate) struct Waker {
    /// Owns one reference to the cell.
    cell: NonNull<Header>,
    generation: u32,
    _spare: Spare,
}

/// A byte with one value, so that enums can keep what they are in it, instead of a word more.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Spare {
    Zero = 0,
}

// SAFETY: the header is made of atomics, and `schedule` and `free` may be called on any thread:
// that is what the makers of a `WakeTable` promise.
unsafe impl Send for Waker {}
// SAFETY: as above; all methods that take `&self` only use atomics.
unsafe impl Sync for Waker {}

impl Waker {
    /// Makes the parked one runnable, unless its park is over.
    #[inline]
    pub(crate) fn wake(self) {
        self.end_park(Outcome::Woken);
    }

    /// The same for a deadline that has passed.
    #[inline]
    pub(crate) fn expire(self) {
        self.end_park(Outcome::Deadline);
    }

    /// Ends the park as [`wake`](Self::wake) does, but leaves it to the caller when its owner goes
    /// on: under the lock of a queue it is decided who gets something, and after it they are woken.
    /// `None`: the park was over, and its owner was given nothing.
    #[inline]
    pub(crate) fn claim(self) -> Option<Claim> {
        self.end_unscheduled(Outcome::Woken)
    }

    #[inline]
    fn end_park(self, outcome: Outcome) {
        drop(self.end_unscheduled(outcome));
    }

    #[inline]
    fn end_unscheduled(self, outcome: Outcome) -> Option<Claim> {
        // Whether it goes with the park or by `release`, the reference is given up here.
        let (cell, generation) = self.into_parts();
        // SAFETY: `cell` is alive: this waker owned a reference, which was not given up yet.
        unsafe {
            if cell.as_ref().end_park(generation, outcome, true) {
                return Some(Claim(cell));
            }
            Header::release(cell);
        }
        None
    }

    /// Takes it apart: the cell, to which the reference is kept, and the generation.
    #[inline]
    pub(crate) fn into_parts(self) -> (NonNull<Header>, u32) {
        let whole = ManuallyDrop::new(self);
        (whole.cell, whole.generation)
    }

    /// Puts it together again.
    ///
    /// # Safety
    ///
    /// Another one was taken apart to these parts, and the caller owns its reference.
    #[inline]
    pub(crate) unsafe fn from_parts(cell: NonNull<Header>, generation: u32) -> Self {
        Self {
            cell,
            generation,
            _spare: Spare::Zero,
        }
    }

    /// Whether it is for a park of this cell's owner.
    #[inline]
    pub(crate) fn is_of(&self, cell: NonNull<Header>) -> bool {
        self.cell == cell
    }

    /// Whether both end the same park.
    pub(crate) fn is_for(&self, cell: NonNull<Header>, generation: u32) -> bool {
        self.is_of(cell) && self.generation == generation
    }
}

/// A park that was ended, and whose owner does not run yet: it goes on when this is dropped.
#[must_use = "its owner goes on when this is dropped"]
pub(crate) struct Claim(NonNull<Header>);

// SAFETY: as for `Waker`.
unsafe impl Send for Claim {}

impl Claim {
    /// Lets the owner go on.
    #[inline]
    pub(crate) fn schedule(self) {
        drop(self);
    }
}

impl Drop for Claim {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: its park was ended for this claim, and whoever is parked keeps itself alive until
        // it is scheduled, which happens here and once.
        unsafe { (self.0.as_ref().table.schedule)(self.0) };
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.0).finish()
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

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// A waker must stay two words: it is stored in every queue that somebody may wait in.
const _: () = assert!(mem::size_of::<Waker>() == 16);
