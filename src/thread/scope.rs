//! Greenlets that borrow from the one that waits for them.
//!
//! Invariant: [`scope`] does not return before every greenlet of the scope has dropped its closure
//! and its result, which may borrow from the caller. Its wait for that is shielded, so no
//! cancellation cuts it short; instead, whoever cancels the caller thereby cancels the scope's
//! greenlets.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::Result;

use crate::abort::AbortOnUnwind;
use crate::builder::Builder;
use crate::error::Cancelled;
use crate::greenlet::Greenlet;
use crate::join_handle::JoinHandle;
use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::runtime;
use crate::sched::{self, CellRef};
use crate::waker::{Outcome, Waker};

/// Runs `f`, which may spawn greenlets that borrow from outside of it, and waits until all of them
/// have ended.
///
/// Follows [`std::thread::scope`]. Called on a plain thread, the greenlets run in the default
/// runtime and the thread is blocked meanwhile.
///
/// # Panics
///
/// With the panic of `f`, if it panics. With a message of its own if a greenlet has panicked whose
/// result was not asked for by [`join`](ScopedJoinHandle::join). Inside
/// [`on_thread_stack`](crate::on_thread_stack), before it calls `f`.
///
/// When the calling greenlet is cancelled, so are the greenlets of the scope; this waits for
/// their end and then unwinds with [`Cancelled`](crate::Cancelled), as it does when its runtime has
/// cancelled one of them first.
///
/// ```
/// greenlet::run(|| {
///     let mut numbers = vec![1, 2, 3];
///     let sum = greenlet::thread::scope(|scope| {
///         let sum = scope.spawn(|| numbers.iter().sum::<i32>());
///         scope.spawn(|| assert_eq!(numbers.len(), 3));
///         sum.join().unwrap()
///     });
///     numbers.push(sum);
///     assert_eq!(numbers, [1, 2, 3, 6]);
/// });
/// ```
///
/// What is borrowed must outlive the scope:
///
/// ```compile_fail,E0373
/// greenlet::thread::scope(|scope| {
///     let inner = 1;
///     scope.spawn(|| inner + 1);
/// });
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    // Once there are greenlets that borrow, nothing may keep it from waiting for them.
    sched::assert_can_park();
    let scope = Scope {
        family: Arc::default(),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    if let Err(payload) = &result
        && payload.is::<Cancelled>()
    {
        scope.family.cancel();
    }
    let outcome = scope.family.wait();
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if outcome == Outcome::Cancelled => sched::unwind_cancelled(),
        // The greenlets may be cancelled before their scope is; it must not go on as if they had ended.
        Ok(_) if scope.family.has_failed() && sched::is_ending() => sched::unwind_cancelled(),
        Ok(_) if scope.family.has_failed() => panic!("a scoped thread panicked"),
        Ok(value) => value,
    }
}

/// Where greenlets are spawned that may borrow; see [`scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    family: Arc<Family>,
    /// Invariant: a shorter 'scope would let a greenlet borrow what does not live long enough.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a greenlet that may borrow what outlives the scope.
    ///
    /// Follows [`std::thread::Scope::spawn`].
    ///
    /// # Panics
    ///
    /// As [`spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let site = Location::caller();
        let (member, packet) = Member::new(&self.family, f);
        let number = member.membership.number;
        let handle = runtime::with_current(|shared| {
            // SAFETY: Send; and the scope waits until the member, with all it owns, is gone.
            unsafe { JoinHandle::spawn(shared, site, move || member.run()) }
        });
        self.handle(number, handle, packet)
    }

    fn handle<T>(
        &'scope self,
        number: u64,
        handle: JoinHandle<()>,
        packet: Arc<Packet<T>>,
    ) -> ScopedJoinHandle<'scope, T> {
        self.family.introduce(number, handle.thread().cell());
        ScopedJoinHandle {
            handle,
            packet,
            family: &self.family,
        }
    }
}

impl Builder {
    /// [`Scope::spawn`] with a name, a stack size or a hub.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// ```
    /// greenlet::run(|| {
    ///     let name = String::from("reader");
    ///     greenlet::thread::scope(|scope| {
    ///         let builder = greenlet::Builder::new().name(name.clone());
    ///         let reader = builder.spawn_scoped(scope, || name.len())?;
    ///         assert_eq!(reader.thread().name(), Some("reader"));
    ///         Ok::<(), std::io::Error>(())
    ///     })
    /// })
    /// # .unwrap()
    /// ```
    #[track_caller]
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let site = Location::caller();
        let (member, packet) = Member::new(&scope.family, f);
        let number = member.membership.number;
        let handle = runtime::with_current(|shared| {
            let member = move || member.run();
            // SAFETY: Send; and the scope waits until the member, with all it owns, is gone.
            unsafe { self.spawn_in(shared, site, false, member) }
        });
        match handle {
            Ok(handle) => Ok(scope.handle(number, handle, packet)),
            Err(error) => {
                scope.family.forgive();
                Err(error)
            }
        }
    }
}

