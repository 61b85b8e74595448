//! Spawning greenlets, from wherever the caller is.

use std::io;
use std::panic::Location;

use crate::builder::Builder;
use crate::join_handle::JoinHandle;
use crate::runtime;
use crate::sched;

impl Builder {
    /// Spawns the greenlet: in a greenlet, in its runtime; elsewhere in the default runtime, which
    /// is started if need be.
    ///
    /// With a [`stack_size`](Self::stack_size) the stack is reserved at once. Otherwise the greenlet
    /// gets it when it first runs, as with [`spawn`].
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a stack of less than 16 KiB or a hub that the runtime does not have;
    /// `OutOfMemory` for a stack size that does not fit into memory.
    ///
    /// # Panics
    ///
    /// If the default runtime is needed and cannot be built, with the reason. In a process that was
    /// forked on a greenlet: the hubs are its parent's. If the name contains a null byte, as in std.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: 'static.
        unsafe { self.spawn_unchecked(f) }
    }

    /// [`spawn`](Self::spawn) of a closure that may borrow.
    ///
    /// Follows [`std::thread::Builder::spawn_unchecked`].
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Safety
    ///
    /// What the closure and its result borrow must stay until the greenlet has ended, by itself or
    /// because its runtime was dropped, and the result was taken or dropped.
    #[track_caller]
    pub unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let site = Location::caller();
        // SAFETY: Send; and what it borrows stays (caller).
        runtime::with_current(|shared| unsafe { self.spawn_in(shared, site, false, f) })
    }
}

/// Spawns a greenlet that runs `f`: in a greenlet, in its runtime; elsewhere in the default
/// runtime, which is started if need be and ends with the process.
///
/// The greenlet gets its stack when it first runs. If there is no memory for one then, it ends
/// unrun and its `join` says why, as a panic does, with an [`io::Error`]; [`try_spawn`] says it at
/// once. For want of a stack, `f` is then dropped by the hub, which runs nothing else meanwhile: a
/// destructor in `f` that waits for a greenlet of that hub waits for ever. Where `f` owns such a
/// thing, use [`try_spawn`].
///
/// Follows [`std::thread::spawn`].
///
/// # Panics
///
/// If the default runtime is needed and cannot be built, with the reason. In a process that was
/// forked on a greenlet: the hubs are its parent's.
///
/// ```
/// let answer = greenlet::spawn(|| 42).join().unwrap();
/// assert_eq!(answer, 42);
/// ```
///
/// What another greenlet could not use safely cannot be moved into it:
///
/// ```compile_fail,E0277
/// let shared = std::rc::Rc::new(1);
/// greenlet::spawn(move || shared);
/// ```
///
/// ```compile_fail,E0373
/// let local = 1;
/// greenlet::spawn(|| local + 1);
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let site = Location::caller();
    runtime::with_current(|shared| {
        // SAFETY: Send and 'static; and a runtime that is current, or the default one, stays.
        unsafe { JoinHandle::spawn(shared, site, f) }
    })
}

/// [`spawn`], with the stack reserved at once.
///
/// # Errors
///
/// `OutOfMemory` if there is no address space, mapping or memory for the stack or the thread-locals;
/// the error says what the limit is. Greenlets that run are not affected, and the next spawn works
/// again when some have ended. 32 MiB of address space are left to the rest of the program.
///
/// Two things cannot be told here. The control block and the closure come from the global allocator,
/// and Rust aborts a process whose allocator has nothing left. And a kernel that overcommits, as
/// most do, gives out more stacks than it has pages for, and kills a process when they are used.
///
/// # Panics
///
/// As [`spawn`].
#[track_caller]
pub fn try_spawn<F, T>(f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let site = Location::caller();
    // SAFETY: Send and 'static.
    runtime::with_current(|shared| unsafe { Builder::new().spawn_in(shared, site, true, f) })
}

/// [`spawn`] for what is not `Send`: the greenlet is pinned to the hub of the caller.
///
/// # Safety
///
/// A greenlet is a thread: it has thread-locals of its own. So a value that is not `Send` must not
/// be tied to the thread-locals of the greenlet it comes from (as a handle into a
/// `thread_local!` is), nor be used by both greenlets in a way that a switch in between breaks.
/// The result must be taken or dropped on the same hub.
///
/// # Panics
///
/// Outside of a greenlet.
#[track_caller]
pub unsafe fn spawn_local<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let site = Location::caller();
    let (Some(hub), Some(shared)) = (sched::hub_id(), sched::runtime()) else {
        panic!("spawn_local must be called in a greenlet: the new one stays on its hub");
    };
    // SAFETY: 'static, and pinned to this hub; the rest is the caller's promise.
    unsafe { Builder::new().hub(hub).spawn_in(shared, site, false, f) }
        .expect("the hub of the caller exists")
}
