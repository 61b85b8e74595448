//! `Builder`.

mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use greenlet::Builder;
use support::recursion::use_stack;
use support::{on_hubs, runtime, watched};

#[test]
fn a_name_is_the_greenlets_and_nobody_elses() {
    on_hubs(|_| {
        let name = || greenlet::current().name().map(str::to_owned);
        let named = Builder::new().name("ant".into()).spawn(name).unwrap();
        assert_eq!(named.join().unwrap().as_deref(), Some("ant"));
        assert_eq!(greenlet::spawn(name).join().unwrap(), None);
        assert_eq!(name().as_deref(), Some("main"));
    });
}

#[test]
fn a_greenlet_with_a_hub_stays_there_for_life() {
    on_hubs(|hubs| {
        let over = Arc::new(AtomicBool::new(false));
        // Work for everybody, so that everybody steals.
        let others: Vec<_> = (0..4 * hubs)
            .map(|_| {
                let over = over.clone();
                greenlet::spawn(move || {
                    while !over.load(Relaxed) {
                        greenlet::yield_now();
                    }
                })
            })
            .collect();
        let pinned: Vec<_> = (0..hubs)
            .map(|hub| {
                let stay = move || {
                    for round in 0..300 {
                        assert_eq!(greenlet::hub_id(), Some(hub));
                        match round % 3 {
                            0 => greenlet::yield_now(),
                            1 => greenlet::sleep(std::time::Duration::from_micros(10)),
                            // Woken on whatever hub the other one runs.
                            _ => {
                                let me = greenlet::current();
                                drop(greenlet::spawn(move || me.unpark()));
                                greenlet::park();
                            }
                        }
                    }
                };
                Builder::new().hub(hub).spawn(stay).unwrap()
            })
            .collect();
        pinned
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        over.store(true, Relaxed);
        others
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
}

#[test]
fn a_hub_that_does_not_exist_is_an_error_that_says_how_many_there_are() {
    on_hubs(|hubs| {
        for hub in [hubs, usize::MAX] {
            let error = Builder::new().hub(hub).spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(
                error.to_string().contains(&format!("has {hubs}")),
                "{error}"
            );
        }
        assert!(Builder::new().hub(hubs - 1).spawn(|| ()).is_ok());
    });
}

#[test]
fn a_stack_that_is_too_small_is_an_error() {
    on_hubs(|_| {
        for size in [0, 1, 4096, 16 * 1024 - 1] {
            let error = Builder::new().stack_size(size).spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&size.to_string()), "{error}");
        }
        greenlet::spawn(|| ()).join().unwrap();
    });
}

#[test]
fn a_stack_that_is_too_large_is_an_error() {
    on_hubs(|_| {
        // The last one fits into the word but not into the address space.
        for size in [usize::MAX, usize::MAX / 2 + 2, 1 << 60, 1 << 47] {
            let error = Builder::new().stack_size(size).spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{size}: {error}");
        }
        greenlet::spawn(|| ()).join().unwrap();
    });
}

#[test]
fn the_smallest_stack_runs() {
    on_hubs(|_| {
        let smallest = Builder::new().stack_size(16 * 1024);
        assert_eq!(smallest.spawn(|| 3).unwrap().join().unwrap(), 3);
        // What was asked for is there, and the guard page and the thread-locals beside it.
        let deep = Builder::new().stack_size(16 * 1024);
        deep.spawn(|| use_stack(10 * 1024)).unwrap().join().unwrap();
    });
}

#[test]
fn every_greenlet_has_the_stack_that_it_asked_for() {
    on_hubs(|_| {
        let greenlets = (15..24).map(|power| {
            let size = 1 << power;
            Builder::new()
                .stack_size(size)
                .spawn(move || use_stack(size / 2))
                .unwrap()
        });
        greenlets
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
}

#[test]
fn stacks_of_different_sizes_do_not_get_mixed_up() {
    on_hubs(|_| {
        for _ in 0..50 {
            let sizes = [32 << 10, 4 << 20, 64 << 10, 1 << 20];
            let greenlets = sizes.map(|size| {
                Builder::new()
                    .stack_size(size)
                    .spawn(move || use_stack(size / 2))
                    .unwrap()
            });
            greenlets
                .into_iter()
                .for_each(|greenlet| greenlet.join().unwrap());
        }
    });
}

#[test]
fn a_builder_may_be_used_again() {
    let _watchdog = watched();
    runtime(2).run(|| {
        let builder = Builder::new()
            .name("twin".into())
            .hub(1)
            .stack_size(1 << 20);
        let twins =
            [builder.clone(), builder].map(|builder| builder.spawn(greenlet::hub_id).unwrap());
        for twin in twins {
            assert_eq!(twin.name(), Some("twin"));
            assert_eq!(twin.join().unwrap(), Some(1));
        }
    });
}
