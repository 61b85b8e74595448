//! The greenlets that callers of `Runtime::run` wait for, and what ends them from outside: a deadlock, and
//! an interrupt from the keyboard.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use super::cell::CellRef;
use super::deadlock::Deadlock;
use super::interrupt::Interruptible;
use super::shared::Shared;
use crate::lock::Mutex;

/// The greenlets that callers of `Runtime::run` wait for.
#[derive(Debug, Default)]
pub(super) struct Mains(Mutex<Vec<Arc<Entry>>>);

#[derive(Debug)]
struct Entry {
    /// A `GreenletCell`.
    cell: CellRef,
    deadlock: OnceLock<Deadlock>,
    /// It is cancelled by an interrupt from the keyboard.
    by_interrupt: bool,
    interrupted: AtomicBool,
}

/// While it lives, a deadlock cancels the greenlet, and is told here; and so does an interrupt from the
/// keyboard, if that was asked for.
#[derive(Debug)]
pub(crate) struct Main<'a> {
    shared: &'a Shared,
    entry: Arc<Entry>,
    /// Dropped after the entry is gone from the list.
    _interruptible: Option<Interruptible>,
}

impl<'a> Main<'a> {
    /// # Safety
    ///
    /// `cell` is that of a greenlet of this runtime.
    pub(crate) unsafe fn enter(
        shared: &'a Shared,
        cell: &CellRef,
        interruptible: Option<Interruptible>,
    ) -> Self {
        let entry = Arc::new(Entry {
            cell: cell.clone(),
            deadlock: OnceLock::new(),
            by_interrupt: interruptible.is_some(),
            interrupted: AtomicBool::new(false),
        });
        shared.mains.0.lock().push(entry.clone());
        // One that came before has not found the entry; one that comes from now on does: whoever has
        // looked through the list, before this entry was in it, had been told of the signal.
        if interruptible
            .as_ref()
            .is_some_and(Interruptible::is_interrupted)
        {
            entry.interrupt();
        }
        Self {
            shared,
            entry,
            _interruptible: interruptible,
        }
    }

    /// Whether it was cancelled by an interrupt.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.entry.interrupted.load(Relaxed)
    }

    /// The deadlock that it was cancelled for.
    pub(crate) fn deadlock(&self) -> Option<&Deadlock> {
        self.entry.deadlock.get()
    }
}

impl Drop for Main<'_> {
    fn drop(&mut self) {
        let mut mains = self.shared.mains.0.lock();
        mains.retain(|entry| !Arc::ptr_eq(entry, &self.entry));
    }
}

impl Entry {
    fn interrupt(&self) {
        // Relaxed: the cancellation, which who reads this has seen, comes after.
        self.interrupted.store(true, Relaxed);
        self.cancel();
    }

    fn cancel(&self) {
        // SAFETY: a greenlet's, by the promise to `enter`, whose runtime has not gone meanwhile.
        unsafe { super::cancel(&self.cell) };
    }
}

impl Mains {
    /// An interrupt has come.
    pub(super) fn interrupt(&self) {
        let mains = self.0.lock().clone();
        for entry in mains.iter().filter(|entry| entry.by_interrupt) {
            entry.interrupt();
        }
    }

    /// Tells all callers of `run` that have not been told; answers whether there were any.
    pub(super) fn tell(&self, deadlock: &Deadlock) -> bool {
        let mains = self.0.lock().clone();
        let untold = mains
            .iter()
            .filter(|entry| entry.deadlock.set(deadlock.clone()).is_ok());
        untold.map(|entry| entry.cancel()).count() > 0
    }
}
