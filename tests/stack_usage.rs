//! How much stack greenlets have used, by spawn site.

mod support;

use std::panic::Location;

use greenlet::{Builder, Runtime, StackUsage};
use support::process::wait_until;
use support::recursion::use_stack;
use support::{on_hubs, runtime, watched, with_hubs};

const DEEP: usize = 150 << 10;
/// More than a greenlet needs that calls next to nothing.
const SHALLOW: usize = 12 << 10;

/// Spawns and joins greenlets one after the other, each of which uses so much. Answers from where.
#[track_caller]
fn spawn(runtime: &Runtime, count: usize, bytes: usize) -> &'static Location<'static> {
    for _ in 0..count {
        runtime.spawn(move || use_stack(bytes)).join().unwrap();
    }
    Location::caller()
}

/// What is known of a spawn site. The last sample comes a moment after its greenlet's join.
fn usage_at(runtime: &Runtime, site: &'static Location<'static>) -> StackUsage {
    wait_until("all have ended", || runtime.stats().greenlets == 0);
    let usage = runtime.stack_usage();
    let found = usage.into_iter().find(|usage| usage.spawned_at == site);
    found.expect("one of so many is sampled")
}

#[test]
fn a_deep_recursion_shows_and_a_shallow_one_does_not() {
    with_hubs(|runtime| {
        let deep = spawn(runtime, 4000, DEEP);
        // On the same stacks, which are warm now and full of what the others have left.
        let shallow = spawn(runtime, 8000, 100);
        let (deep, shallow) = (usage_at(runtime, deep), usage_at(runtime, shallow));
        assert!(
            (DEEP..DEEP + SHALLOW).contains(&deep.high_water),
            "{deep:?}"
        );
        assert!((100..SHALLOW).contains(&shallow.high_water), "{shallow:?}");
        for usage in [deep, shallow] {
            assert_eq!(usage.stack_size, 256 << 10);
            assert!((1..100).contains(&usage.samples), "{usage:?}");
        }
    });
}

#[test]
fn the_first_greenlet_of_a_runtime_is_sampled() {
    let _watchdog = watched();
    for bytes in [50_000, 500_000, 5_000_000] {
        let runtime = runtime(1);
        runtime.run(|| use_stack(bytes));
        wait_until("it has ended", || runtime.stats().greenlets == 0);
        let usage = runtime.stack_usage();
        assert_eq!(usage.len(), 1);
        assert_eq!((usage[0].samples, usage[0].stack_size), (1, 8 << 20));
        assert!(
            (bytes..bytes + SHALLOW).contains(&usage[0].high_water),
            "{usage:?}"
        );
        assert!(usage[0].spawned_at.file().ends_with("stack_usage.rs"));
    }
}

#[test]
fn stacks_of_other_sizes_and_reserved_ones_are_sampled() {
    on_hubs(|_| {
        for _ in 0..3000 {
            let builder = Builder::new().stack_size(1 << 20);
            builder
                .spawn(|| use_stack(600_000))
                .unwrap()
                .join()
                .unwrap();
        }
        let usage = greenlet::stack_usage().expect("on a greenlet");
        let large: Vec<_> = (usage.iter().filter(|site| site.stack_size == 1 << 20)).collect();
        assert_eq!(large.len(), 1);
        assert!(
            (600_000..600_000 + SHALLOW).contains(&large[0].high_water),
            "{large:?}"
        );
    });
}

#[test]
fn with_shared_thread_locals_it_is_the_same() {
    let _watchdog = watched();
    let builder = Runtime::builder().hubs(2);
    // SAFETY: what the test's greenlets do is fine on one thread's thread-locals.
    let runtime = unsafe { builder.share_thread_locals() }.build().unwrap();
    let deep = spawn(&runtime, 4000, DEEP);
    let shallow = spawn(&runtime, 8000, 100);
    assert!(usage_at(&runtime, deep).high_water >= DEEP);
    assert!(usage_at(&runtime, shallow).high_water < SHALLOW);
}

#[test]
fn outside_of_greenlets_there_is_none() {
    assert!(greenlet::stack_usage().is_none());
}
