//! The C library's allocator has its arenas and caches per worker, however many greenlets there are.

mod support;

use std::ffi::CStr;
use std::fs;
use std::hint::black_box;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use support::process::wait_until;
use support::{child, runtime, watched};

const COUNT: usize = 10_000;

/// What a cache of one thread takes at the least: its head, in glibc 2.26 and newer.
const CACHE: usize = 576;

/// What malloc tells of its arenas, as XML.
fn malloc_info() -> String {
    let (mut text, mut length) = (ptr::null_mut(), 0);
    // SAFETY: the stream writes to a buffer of its own, which after `fclose` is ours, with its
    // length; it ends with a zero.
    unsafe {
        let stream = libc::open_memstream(&mut text, &mut length);
        assert!(!stream.is_null());
        assert_eq!(libc::malloc_info(0, stream), 0);
        libc::fclose(stream);
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        libc::free(text.cast());
        copy
    }
}

fn arenas() -> usize {
    malloc_info().matches("<heap nr=").count()
}

/// OS threads of this process: the workers, and a few of the runtime's and the test's.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("task").count()
}

/// Bytes that are in use in all arenas; what lies in the caches of threads counts as used.
fn in_use() -> usize {
    // SAFETY: it only reads, under malloc's locks.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// Fills the cache of malloc for some sizes, if there is a cache of one's own.
fn allocate_and_free() {
    for size in [24, 100, 300, 1000] {
        let some: Vec<_> = (0..7).map(|_| vec![1_u8; black_box(size)]).collect();
        black_box(some);
    }
}

#[test]
fn ten_thousand_greenlets_have_the_arenas_and_caches_of_their_workers() {
    let test = "ten_thousand_greenlets_have_the_arenas_and_caches_of_their_workers";
    child::alone(test, || {
        let _watchdog = watched();
        for hubs in [1, 2] {
            let runtime = runtime(hubs);
            let allocated = Arc::new(AtomicUsize::new(0));
            // Every greenlet parks, allocates, and parks again; and so often that workers change.
            let greenlets: Vec<_> = (0..COUNT)
                .map(|_| {
                    let allocated = allocated.clone();
                    runtime.spawn(move || {
                        for _ in 0..3 {
                            greenlet::park();
                            allocate_and_free();
                            allocated.fetch_add(1, Relaxed);
                        }
                        greenlet::park();
                    })
                })
                .collect();
            let rounds = |count: usize| {
                for round in 1..=count {
                    greenlets.iter().for_each(|one| one.thread().unpark());
                    wait_until("all have allocated", || {
                        allocated.load(Relaxed) >= round * COUNT
                            && runtime.stats().parks >= ((round + 1) * COUNT) as u64
                    });
                }
            };
            wait_until("all wait", || runtime.stats().parks >= COUNT as u64);
            let before = in_use();
            rounds(3);
            let each = in_use().saturating_sub(before) / COUNT;
            assert!(
                each < CACHE / 4,
                "{each} bytes more for each greenlet on {hubs} hubs: are there caches?"
            );
            // The main arena and one for each thread; an arena whose thread has ended is used again.
            let (arenas, limit) = (arenas(), 1 + threads());
            assert!(arenas <= limit, "{arenas} arenas on {hubs} hubs");

            greenlets.iter().for_each(|one| one.thread().unpark());
            greenlets.into_iter().for_each(|one| one.join().unwrap());
        }
    });
}

/// What the test above looks at does show when caches are many.
#[test]
fn threads_have_caches_of_their_own() {
    let test = "threads_have_caches_of_their_own";
    child::alone(test, || {
        const THREADS: usize = 200;
        let before = in_use();
        let ready = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let ready = ready.clone();
                std::thread::spawn(move || {
                    allocate_and_free();
                    ready.fetch_add(1, Relaxed);
                    std::thread::park();
                })
            })
            .collect();
        wait_until("all have allocated", || ready.load(Relaxed) == THREADS);
        let each = (in_use() - before) / THREADS;
        assert!(
            each > CACHE,
            "{each} bytes for each thread: nothing is counted"
        );
        assert!(arenas() > 1);
        for thread in threads {
            thread.thread().unpark();
            thread.join().unwrap();
        }
    });
}
