//! Real threads, looked at before there is any greenlet: what glibc does to a thread is seen
//! on these and repeated in the blocks.
//!
//! This file starts them and takes samples; `findings.rs` says what the samples tell.

use std::alloc::{self, Layout as MemoryLayout};
use std::ffi::c_void;
use std::hint::black_box;
use std::ops::{ControlFlow, Range};
use std::ptr::{self, NonNull};

use super::keys::Keys;
use super::list::StackList;
use super::symbols::Symbols;
use super::words::Words;
use super::{layout, place};
use crate::arch;
use crate::error::ThreadLocalsError;
use crate::sys::{dl, heap, random, thread, thread_state};

/// The stack of a probe thread.
const STACK_SIZE: usize = 256 * 1024;

/// What one probe thread saw of itself.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) tp: usize,
    pub(super) stack: Range<usize>,
    pub(super) start_routine: usize,
    pub(super) argument: usize,
    /// Its `struct pthread` when it had just started.
    pub(super) pthread: Vec<usize>,
    /// The same before and after one `getrandom`.
    pub(super) random: Change,
    /// libc's thread-locals before and after one `malloc`, and where they are.
    pub(super) malloc: Change,
    pub(super) libc_start: usize,
    /// The addresses of `errno` and `h_errno`.
    pub(super) errors: [usize; 2],
    pub(super) kernel_id: i32,
    /// What the kernel knows as the head of its list of robust mutexes.
    pub(super) robust_head: usize,
    /// The resolver's state, and the address of the word that points to it.
    pub(super) resolver: usize,
    pub(super) resolver_pointer: usize,
    /// Whether it was on glibc's list of threads with stacks of their own.
    pub(super) listed: bool,
    /// Whether its values of pthread keys were where they should be.
    pub(super) keys_agree: bool,
}

/// Words before and after something.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) before: Vec<usize>,
    pub(super) after: Vec<usize>,
}

impl Change {
    fn with_room(words: usize) -> Self {
        Self {
            before: vec![0; words],
            after: vec![0; words],
        }
    }

    /// Takes `range` before and after `event`. Allocates nothing.
    ///
    /// # Safety
    ///
    /// The words of `range` are there to be read, as many as there is room for.
    unsafe fn observe(&mut self, start: usize, event: impl FnOnce()) {
        // SAFETY: see above.
        unsafe { copy_words(start, &mut self.before) };
        event();
        // SAFETY: see above.
        unsafe { copy_words(start, &mut self.after) };
    }

    /// Which words changed.
    pub(super) fn changed(&self) -> impl Iterator<Item = usize> {
        let pairs = self.before.iter().zip(&self.after).enumerate();
        pairs
            .filter(|(_, (before, after))| before != after)
            .map(|(index, _)| index)
    }
}

/// What a probe thread is started with.
struct Probe<'a> {
    symbols: &'a Symbols,
    list: &'a StackList,
    keys: &'a Keys,
    sample: Sample,
}

impl Sample {
    pub(super) fn take(
        symbols: &Symbols,
        list: &StackList,
        keys: &Keys,
    ) -> Result<Self, ThreadLocalsError> {
        let stack = ProbeStack::new();
        let words = symbols.sizeof_pthread / 8;
        let mut probe = Probe {
            symbols,
            list,
            keys,
            sample: Sample {
                tp: 0,
                stack: stack.range(),
                start_routine: examine as *const () as usize,
                argument: 0,
                pthread: vec![0; words],
                random: Change::with_room(words),
                malloc: Change::with_room(libc_thread_locals(symbols).1 / 8),
                libc_start: 0,
                errors: [0; 2],
                kernel_id: 0,
                robust_head: 0,
                resolver: 0,
                resolver_pointer: 0,
                listed: false,
                keys_agree: false,
            },
        };
        let argument = &raw mut probe;
        // SAFETY: `examine` takes a probe, and nobody else has this one until the thread ended.
        unsafe {
            (*argument).sample.argument = argument.addr();
            thread::run_on_stack(stack.range(), examine, argument.cast()).map_err(no_thread)?;
        }
        Ok(probe.sample)
    }
}

