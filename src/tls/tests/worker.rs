//! A scheduler's part, as small as it can be: the calling thread is the worker, a greenlet is a
//! function that runs under a block's thread pointer, on the worker's stack.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Once;

use crate::arch;
use crate::tls::{self, Block, Hooks, Support, set_thread_pointer};

thread_local! {
    /// On a greenlet, its worker's thread pointer: what the hook answers.
    static WORKER: Cell<usize> = const { Cell::new(0) };
    /// How often the hook for a child was called on this thread or greenlet.
    pub(super) static FORKED: Cell<u32> = const { Cell::new(0) };
}

/// This process's support. The thread that asks is a worker from now on.
pub(super) fn support() -> &'static Support {
    static ADOPT: Once = Once::new();
    let hooks = Hooks {
        current: || WORKER.with(Cell::as_ptr).addr(),
        worker_thread_pointer: || WORKER.get(),
        forked_child: || FORKED.set(FORKED.get() + 1),
    };
    let support = tls::support(hooks).unwrap_or_else(|error| panic!("{error}"));
    ADOPT.call_once(|| {});
    // SAFETY: a test's thread is on its own thread pointer when it asks.
    unsafe { support.adopt_worker() };
    support
}

/// A block with memory of its own, destroyed and unmapped when dropped.
pub(super) struct Greenlet {
    block: Option<Block>,
    slot: Slot,
}

impl Greenlet {
    pub(super) fn new() -> Self {
        let slot = Slot::new(256 * 1024);
        // SAFETY: the slot is zero, and the block is destroyed before it goes.
        let block = unsafe { support().create(slot.range().end, slot.range()) };
        Self {
            block: Some(block.unwrap()),
            slot,
        }
    }

    pub(super) fn block(&mut self) -> &mut Block {
        self.block.as_mut().unwrap()
    }

    pub(super) fn tp(&self) -> usize {
        self.block.as_ref().unwrap().thread_pointer()
    }

    pub(super) fn stack(&self) -> Range<usize> {
        self.slot.range()
    }

    /// Runs `function` on it, from wherever the caller is, which is its worker meanwhile.
    pub(super) fn run<R>(&self, function: impl FnOnce() -> R) -> R {
        run(self.tp(), function)
    }

    /// Runs `function` as the whole life of a greenlet.
    pub(super) fn live<R>(&self, function: impl FnOnce() -> R) -> R {
        self.run(|| {
            // SAFETY: we are on the block, and nobody else is.
            unsafe { tls::enter() };
            let result = function();
            // SAFETY: as above.
            unsafe { tls::leave() };
            result
        })
    }

    /// Makes it the next greenlet's.
    pub(super) fn renew(&mut self) -> bool {
        // SAFETY: nobody is on the block.
        unsafe { self.block().renew() }
    }
}

impl Drop for Greenlet {
    fn drop(&mut self) {
        // SAFETY: nobody is on the block.
        unsafe { self.block.take().unwrap().destroy() };
    }
}

/// Runs `function` under the thread pointer `tp`, the caller's thread being its worker.
pub(super) fn run<R>(tp: usize, function: impl FnOnce() -> R) -> R {
    let worker = arch::thread_pointer();
    let mut function = Some(function);
    let mut result = None;
    let mut on_greenlet = || {
        WORKER.set(worker);
        result = function.take().map(|function| function());
    };
    switch(tp, &mut on_greenlet);
    result.unwrap()
}

#[inline(never)]
fn switch(tp: usize, function: &mut dyn FnMut()) {
    let support = tls::support::installed();
    let worker = arch::thread_pointer();
    // SAFETY: back before this returns; no thread-local in here.
    unsafe {
        support.words().copy(worker, tp);
        set_thread_pointer(tp);
        function();
        set_thread_pointer(worker);
        support.words().copy(tp, worker);
    }
}

/// malloc's words under the present thread pointer.
pub(super) fn words() -> Vec<usize> {
    let words = tls::support::installed().words().malloc().iter();
    // SAFETY: every thread and block has these words.
    words
        .map(|&word| unsafe { *tls::place::<usize>(arch::thread_pointer(), word) })
        .collect()
}

/// Makes malloc go on with `values`, as if it had changed its mind, which it may at any call.
pub(super) fn set_words(values: &[usize]) {
    let words = tls::support::installed().words().malloc().iter();
    for (&word, &value) in words.zip(values) {
        // SAFETY: the present thread's or block's words; the values are a thread's, which does
        // not allocate meanwhile.
        unsafe { *tls::place::<usize>(arch::thread_pointer(), word) = value };
    }
}

/// The words of another thread, which waits for the end of the process.
pub(super) fn words_of_another_thread() -> Vec<usize> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        crate::sys::heap::warm();
        sender.send(words()).unwrap();
        loop {
            std::thread::park();
        }
    });
    let others = receiver.recv().unwrap();
    assert_ne!(others, words());
    others
}

/// Zeroed memory in a mapping of its own.
pub(super) struct Slot {
    start: usize,
    size: usize,
}

impl Slot {
    pub(super) fn new(size: usize) -> Self {
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        // SAFETY: a new mapping, wherever the kernel likes.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let start = start.expose_provenance();
        Self { start, size }
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.start + self.size
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let start = std::ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: our own mapping, which nobody uses any more.
        unsafe { libc::munmap(start, self.size) };
    }
}
