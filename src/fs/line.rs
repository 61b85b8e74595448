//! A line of greenlets: one at a time has its turn, in the order of arrival.

use crate::lock::Mutex;
use crate::reason::Wait;
use crate::sched;
use crate::sched::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::waker::Outcome;

/// For what only one greenlet should do at a time, and may park in.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Somebody has the turn, and passes it on. Never false while somebody waits.
    taken: bool,
    waiting: WaitList<()>,
}

/// The turn of the caller; it is passed on when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Line);

impl Line {
    /// Parks until it is the caller's turn. Unwinds if the caller is cancelled; the turn is then
    /// another one's.
    pub(super) fn enter(&self, reason: Wait) -> Turn<'_> {
        if self.0.lock().take() {
            return Turn(self);
        }
        let (outcome, ()) = wait(
            (&self.0, |state| &mut state.waiting),
            (),
            (reason, None),
            |state, ()| Enlist::last_if(!state.take()),
            |_| (),
        );
        if outcome != Outcome::Woken {
            sched::unwind_cancelled();
        }
        Turn(self)
    }

    fn pass_on(&self) {
        let mut claimed = Claimed::new();
        let mut state = self.0.lock();
        state.taken = state.waiting.claim_first(&mut claimed).is_some();
        drop(state);
        claimed.schedule();
    }
}

impl State {
    /// Takes the turn, if nobody has it.
    fn take(&mut self) -> bool {
        !std::mem::replace(&mut self.taken, true)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}
