//! The last step before the answer is yes: two blocks are made and run.

use std::alloc::{self, Layout as MemoryLayout};
use std::hint::black_box;
use std::ops::Range;
use std::ptr::NonNull;
use std::thread::{self, ThreadId};

use super::block::Block;
use super::support::Support;
use super::{boundary, set_thread_pointer, visit};
use crate::arch::{self, tcb};
use crate::error::ThreadLocalsError;
use crate::sys::recursive_mutex::RecursiveMutex;
use crate::sys::{self, heap, thread_state};

/// What a greenlet sees of itself. All of it through the C library or std, as a program would.
struct Sight {
    handle: usize,
    /// Not asked for with an allocator in [`OnWorker`](crate::OnWorker): std allocates for it, and
    /// the allocator would not yet know that it is to use the worker's heap.
    id: Option<ThreadId>,
    errors: [usize; 2],
    bounds: Option<Range<usize>>,
    processor: bool,
    resolver: usize,
}

/// Runs two blocks, and one of them twice.
pub(super) fn check(support: &'static Support) -> Result<(), ThreadLocalsError> {
    let no_memory = |error| refusal(format!("no memory for a block: {error}"));
    let (first_memory, second_memory) = (TrialMemory::new(support), TrialMemory::new(support));
    let mut first = first_memory.create(support).map_err(no_memory)?;
    let second = second_memory.create(support).map_err(no_memory)?;

    let outcome = check_block(support, &first, first_memory.range())
        .and_then(|_| check_block(support, &second, second_memory.range()))
        .and_then(|_| check_locks(support, &first, &second))
        .and_then(|_| check_renewal(support, &mut first, first_memory.range()));
    // SAFETY: nothing runs on the trial blocks any more, and they are not used again.
    unsafe {
        first.destroy();
        second.destroy();
    }
    outcome
}

/// Lives a greenlet's life on the block, and looks around.
fn check_block(
    support: &'static Support,
    block: &Block,
    stack: Range<usize>,
) -> Result<Option<ThreadId>, ThreadLocalsError> {
    let tp = block.thread_pointer();
    let before = words_of(support, arch::thread_pointer());
    let mut sight = None;
    run(support, block, &mut || sight = Some(look(support, block)));
    let sight = sight.ok_or_else(|| refusal("a block does not run"))?;
    let block_start = stack.end - support.block_size();
    let in_block = |address: usize| (block_start..stack.end).contains(&address);

    let expect = |right: bool, found: &str| if right { Ok(()) } else { Err(refusal(found)) };
    let handle = tp.wrapping_add_signed(tcb::pthread_start(support.layout.pthread_size));
    expect(sight.handle == handle, "pthread_self is not the block")?;
    expect(
        sight.id != Some(thread::current().id()),
        "std takes it for the thread",
    )?;
    expect(
        sight.errors.iter().all(|&word| in_block(word)),
        "errno is the thread's",
    )?;
    expect(in_block(sight.resolver), "the resolver is the thread's")?;
    expect(
        sight.bounds == Some(stack),
        "the bounds of the stack are not the given",
    )?;
    expect(
        sight.processor,
        "the number of the processor is not to be had",
    )?;
    expect(support.list.contains(tp), "it is not on glibc's list")?;
    let after = words_of(support, arch::thread_pointer());
    expect(before == after, "malloc made a heap for it")?;
    Ok(sight.id)
}

/// Whether each of two greenlets is somebody else to a lock.
fn check_locks(
    support: &'static Support,
    first: &Block,
    second: &Block,
) -> Result<(), ThreadLocalsError> {
    let mutex = RecursiveMutex::new().map_err(|error| refusal(format!("no mutex: {error}")))?;
    let on = |block: &Block, function: fn(&RecursiveMutex) -> std::io::Result<()>| {
        let mut succeeded = false;
        run(support, block, &mut || succeeded = function(&mutex).is_ok());
        succeeded
    };
    let locked = on(first, RecursiveMutex::try_lock);
    let again = on(first, RecursiveMutex::try_lock);
    let excluded = !on(second, RecursiveMutex::try_lock) && mutex.try_lock().is_err();
    let unlocked = on(first, RecursiveMutex::unlock) && on(first, RecursiveMutex::unlock);
    let free = on(second, RecursiveMutex::try_lock) && on(second, RecursiveMutex::unlock);
    if locked && again && excluded && unlocked && free {
        return Ok(());
    }
    Err(refusal("a recursive mutex does not tell two blocks apart"))
}

