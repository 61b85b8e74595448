//! The closure and the result of a greenlet, in one allocation with its cell.

use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::thread;

use super::cell::Id;
use super::greenlet_cell::{BodyTable, GreenletCell, SpawnOptions};
use super::recording;
use super::schedule;
use super::shared::Shared;
use crate::error::Cancelled;
use crate::record::{self, Trigger};
use crate::waker::{Header, WakeTable};

/// References that exist from the start: the greenlet's own and its join handle's.
const REFERENCES: u64 = 2;

/// A greenlet with its types.
#[repr(C)]
struct Body<F, T> {
    /// Must be the first field: a pointer to it is a pointer to all.
    cell: GreenletCell,
    /// The greenlet's until it has ended, then its join handle's; see `JoinSlot`.
    stage: UnsafeCell<Stage<F, T>>,
}

enum Stage<F, T> {
    Closure(F),
    Running,
    Result(thread::Result<T>),
    Taken,
}

/// Makes a greenlet that runs `f`. It has two references: its own and one for the caller.
///
/// # Safety
///
/// `f` and its result are safe to send to the thread that will run it, or to where the result is
/// taken; and they stay valid until the greenlet has ended and its result was taken or dropped.
pub(super) unsafe fn allocate<F, T>(
    id: Id,
    options: SpawnOptions,
    shared: *const Shared,
    f: F,
) -> NonNull<GreenletCell>
where
    F: FnOnce() -> T,
{
    let header = Header::new(Tables::<F, T>::WAKE, REFERENCES);
    let cell = GreenletCell::new(header, id, options, shared, Tables::<F, T>::BODY);
    let body = Box::new(Body::<F, T> {
        cell,
        stage: UnsafeCell::new(Stage::Closure(f)),
    });
    NonNull::from(Box::leak(body)).cast()
}

/// Moves the result out.
///
/// # Safety
///
/// The greenlet returns a `T`, has ended, and the caller owns the result.
pub(super) unsafe fn take<T>(cell: NonNull<GreenletCell>) -> thread::Result<T> {
    let mut result = MaybeUninit::<thread::Result<T>>::uninit();
    // SAFETY: ended and owned (caller); `out` is writable and of the right type (caller).
    unsafe { (cell.as_ref().body.take)(cell, result.as_mut_ptr().cast()) };
    // SAFETY: `take` has written it.
    unsafe { result.assume_init() }
}

/// The functions behind one pair of types.
struct Tables<F, T>(PhantomData<(F, T)>);

impl<F: FnOnce() -> T, T> Tables<F, T> {
    const WAKE: &'static WakeTable = &WakeTable {
        schedule: schedule::greenlet,
        free: Self::free,
    };
    const BODY: &'static BodyTable = &BodyTable {
        run: Self::run,
        fail: Self::fail,
        take: Self::take,
        drop_result: Self::drop_result,
    };

    /// # Safety
    ///
    /// The caller owns the stage.
    unsafe fn replace(cell: NonNull<GreenletCell>, stage: Stage<F, T>) -> Stage<F, T> {
        // SAFETY: every `GreenletCell` with these tables was made by `allocate::<F, T>`, so it
        // is the first field of this `Body`; the stage is the caller's.
        unsafe { mem::replace(&mut *cell.cast::<Body<F, T>>().as_ref().stage.get(), stage) }
    }

    unsafe fn run(cell: NonNull<GreenletCell>) {
        // SAFETY: the stage is the greenlet's until it has ended.
        let Stage::Closure(f) = (unsafe { Self::replace(cell, Stage::Running) }) else {
            unreachable!("a greenlet runs once");
        };
        let result = catch_unwind(AssertUnwindSafe(f));
        if let Err(payload) = &result
            && record::is_on()
            && !payload.is::<Cancelled>()
        {
            recording::record_panic();
            record::pull(Trigger::Panic);
        }
        // SAFETY: as above.
        unsafe { Self::replace(cell, Stage::Result(result)) };
    }

    unsafe fn fail(cell: NonNull<GreenletCell>, payload: Box<dyn Any + Send>) {
        // SAFETY: as in `run`, in whose place this is called.
        let closure = unsafe { Self::replace(cell, Stage::Running) };
        // What the closure owns may panic when it is dropped; `payload` says more than that. The
        // panic's payload might do the same, so it is leaked.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(closure)));
        mem::forget(dropped);
        // SAFETY: as above.
        unsafe { Self::replace(cell, Stage::Result(Err(payload))) };
    }

    unsafe fn take(cell: NonNull<GreenletCell>, out: *mut ()) {
        // SAFETY: the caller owns the result.
        let Stage::Result(result) = (unsafe { Self::replace(cell, Stage::Taken) }) else {
            unreachable!("a result is taken once, after it was stored");
        };
        // SAFETY: `out` points to a writable `thread::Result<T>` (caller).
        unsafe { out.cast::<thread::Result<T>>().write(result) };
    }

    unsafe fn drop_result(cell: NonNull<GreenletCell>) {
        // SAFETY: the caller owns the result.
        let stage = unsafe { Self::replace(cell, Stage::Taken) };
        // As in std: a result that nobody asked for must not panic when it is dropped.
        if catch_unwind(AssertUnwindSafe(|| drop(stage))).is_err() {
            eprintln!("greenlet: a greenlet's result panicked when it was dropped");
            std::process::abort();
        }
    }

    unsafe fn free(header: NonNull<Header>) {
        // SAFETY: made by `allocate::<F, T>` from a `Box<Body<F, T>>`, of which the header is the
        // start; the last reference is gone.
        drop(unsafe { Box::from_raw(header.cast::<Body<F, T>>().as_ptr()) });
    }
}
