//! malloc's state for a thread, which greenlets share with their worker.

mod support;

use std::fs;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use greenlet::Builder;
use support::{child, go_to_hub, runtime};

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

/// Lets the process have no memory that it does not have yet, or lifts that.
fn limit_memory(limited: bool) {
    for resource in [libc::RLIMIT_DATA, libc::RLIMIT_AS] {
        let limit = libc::rlimit {
            rlim_cur: if limited { 1 } else { libc::RLIM_INFINITY },
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: a valid limit; the hard limit stays, so it can be lifted again.
        assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
    }
}

/// Allocates until there is nothing, in the greenlet that calls.
fn exhaust() {
    for _ in 0..64 {
        // SAFETY: leaked on purpose; the answer may be null.
        black_box(unsafe { libc::malloc(SIZE) });
    }
}

/// In a greenlet pinned to the hub, which is on the main arena: has greenlets of that hub find it
/// exhausted, one after the other. Nothing in between allocates, which would fail.
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
    limit_memory(true);
    for number in 1..=GREENLETS {
        turn.store(number, SeqCst);
        while through.load(SeqCst) < number {
            greenlet::yield_now();
        }
    }
    limit_memory(false);
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
        // Instead of a watchdog, whose thread might start when there is no memory for it.
        // SAFETY: a number. The signal ends the process.
        unsafe { libc::alarm(60) };
        let mut tested = 0;
        for hubs in [1, 2, 8, 1, 1, 1] {
            let runtime = runtime(hubs);
            // A thread that starts needs memory: all hubs are there before that is limited.
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
