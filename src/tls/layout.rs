//! Where things are, seen from the thread pointer.

use std::ops::Range;

use super::symbols::Symbols;
use crate::arch::tcb;

/// Offsets from the thread pointer, the same for every thread and every block of a process.
///
/// None is written down in this crate: each is told by a symbol or seen on a real thread
/// (see `probe.rs`), and what can be told twice is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) pthread_size: usize,
    pub(super) static_size: usize,
    pub(super) static_align: usize,
    /// The start of `struct pthread`.
    pub(super) pthread: isize,
    /// Two words: the links of the thread in a list of glibc's.
    pub(super) list: isize,
    /// An `int`: who owns a lock.
    pub(super) tid: isize,
    /// The list of robust mutexes that the thread holds; a word that points to itself.
    pub(super) robust_head: isize,
    /// 32 pairs of words: the values of the first pthread keys.
    pub(super) specific_first: isize,
    /// A byte: whether the thread ever had a value.
    pub(super) specific_used: isize,
    /// Two words: address and size of the thread's stack.
    pub(super) stack_bounds: isize,
    /// The resolver's state, and the word through which the C library finds it.
    pub(super) resolver: isize,
    pub(super) resolver_pointer: isize,
    /// Where the kernel would write the number of the processor.
    pub(super) rseq: Option<isize>,
}

impl Layout {
    /// The thread pointer of a block that ends at `top`.
    pub(super) fn thread_pointer_below(&self, top: usize) -> usize {
        tcb::thread_pointer_below(top, self.static_size, self.pthread_size, self.static_align)
    }

    /// Bytes below `top` that such a block takes.
    pub(super) fn room(&self) -> usize {
        tcb::room(self.static_size, self.pthread_size, self.static_align)
    }
}

/// Where the static thread-locals of the block at `tp` lie.
pub(super) fn static_thread_locals(symbols: &Symbols, tp: usize) -> Range<usize> {
    tcb::static_thread_locals(tp, symbols.static_size, symbols.sizeof_pthread)
}

/// Where the `struct pthread` of the block at `tp` lies.
pub(super) fn pthread(symbols: &Symbols, tp: usize) -> Range<usize> {
    let start = tp.wrapping_add_signed(tcb::pthread_start(symbols.sizeof_pthread));
    start..start + symbols.sizeof_pthread
}
