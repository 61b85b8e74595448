//! What a greenlet shares with its worker.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::super::{self as tls, place, register};
use super::child;
use super::worker::{self, Greenlet};
use crate::OnWorker;
use crate::arch::{self, tcb};
use crate::sys::{auxv, dl, probe};

isolated! { fn a_worker_knows_that_there_are_several_threads() {
    // glibc sets this on the thread that creates another only.
    let support = worker::support();
    let offset = tcb::multiple_threads(support.layout.pthread_size);
    // SAFETY: a field of the thread's. It is set back to what it is on a thread that never
    // created one, as on the main thread of a program whose first thread a greenlet created.
    let flag = |tp| unsafe { *place::<i32>(tp, offset) };
    // SAFETY: as above.
    unsafe {
        *place::<i32>(arch::thread_pointer(), offset) = 0;
        support.adopt_worker();
    }
    assert_eq!(flag(arch::thread_pointer()), 1);
    let greenlet = Greenlet::new();
    assert_eq!(flag(greenlet.tp()), 1);
} }

isolated! { fn a_greenlet_uses_its_workers_malloc_cache() {
    let greenlet = Greenlet::new();
    // SAFETY: freed on the greenlet, found again on the worker: the cache is last in, first out.
    unsafe {
        let freed = greenlet.run(|| {
            let memory = libc::malloc(black_box(777));
            libc::free(black_box(memory));
            memory.addr()
        });
        let memory = libc::malloc(black_box(777));
        assert_eq!(memory.addr(), freed);
        libc::free(memory);
    }
} }

isolated! { fn a_greenlet_makes_no_arena() {
    let greenlet = Greenlet::new();
    greenlet.run(|| drop(black_box(vec![0_u8; 100])));
    let arenas = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains("---p")).count()
    };
    let before = arenas();
    let greenlets: Vec<Greenlet> = (0..50).map(|_| Greenlet::new()).collect();
    for greenlet in &greenlets {
        greenlet.live(|| drop(black_box(vec![0_u8; 100_000])));
    }
    assert_eq!(arenas(), before);
} }

#[test]
fn an_arena_that_malloc_changes_on_a_greenlet_is_the_workers_too() {
    // When the main arena is exhausted malloc goes to another, and notes it in the thread.
    // If the worker did not hear of it, glibc's count of the arena's threads would be wrong, and
    // the next greenlet's malloc would end the process.
    let path = "tls::tests::workers::an_arena_that_malloc_changes_on_a_greenlet_is_the_workers_too";
    // With two arenas, threads take turns between them.
    child::run_with(path, &[("MALLOC_ARENA_MAX", "2")], || {
        let thread = || thread::scope(|scope| scope.spawn(exhaust_the_main_arena).join().unwrap());
        let tested = (0..8).any(|_| thread());
        assert!(
            tested,
            "no thread had the main arena, or malloc stayed there"
        );
    });
}

/// Whether the calling thread was on the main arena, and a greenlet of its made it leave that.
fn exhaust_the_main_arena() -> bool {
    let support = worker::support();
    let greenlets: Vec<Greenlet> = (0..4).map(|_| Greenlet::new()).collect();
    let is_main = |arena: usize| {
        let mut found = false;
        dl::for_each_module(|info| {
            found |= dl::covers(info, arena) && dl::covers(info, support.symbols.libc);
            ControlFlow::Continue(())
        });
        found
    };
    let on_main = || {
        let words = support.words().malloc().iter();
        // SAFETY: the calling thread's words.
        words
            .map(|&word| unsafe { *place::<usize>(arch::thread_pointer(), word) })
            .any(is_main)
    };
    if !on_main() {
        return false;
    }
    // SAFETY: numbers.
    unsafe {
        for (resource, limit) in [(libc::RLIMIT_DATA, 1 << 20), (libc::RLIMIT_AS, 1)] {
            let limit = libc::rlimit {
                rlim_cur: limit,
                rlim_max: libc::RLIM_INFINITY,
            };
            assert_eq!(libc::setrlimit(resource, &limit), 0);
        }
    }
    for greenlet in &greenlets {
        greenlet.run(|| {
            for _ in 0..64 {
                // SAFETY: leaked on purpose, to exhaust the arena.
                let memory = black_box(unsafe { libc::malloc(60_000) });
                if !memory.is_null() {
                    // SAFETY: just allocated.
                    unsafe { *memory.cast::<u8>() = 1 };
                }
            }
        });
    }
    let left = !on_main();
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: numbers.
    unsafe {
        libc::setrlimit(libc::RLIMIT_DATA, &limit);
        libc::setrlimit(libc::RLIMIT_AS, &limit);
    }
    left
}

