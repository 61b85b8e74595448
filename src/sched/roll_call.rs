//! The roll call: the monitor asks a hub which greenlets it has started and what they wait for.
//!
//! Only the hub itself may look through its registry, so it answers when it next looks around.

use std::panic::Location;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::cell::{Cell, Id};
use crate::lock::Mutex;
use crate::reason::Wait;

/// A question to one hub, and its answer.
#[derive(Debug)]
pub(super) struct RollCall {
    /// Set by the monitor, taken back by the hub that answers.
    wanted: AtomicBool,
    answer: Mutex<Option<Vec<Waiting>>>,
}

impl RollCall {
    pub(super) fn new() -> Self {
        Self {
            wanted: AtomicBool::new(false),
            answer: Mutex::new(None),
        }
    }

    /// By the monitor, which must then notify the hub.
    pub(super) fn ask(&self) {
        *self.answer.lock() = None;
        // Release: pairs with the Acquire in `is_wanted`: the answer was cleared before.
        self.wanted.store(true, Release);
    }

    /// On the hub, before it sleeps.
    pub(super) fn is_asked(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// On the hub: whether it is to answer, which it then must.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed) && self.wanted.swap(false, Acquire)
    }

    /// On the hub.
    pub(super) fn answer(&self, greenlets: Vec<Waiting>) {
        *self.answer.lock() = Some(greenlets);
    }

    /// By the monitor: the answer, if it has come.
    pub(super) fn take_answer(&self) -> Option<Vec<Waiting>> {
        self.answer.lock().take()
    }
}

/// A greenlet that has started and not ended, as its hub saw it.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) id: Id,
    pub(super) name: Option<Box<str>>,
    pub(super) spawned_at: &'static Location<'static>,
    /// None if it does not wait.
    pub(super) waits: Option<Wait>,
    /// How long it has waited, about.
    pub(super) since: Duration,
}

impl Waiting {
    pub(super) fn of(cell: &Cell, now: u64) -> Self {
        Self {
            id: cell.id(),
            name: cell.name().map(Box::from),
            spawned_at: cell.spawned_at(),
            waits: cell.waits_for().get(),
            since: cell.waits_for().age(now),
        }
    }
}
