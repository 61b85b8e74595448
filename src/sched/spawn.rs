//! Spawning: from a closure to a queued greenlet, and back to its result.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::thread;

use super::body;
use super::cell::{CellRef, Id};
use super::current;
use super::greenlet_cell::{GreenletCell, Runnable, SpawnOptions};
use super::join::JoinSlot;
use super::park;
use super::recording;
use super::shared::Shared;
use crate::waker::Outcome;

/// Queues a new greenlet of the runtime `shared`.
///
/// # Safety
///
/// - `f` and its result may be sent to the threads of the runtime and back, or `options.hub` pins
///   the greenlet to where they may be used.
/// - They stay valid until the greenlet has ended: they are `'static`, or the caller waits.
/// - The caller keeps the runtime alive over the call.
pub(crate) unsafe fn spawn<F, T>(shared: &Arc<Shared>, options: SpawnOptions, f: F) -> Spawned<T>
where
    F: FnOnce() -> T,
{
    let hub = current::get().hub_of(Arc::as_ptr(shared));
    let id = hub.map_or_else(|| Id::new(Id::reserve(1).start), |hub| hub.next_id());
    if hub.is_none() {
        shared.count_injected();
    }
    // SAFETY: the caller's promise.
    let cell = unsafe { body::allocate(id, options, Arc::as_ptr(shared), f) };
    // SAFETY: new, so nobody else has the right to run it.
    let runnable = unsafe { Runnable::new(cell) };
    if recording::is_on(hub) {
        recording::record_spawn(runnable.cell());
    }
    match hub {
        Some(hub) => hub.spawn(runnable),
        None => shared.push(runnable),
    }
    // SAFETY: the second of the references that it has from the start.
    let cell = unsafe { CellRef::from_owned(cell.cast()) };
    Spawned {
        cell,
        result: PhantomData,
    }
}

/// The right to the result of a greenlet.
#[derive(Debug)]
pub(crate) struct Spawned<T> {
    /// Of a `GreenletCell` whose closure returns a `T`.
    cell: CellRef,
    result: PhantomData<T>,
}

// SAFETY: the result is `Send` or the greenlet was spawned by an unsafe function that says
// where it may be taken, as std's `JoinHandle`; the rest of the cell is Sync.
unsafe impl<T> Send for Spawned<T> {}
// SAFETY: through a shared reference the result cannot be reached.
unsafe impl<T> Sync for Spawned<T> {}

impl<T> Spawned<T> {
    fn greenlet(&self) -> NonNull<GreenletCell> {
        self.cell.as_ptr().cast()
    }

    fn join_slot(&self) -> &JoinSlot {
        // SAFETY: alive: `self` owns a reference; and a `GreenletCell`, see `cell`.
        unsafe { &self.greenlet().as_ref().join }
    }

    pub(crate) fn cell(&self) -> &CellRef {
        &self.cell
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.join_slot().has_ended()
    }

    /// Waits for the end and takes the result. `None` if the caller was cancelled meanwhile, which
    /// cannot be with `shielded`; then the greenlet is detached.
    ///
    /// # Panics
    ///
    /// On the greenlet itself, which would wait for ever.
    pub(crate) fn join(self, shielded: bool) -> Option<thread::Result<T>> {
        let caller = current::get().greenlet().map(NonNull::from);
        assert!(
            caller != Some(self.greenlet()),
            "a greenlet cannot join itself"
        );
        // SAFETY: `self` is the only handle, and waits once at a time.
        let outcome = unsafe { self.join_slot().wait(self.cell.id(), shielded) };
        if outcome == Outcome::Cancelled {
            return None;
        }
        // SAFETY: ended; the result belongs to the handle, and is a `T`.
        let result = unsafe { body::take(self.greenlet()) };
        // There is no result left to detach from.
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used or dropped after this.
        drop(unsafe { ptr::read(&this.cell) });
        Some(result)
    }
}

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        if self.join_slot().detach() {
            // SAFETY: ended, and `detach` has made the result ours. It does not unwind: it aborts.
            park::shielded(|| unsafe {
                (self.greenlet().as_ref().body.drop_result)(self.greenlet());
            });
        }
    }
}
