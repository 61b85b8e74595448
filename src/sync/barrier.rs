//! A point that several pass together.

use std::fmt;

use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::sched;
use crate::sched::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::waker::Outcome;

/// A point that several pass together: [`std::sync::Barrier`], which parks the greenlets that wait.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use greenlet::sync::Barrier;
///
/// greenlet::run(|| {
///     let barrier = Arc::new(Barrier::new(10));
///     let tasks: Vec<_> = (0..10)
///         .map(|_| {
///             let barrier = barrier.clone();
///             greenlet::spawn(move || barrier.wait().is_leader())
///         })
///         .collect();
///     let leaders = tasks.into_iter().filter_map(|task| task.join().ok().filter(|leads| *leads));
///     assert_eq!(leaders.count(), 1);
/// });
/// ```
pub struct Barrier {
    count: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many have come since the barrier was last passed.
    arrived: usize,
    /// How often it was passed.
    passed: usize,
    waiters: WaitList<()>,
}

/// Tells one of those who have passed a [`Barrier`] together: [`std::sync::BarrierWaitResult`].
pub struct BarrierWaitResult(bool);

impl Barrier {
    /// A barrier that `n` pass together. With 0 it is as with 1.
    #[inline]
    #[must_use]
    pub const fn new(n: usize) -> Self {
        Self {
            count: n,
            state: Mutex::new(State {
                arrived: 0,
                passed: 0,
                waiters: WaitList::new(),
            }),
        }
    }

    /// Waits until as many are here as the barrier is for. The last one is the leader; then the barrier
    /// can be used again.
    ///
    /// Who is cancelled before has not come.
    ///
    /// # Panics
    ///
    /// If it has to wait inside [`on_thread_stack`](crate::on_thread_stack).
    pub fn wait(&self) -> BarrierWaitResult {
        let mut claimed = Claimed::new();
        let mut state = self.state.lock();
        if state.arrived + 1 >= self.count {
            state.arrived = 0;
            state.passed = state.passed.wrapping_add(1);
            state.waiters.claim_all(&mut claimed);
            drop(state);
            claimed.schedule();
            return BarrierWaitResult(true);
        }
        // Who has come must be able to wait.
        sched::assert_can_park();
        state.arrived += 1;
        let before = state.passed;
        drop(state);
        let (outcome, ()) = wait(
            (&self.state, |state| &mut state.waiters),
            (),
            (WaitReason::Barrier.at(self), None),
            |state, ()| Enlist::last_if(state.passed == before),
            |state| {
                if state.passed == before {
                    state.arrived -= 1;
                }
            },
        );
        if outcome == Outcome::Cancelled {
            sched::unwind_cancelled();
        }
        BarrierWaitResult(false)
    }
}

impl BarrierWaitResult {
    /// Whether this one came last.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult")
            .field("is_leader", &self.is_leader())
            .finish()
    }
}
