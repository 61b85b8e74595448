//! What must hold under any global allocator; each has a test binary of its own.

#[path = "../../../support/mod.rs"]
pub(crate) mod support;

use std::collections::HashMap;
use std::sync::Arc;

use greenlet::Builder;
use support::process::{resident, wait_until};
use support::{Flag, at_once, child, runtime, watched, with_and_without_moves};

/// How much memory 500 greenlets take that have all allocated a little and wait: stacks,
/// thread-locals, control blocks, and whatever heap the allocator has given them.
///
/// # Panics
///
/// If it is more than `limit` bytes for each.
pub(crate) fn five_hundred_greenlets_take_few_heaps(test: &str, limit: usize) {
    const COUNT: usize = 500;

    child::alone(test, || {
        let _watchdog = watched();
        let runtime = runtime(2);
        runtime.run(|| drop(allocate(0)));
        let before = resident();
        let release = Arc::new(Flag::default());
        let parked: Vec<_> = (0..COUNT)
            .map(|n| {
                let release = release.clone();
                runtime.spawn(move || {
                    let memory = allocate(n);
                    release.wait();
                    check(&memory, n);
                })
            })
            .collect();
        wait_until("all wait", || runtime.stats().parks >= COUNT as u64);
        let each = resident().saturating_sub(before) / COUNT;
        assert!(each < limit, "{each} bytes for each");
        release.raise();
        parked
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
}

/// Some hundred bytes, in 8 pieces of different sizes.
fn allocate(n: usize) -> Vec<Vec<usize>> {
    (0..8).map(|piece| vec![n; 1 + piece]).collect()
}

fn check(memory: &[Vec<usize>], n: usize) {
    assert!(memory.iter().flatten().all(|number| *number == n));
}

/// Memory is allocated, grown and freed on different hubs and by different greenlets.
pub(crate) fn memory_moves_between_hubs() {
    with_and_without_moves(|wait| {
        at_once(20, move |n| {
            let mut map = HashMap::new();
            for round in 0..10 {
                let mut memory = allocate(n);
                wait.now();
                memory
                    .iter_mut()
                    .for_each(|part| part.extend_from_within(..));
                check(&memory, n);
                map.insert(format!("{n} {round}"), memory);
                let large = vec![n; 10_000 * (round % 3)];
                wait.now();
                assert!(large.iter().all(|number| *number == n));
            }
            // The rest is another greenlet's to free.
            greenlet::spawn(move || {
                map.values().for_each(|memory| check(memory, n));
                drop(map);
            })
            .join()
            .unwrap();
        });
    });
}

/// Threads start and end beside greenlets, and use each other's memory.
pub(crate) fn threads_and_greenlets_share_memory() {
    let _watchdog = watched();
    let runtime = runtime(2);
    runtime.run(|| {
        for n in 0..50 {
            let memory = std::thread::spawn(move || allocate(n)).join().unwrap();
            let memory = Builder::new()
                .hub(n % 2)
                .spawn(move || {
                    check(&memory, n);
                    drop(memory);
                    allocate(n + 1)
                })
                .unwrap()
                .join()
                .unwrap();
            std::thread::spawn(move || check(&memory, n + 1))
                .join()
                .unwrap();
        }
    });
}
