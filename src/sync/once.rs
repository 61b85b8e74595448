//! Something that is done once.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::atomic::ConstAtomicU32;
use crate::lock::Mutex;
use crate::owner::{self, OwnerCell};
use crate::reason::WaitReason;
use crate::sched;
use crate::sched::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::waker::Outcome;

/// Nobody has begun.
const INCOMPLETE: u32 = 0;
/// The last one that has tried has panicked.
const POISONED: u32 = 1;
/// Somebody is at it.
const RUNNING: u32 = 2;
/// It is done.
const COMPLETE: u32 = 3;
const STAGE: u32 = 3;
/// Beside the stage: the list is not empty. Set under its lock.
const WAITING: u32 = 4;

/// Runs an initialisation once: [`std::sync::Once`], which parks the greenlet that waits for another one's.
///
/// The initialisation may wait, too.
///
/// # Differences
///
/// One that asks for itself, where std deadlocks or panics, panics.
///
/// # Examples
///
/// ```
/// use greenlet::sync::Once;
///
/// static START: Once = Once::new();
/// let mut runs = 0;
/// START.call_once(|| runs += 1);
/// START.call_once(|| runs += 1);
/// assert_eq!(runs, 1);
/// assert!(START.is_completed());
/// ```
#[repr(C)]
pub struct Once {
    /// The number of the one who runs. Written by that one, and told from others by itself only. Must be the
    /// first field: see [`Holder::of`](crate::owner::Holder::of).
    runner: OwnerCell,
    /// A stage, with or without [`WAITING`].
    state: ConstAtomicU32,
    waiters: Mutex<WaitList<()>>,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// What an initialisation is told of those before it: [`std::sync::OnceState`].
pub struct OnceState {
    poisoned: bool,
}

/// Initialisation value for static [`Once`] values.
#[deprecated(since = "0.1.0", note = "the `Once::new()` function is now preferred")]
#[allow(
    clippy::declare_interior_mutable_const,
    reason = "std has it, for values of statics"
)]
pub const ONCE_INIT: Once = Once::new();

impl Once {
    /// One that has not run.
    #[inline]
    #[must_use]
    #[allow(clippy::new_without_default, reason = "std's has no default")]
    pub const fn new() -> Self {
        Self {
            runner: OwnerCell::new(),
            state: ConstAtomicU32::new(INCOMPLETE),
            waiters: Mutex::new(WaitList::new()),
        }
    }

    /// Runs `f` if nothing has run before, and waits if somebody is at it. When this returns, an
    /// initialisation has run to its end, and what it has written is there.
    ///
    /// # Panics
    ///
    /// If `f` does, and if one before has: then it is poisoned. If the caller is inside of the
    /// initialisation that it would wait for.
    #[inline]
    #[track_caller]
    pub fn call_once<F>(&self, f: F)
    where
        F: FnOnce(),
    {
        if self.is_completed() {
            return;
        }
        let mut f = Some(f);
        self.call(false, &mut |_| f.take().expect("it is called once")());
    }

    /// [`call_once`](Self::call_once) that runs `f` also when an initialisation before has panicked.
    ///
    /// # Panics
    ///
    /// If `f` does. If the caller is inside of the initialisation that it would wait for.
    #[inline]
    pub fn call_once_force<F>(&self, f: F)
    where
        F: FnOnce(&OnceState),
    {
        if self.is_completed() {
            return;
        }
        let mut f = Some(f);
        self.call(true, &mut |state| {
            f.take().expect("it is called once")(state);
        });
    }

    /// Whether an initialisation has run to its end.
    #[inline]
    pub fn is_completed(&self) -> bool {
        // Acquire: pairs with the AcqRel in `Running::drop`; what was initialised is there.
        self.state.load(Acquire) == COMPLETE
    }

    /// Waits until an initialisation has run to its end.
    ///
    /// # Panics
    ///
    /// If it is poisoned, or becomes so. If the caller is inside of the initialisation.
    pub fn wait(&self) {
        if !self.is_completed() {
            self.wait_for_end(false);
        }
    }

