//! What a fresh `struct pthread` contains: what a real thread's does, as far as it may.
//!
//! Filling in known fields by hand would miss those of the next glibc. So a real thread's is
//! taken (about 18 words of it are not zero), what points into itself is made relative, and what
//! belongs to that thread alone is left out. A pointer to anything else is one that this
//! crate does not understand: then there is no template.

use std::ops::Range;

use super::layout::{self, Layout};
use super::place;
use super::probe::Sample;
use super::symbols::Symbols;
use crate::arch::tcb;
use crate::error::ThreadLocalsError;
use crate::sys::residence;

/// Bytes of the kernel's rseq area.
pub(super) const RSEQ_SIZE: isize = 32;
/// In that area, `cpu_id`: an `int`.
const RSEQ_CPU_ID: isize = 4;
/// `RSEQ_CPU_ID_REGISTRATION_FAILED`: glibc then asks the kernel instead of reading the area.
const RSEQ_UNREGISTERED: i32 = -2;
/// Addresses of user space end below this.
const ADDRESSES_END: usize = 1 << 56;

/// A word that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    /// From the thread pointer.
    offset: isize,
    value: usize,
    /// Whether `value` counts from the thread pointer, too.
    relative: bool,
}

/// The words of a fresh `struct pthread`, without those that `write` is told, and its links, which
/// are written when the block is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    words: Vec<Word>,
    /// Those of them that [`Template::write_again`] writes.
    again: Vec<Word>,
    layout: Layout,
}

impl Template {
    /// Makes one of what was seen on a probe thread.
    pub(super) fn new(
        symbols: &Symbols,
        layout: &Layout,
        sample: &Sample,
    ) -> Result<Self, ThreadLocalsError> {
        let mut words = Vec::new();
        let mut unknown = Vec::new();
        for (index, &value) in sample.pthread.iter().enumerate() {
            let offset = layout.pthread + index as isize * 8;
            let word = |value, relative| Word {
                offset,
                value,
                relative,
            };
            match classify(symbols, layout, sample, offset, value) {
                Kind::Own => {}
                Kind::Same => words.push(word(value, false)),
                Kind::Relative => words.push(word(value.wrapping_sub(sample.tp), true)),
                Kind::Unknown => unknown.push(format!("{offset:+#x}: {value:#x}")),
            }
        }
        if !unknown.is_empty() {
            let list = unknown.join(", ");
            let found = format!("{} pointers that are not understood: {list}", unknown.len());
            return Err(ThreadLocalsError::new("struct pthread", found));
        }
        let ranges = changeable(layout);
        let in_ranges = |word: &&Word| ranges.iter().any(|range| range.contains(&word.offset));
        Ok(Self {
            again: words.iter().filter(in_ranges).copied().collect(),
            words,
            layout: layout.clone(),
        })
    }

    /// Fills in the `struct pthread` of the block at `tp`, so that glibc takes it for a thread's
    /// that is called `id`.
    ///
    /// # Safety
    ///
    /// The block's memory is the caller's, and zero.
    pub(super) unsafe fn write(&self, tp: usize, id: u32) {
        // SAFETY: every offset lies in the block's `struct pthread` (they were seen in one).
        unsafe {
            write_words(tp, &self.words);
            *place::<u32>(tp, self.layout.tid) = id;
            *place::<i32>(tp, tcb::multiple_threads(self.layout.pthread_size)) = 1;
        }
    }

    /// Writes the fields that a thread may have left changed as a new thread has them: unwinding
    /// and clean-up, cancellation, robust mutexes, scheduling. Not its values of pthread keys
    /// (which must be gone), not its stack, not what libc keeps for the thread behind it.
    ///
    /// # Safety
    ///
    /// The block was written before, and nobody is on it.
    #[inline]
    pub(super) unsafe fn write_again(&self, tp: usize) {
        // SAFETY: the ranges and the words lie in the block's `struct pthread`.
        unsafe {
            for range in changeable(&self.layout) {
                let length = (range.end - range.start) as usize;
                place::<u8>(tp, range.start).write_bytes(0, length);
            }
            write_words(tp, &self.again);
        }
    }

    /// Says that the kernel does not know this thread's rseq area, and gives it a resolver of
    /// its own: both may lie in the thread-locals.
    ///
    /// # Safety
    ///
    /// The block has its thread-locals, and nobody is on it.
    pub(super) unsafe fn write_thread_locals(&self, tp: usize) {
        let resolver = tp.wrapping_add_signed(self.layout.resolver);
        // SAFETY: the offsets were seen on a real thread.
        unsafe {
            *place(tp, self.layout.resolver_pointer) = resolver;
            if let Some(area) = self.layout.rseq {
                *place::<i32>(tp, area + RSEQ_CPU_ID) = RSEQ_UNREGISTERED;
            }
        }
    }
}

/// Where the fields lie that a thread may leave changed: those before the values of its keys, from
/// its robust mutexes on, and those between the values and the stack.
fn changeable(layout: &Layout) -> [Range<isize>; 2] {
    [
        layout.tid + 8..layout.specific_first,
        layout.specific_used..layout.stack_bounds,
    ]
}

/// # Safety
///
/// The offsets lie in the block at `tp`, which is the caller's.
#[inline]
unsafe fn write_words(tp: usize, words: &[Word]) {
    for word in words {
        let base = if word.relative { tp } else { 0 };
        // SAFETY: see above.
        unsafe { *place(tp, word.offset) = base.wrapping_add(word.value) };
    }
}

/// What becomes of a word of the probe's.
enum Kind {
    /// It is that thread's own, or zero: left out.
    Own,
    /// The same for all threads.
    Same,
    /// It points into the block.
    Relative,
    /// It points somewhere else.
    Unknown,
}

fn classify(
    symbols: &Symbols,
    layout: &Layout,
    sample: &Sample,
    offset: isize,
    value: usize,
) -> Kind {
    let block = layout::static_thread_locals(symbols, sample.tp);
    let pthread = layout::pthread(symbols, sample.tp);
    let stack = sample.stack.start..block.start.min(pthread.start);
    let rseq = layout.rseq.unwrap_or(isize::MAX - RSEQ_SIZE);
    let own_field = offset == tcb::DTV
        || (layout.list..layout.list + 16).contains(&offset)
        || (layout.stack_bounds..layout.stack_bounds + 16).contains(&offset)
        || (rseq..rseq + RSEQ_SIZE).contains(&offset)
        || offset == layout.tid & !7;
    let own_value = value == 0
        || value == sample.start_routine
        || value == sample.argument
        || stack.contains(&value);
    // Two words of small numbers and flags, which together could look like an address.
    let flags = symbols.in_pthread(symbols.pthread_cancelhandling) & !7;
    let number = tcb::GUARDS.contains(&offset) || offset == flags || offset == layout.specific_used;
    if own_field || own_value {
        Kind::Own
    } else if block.contains(&value) || pthread.contains(&value) {
        Kind::Relative
    } else if number || !is_pointer(value) {
        Kind::Same
    } else {
        Kind::Unknown
    }
}

fn is_pointer(value: usize) -> bool {
    (4096..ADDRESSES_END).contains(&value) && residence::is_mapped(value)
}