/// The body of a probe thread. Until malloc has been watched nothing in here may allocate.
extern "C" fn examine(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `Sample::take` passes a probe that is this thread's alone until it ends.
    let probe = unsafe { &mut *argument.cast::<Probe>() };
    let (symbols, sample) = (probe.symbols, &mut probe.sample);
    sample.tp = arch::thread_pointer();
    let pthread = layout::pthread(symbols, sample.tp).start;
    sample.libc_start = libc_thread_locals(symbols).0;
    // SAFETY: the thread's own structure and thread-locals, of the sizes there is room for.
    unsafe {
        copy_words(pthread, &mut sample.pthread);
        sample.malloc.observe(sample.libc_start, heap::warm);
        sample.random.observe(pthread, || {
            random::number();
        });
    }
    sample.errors = thread_state::error_words();
    sample.kernel_id = thread::kernel_id();
    sample.robust_head = thread::robust_list_head().unwrap_or(0);
    sample.resolver = symbols.resolver_state();
    sample.resolver_pointer = dl::symbol(c"__resp").unwrap_or(0);
    sample.listed = probe.list.contains(sample.tp);
    sample.keys_agree = probe.keys.agree_on(sample.tp);
    ptr::null_mut()
}

/// Whether an allocation of Rust's on a new thread changes malloc's words: whether it is malloc's.
pub(super) fn allocates_by_malloc(words: &Words) -> Result<bool, ThreadLocalsError> {
    let stack = ProbeStack::new();
    let mut probe = AllocatorProbe {
        words,
        uses_malloc: false,
    };
    let argument = (&raw mut probe).cast();
    // SAFETY: `allocate` takes such a probe, and nobody else has it until the thread ended.
    unsafe { thread::run_on_stack(stack.range(), allocate, argument) }.map_err(no_thread)?;
    Ok(probe.uses_malloc)
}

struct AllocatorProbe<'a> {
    words: &'a Words,
    uses_malloc: bool,
}

extern "C" fn allocate(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `allocates_by_malloc` passes such a probe.
    let probe = unsafe { &mut *argument.cast::<AllocatorProbe>() };
    let tp = arch::thread_pointer();
    let read = || -> [usize; 2] {
        // SAFETY: a thread has malloc's words at these offsets.
        std::array::from_fn(|i| unsafe { *place::<usize>(tp, probe.words.malloc()[i]) })
    };
    let before = read();
    drop(black_box(Box::new([0_u8; 100])));
    probe.uses_malloc = before != read();
    ptr::null_mut()
}

/// Where the calling thread has libc's thread-locals, and how many bytes they are.
fn libc_thread_locals(symbols: &Symbols) -> (usize, usize) {
    let mut found = (0, 0);
    dl::for_each_module(|info| {
        if !dl::covers(info, symbols.libc) {
            return ControlFlow::Continue(());
        }
        let headers = dl::program_headers(info).iter();
        let mut segments = headers.filter(|header| header.p_type == libc::PT_TLS);
        if let Some(segment) = segments.next() {
            found = (
                info.dlpi_tls_data.expose_provenance(),
                segment.p_memsz as usize,
            );
        }
        ControlFlow::Break(())
    });
    found
}

/// # Safety
///
/// As many words as `to` has are there to be read at `from`.
unsafe fn copy_words(from: usize, to: &mut [usize]) {
    // SAFETY: see above.
    unsafe { ptr::copy_nonoverlapping(place::<usize>(from, 0), to.as_mut_ptr(), to.len()) };
}

fn no_thread(error: std::io::Error) -> ThreadLocalsError {
    ThreadLocalsError::new(
        "probe threads",
        format!("no thread can be created: {error}"),
    )
}

/// Memory for the stack of a probe thread.
struct ProbeStack(NonNull<u8>);

impl ProbeStack {
    // The alignment of a page is more than the C library asks for.
    const LAYOUT: MemoryLayout = match MemoryLayout::from_size_align(STACK_SIZE, 4096) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    };

    fn new() -> Self {
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc::alloc_zeroed(Self::LAYOUT) };
        NonNull::new(memory).map_or_else(|| alloc::handle_alloc_error(Self::LAYOUT), Self)
    }

    fn range(&self) -> Range<usize> {
        let start = self.0.as_ptr().expose_provenance();
        start..start + STACK_SIZE
    }
}

impl Drop for ProbeStack {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, with this layout; the thread on it has ended.
        unsafe { alloc::dealloc(self.0.as_ptr(), Self::LAYOUT) };
    }
}
