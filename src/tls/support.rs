//! What this process needs for blocks, found out once.

use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::block::Block;
use super::findings::Findings;
use super::hooks::{self, Hooks};
use super::ids::Ids;
use super::keys::Keys;
use super::layout::{self, Layout};
use super::list::StackList;
use super::modules::CurrentModules;
use super::symbols::Symbols;
use super::template::Template;
use super::words::Words;
use super::{check, fork, place, refuse, register, setxid};
use crate::arch::{self, tcb};
use crate::error::ThreadLocalsError;
use crate::sys::random;

/// The answer of [`support`], for those who need it on every switch. Written once, before the
/// first block exists, with Release; whoever has a block or a hook has got it through something
/// that orders the two, so Relaxed would do, but Acquire costs nothing here.
static INSTALLED: AtomicPtr<Support> = AtomicPtr::new(std::ptr::null_mut());

/// Everything that was found out about this process's glibc. Never freed.
#[derive(Debug)]
pub(crate) struct Support {
    pub(super) symbols: Symbols,
    pub(super) layout: Layout,
    pub(super) words: Words,
    pub(super) template: Template,
    pub(super) list: StackList,
    pub(super) keys: Keys,
    pub(super) modules: CurrentModules,
    pub(super) ids: Ids,
}

/// Finds out whether greenlets can have thread-locals of their own in this process, and how.
///
/// The first call looks, tries out what it found on blocks of its own, and installs handlers for
/// `fork` and `setuid`. Later calls get its answer, and their hooks are ignored.
pub(crate) fn support(hooks: Hooks) -> Result<&'static Support, ThreadLocalsError> {
    static ANSWER: OnceLock<Result<&'static Support, ThreadLocalsError>> = OnceLock::new();
    ANSWER.get_or_init(|| install(hooks)).clone()
}

fn install(hooks: Hooks) -> Result<&'static Support, ThreadLocalsError> {
    refuse::refuse()?;
    register::choose();
    let support: &'static Support = Box::leak(Box::new(Support::find()?));
    check_reach(support, (hooks.current)())?;
    // Release: pairs with the Acquire in `installed`.
    INSTALLED.store(std::ptr::from_ref(support).cast_mut(), Ordering::Release);
    check::check(support)?;
    // Handlers come after all checks: a library that is refused may be unloaded. glibc forgets
    // those of `fork` then, but not the signal's, which comes last.
    fork::install().map_err(|error| {
        ThreadLocalsError::new("fork", format!("no handlers can be registered: {error}"))
    })?;
    setxid::wrap()?;
    hooks::install(hooks);
    Ok(support)
}

/// Refuses a thread-local of the scheduler's that is not part of every block.
fn check_reach(support: &Support, current: usize) -> Result<(), ThreadLocalsError> {
    let thread = arch::thread_pointer();
    if layout::static_thread_locals(&support.symbols, thread).contains(&current) {
        return Ok(());
    }
    let found = "this crate's thread-locals are dynamic: it was loaded by dlopen";
    Err(ThreadLocalsError::new("current", found))
}

/// The support of this process.
///
/// # Panics
///
/// If [`support`] has not found any; but then there is no greenlet that could ask.
#[inline]
pub(super) fn installed() -> &'static Support {
    // Acquire: pairs with the Release in `install`.
    let support = INSTALLED.load(Ordering::Acquire);
    debug_assert!(!support.is_null());
    // SAFETY: it points to a leaked box: whoever gets here has a block, so it was stored.
    unsafe { &*support }
}

impl Support {
    fn find() -> Result<Self, ThreadLocalsError> {
        let symbols = Symbols::find()?;
        let keys = Keys::new(&symbols);
        let list = StackList::find(&symbols)?;
        let Findings {
            layout,
            words,
            template,
        } = Findings::gather(&symbols, &list, &keys)?;
        Ok(Self {
            modules: CurrentModules::read(&symbols)?,
            ids: Ids::new(random::number()),
            symbols,
            layout,
            words,
            template,
            list,
            keys,
        })
    }

    /// Bytes that a block takes at the top of a stack slot, a multiple of 64, what is lost to
    /// alignment included.
    pub(crate) fn block_size(&self) -> usize {
        self.layout.room()
    }

    /// Makes a block that ends at `top`, for a greenlet whose stack is `stack`.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`.
    ///
    /// # Safety
    ///
    /// `top` is a multiple of 64. The [`block_size`](Self::block_size) bytes below it are
    /// writable, zero and the caller's, who leaves them in place until [`Block::destroy`]; the
    /// caller is on its own thread's thread pointer, or is a greenlet that runs: the C library's
    /// allocator then finds the worker's words.
    pub(crate) unsafe fn create(
        &'static self,
        top: usize,
        stack: Range<usize>,
    ) -> io::Result<Block> {
        // SAFETY: the caller's promise is the same.
        unsafe { Block::create(self, top, stack) }
    }

    /// Readies the calling thread to run greenlets, or to start the threads that do.
    ///
    /// # Safety
    ///
    /// The caller is on its own thread's thread pointer.
    pub(crate) unsafe fn adopt_worker(&self) {
        let multiple_threads = tcb::multiple_threads(self.layout.pthread_size);
        // SAFETY: the field of the running thread's. glibc sets it on the thread that creates
        // another; one that never did would skip the locks of malloc on a glibc before 2.43.
        unsafe { *place::<i32>(arch::thread_pointer(), multiple_threads) = 1 };
        fork::adopt_worker();
        // A child of a fork that created its first thread has glibc's handler back.
        let _ = setxid::wrap();
    }

    /// The words that a greenlet shares with its worker.
    #[inline]
    pub(crate) fn words(&self) -> &Words {
        &self.words
    }
}