/// Waits for a greenlet of a scope and takes its result; std's
/// [`ScopedJoinHandle`](std::thread::ScopedJoinHandle).
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<()>,
    packet: Arc<Packet<T>>,
    family: &'scope Family,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// A handle to the greenlet.
    pub fn thread(&self) -> &Greenlet {
        self.handle.thread()
    }

    /// Waits until the greenlet has ended and returns its result, as
    /// [`JoinHandle::join`].
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`].
    ///
    /// # Panics
    ///
    /// As [`JoinHandle::join`].
    pub fn join(self) -> Result<T> {
        let end = self.handle.join();
        let failure = match self.packet.take() {
            Some(Ok(value)) => return Ok(value),
            Some(Err(payload)) => payload,
            None => end.expect_err("it has not run"),
        };
        self.family.forgive();
        Err(failure)
    }

    /// Whether the greenlet has ended: then [`join`](Self::join) does not wait.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("thread", self.thread())
            .finish_non_exhaustive()
    }
}

/// What runs in a greenlet of a scope. Whether it is run or dropped, it leaves the family last.
struct Member<F, T> {
    f: Option<F>,
    packet: Arc<Packet<T>>,
    // The last field: what comes before may borrow from the scope's owner, who goes on then.
    membership: Membership,
}

impl<F: FnOnce() -> T, T> Member<F, T> {
    fn new(family: &Arc<Family>, f: F) -> (Self, Arc<Packet<T>>) {
        let packet = Arc::new(Packet(Mutex::new(None)));
        let member = Self {
            f: Some(f),
            packet: packet.clone(),
            membership: family.enter(),
        };
        (member, packet)
    }

    fn run(mut self) {
        let f = self.f.take().expect("it runs once");
        let result = catch_unwind(AssertUnwindSafe(f));
        self.membership.has_failed = result.is_err();
        *self.packet.0.lock() = Some(result);
    }
}

/// The result of a greenlet, on its way to who asks for it. Dropped by the greenlet, or by who has the handle,
/// which cannot outlive the scope.
struct Packet<T>(Mutex<Option<Result<T>>>);

impl<T> Packet<T> {
    fn take(&self) -> Option<Result<T>> {
        self.0.lock().take()
    }
}

impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        // As in std: a result that nobody asked for must not panic when it is dropped.
        let guard = AbortOnUnwind::arm("the drop of a scoped greenlet's result");
        drop(self.take());
        guard.disarm();
    }
}

/// The greenlets of a scope.
#[derive(Debug, Default)]
struct Family(Mutex<FamilyState>);

#[derive(Debug, Default)]
struct FamilyState {
    /// By the order in which they were spawned. `None`: one that is being spawned.
    members: BTreeMap<u64, Option<CellRef>>,
    spawned: u64,
    /// Greenlets that have not run to their end, as they panicked, were cancelled or could not be run,
    /// and whose handle was not told.
    failed: usize,
    is_cancelled: bool,
    /// Of the scope's owner, when it waits.
    waker: Option<Waker>,
}

impl Family {
    fn enter(self: &Arc<Self>) -> Membership {
        let mut state = self.0.lock();
        let number = state.spawned;
        state.spawned += 1;
        state.members.insert(number, None);
        Membership {
            family: self.clone(),
            number,
            has_failed: true,
        }
    }

    /// This is the greenlet of that number, if it has not left already.
    fn introduce(&self, number: u64, cell: &CellRef) {
        let mut state = self.0.lock();
        let Some(place) = state.members.get_mut(&number) else {
            return;
        };
        *place = Some(cell.clone());
        let is_cancelled = state.is_cancelled;
        drop(state);
        if is_cancelled {
            // SAFETY: as in `cancel`.
            unsafe { sched::cancel(cell) };
        }
    }

    /// One failure is known to who asked.
    fn forgive(&self) {
        self.0.lock().failed -= 1;
    }

    fn has_failed(&self) -> bool {
        self.0.lock().failed > 0
    }

    /// Cancels all greenlets of the scope, and those that are still to come.
    fn cancel(&self) {
        let mut state = self.0.lock();
        state.is_cancelled = true;
        let cells: Vec<CellRef> = state.members.values().flatten().cloned().collect();
        drop(state);
        for cell in &cells {
            // SAFETY: a greenlet's, of the caller's runtime or of the default one: both go on.
            unsafe { sched::cancel(cell) };
        }
    }

    /// Waits until nobody is left. `Cancelled`: the caller was cancelled meanwhile, and the
    /// greenlets with it.
    fn wait(&self) -> Outcome {
        let mut outcome = Outcome::Woken;
        while !self.0.lock().members.is_empty() {
            let publish = |waker| self.publish(waker);
            if outcome == Outcome::Cancelled {
                sched::park_shielded(WaitReason::Scope, None, publish);
                continue;
            }
            outcome = sched::park(WaitReason::Scope, None, publish);
            if outcome == Outcome::Cancelled {
                self.cancel();
            }
        }
        outcome
    }

    /// The commit of a park.
    fn publish(&self, waker: Waker) {
        let mut state = self.0.lock();
        if state.members.is_empty() {
            drop(state);
            waker.wake();
        } else {
            let before = state.waker.replace(waker);
            drop(state);
            drop(before);
        }
    }
}

/// Belonging to a family, until it is dropped.
#[derive(Debug)]
struct Membership {
    family: Arc<Family>,
    number: u64,
    /// As long as it has not run to its end, too.
    has_failed: bool,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.family.0.lock();
        let cell = state.members.remove(&self.number);
        state.failed += usize::from(self.has_failed);
        let is_last = state.members.is_empty();
        let waker = state.waker.take_if(|_| is_last);
        drop(state);
        drop(cell);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
