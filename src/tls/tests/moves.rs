//! Suspended greenlets that go on on another OS thread.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::worker::{self, Slot};
use crate::arch;
use crate::tls::{self, Block};

type Suspend = Yielder<(), ()>;

/// A coroutine whose stack lies below its block.
struct Greenlet {
    coroutine: Coroutine<(), (), (), Below>,
    block: Block,
    slot: Slot,
}

// SAFETY: that it may be resumed by another thread is what is tested.
unsafe impl Send for Greenlet {}

struct Below {
    top: usize,
    bottom: usize,
}

// SAFETY: the memory is mapped, writable, and nobody else's; a test has no need of a guard page.
unsafe impl Stack for Below {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.top).unwrap()
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.bottom).unwrap()
    }
}

impl Greenlet {
    fn new(body: impl FnOnce(&Suspend) + 'static) -> Self {
        let support = worker::support();
        let slot = Slot::new(256 * 1024);
        // SAFETY: the slot is zero and ours until the block is destroyed.
        let block = unsafe { support.create(slot.range().end, slot.range()).unwrap() };
        let below = Below {
            top: slot.range().end - support.block_size(),
            bottom: slot.range().start,
        };
        let coroutine = Coroutine::with_stack(below, move |suspend: &Suspend, ()| {
            // SAFETY: on the block, which nobody else is on.
            unsafe { tls::enter() };
            body(suspend);
            // SAFETY: as above.
            unsafe { tls::leave() };
        });
        Self {
            coroutine,
            block,
            slot,
        }
    }

    /// Runs it until it suspends, on the calling thread. Whether it is done.
    fn resume(&mut self) -> bool {
        let coroutine = &mut self.coroutine;
        worker::run(self.block.thread_pointer(), || {
            matches!(coroutine.resume(()), CoroutineResult::Return(()))
        })
    }

    fn destroy(self) {
        // SAFETY: the coroutine is done.
        unsafe { self.block.destroy() };
        drop(self.slot);
    }
}

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static TEXTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn body(number: u64, rounds: u64, suspend: &Suspend) {
    let id = thread::current().id();
    let mut kept = VecDeque::new();
    for round in 0..rounds {
        COUNT.set(COUNT.get() + 1);
        // A borrow of a thread-local over a move.
        TEXTS.with_borrow_mut(|texts| {
            texts.push(format!("{number}-{round}"));
            suspend.suspend(());
            assert_eq!(texts.last().unwrap(), &format!("{number}-{round}"));
        });
        // Memory from one thread, freed on another.
        kept.push_back(vec![
            number as u8;
            1 + (round as usize * 977 + number as usize) % 20_000
        ]);
        if kept.len() > 8 {
            assert!(
                kept.pop_front()
                    .unwrap()
                    .iter()
                    .all(|&byte| byte == number as u8)
            );
        }
        if round % 5 == 0 {
            unwind_with_a_move(number, suspend);
        }
        // SAFETY: fails, and sets errno.
        unsafe { libc::close(-1) };
        suspend.suspend(());
        assert_eq!(
            std::io::Error::last_os_error().raw_os_error(),
            Some(libc::EBADF)
        );
        assert_eq!(COUNT.get(), round + 1);
        assert_eq!(thread::current().id(), id);
        let squares: HashMap<u64, u64> = (0..20).map(|x| (x, x * number)).collect();
        assert_eq!(squares[&7], 7 * number);
    }
}

fn unwind_with_a_move(number: u64, suspend: &Suspend) {
    struct MoveInDrop<'a>(&'a Suspend);
    impl Drop for MoveInDrop<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            self.0.suspend(());
            assert!(thread::panicking());
        }
    }
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _move = MoveInDrop(suspend);
        std::panic::resume_unwind(Box::new(number));
    }));
    assert_eq!(caught.unwrap_err().downcast_ref(), Some(&number));
    assert!(!thread::panicking());
}

isolated! { fn greenlets_that_move_between_threads_keep_everything() {
    const GREENLETS: u64 = 100;
    const ROUNDS: u64 = 200;
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let greenlets = (0..GREENLETS).map(|number| Greenlet::new(move |s| body(number, ROUNDS, s)));
    let queue = Mutex::new(greenlets.collect::<VecDeque<_>>());
    let work = |seed: u64| {
        let mut random = seed;
        while DONE.load(Ordering::Relaxed) < GREENLETS as usize {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let next = {
                let mut queue = queue.lock().unwrap();
                let length = queue.len().max(1);
                queue.swap_remove_back((random >> 33) as usize % length)
            };
            let Some(mut greenlet) = next else {
                thread::yield_now();
                continue;
            };
            if greenlet.resume() {
                greenlet.destroy();
                DONE.fetch_add(1, Ordering::Relaxed);
            } else {
                queue.lock().unwrap().push_back(greenlet);
            }
        }
    };
    thread::scope(|scope| {
        for seed in 0..3 {
            scope.spawn(move || work(seed));
        }
    });
} }

/// Moves to the other thread in the middle of a destructor, twice.
struct MoveAtEnd(Cell<Option<&'static Suspend>>);

impl Drop for MoveAtEnd {
    fn drop(&mut self) {
        let suspend = self.0.get().unwrap();
        suspend.suspend(());
        drop(vec![0; 1000]);
        COUNT.set(COUNT.get() + 1);
        suspend.suspend(());
        ENDS.fetch_add(1, Ordering::Relaxed);
    }
}

static ENDS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static AT_END: MoveAtEnd = const { MoveAtEnd(Cell::new(None)) };
}

isolated! { fn destructors_of_thread_locals_may_move() {
    let mut greenlet = Greenlet::new(|suspend| {
        // SAFETY: it lives as long as the coroutine, and the destructor runs on that.
        let suspend = unsafe { &*std::ptr::from_ref(suspend) };
        AT_END.with(|at_end| at_end.0.set(Some(suspend)));
    });
    let first = arch::thread_pointer();
    assert!(!greenlet.resume());
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_ne!(arch::thread_pointer(), first);
            assert!(!greenlet.resume());
        });
    });
    assert!(greenlet.resume());
    assert_eq!(ENDS.load(Ordering::Relaxed), 1);
    greenlet.destroy();
} }
