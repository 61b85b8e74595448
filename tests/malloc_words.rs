//! malloc's state for a thread, which greenlets share with their worker.

mod support;

use std::fs;
use std::hint::black_box;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use greenlet::Builder;
use support::{child, go_to_hub, runtime, watched};

/// How many greenlets exhaust the main arena: more than there are threads attached to it.
const GREENLETS: usize = 24;

/// Larger than what malloc keeps in a cache per thread, smaller than what it maps on its own.
const SIZE: usize = 60_000;

/// Where the main arena's memory is, as long as `brk` gives it some.
fn heap() -> Range<usize> {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let line = maps.lines().find(|line| line.ends_with("[heap]"));
    let range = line.and_then(|line| line.split(' ').next()?.split_once('-'));
    let address = |text| usize::from_str_radix(text, 16).expect("an address");
    range.map_or(0..0, |(low, high)| address(low)..address(high))
}

/// Whether malloc serves the caller from the main arena.
fn is_on_the_main_arena() -> bool {
    let memory = black_box(Vec::<u8>::with_capacity(SIZE));
    heap().contains(&memory.as_ptr().addr())
}

/// While it lives, the main arena cannot grow: a page is in the way of `brk`, and there is no room for
/// the megabyte that malloc maps instead. The little that a thread needs which starts there is.
struct FullHeap {
    page: *mut libc::c_void,
}

const PAGE: usize = 4096;

impl FullHeap {
    fn new() -> Self {
        // SAFETY: it only asks.
        let end = unsafe { libc::sbrk(0) }.addr().next_multiple_of(PAGE);
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a new mapping, where there is none yet.
        let page = unsafe { libc::mmap(end as *mut _, PAGE, libc::PROT_NONE, kind, -1, 0) };
        assert_eq!(page.addr(), end, "something is behind the heap");
        let statm = fs::read_to_string("/proc/self/statm").expect("statm");
        let pages = statm.split(' ').next().map(str::parse::<u64>);
        let pages = pages.expect("a number").expect("a number");
        limit_address_space(pages * PAGE as u64 + (512 << 10));
        Self { page }
    }
}

impl Drop for FullHeap {
    fn drop(&mut self) {
        limit_address_space(libc::RLIM_INFINITY);
        // SAFETY: a mapping of ours, that nobody uses.
        assert_eq!(unsafe { libc::munmap(self.page, PAGE) }, 0);
    }
}

fn limit_address_space(bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: a valid limit; the hard limit stays, so it can be lifted again.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    assert_eq!(result, 0);
}

/// Allocates more than a full heap has, in the greenlet that calls, and frees it.
fn exhaust() {
    let mut memory = [ptr::null_mut(); 64];
    for place in &mut memory {
        // SAFETY: freed below. The answer may be null.
        *place = black_box(unsafe { libc::malloc(SIZE) });
    }
    for place in memory {
        // SAFETY: malloc's, and freed once.
        unsafe { libc::free(place) };
    }
}

/// In a greenlet pinned to the hub, which is on the main arena: has greenlets of that hub find it
/// exhausted, one after the other.
fn exhaust_in_turns(hub: usize) {
    let (turn, through) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let started = Arc::new(AtomicUsize::new(0));
    let greenlets: Vec<_> = (1..=GREENLETS)
        .map(|number| {
            let (turn, through, started) = (turn.clone(), through.clone(), started.clone());
            let body = move || {
                started.fetch_add(1, SeqCst);
                while turn.load(SeqCst) < number {
                    greenlet::yield_now();
                }
                exhaust();
                greenlet::yield_now();
                exhaust();
                through.fetch_add(1, SeqCst);
                while turn.load(SeqCst) <= GREENLETS {
                    greenlet::yield_now();
                }
            };
            Builder::new().hub(hub).spawn(body).expect("memory")
        })
        .collect();
    while started.load(SeqCst) < GREENLETS {
        greenlet::yield_now();
    }
    let full = FullHeap::new();
    for number in 1..=GREENLETS {
        turn.store(number, SeqCst);
        while through.load(SeqCst) < number {
            greenlet::yield_now();
        }
    }
    drop(full);
    turn.store(GREENLETS + 1, SeqCst);
    for greenlet in greenlets {
        greenlet.join().expect("it has not panicked");
    }
}

/// When the main arena is exhausted, malloc moves the thread to another one, which it notes in the
/// thread, and counts one thread less for the main arena. So whatever greenlet that happens in, it
/// must be so for the hub and for every other greenlet of it: who still believed in the main arena
/// would be counted off once more, and malloc ends the process when that makes less than none.
#[test]
fn an_arena_that_malloc_leaves_in_a_greenlet_is_left_by_its_hub() {
    let test = "an_arena_that_malloc_leaves_in_a_greenlet_is_left_by_its_hub";
    // With two arenas, threads take turns between them.
    let arenas = [("MALLOC_ARENA_MAX", "2")];
    child::passes(test, &arenas, || {
        let _watchdog = watched();
        let mut tested = 0;
        for hubs in [1, 2, 8, 1, 1, 1] {
            let runtime = runtime(hubs);
            // A thread that starts needs memory, perhaps more than there is then.
            for hub in 0..hubs {
                runtime.run(|| go_to_hub(hub));
            }
            for hub in 0..hubs {
                let on_hub = move || {
                    let before = is_on_the_main_arena();
                    if before {
                        exhaust_in_turns(hub);
                        assert!(!is_on_the_main_arena(), "malloc stayed in the main arena");
                    }
                    before
                };
                let pinned = runtime.run(|| Builder::new().hub(hub).spawn(on_hub));
                let was_on_main = pinned.expect("memory").join().expect("it has not panicked");
                if was_on_main {
                    // And a greenlet that begins there finds what the others have left.
                    let next = runtime.run(|| Builder::new().hub(hub).spawn(is_on_the_main_arena));
                    assert!(!next.expect("memory").join().expect("it has not panicked"));
                    tested += 1;
                }
            }
        }
        assert!(tested > 0, "no hub was on the main arena");
    });
}
