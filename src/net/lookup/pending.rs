//! A lookup that goes on, and who waits for it.

use std::io;
use std::sync::Arc;

use super::answer::Answer;
use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::sched;
use crate::waker::{Outcome, WakeList, Waker};

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
    /// Those to wake with the answer, each with the number by which it finds itself again.
    waiting: Vec<(u64, Waker)>,
    /// How many numbers were given out.
    numbers: u64,
}

impl Pending {
    /// The answer, from now on.
    pub(super) fn complete(&self, answer: Answer) {
        let mut wakes = WakeList::new();
        {
            let mut state = self.state.lock();
            state.answer = Some(answer);
            state
                .waiting
                .drain(..)
                .for_each(|(_, waker)| wakes.push(waker));
        }
        wakes.wake_all();
    }

    /// Waits for the answer; `TimedOut` when `deadline` passes first.
    pub(super) fn wait(self: &Arc<Self>, deadline: Option<u64>) -> io::Result<Answer> {
        let number = self.next_number();
        // The commit may end after the wait.
        let this = self.clone();
        let outcome = sched::park(WaitReason::Blocking, deadline, move |waker| {
            this.arm(number, waker);
        });
        if outcome != Outcome::Woken {
            self.disarm(number);
        }
        if outcome == Outcome::Cancelled {
            sched::unwind_cancelled();
        }
        // It may have come at the last moment.
        self.state.lock().answer.clone().ok_or_else(timed_out)
    }

    fn next_number(&self) -> u64 {
        let mut state = self.state.lock();
        state.numbers += 1;
        state.numbers
    }

    /// Has `waker` woken with the answer, or now if there is one.
    fn arm(&self, number: u64, waker: Waker) {
        let mut state = self.state.lock();
        if state.answer.is_some() {
            drop(state);
            return waker.wake();
        }
        state.waiting.push((number, waker));
    }

    /// Takes a waker back whose park ended otherwise.
    fn disarm(&self, number: u64) {
        let mut state = self.state.lock();
        let found = state.waiting.iter().position(|(other, _)| *other == number);
        let waker = found.map(|place| state.waiting.swap_remove(place));
        drop(state);
        drop(waker);
    }
}
