//! What this layer has to ask of the one above it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Three questions that only the scheduler can answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hooks {
    /// The address of a thread-local of the caller's that is written in blocks through its distance
    /// from the thread pointer. So it must be one of those that are part of each block.
    pub(crate) current: fn() -> usize,
    /// The thread pointer of the worker that runs the current greenlet; 0 where the present one is
    /// the thread's own: outside of greenlets, and on one that has no block. Called from signal
    /// handlers too.
    pub(crate) worker_thread_pointer: fn() -> usize,
    /// Called in the child after a `fork` that was made on a greenlet, on that greenlet.
    pub(crate) forked_child: fn(),
}

/// The functions of [`Hooks`] as addresses; 0 until a runtime has been built. They need no
/// stronger ordering than Relaxed: the address of a function leads to nothing that was written.
static WORKER_THREAD_POINTER: AtomicUsize = AtomicUsize::new(0);
static FORKED_CHILD: AtomicUsize = AtomicUsize::new(0);

pub(super) fn install(hooks: Hooks) {
    WORKER_THREAD_POINTER.store(hooks.worker_thread_pointer as usize, Ordering::Relaxed);
    FORKED_CHILD.store(hooks.forked_child as usize, Ordering::Relaxed);
}

/// [`Hooks::worker_thread_pointer`], and 0 before there is a runtime.
#[inline]
pub(crate) fn worker_thread_pointer() -> usize {
    match WORKER_THREAD_POINTER.load(Ordering::Relaxed) {
        0 => 0,
        // SAFETY: only `install` stores anything but 0, and what it stores is a `fn() -> usize`.
        hook => (unsafe { std::mem::transmute::<usize, fn() -> usize>(hook) })(),
    }
}

/// [`Hooks::forked_child`].
pub(super) fn forked_child() {
    match FORKED_CHILD.load(Ordering::Relaxed) {
        0 => {}
        // SAFETY: only `install` stores anything but 0, and what it stores is a `fn()`.
        hook => (unsafe { std::mem::transmute::<usize, fn()>(hook) })(),
    }
}
