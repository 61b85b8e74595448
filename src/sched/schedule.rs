//! Where a greenlet goes that has become runnable.

use std::ptr::NonNull;
use std::sync::Arc;

use super::current;
use super::greenlet_cell::{GreenletCell, Runnable};
use super::hub::Hub;
use super::recording;
use super::shared::Shared;
use crate::waker::{Header, Outcome};

/// See [`WakeTable::schedule`](crate::waker::WakeTable::schedule).
///
/// # Safety
///
/// `header` is that of a live greenlet whose park the caller has just ended.
pub(super) unsafe fn greenlet(header: NonNull<Header>) {
    // SAFETY: the table with this function is in `GreenletCell`s only, whose first field it is;
    // who ends a park has the right to run the greenlet.
    let runnable = unsafe { Runnable::new(header.cast::<GreenletCell>()) };
    let shared = runnable.cell().shared();
    let current = current::get();
    if recording::is_on(current.hub()) {
        recording::record_wake(runnable.cell(), current);
    }
    match current.hub() {
        Some(hub) if hub.belongs_to(shared) => here(hub, runnable, current.greenlet().is_some()),
        _ => from_outside(shared, runnable),
    }
}

/// On a hub of the same runtime.
#[inline]
fn here(hub: &Hub, runnable: Runnable, by_greenlet: bool) {
    match runnable.cell().pinned() {
        Some(pinned) if pinned != hub.index() => hub.shared().push_pinned(pinned, runnable),
        _ if by_greenlet => hub.push_next(runnable),
        _ if runnable.cell().header().outcome() == Outcome::Deadline => hub.push_due(runnable),
        _ => hub.push_back(runnable),
    }
}

/// On any other thread.
#[cold]
fn from_outside(shared: *const Shared, runnable: Runnable) {
    // Once it is pushed the greenlet may run to its end, and its runtime may end, too.
    // SAFETY: the greenlet is alive until it is pushed, so its runtime is; `shared` came from an
    // `Arc` (see `Shared::pointer`).
    let shared = unsafe {
        Arc::increment_strong_count(shared);
        Arc::from_raw(shared)
    };
    shared.push(runnable);
}
