//! glibc's list of the threads whose stacks it did not allocate, with our blocks on it.
//!
//! glibc goes through this list when a library with static thread-locals is loaded (to give
//! each thread the values they start with), when libraries are unloaded (to wait for threads in
//! the middle of a symbol look-up), and in a `fork`ed child. A block that is not on it misses
//! the first, so a greenlet would read zeroes where 42 should be.
//!
//! The lock of the list has no symbol. It lies in the same structure as the list's head, six
//! words further, and because that is known by reading and not by a promise, it is tried out
//! before it is believed: see [`StackList::verify`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use super::low_level_lock::{Lock, wait_until};
use super::place;
use super::symbols::Symbols;
use crate::arch;
use crate::error::ThreadLocalsError;

/// From the list's head to its lock: the list itself, the list of cached stacks, their size, and
/// the stack being moved, are in between. The same in 2.34 to 2.43.
const HEAD_TO_LOCK: isize = 48;
/// How long the list's lock may take to answer; it is held for microseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// A list that is longer than this is none.
const LIMIT: usize = 1 << 24;

/// The list, its lock, and which of our blocks are still on it.
#[derive(Debug)]
pub(super) struct StackList {
    /// The address of the head: two words, next and previous.
    head: usize,
    lock: Lock,
    /// From the thread pointer to a thread's own two words.
    links: isize,
    /// Counts the forks that this process descends from: in each child glibc empties the list,
    /// so what was inserted before is not on it any more.
    generation: AtomicU32,
    /// The one block that was put back after the last of them, or 0.
    survivor: AtomicUsize,
}

/// When a block was inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u32);

impl StackList {
    pub(super) fn find(symbols: &Symbols) -> Result<Self, ThreadLocalsError> {
        let list = Self {
            head: symbols.stack_user,
            // SAFETY: the word is part of the loader's `_rtld_global`, which is never freed.
            lock: unsafe { Lock::at(symbols.stack_user.wrapping_add_signed(HEAD_TO_LOCK)) },
            links: symbols.in_pthread(symbols.pthread_list),
            generation: AtomicU32::new(0),
            survivor: AtomicUsize::new(0),
        };
        list.verify()?;
        Ok(list)
    }

    /// Adds the block at `tp` in front, in glibc's order of writes: a `fork` of another thread
    /// may copy the list at any moment, lock or not, and must find it whole from next to next.
    ///
    /// # Safety
    ///
    /// The block's `struct pthread` is filled in and is not on the list; it stays in memory and
    /// is not discarded until [`Self::remove`].
    pub(super) unsafe fn insert(&self, tp: usize) -> Generation {
        self.lock.lock();
        // SAFETY: the list is glibc's and whole, we hold its lock, the new links are the caller's.
        unsafe { self.link(tp) };
        self.lock.unlock();
        Generation(self.generation.load(Ordering::Relaxed))
    }

    /// Takes the block at `tp` off the list, if it is still on it.
    ///
    /// # Safety
    ///
    /// It was inserted in `generation`, and not removed since.
    pub(super) unsafe fn remove(&self, tp: usize, generation: Generation) {
        let current = Generation(self.generation.load(Ordering::Relaxed));
        if generation != current && self.survivor.load(Ordering::Relaxed) != tp {
            return;
        }
        self.lock.lock();
        // SAFETY: the block is on the list, so its neighbours are, too; we hold the lock.
        unsafe {
            let (next, previous) = (*self.next(tp), *self.previous(tp));
            *place::<usize>(next, 8) = previous;
            atomic(previous).store(next, Ordering::Release);
        }
        self.lock.unlock();
    }

    /// Whether the thread at `tp` is on the list.
    pub(super) fn contains(&self, tp: usize) -> bool {
        self.lock.lock();
        // SAFETY: we hold the lock.
        let found = unsafe { self.walk(self.links_of(tp)) };
        self.lock.unlock();
        found
    }