/// Whether a second greenlet in a block finds nothing of the first.
fn check_renewal(
    support: &'static Support,
    block: &mut Block,
    stack: Range<usize>,
) -> Result<(), ThreadLocalsError> {
    // SAFETY: the last trial on the block left.
    unsafe {
        if !block.renew() {
            return Err(refusal("a block cannot be used again"));
        }
        let first = check_block(support, block, stack.clone())?;
        let renewed = block.renew();
        let second = check_block(support, block, stack)?;
        if !renewed || first.is_some() && second == first {
            return Err(refusal("a thread-local is the last greenlet's"));
        }
    }
    Ok(())
}

/// On a block.
fn look(support: &'static Support, block: &Block) -> Sight {
    heap::warm();
    // SAFETY: nobody else is on the block; the id is put back before anything locks.
    let bounds = unsafe {
        let field = super::place::<i32>(block.thread_pointer(), support.layout.tid);
        let own = field.replace(sys::thread::kernel_id());
        let bounds = sys::thread::stack_bounds().ok();
        *field = own;
        bounds
    };
    Sight {
        handle: sys::thread::handle(),
        id: (!visit::is_allocator_announced()).then(|| thread::current().id()),
        errors: thread_state::error_words(),
        bounds,
        processor: sys::thread::processor().is_ok(),
        resolver: support.symbols.resolver_state(),
    }
}

/// Calls `function` as a greenlet on `block` would be run.
fn run(support: &'static Support, block: &Block, function: &mut dyn FnMut()) {
    let mut life = || {
        // SAFETY: this runs on the block, and is all that does.
        unsafe { boundary::enter() };
        function();
        // SAFETY: as above, and the function is done.
        unsafe { boundary::leave() };
    };
    // SAFETY: the block is a trial's, on which nobody else is.
    unsafe { switch(support, block.thread_pointer(), &mut life) };
}

/// Calls `function` under the thread pointer `tp`, on this stack.
///
/// # Safety
///
/// `tp` is that of a block on which nobody is.
#[inline(never)]
unsafe fn switch(support: &'static Support, tp: usize, function: &mut dyn FnMut()) {
    let thread = arch::thread_pointer();
    // That this is not inlined is not enough: what `function` is could be told from its callers.
    let function = black_box(function);
    // SAFETY: back before this returns; this function has no thread-local, and `function` is not
    // known here, so it cannot be inlined.
    unsafe {
        support.words.copy(thread, tp);
        set_thread_pointer(tp);
        function();
        set_thread_pointer(thread);
        support.words.copy(tp, thread);
    }
}

/// malloc's words in the block, or the thread, at `tp`.
fn words_of(support: &Support, tp: usize) -> Vec<usize> {
    let words = support.words.malloc().iter();
    // SAFETY: every thread has these words.
    words
        .map(|&offset| unsafe { *super::place::<usize>(tp, offset) })
        .collect()
}

fn refusal(found: impl Into<String>) -> ThreadLocalsError {
    ThreadLocalsError::new("self-check", found)
}

/// Memory for a block that is only tried out, with a page that it can say is its stack.
struct TrialMemory {
    start: NonNull<u8>,
    layout: MemoryLayout,
}

impl TrialMemory {
    fn new(support: &Support) -> Self {
        let size = support.block_size().next_multiple_of(4096) + 4096;
        let align = support.layout.static_align.max(4096);
        let layout = MemoryLayout::from_size_align(size, align).expect("a small block");
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc::alloc_zeroed(layout) };
        let start = NonNull::new(memory).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Self { start, layout }
    }

    fn range(&self) -> Range<usize> {
        let start = self.start.as_ptr().expose_provenance();
        start..start + self.layout.size()
    }

    fn create(&self, support: &'static Support) -> std::io::Result<Block> {
        // SAFETY: the memory is zero, ours, and outlives the block; see `check`.
        unsafe { support.create(self.range().end, self.range()) }
    }
}

impl Drop for TrialMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; the block in it was destroyed.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}
