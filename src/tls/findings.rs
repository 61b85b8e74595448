//! What the probe threads tell, and whether it can be believed.
//!
//! Two threads are looked at, and what is found must be the same on both. What a symbol tells, too,
//! must be the same on the threads.

use std::ops::Range;

use super::keys::{self, Keys};
use super::layout::{self, Layout};
use super::list::StackList;
use super::probe::{self, Sample};
use super::symbols::Symbols;
use super::template::{RSEQ_SIZE, Template};
use super::words::Words;
use super::{place, visit};
use crate::arch::tcb;
use crate::error::ThreadLocalsError;
use crate::sys::{dl, heap};

/// What the probes agree on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) layout: Layout,
    pub(super) words: Words,
    pub(super) template: Template,
}

impl Findings {
    /// Runs the probes.
    pub(super) fn gather(
        symbols: &Symbols,
        list: &StackList,
        keys: &Keys,
    ) -> Result<Self, ThreadLocalsError> {
        check_size(symbols)?;
        let first = Self::from(symbols, &Sample::take(symbols, list, keys)?)?;
        let second = Self::from(symbols, &Sample::take(symbols, list, keys)?)?;
        first.check_against(&second)?;
        check_allocator(&first.words)?;
        Ok(first)
    }

    pub(super) fn check_against(&self, second: &Self) -> Result<(), ThreadLocalsError> {
        if self != second {
            let found = format!("two threads differ: {self:?} and {second:?}");
            return Err(ThreadLocalsError::new("probe threads", found));
        }
        Ok(())
    }

    pub(super) fn from(symbols: &Symbols, sample: &Sample) -> Result<Self, ThreadLocalsError> {
        let layout = Reader::new(symbols, sample).layout()?;
        let words = find_words(&layout, sample)?;
        if !sample.listed {
            let found = "a thread on a stack of its own is not on it";
            return Err(ThreadLocalsError::new("list of threads", found));
        }
        if !sample.keys_agree {
            let found = "the values of pthread keys are not where they should be";
            return Err(ThreadLocalsError::new("pthread keys", found));
        }
        let template = Template::new(symbols, &layout, sample)?;
        Ok(Self {
            layout,
            words,
            template,
        })
    }
}

/// Finds the fields in the `struct pthread` of a sample.
struct Reader<'a> {
    symbols: &'a Symbols,
    sample: &'a Sample,
    pthread: Range<usize>,
    thread_locals: Range<usize>,
}

impl<'a> Reader<'a> {
    fn new(symbols: &'a Symbols, sample: &'a Sample) -> Self {
        Self {
            symbols,
            sample,
            pthread: layout::pthread(symbols, sample.tp),
            thread_locals: layout::static_thread_locals(symbols, sample.tp),
        }
    }

    fn layout(&self) -> Result<Layout, ThreadLocalsError> {
        let specific = self.symbols.in_pthread(self.symbols.pthread_specific);
        let layout = Layout {
            pthread_size: self.symbols.sizeof_pthread,
            static_size: self.symbols.static_size,
            static_align: self.symbols.static_align,
            pthread: self.offset(self.pthread.start),
            list: self.symbols.in_pthread(self.symbols.pthread_list),
            tid: self.tid()?,
            robust_head: self.robust_head()?,
            specific_first: self.specific_first(specific)?,
            specific_used: specific + keys::SPECIFIC_TO_USED,
            stack_bounds: self.stack_bounds()?,
            resolver: self.resolver()?,
            resolver_pointer: self.offset(self.sample.resolver_pointer),
            rseq: self.rseq()?,
        };
        // The fields that are written again for every greenlet are told by what is around them.
        let in_order = [
            layout.tid,
            layout.robust_head,
            layout.specific_first,
            specific,
            layout.stack_bounds,
            layout.resolver,
        ];
        if !in_order.is_sorted() || layout.tid % 8 != 0 {
            return Err(refusal(format!(
                "the fields are in another order: {layout:?}"
            )));
        }
        Ok(layout)
    }

    fn tid(&self) -> Result<isize, ThreadLocalsError> {
        let tid = self.symbols.in_pthread(self.symbols.pthread_tid);
        if self.word(self.address(tid)).map(|word| word as i32) != Some(self.sample.kernel_id) {
            return Err(refusal(format!("no tid at {tid:+#x}")));
        }
        Ok(tid)
    }

    /// An empty list points to itself.
    fn robust_head(&self) -> Result<isize, ThreadLocalsError> {
        let head = self.sample.robust_head;
        if self.word(head) != Some(head) {
            return Err(refusal("the list of robust mutexes is not in it"));
        }
        Ok(self.offset(head))
    }

    /// The first array of values is part of the structure, and pointed to.
    fn specific_first(&self, specific: isize) -> Result<isize, ThreadLocalsError> {
        let first = self.word(self.address(specific)).unwrap_or(0);
        if !self.pthread.contains(&first) {
            return Err(refusal(format!("no values of keys at {specific:+#x}")));
        }
        Ok(self.offset(first))
    }

    /// Address and size of the stack that the probe was given: in one place only.
    fn stack_bounds(&self) -> Result<isize, ThreadLocalsError> {
        let (words, stack) = (&self.sample.pthread, &self.sample.stack);
        let bounds = [stack.start, stack.len()];
        let mut places = (0..words.len() - 1).filter(|&i| words[i..i + 2] == bounds);
        match (places.next(), places.next()) {
            (Some(index), None) => Ok(self.offset(self.pthread.start) + index as isize * 8),
            _ => Err(refusal("the bounds of the stack are not in it, once")),
        }
    }

