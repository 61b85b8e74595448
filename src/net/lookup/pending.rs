//! A lookup that goes on, and who waits for it.

use std::io;

use super::answer::Answer;
use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::sched;
use crate::sched::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::waker::Outcome;

/// The error of a lookup whose deadline has passed.
pub(super) fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the deadline has passed")
}

/// Has no answer at first, and one for good then.
#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answer: Option<Answer>,
    waiting: WaitList<()>,
}

impl Pending {
    /// The answer, from now on.
    pub(super) fn complete(&self, answer: Answer) {
        let mut claimed = Claimed::new();
        let mut state = self.state.lock();
        state.answer = Some(answer);
        state.waiting.claim_all(&mut claimed);
        drop(state);
        claimed.schedule();
    }

    /// Waits for the answer; `TimedOut` when `deadline` passes first.
    pub(super) fn wait(&self, deadline: Option<u64>) -> io::Result<Answer> {
        let (outcome, ()) = wait(
            (&self.state, |state| &mut state.waiting),
            (),
            (WaitReason::Blocking.into(), deadline),
            |state, ()| Enlist::last_if(state.answer.is_none()),
            |_| (),
        );
        if outcome == Outcome::Cancelled {
            sched::unwind_cancelled();
        }
        // It may have come at the last moment.
        self.state.lock().answer.clone().ok_or_else(timed_out)
    }
}
