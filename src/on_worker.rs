//! A global allocator that has a heap per thread, used from greenlets.

use std::alloc::{GlobalAlloc, Layout};

use crate::tls::{self, Visit};

/// Runs a global allocator on the worker's heap instead of the greenlet's.
///
/// An allocator like mimalloc or jemalloc keeps a heap in the thread-locals of every thread. A
/// greenlet has thread-locals of its own, so it would get a heap of its own, too: 264 KiB of
/// mimalloc's, 38 KiB of jemalloc's. Wrapped in this, the allocator finds the thread-locals of
/// the worker that runs the greenlet, and there are as many heaps as workers. The system's
/// allocator needs no wrapper.
///
/// A runtime is not built if the global allocator is neither the system's nor wrapped.
///
/// ```
/// use std::alloc::System;
///
/// // `System` stands for an allocator like `mimalloc::MiMalloc`.
/// #[global_allocator]
/// static ALLOCATOR: greenlet::OnWorker<System> = greenlet::OnWorker::new(System);
///
/// assert_eq!(vec![7; 3], [7, 7, 7]);
/// ```
///
/// Outside a greenlet a call goes straight to the allocator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnWorker<A>(A);

impl<A> OnWorker<A> {
    /// Wraps `allocator`.
    pub const fn new(allocator: A) -> Self {
        Self(allocator)
    }
}

// The allocator's own functions are called through functions that are never inlined: the
// address of a thread-local in them must not be looked up before the visit begins.
//
// SAFETY: each method is the wrapped allocator's, which upholds the contract; under which thread
// pointer it runs is not part of that. Memory may be freed on another thread than the one it is
// from, so also under the thread pointer of another worker.
unsafe impl<A: GlobalAlloc> GlobalAlloc for OnWorker<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        tls::announce_allocator();
        // SAFETY: the caller's promise is the same.
        unsafe { visit(|| alloc(&self.0, layout)) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        tls::announce_allocator();
        // SAFETY: the caller's promise is the same.
        unsafe { visit(|| alloc_zeroed(&self.0, layout)) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { visit(|| dealloc(&self.0, memory, layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        unsafe { visit(|| realloc(&self.0, memory, layout, size)) }
    }
}

/// Calls `function` under the worker's thread pointer.
///
/// # Safety
///
/// `function` only calls a function that is not inlined, which does not park.
#[inline(never)]
unsafe fn visit<R>(function: impl FnOnce() -> R) -> R {
    // SAFETY: this function has no thread-local, and `function` has none that could come in.
    let _visit = unsafe { Visit::begin() };
    function()
}

/// # Safety
///
/// As for [`GlobalAlloc::alloc`].
#[inline(never)]
unsafe fn alloc<A: GlobalAlloc>(allocator: &A, layout: Layout) -> *mut u8 {
    // SAFETY: the caller's promise is the same.
    unsafe { allocator.alloc(layout) }
}

/// # Safety
///
/// As for [`GlobalAlloc::alloc_zeroed`].
#[inline(never)]
unsafe fn alloc_zeroed<A: GlobalAlloc>(allocator: &A, layout: Layout) -> *mut u8 {
    // SAFETY: the caller's promise is the same.
    unsafe { allocator.alloc_zeroed(layout) }
}

/// # Safety
///
/// As for [`GlobalAlloc::dealloc`].
#[inline(never)]
unsafe fn dealloc<A: GlobalAlloc>(allocator: &A, memory: *mut u8, layout: Layout) {
    // SAFETY: the caller's promise is the same.
    unsafe { allocator.dealloc(memory, layout) }
}

/// # Safety
///
/// As for [`GlobalAlloc::realloc`].
#[inline(never)]
unsafe fn realloc<A: GlobalAlloc>(
    allocator: &A,
    memory: *mut u8,
    layout: Layout,
    size: usize,
) -> *mut u8 {
    // SAFETY: the caller's promise is the same.
    unsafe { allocator.realloc(memory, layout, size) }
}