    fn resolver(&self) -> Result<isize, ThreadLocalsError> {
        let state = self.sample.resolver;
        if !self.pthread.contains(&state) || !self.is_in_block(self.sample.resolver_pointer) {
            return Err(refusal("the resolver's state is not in it"));
        }
        Ok(self.offset(state))
    }

    /// In the structure behind its header, or (from 2.41 on) among the thread-locals. An offset
    /// into the header would be that of no area, and a write there would be fatal.
    fn rseq(&self) -> Result<Option<isize>, ThreadLocalsError> {
        let Some(area) = self.symbols.rseq_offset else {
            return Ok(None);
        };
        let links = self.symbols.in_pthread(self.symbols.pthread_list);
        let header = self.offset(self.pthread.start)..links;
        let fits = self.is_in_block(self.address(area)) && area % 4 == 0;
        if !fits || area == 0 || header.contains(&area) {
            return Err(refusal(format!(
                "the rseq area is not in it, but at {area:+#x}"
            )));
        }
        Ok(Some(area))
    }

    fn word(&self, address: usize) -> Option<usize> {
        let index = address.wrapping_sub(self.pthread.start) / 8;
        self.sample.pthread.get(index).copied()
    }

    fn offset(&self, address: usize) -> isize {
        address.wrapping_sub(self.sample.tp) as isize
    }

    fn address(&self, offset: isize) -> usize {
        self.sample.tp.wrapping_add_signed(offset)
    }

    fn is_in_block(&self, address: usize) -> bool {
        self.thread_locals.contains(&address) || self.pthread.contains(&address)
    }
}

fn find_words(layout: &Layout, sample: &Sample) -> Result<Words, ThreadLocalsError> {
    let malloc = malloc_words(sample);
    let mut random = random_words(layout, sample);
    let word = random.next();
    if random.next().is_some() {
        let found = "getrandom keeps more than one word in struct pthread";
        return Err(ThreadLocalsError::new("getrandom", found));
    }
    Words::new(&malloc, word).ok_or_else(|| {
        let place = dl::file_of(heap::malloc_address()).unwrap_or_default();
        let count = malloc.len();
        let found = format!("malloc, in {place}, keeps {count} words in libc's thread-locals");
        ThreadLocalsError::new("malloc", found)
    })
}

/// The words of libc's thread-locals that one malloc changed, but for `errno` and `h_errno`.
fn malloc_words(sample: &Sample) -> Vec<isize> {
    let changed = sample.malloc.changed();
    let addresses = changed.map(|index| sample.libc_start + index * 8);
    addresses
        .filter(|&address| !sample.errors.iter().any(|error| error & !7 == address))
        .map(|address| address.wrapping_sub(sample.tp) as isize)
        .collect()
}

/// The words of `struct pthread` that one getrandom changed, but for those that others change: the
/// links in glibc's list, and what the kernel writes when the thread moves.
fn random_words(layout: &Layout, sample: &Sample) -> impl Iterator<Item = isize> {
    let links = layout.list..layout.list + 16;
    let rseq = layout.rseq.map_or(0..0, |area| area..area + RSEQ_SIZE);
    let start = layout.pthread;
    let offsets = sample
        .random
        .changed()
        .map(move |index| start + index as isize * 8);
    offsets.filter(move |offset| !links.contains(offset) && !rseq.contains(offset))
}

/// `_dl_allocate_tls` notes the address that malloc gave it beside what it takes for the
/// `struct pthread`: the note is only where we look if we believe in the same size.
pub(super) fn check_size(symbols: &Symbols) -> Result<(), ThreadLocalsError> {
    let refusal = |found| ThreadLocalsError::new("size of struct pthread", found);
    let (size, pthread) = (symbols.static_size, symbols.sizeof_pthread);
    if pthread == 0 || pthread % 8 != 0 || pthread > 1 << 16 {
        return Err(refusal(format!("the C library says {pthread}")));
    }
    let specimen = symbols
        .allocate_specimen()
        .ok_or_else(|| refusal("no memory for a thread control block".into()))?;
    // SAFETY: with any size that glibc itself would say, the note is part of the allocation; with
    // another one that is as small, the read stays on pages of the heap.
    let note = unsafe { *place::<usize>(tcb::allocation_note(specimen.tp, pthread), 0) };
    let align = symbols.static_align;
    // Only an address near the block is one that can be computed with.
    let is_near = note < specimen.tp && specimen.tp - note <= size + pthread + 2 * align;
    if !is_near || tcb::thread_pointer_in(note, size, pthread, align) != specimen.tp {
        let found = format!("the C library says {pthread}, but does not use that");
        return Err(refusal(found));
    }
    Ok(())
}

/// Refuses an allocator of Rust's that has a heap per thread of its own, unless it is wrapped:
/// every greenlet would get such a heap.
pub(super) fn check_allocator(words: &Words) -> Result<(), ThreadLocalsError> {
    if probe::allocates_by_malloc(words)? || visit::is_allocator_announced() {
        return Ok(());
    }
    let found = "the global allocator is not the C library's: wrap it in greenlet::OnWorker";
    Err(ThreadLocalsError::new("global allocator", found))
}

fn refusal(found: impl Into<String>) -> ThreadLocalsError {
    ThreadLocalsError::new("struct pthread", found)
}