    /// In the child of a fork: forgets what glibc forgot, and puts back the block that the
    /// fork was made on, if it was made on one.
    ///
    /// # Safety
    ///
    /// The child has no second thread yet, and the caller is on its thread pointer.
    pub(super) unsafe fn forked(&self, survivor: Option<usize>) {
        // SAFETY: there is nobody who could change the list.
        if !unsafe { self.was_emptied() } {
            return;
        }
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.survivor
            .store(survivor.unwrap_or(0), Ordering::Relaxed);
        if let Some(tp) = survivor {
            // SAFETY: the block is the running greenlet's, and no longer on the list.
            unsafe { self.insert(tp) };
        }
    }

    /// Whether nothing is on the list but perhaps the calling thread. glibc leaves the list
    /// alone when the parent never had a second thread.
    ///
    /// # Safety
    ///
    /// Nobody changes the list meanwhile.
    unsafe fn was_emptied(&self) -> bool {
        let me = self.links_of(arch::thread_pointer());
        // SAFETY: the head and what it points to are there.
        unsafe {
            let first = *place::<usize>(self.head, 0);
            first == self.head || first == me && *place::<usize>(first, 0) == self.head
        }
    }

    /// # Safety
    ///
    /// As for [`Self::insert`], with the lock held.
    unsafe fn link(&self, tp: usize) {
        let links = self.links_of(tp);
        // SAFETY: head and first element are on the list, the element is the caller's.
        unsafe {
            let first = *place::<usize>(self.head, 0);
            *self.next(tp) = first;
            *self.previous(tp) = self.head;
            *place::<usize>(first, 8) = links;
            atomic(self.head).store(links, Ordering::Release);
        }
    }

    /// Whether an element lies at `links`.
    ///
    /// # Safety
    ///
    /// The lock is held.
    unsafe fn walk(&self, links: usize) -> bool {
        let mut element = self.head;
        for _ in 0..LIMIT {
            // SAFETY: the elements of the list stay where they are while its lock is held.
            element = unsafe { *place::<usize>(element, 0) };
            if element == links || element == self.head {
                break;
            }
        }
        element == links
    }

    fn links_of(&self, tp: usize) -> usize {
        tp.wrapping_add_signed(self.links)
    }

    fn next(&self, tp: usize) -> *mut usize {
        place(tp, self.links)
    }

    fn previous(&self, tp: usize) -> *mut usize {
        place(tp, self.links + 8)
    }

    /// Tries out whether the word is the lock: takes it, has another thread create a thread
    /// (which glibc does under the lock), and sees whether that thread waits in glibc's way,
    /// by writing 2. Bounded in time, whatever the word is.
    fn verify(&self) -> Result<(), ThreadLocalsError> {
        self.verify_shape()?;
        let creator = Creator::start()?;
        if !self.lock.try_lock_for(PATIENCE) {
            return Err(refusal("the lock is never free"));
        }
        creator.go();
        let answered = || self.lock.is_contended() || creator.is_finished();
        let contended = wait_until(PATIENCE, answered) && self.lock.is_contended();
        if !self.lock.unlock_if_held() {
            return Err(refusal("something else uses the word of the lock"));
        }
        // What waits for that word goes on now. If nothing did, the creator has long finished.
        if !creator.finished_within(PATIENCE) {
            return Err(refusal("a thread that waited for the lock did not go on"));
        }
        if !contended {
            return Err(refusal("creating a thread does not take the lock"));
        }
        Ok(())
    }

    /// Whether the words around the head look like the lists and counters they should be.
    fn verify_shape(&self) -> Result<(), ThreadLocalsError> {
        let cache = self.head + 16;
        // SAFETY: all of it lies in the loader's `_rtld_global`, whose size is far larger. Other
        // threads may change the lists meanwhile; so this looks a few times.
        let looks_right = || unsafe {
            let whole = |head: usize| {
                let (next, previous) = (*place::<usize>(head, 0), *place::<usize>(head, 8));
                let aligned = |link: usize| link != 0 && link.is_multiple_of(8);
                aligned(next) && aligned(previous) && (next == head) == (previous == head)
            };
            whole(self.head) && whole(cache) && *place::<usize>(cache, 16) < 1 << 40
        };
        if !wait_until(Duration::from_millis(100), looks_right) {
            return Err(refusal(
                "the words beside the list are not what they should be",
            ));
        }
        Ok(())
    }
}

