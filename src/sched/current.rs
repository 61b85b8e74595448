//! Who is running: the crate's own thread-locals, read by value.
//!
//! On a greenlet that has thread-locals of its own, `CURRENT` is one of them, and the hub writes
//! it through a pointer before every switch to a greenlet that has come from another hub: at no
//! instruction does a greenlet see a hub that it is not on, not even in a signal handler.
//! A greenlet that shares its worker's has no such place; there the hub writes its own before
//! and after.

use std::cell::{Cell, OnceCell};
use std::io;
use std::ptr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::cell::CellRef;
use super::greenlet_cell::GreenletCell;
use super::hub::Hub;
use super::shared::Shared;
use super::thread_cell;
use crate::atomic::thread_local;
use crate::lock::StaticMutex;
use crate::sys::thread;

thread_local! {
    static CURRENT: Cell<Current> = const { Cell::new(Current::NOBODY) };
    /// The cell of a plain thread, made when it first needs one.
    static THREAD: OnceCell<CellRef> = const { OnceCell::new() };
    /// What the greenlet told the C library to call it.
    static OS_NAME: Cell<Option<OsName>> = const { Cell::new(None) };
    /// In a forked child, on the greenlet that forked: the thread pointer of the worker that ran
    /// it, which is that of the only thread. 0 elsewhere.
    static FORKED_WORKER: Cell<usize> = const { Cell::new(0) };
}

/// A thread's name as the kernel takes it: 15 bytes at the most, and a 0.
pub(crate) type OsName = [u8; 16];

/// Set in a child that was forked on a greenlet: it has no hubs.
static FORKED: AtomicBool = AtomicBool::new(false);

/// What runs on this thread, as far as the runtime knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    /// The hub of this worker; null on a thread that is no worker.
    hub: *const Hub,
    /// The greenlet that runs; null in the hub and on plain threads. Between a yield and the next greenlet the hub
    /// reads the one's or the other's.
    cell: *const GreenletCell,
}

impl Current {
    const NOBODY: Self = Self {
        hub: ptr::null(),
        cell: ptr::null(),
    };

    pub(super) fn new(hub: *const Hub, cell: *const GreenletCell) -> Self {
        Self { hub, cell }
    }

    /// The hub of this worker. Valid until the next park or yield: after that, ask again.
    #[inline]
    pub(super) fn hub<'a>(self) -> Option<&'a Hub> {
        // SAFETY: a worker's hub lives as long as the worker runs, and it runs: this is it.
        unsafe { self.hub.as_ref() }
    }

    /// The same, if it is one of the runtime `shared`.
    #[inline]
    pub(super) fn hub_of<'a>(self, shared: *const Shared) -> Option<&'a Hub> {
        self.hub().filter(|hub| hub.belongs_to(shared))
    }

    /// The greenlet that is running.
    #[inline]
    pub(crate) fn greenlet<'a>(self) -> Option<&'a GreenletCell> {
        // SAFETY: it is running, so it is alive, and stays so until it returns.
        unsafe { self.cell.as_ref() }
    }
}

/// Who is running.
#[inline]
pub(crate) fn get() -> Current {
    CURRENT.with(Cell::get)
}

pub(super) fn set(current: Current) {
    CURRENT.with(|place| place.set(current));
}

/// The name that the running greenlet gave itself with [`set_os_name`].
pub(crate) fn os_name() -> Option<OsName> {
    OS_NAME.with(Cell::get)
}

pub(crate) fn set_os_name(name: OsName) {
    OS_NAME.with(|place| place.set(Some(name)));
}

/// Where `get` reads, under the present thread pointer.
pub(super) fn place() -> *mut Current {
    CURRENT.with(Cell::as_ptr)
}

/// The cell of the running greenlet, or of this plain thread.
pub(crate) fn cell() -> CellRef {
    match get().greenlet() {
        Some(greenlet) => greenlet.handle(),
        None => thread(),
    }
}

/// The cell of this plain thread. While its thread-locals are torn down it gets a new one at
/// each call.
pub(super) fn thread() -> CellRef {
    THREAD
        .try_with(|cell| cell.get_or_init(thread_cell::allocate).clone())
        .unwrap_or_else(|_| thread_cell::allocate())
}

/// The thread pointer of the worker that runs the present greenlet, or ran it before it forked
/// this process; 0 where the present one is the thread's own: so also on a greenlet that shares
/// its worker's thread-locals. Safe in signal handlers.
pub(super) fn worker_thread_pointer() -> usize {
    let current = get();
    match current.hub() {
        Some(hub) if !current.cell.is_null() && hub.words.is_some() => hub.thread_pointer(),
        _ => FORKED_WORKER.with(Cell::get),
    }
}

/// Registers, once in a process, what a child does that was forked on a greenlet.
///
/// On a greenlet with a block, the thread pointer is the worker's or the greenlet's when it is
/// called, depending on who registered first: on the worker there is nobody to change, and
/// `tls` calls [`become_plain_thread`] on the greenlet.
pub(super) fn watch_forks() -> io::Result<()> {
    extern "C" fn child() {
        if get().greenlet().is_some() {
            become_plain_thread();
        }
    }
    static REGISTERED: StaticMutex<bool> = StaticMutex::new(false);
    let mut registered = REGISTERED.lock();
    if !*registered {
        thread::at_fork(None, None, Some(child))?;
        *registered = true;
    }
    Ok(())
}

/// In a child that was forked on a greenlet: what goes on is a plain thread.
pub(super) fn become_plain_thread() {
    FORKED.store(true, Relaxed);
    FORKED_WORKER.with(|worker| worker.set(worker_thread_pointer()));
    set(Current::NOBODY);
}

/// Whether this process was forked on a greenlet: the runtimes of its parent are not here.
pub(crate) fn was_forked() -> bool {
    FORKED.load(Relaxed)
}
