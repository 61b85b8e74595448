//! Waiting until somebody says that something has changed.

use std::fmt;
use std::mem;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use super::mutex::MutexGuard;
use crate::atomic::ConstAtomicU32;
use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::sched;
use crate::sched::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::sys::clock;
use crate::waker::Outcome;

/// A condition variable: [`std::sync::Condvar`], which parks the greenlet that waits.
///
/// Those who wait are notified first in, first out. As in std a wait may end without a notification,
/// so callers look at their condition again, as [`wait_while`](Self::wait_while) does.
///
/// # Differences
///
/// None. As on Linux today, it may be used with several mutexes; std reserves to panic.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use greenlet::sync::{Condvar, Mutex};
///
/// greenlet::run(|| {
///     let pair = Arc::new((Mutex::new(false), Condvar::new()));
///     let other = pair.clone();
///     greenlet::spawn(move || {
///         *other.0.lock().unwrap() = true;
///         other.1.notify_one();
///     });
///     let (started, changed) = &*pair;
///     let guard = changed.wait_while(started.lock().unwrap(), |started| !*started);
///     assert!(*guard.unwrap());
/// });
/// ```
pub struct Condvar {
    /// How many wait, or are about to: counted with the mutex locked.
    waiting: ConstAtomicU32,
    /// How often somebody was notified while some waited.
    notified: ConstAtomicU32,
    waiters: Mutex<WaitList<()>>,
}

/// Whether a wait with a time limit has reached it: [`std::sync::WaitTimeoutResult`].
#[derive(Debug, PartialEq, Eq, Copy, Clone)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the wait has ended because its time was over.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A condition variable that nobody waits for.
    #[inline]
    pub const fn new() -> Self {
        Self {
            waiting: ConstAtomicU32::new(0),
            notified: ConstAtomicU32::new(0),
            waiters: Mutex::new(WaitList::new()),
        }
    }

    /// Unlocks the mutex of `guard`, waits for a notification, and locks it again.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned when it is locked again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_until(guard, None).0
    }

    /// Waits as long as `condition` is true of the value.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned when it is locked again.
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// [`wait_timeout`](Self::wait_timeout) with a time in milliseconds; answers `false` if it was
    /// over.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned when it is locked again.
    #[deprecated(
        since = "0.1.0",
        note = "replaced by `Condvar::wait_timeout`, as in std"
    )]
    pub fn wait_timeout_ms<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        ms: u32,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let answer = self.wait_timeout(guard, Duration::from_millis(u64::from(ms)));
        map(answer, |(guard, result)| (guard, !result.timed_out()))
    }

    /// [`wait`](Self::wait), for about `dur` at most.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned when it is locked again.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (guard, result) = self.wait_until(guard, Some(clock::after(dur)));
        map(guard, |guard| (guard, result))
    }

    /// [`wait_while`](Self::wait_while), for about `dur` at most.
    ///
    /// # Errors
    ///
    /// The mutex is poisoned when it is locked again.
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        dur: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let start = Instant::now();
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            let Some(left) = dur.checked_sub(start.elapsed()) else {
                return Ok((guard, WaitTimeoutResult(true)));
            };
            guard = self.wait_timeout(guard, left)?.0;
        }
    }

    /// Wakes one of those who wait, if there are any.
    #[inline]
    pub fn notify_one(&self) {
        if self.has_waiters() {
            self.notify(|waiters, claimed| {
                let _ = waiters.claim_first(claimed);
            });
        }
    }

    /// Wakes all who wait.
    #[inline]
    pub fn notify_all(&self) {
        if self.has_waiters() {
            self.notify(WaitList::claim_all);
        }
    }

    /// Relaxed: who waits has said so before it unlocked the mutex under which its condition was changed.
    #[inline]
    fn has_waiters(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    #[cold]
    fn notify(&self, claim: impl FnOnce(&mut WaitList<()>, &mut Claimed<()>)) {
        let mut claimed = Claimed::new();
        let mut waiters = self.waiters.lock();
        // Who has unlocked its mutex and is not in the list yet sees this.
        self.notified.fetch_add(1, Relaxed);
        claim(&mut waiters, &mut claimed);
        drop(waiters);
        claimed.schedule();
    }

    /// Waits for a notification or `deadline`.
    fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<u64>,
    ) -> (LockResult<MutexGuard<'a, T>>, WaitTimeoutResult) {
        let mutex = MutexGuard::mutex(&guard);
        self.waiting.fetch_add(1, Relaxed);
        let waiting = Waiting(self);
        let before = self.notified.load(Relaxed);
        // It is not unlocked by a hub in the park, when a notification could set its owner free.
        drop(guard);
        let reason = WaitReason::Condvar.at(self);
        let (outcome, ()) = wait(
            (&self.waiters, |waiters| waiters),
            (),
            (reason, deadline),
            |_, ()| Enlist::last_if(self.notified.load(Relaxed) == before),
            |_| (),
        );
        drop(waiting);
        if outcome == Outcome::Cancelled {
            sched::unwind_cancelled();
        }
        // Locking may be cancelled, and then another one gets the notification.
        let notification = (outcome == Outcome::Woken).then_some(Notification(self));
        mutex.raw().lock();
        mem::forget(notification);
        // SAFETY: it has just been locked.
        let guard = unsafe { MutexGuard::new(mutex) };
        (guard, WaitTimeoutResult(outcome == Outcome::Deadline))
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

/// One who is counted as waiting.
struct Waiting<'a>(&'a Condvar);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// A notification that was received, and is passed on when this is dropped.
struct Notification<'a>(&'a Condvar);

impl Drop for Notification<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn map<T, U>(result: LockResult<T>, f: impl FnOnce(T) -> U) -> LockResult<U> {
    match result {
        Ok(value) => Ok(f(value)),
        Err(poisoned) => Err(PoisonError::new(f(poisoned.into_inner()))),
    }
}
