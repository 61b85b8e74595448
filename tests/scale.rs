//! Many greenlets.

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use support::{Flag, child, runtime, watched};

#[test]
fn a_hundred_thousand_are_spawned_and_joined() {
    for hubs in [1, 2] {
        let _watchdog = watched();
        let sum = runtime(hubs).run(|| {
            let greenlets: Vec<_> = (0..100_000_u64)
                .map(|n| greenlet::spawn(move || n))
                .collect();
            greenlets
                .into_iter()
                .map(|greenlet| greenlet.join().unwrap())
                .sum::<u64>()
        });
        assert_eq!(sum, 100_000 * 99_999 / 2);
    }
}

#[test]
fn a_hundred_thousand_follow_each_other() {
    for hubs in [1, 2] {
        let _watchdog = watched();
        runtime(hubs).run(|| (0..100_000).for_each(|_| greenlet::spawn(|| ()).join().unwrap()));
    }
}

#[test]
fn twenty_thousand_wait_at_once_and_all_wake() {
    let test = "twenty_thousand_wait_at_once_and_all_wake";
    child::alone(test, || {
        const COUNT: usize = 20_000;
        for hubs in [1, 2] {
            let _watchdog = watched();
            let (woken, release) = <(Arc<AtomicUsize>, Arc<Flag>)>::default();
            let runtime = runtime(hubs);
            let parked: Vec<_> = (0..COUNT)
                .map(|_| {
                    let (woken, release) = (woken.clone(), release.clone());
                    runtime.spawn(move || {
                        release.wait();
                        woken.fetch_add(1, SeqCst);
                    })
                })
                .collect();
            support::process::wait_until("all wait", || runtime.stats().parks >= COUNT as u64);
            assert_eq!(runtime.stats().greenlets, COUNT as u64);
            assert_eq!(woken.load(SeqCst), 0);
            release.raise();
            parked
                .into_iter()
                .for_each(|greenlet| greenlet.join().unwrap());
            assert_eq!(woken.load(SeqCst), COUNT);
            assert!(runtime.stats().greenlets_peak >= COUNT as u64);
        }
    });
}

#[test]
fn twenty_thousand_that_wait_end_with_their_runtime() {
    let test = "twenty_thousand_that_wait_end_with_their_runtime";
    child::alone(test, || {
        const COUNT: usize = 20_000;
        for hubs in [1, 2] {
            let _watchdog = watched();
            let owned = Arc::new(());
            let runtime = runtime(hubs);
            for _ in 0..COUNT {
                let kept = owned.clone();
                drop(runtime.spawn(move || {
                    greenlet::park();
                    drop(kept);
                }));
            }
            support::process::wait_until("all wait", || runtime.stats().parks >= COUNT as u64);
            drop(runtime);
            assert_eq!(Arc::strong_count(&owned), 1);
        }
    });
}