/// An allocator that notes under whose thread pointer it is called.
struct Recorder;

static CALLED_UNDER: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator.
unsafe impl GlobalAlloc for Recorder {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLED_UNDER.store(arch::thread_pointer(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLED_UNDER.store(arch::thread_pointer(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(memory, layout) };
    }
}

isolated! { fn on_worker_runs_the_allocator_under_the_workers_thread_pointer() {
    static ALLOCATOR: OnWorker<Recorder> = OnWorker::new(Recorder);
    let layout = Layout::new::<[u64; 20]>();
    let greenlet = Greenlet::new();
    let worker = arch::thread_pointer();
    let (tp, called) = (greenlet.tp(), || CALLED_UNDER.swap(0, Ordering::Relaxed));
    greenlet.run(|| {
        // SAFETY: freed once, with the layout that it has then.
        unsafe {
            let memory = ALLOCATOR.alloc(layout);
            assert_eq!((called(), arch::thread_pointer()), (worker, tp));
            let memory = ALLOCATOR.realloc(memory, layout, 4000);
            assert_eq!((called(), arch::thread_pointer()), (worker, tp));
            ALLOCATOR.dealloc(memory, Layout::from_size_align_unchecked(4000, 8));
            assert_eq!((called(), arch::thread_pointer()), (worker, tp));
            let memory = ALLOCATOR.alloc_zeroed(layout);
            assert_eq!((called(), *memory), (worker, 0));
            ALLOCATOR.dealloc(memory, layout);
        }
    });
    // SAFETY: as above.
    unsafe { ALLOCATOR.dealloc(ALLOCATOR.alloc(layout), layout) };
    assert_eq!(called(), worker, "outside a greenlet nothing changes");
} }

/// Whether a block's life is run by system calls.
fn runs_by_system_call() -> bool {
    Greenlet::new().live(|| drop(thread::current()));
    register::is_by_system_call()
}

isolated! { fn mallocs_words_go_along_on_a_visit_to_the_worker_and_come_back() {
    let greenlet = Greenlet::new();
    let (own, others) = (worker::words(), worker::words_of_another_thread());
    greenlet.run(|| {
        worker::set_words(&others);
        // SAFETY: nothing in here has a thread-local.
        let visit = unsafe { tls::Visit::begin() };
        let seen = worker::words();
        // As if malloc had changed them there.
        worker::set_words(&own);
        drop(visit);
        assert_eq!(seen, others, "the worker has the greenlet's");
        assert_eq!(worker::words(), own, "the greenlet has the worker's");
    });
} }

#[test]
fn a_thread_pointer_by_system_call_works_where_the_instruction_is_missing() {
    let path = "tls::tests::workers::a_thread_pointer_by_system_call_works_where_the_instruction_is_missing";
    child::run_with(
        path,
        &[("GREENLET_WITHOUT", "epoll_pwait2, fsgsbase")],
        || {
            assert!(runs_by_system_call(), "the fallback was not used");
            assert!(!probe::without("nothing of the kind"));
        },
    );
}

isolated! { fn the_instruction_is_used_where_it_is_there_and_not_hidden() {
    let is_there = arch::has_thread_pointer_instruction(auxv::hwcap2());
    assert_eq!(runs_by_system_call(), !is_there || probe::without("fsgsbase"));
} }

isolated! { fn a_signal_handler_on_a_greenlet_knows_the_worker() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handler(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
        SEEN.store(super::super::hooks::worker_thread_pointer(), Ordering::Relaxed);
    }
    // SAFETY: the handler does what one may do.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
        Greenlet::new().run(|| libc::raise(libc::SIGUSR1));
    }
    assert_eq!(SEEN.load(Ordering::Relaxed), arch::thread_pointer());
} }
