//! The control block of a plain OS thread that waits: every primitive works on both.

use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use std::time::Duration;

use super::cell::{Cell, CellRef, Id};
use crate::atomic::AtomicU32;
use crate::sys::{clock, futex};
use crate::waker::{Header, Outcome, WakeTable, Waker};

static TABLE: WakeTable = WakeTable { schedule, free };

#[repr(C)]
struct ThreadCell {
    /// Must be the first field: a pointer to it is a pointer to all.
    cell: Cell,
    /// [`WAITING`] and so on, of the present park.
    state: AtomicU32,
}

/// The park goes on.
const WAITING: u32 = 0;
/// It was ended.
const ENDED: u32 = 1;
/// It goes on, has no deadline, and is counted in [`BLOCKED`].
const COUNTED: u32 = 2;

/// How many threads wait here without a deadline, in the low half, and how often that has changed.
///
/// Who ends such a wait takes the thread out, so it is never counted while it runs on.
static BLOCKED: AtomicU64 = AtomicU64::new(0);

/// Threads that only somebody else's wake can make go on, and how often that number has changed.
pub(super) fn blocked() -> (usize, u32) {
    // SeqCst: the deadlock detector's snapshots are in one order with the changes.
    let blocked = BLOCKED.load(SeqCst);
    (blocked as u32 as usize, (blocked >> 32) as u32)
}

fn count_blocked(by: i32) {
    let change = 1 << 32;
    let difference = i64::from(by).wrapping_add(change) as u64;
    BLOCKED.fetch_add(difference, SeqCst);
}

/// A cell for the calling thread.
pub(super) fn allocate() -> CellRef {
    let id = Id::new(Id::reserve(1).start);
    let name = std::thread::current().name().map(Box::from);
    let cell = Cell::new(Header::new(&TABLE, 1), id, name, Location::caller());
    let thread = Box::new(ThreadCell {
        cell,
        state: AtomicU32::new(WAITING),
    });
    // SAFETY: one reference, which is given up here.
    unsafe { CellRef::from_owned(NonNull::from(Box::leak(thread)).cast()) }
}

/// Blocks the calling thread, whose cell this is.
///
/// # Safety
///
/// `cell` was made by [`allocate`] on this thread.
pub(super) unsafe fn park(
    cell: &CellRef,
    deadline: Option<u64>,
    commit: impl FnOnce(Waker),
) -> Outcome {
    // SAFETY: all cells of `allocate` are the first field of a `ThreadCell`.
    let thread = unsafe { cell.as_ptr().cast::<ThreadCell>().as_ref() };
    thread.state.store(WAITING, Relaxed);
    // SAFETY: alive, by the caller's reference; and this thread's own (caller).
    let waker = match unsafe { Header::begin_park(cell.as_ptr().cast(), false) } {
        Ok(waker) => waker,
        Err(outcome) => return outcome,
    };
    let generation = cell.header().generation();
    let own = waker.clone();
    commit(waker);
    let waiting = match deadline {
        None => thread.count(),
        Some(_) => WAITING,
    };
    loop {
        // Acquire: pairs with the AcqRel in `schedule`.
        if thread.state.load(Acquire) == ENDED {
            debug_assert!(cell.header().is_answered(generation));
            return cell.header().outcome();
        }
        let timeout = deadline.map(|deadline| deadline.saturating_sub(clock::now()));
        if timeout == Some(0) {
            // Loses against a wake that came just now: then the state is, or becomes, `ENDED`.
            own.clone().expire();
        }
        futex::wait(&thread.state, waiting, timeout.map(Duration::from_nanos));
    }
}

impl ThreadCell {
    /// Counts this thread as blocked, unless its park is over. Answers the state that it waits in.
    fn count(&self) -> u32 {
        // The exchange first: it fails if the park is over. Who ends it in between counts down before
        // this counts up, and then there seem to be too few or far too many, which is no deadlock.
        let counted = self
            .state
            .compare_exchange(WAITING, COUNTED, Relaxed, Relaxed);
        if counted.is_ok() {
            count_blocked(1);
        }
        COUNTED
    }
}

/// See [`WakeTable::schedule`].
unsafe fn schedule(header: NonNull<Header>) {
    // SAFETY: all cells with this table are `ThreadCell`s, and it is alive (caller).
    let state = unsafe { &raw const (*header.cast::<ThreadCell>().as_ptr()).state };
    // SAFETY: as above. AcqRel: pairs with the Acquire in `park`.
    if unsafe { (*state).swap(ENDED, AcqRel) } == COUNTED {
        count_blocked(-1);
    }
    futex::wake_one(state);
}

/// See [`WakeTable::free`].
unsafe fn free(header: NonNull<Header>) {
    // SAFETY: made by `allocate` from a `Box<ThreadCell>`; the last reference is gone.
    drop(unsafe { Box::from_raw(header.cast::<ThreadCell>().as_ptr()) });
}