    /// [`wait`](Self::wait), over initialisations that panic.
    ///
    /// # Panics
    ///
    /// If the caller is inside of the initialisation.
    pub fn wait_force(&self) {
        if !self.is_completed() {
            self.wait_for_end(true);
        }
    }

    #[cold]
    #[track_caller]
    fn call(&self, ignores_poison: bool, f: &mut dyn FnMut(&OnceState)) {
        loop {
            // Acquire: as in `is_completed`.
            let state = self.state.load(Acquire);
            match state & STAGE {
                COMPLETE => return,
                POISONED if !ignores_poison => {
                    panic!("Once instance has previously been poisoned");
                }
                RUNNING => self.wait_for(|state| state & STAGE == RUNNING),
                _ => {
                    let running = state & WAITING | RUNNING;
                    // Acquire: pairs with the AcqRel of one that has panicked before.
                    if self
                        .state
                        .compare_exchange(state, running, Acquire, Relaxed)
                        .is_ok()
                    {
                        return self.run(state & STAGE == POISONED, f);
                    }
                }
            }
        }
    }

    /// The stage is `RUNNING`, and the caller has set it.
    fn run(&self, poisoned: bool, f: &mut dyn FnMut(&OnceState)) {
        let mut running = Running {
            once: self,
            next: POISONED,
        };
        self.runner.set(own_number());
        f(&OnceState { poisoned });
        running.next = COMPLETE;
    }

    #[cold]
    fn wait_for_end(&self, ignores_poison: bool) {
        loop {
            // Acquire: as in `is_completed`.
            let state = self.state.load(Acquire);
            match state & STAGE {
                COMPLETE => return,
                POISONED if !ignores_poison => {
                    panic!("Once instance has previously been poisoned");
                }
                stage => self.wait_for(|state| state & STAGE == stage),
            }
        }
    }

    /// Waits while the state is such.
    fn wait_for(&self, is_same: impl Fn(u32) -> bool) {
        assert!(
            self.runner.get() != own_number(),
            "the initialisation of a Once waits for itself"
        );
        let (outcome, ()) = wait(
            (&self.waiters, |waiters| waiters),
            (),
            (WaitReason::Once.at(self), None),
            |_, ()| {
                let mut state = self.state.load(Relaxed);
                while is_same(state) {
                    match self
                        .state
                        .compare_exchange_weak(state, state | WAITING, Relaxed, Relaxed)
                    {
                        Ok(_) => return Enlist::Last,
                        Err(now) => state = now,
                    }
                }
                Enlist::No
            },
            |_| (),
        );
        if outcome == Outcome::Cancelled {
            sched::unwind_cancelled();
        }
    }

    #[cold]
    fn wake_all(&self) {
        let mut claimed = Claimed::new();
        let mut waiters = self.waiters.lock();
        // Who was in the list at the end of the initialisation; others see that end, or set it again.
        self.state.fetch_and(!WAITING, Relaxed);
        waiters.claim_all(&mut claimed);
        drop(waiters);
        claimed.schedule();
    }
}

/// What tells the caller from others.
fn own_number() -> u64 {
    let number = sched::current_cell().id().number();
    match sched::on_greenlet() {
        true => number,
        false => number | owner::THREAD,
    }
}

/// An initialisation that runs. Its end, by a panic too, is the `drop` of this.
struct Running<'a> {
    once: &'a Once,
    next: u32,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.once.runner.clear();
        // AcqRel: pairs with the Acquire of those who look. `WAITING` goes on to the list's lock.
        let before = self.once.state.swap(self.next, AcqRel);
        if before & WAITING != 0 {
            self.once.wake_all();
        }
    }
}

impl OnceState {
    /// Whether an initialisation before has panicked.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState")
            .field("poisoned", &self.is_poisoned())
            .finish()
    }
}
