//! A line of greenlets: one at a time has its turn, in the order of arrival.

use std::cell::Cell;
use std::collections::VecDeque;

use crate::lock::Mutex;
use crate::reason::Wait;
use crate::sched;
use crate::waker::{Outcome, Waker};

/// For what only one greenlet should do at a time, and may park in.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Somebody has the turn, and passes it on. Never false while somebody waits.
    taken: bool,
    waiting: VecDeque<Waker>,
}

/// The turn of the caller; it is passed on when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Line);

impl Line {
    /// Parks until it is the caller's turn. Unwinds if the caller is cancelled; the turn is then
    /// another one's.
    pub(super) fn enter(&self, wait: Wait) -> Turn<'_> {
        if self.take() {
            return Turn(self);
        }
        let queued = Cell::new(false);
        let outcome = sched::park(wait, None, |waker| {
            queued.set(true);
            self.queue(waker);
        });
        if outcome == Outcome::Woken {
            return Turn(self);
        }
        if queued.get() {
            self.leave_unserved();
        }
        sched::unwind_cancelled()
    }

    fn take(&self) -> bool {
        let mut state = self.0.lock();
        !std::mem::replace(&mut state.taken, true)
    }

    fn queue(&self, waker: Waker) {
        let mut state = self.0.lock();
        if state.taken {
            return state.waiting.push_back(waker);
        }
        state.taken = true;
        drop(state);
        waker.wake();
    }

    /// The caller was cancelled in the park that it queued for, and perhaps given the turn before.
    fn leave_unserved(&self) {
        let Some((cell, generation)) = sched::last_park() else {
            return;
        };
        let mut state = self.0.lock();
        let mut waiting = state.waiting.iter();
        if let Some(index) = waiting.position(|waker| waker.is_for(cell, generation)) {
            let waker = state.waiting.remove(index);
            drop(state);
            drop(waker);
        } else {
            drop(state);
            self.pass_on();
        }
    }

    fn pass_on(&self) {
        let mut state = self.0.lock();
        let next = state.waiting.pop_front();
        state.taken = next.is_some();
        drop(state);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}
