//! The control block of a plain OS thread that waits: every primitive works on both.

use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
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
    /// 1 once the present park was ended.
    ended: AtomicU32,
}

/// A cell for the calling thread.
pub(super) fn allocate() -> CellRef {
    let id = Id::new(Id::reserve(1).start);
    let name = std::thread::current().name().map(Box::from);
    let cell = Cell::new(Header::new(&TABLE, 1), id, name, Location::caller());
    let thread = Box::new(ThreadCell {
        cell,
        ended: AtomicU32::new(0),
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
    thread.ended.store(0, Relaxed);
    if let Some(outcome) = cell.header().begin_park(false) {
        return outcome;
    }
    let generation = cell.header().generation();
    // SAFETY: alive and just parked; only the wakers made here could end the park.
    let waker = unsafe { Waker::new(cell.as_ptr().cast()) };
    let own = waker.clone();
    commit(waker);
    loop {
        // Acquire: pairs with the Release in `schedule`.
        if thread.ended.load(Acquire) == 1 {
            debug_assert!(cell.header().is_answered(generation));
            return cell.header().outcome();
        }
        let timeout = deadline.map(|deadline| deadline.saturating_sub(clock::now()));
        if timeout == Some(0) {
            // Loses against a wake that came just now: then `ended` is, or becomes, 1.
            own.clone().expire();
        }
        futex::wait(&thread.ended, 0, timeout.map(Duration::from_nanos));
    }
}

/// See [`WakeTable::schedule`].
unsafe fn schedule(header: NonNull<Header>) {
    // SAFETY: all cells with this table are `ThreadCell`s, and it is alive (caller).
    let ended = unsafe { &raw const (*header.cast::<ThreadCell>().as_ptr()).ended };
    // SAFETY: as above. Release: pairs with the Acquire in `park`.
    unsafe { (*ended).store(1, Release) };
    futex::wake_one(ended);
}

/// See [`WakeTable::free`].
unsafe fn free(header: NonNull<Header>) {
    // SAFETY: made by `allocate` from a `Box<ThreadCell>`; the last reference is gone.
    drop(unsafe { Box::from_raw(header.cast::<ThreadCell>().as_ptr()) });
}