/// A thread that creates a thread when told to.
struct Creator {
    thread: Thread,
    state: Arc<CreatorState>,
}

#[derive(Default)]
struct CreatorState {
    go: AtomicBool,
    finished: AtomicBool,
}

impl Creator {
    fn start() -> Result<Self, ThreadLocalsError> {
        let state = Arc::new(CreatorState::default());
        let its = Arc::clone(&state);
        let body = move || {
            while !its.go.load(Ordering::Relaxed) {
                thread::park();
            }
            let created = thread::Builder::new().spawn(|| {});
            drop(created.map(thread::JoinHandle::join));
            its.finished.store(true, Ordering::Relaxed);
        };
        let handle = thread::Builder::new()
            .name("greenlet-probe".into())
            .spawn(body)
            .map_err(|error| refusal(&format!("no thread to try it out: {error}")))?;
        let thread = handle.thread().clone();
        Ok(Self { thread, state })
    }

    fn go(&self) {
        self.state.go.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }

    fn is_finished(&self) -> bool {
        self.state.finished.load(Ordering::Relaxed)
    }

    fn finished_within(&self, patience: Duration) -> bool {
        wait_until(patience, || self.is_finished())
    }
}

impl Drop for Creator {
    fn drop(&mut self) {
        // So that a creator that was never told to go does not wait for ever.
        self.go();
    }
}

/// # Safety
///
/// `address` is that of an aligned word which lives as long as the reference is used.
unsafe fn atomic<'a>(address: usize) -> &'a AtomicUsize {
    // SAFETY: see above.
    unsafe { AtomicUsize::from_ptr(place(address, 0)) }
}

fn refusal(found: &str) -> ThreadLocalsError {
    ThreadLocalsError::new("list of threads", found)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Two empty lists, a size, a stack being moved, and a free lock: by their looks, right.
    fn lookalike() -> StackList {
        let words: &'static mut [usize; 8] = Box::leak(Box::new([0; 8]));
        let head = words.as_mut_ptr().expose_provenance();
        words[..4].copy_from_slice(&[head, head, head + 16, head + 16]);
        StackList {
            head,
            // SAFETY: the words are leaked.
            lock: unsafe { Lock::at(head.wrapping_add_signed(HEAD_TO_LOCK)) },
            links: 0,
            generation: AtomicU32::new(0),
            survivor: AtomicUsize::new(0),
        }
    }

    #[test]
    fn a_word_that_is_not_the_lock_is_found_out_and_put_back() {
        let list = lookalike();
        let start = Instant::now();
        let error = list.verify().unwrap_err();
        assert_eq!(error.check(), "list of threads");
        assert!(
            error.to_string().contains("does not take the lock"),
            "{error}"
        );
        assert!(list.lock.try_lock(), "it is free again");
        assert!(start.elapsed() < PATIENCE);
    }

    #[test]
    fn words_that_are_no_list_are_found_out() {
        let list = lookalike();
        // SAFETY: the head of the lookalike, which nobody else has.
        unsafe { *place::<usize>(list.head, 8) = 5 };
        let error = list.verify().unwrap_err();
        assert!(error.to_string().contains("beside the list"), "{error}");
    }

    #[test]
    fn elements_are_added_in_front_and_taken_from_anywhere() {
        let list = lookalike();
        let mut elements = [[0_usize; 2]; 3];
        let at: Vec<usize> = elements
            .iter_mut()
            .map(|e| e.as_mut_ptr().expose_provenance())
            .collect();
        // SAFETY: the elements outlive the list's use, and are on it once.
        unsafe {
            let generations: Vec<_> = at.iter().map(|&tp| list.insert(tp)).collect();
            assert!(at.iter().all(|&tp| list.contains(tp)));
            for i in [1, 0, 2] {
                list.remove(at[i], generations[i]);
                assert!(!list.contains(at[i]));
            }
            assert_eq!(*place::<[usize; 2]>(list.head, 0), [list.head; 2]);
        }
    }
}
