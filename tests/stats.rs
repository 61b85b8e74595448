//! `stats`.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use support::process::wait_until;
use support::{Flag, on_hubs, with_hubs};

#[test]
fn greenlets_are_those_that_have_not_ended() {
    with_hubs(|runtime| {
        assert_eq!(runtime.stats().greenlets, 0);
        let release = Arc::new(Flag::default());
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let release = release.clone();
                runtime.spawn(move || release.wait())
            })
            .collect();
        assert_eq!(runtime.stats().greenlets, 50);
        runtime.run(|| assert_eq!(greenlet::stats().unwrap().greenlets, 51));
        release.raise();
        waiting
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        wait_until("all are counted", || runtime.stats().greenlets == 0);
        assert!(runtime.stats().greenlets_peak >= 50);
        assert_eq!(runtime.stats().spawned, 51);
    });
}

#[test]
fn switches_and_parks_are_counted() {
    on_hubs(|_| {
        let before = greenlet::stats().unwrap();
        (0..100).for_each(|_| greenlet::yield_now());
        let between = greenlet::stats().unwrap();
        assert!(between.switches - before.switches >= 100);
        (0..10).for_each(|_| greenlet::sleep(Duration::from_micros(10)));
        let after = greenlet::stats().unwrap();
        assert!(after.parks - between.parks >= 10);
        assert!(after.switches - between.switches >= 10);
    });
}

#[test]
fn steals_are_counted_where_there_are_hubs_to_steal() {
    with_hubs(|runtime| {
        if runtime.hubs() == 1 {
            runtime.run(|| (0..100).for_each(|_| greenlet::spawn(|| ()).join().unwrap()));
            return assert_eq!(runtime.stats().steals, 0);
        }
        wait_until("a hub steals", || {
            runtime.run(|| {
                // Long enough for the other hubs to come.
                let spin = || thread::sleep(Duration::from_micros(200));
                let spawned: Vec<_> = (0..20).map(|_| greenlet::spawn(spin)).collect();
                spawned
                    .into_iter()
                    .for_each(|greenlet| greenlet.join().unwrap());
            });
            runtime.stats().steals > 0
        });
    });
}

#[test]
fn hubs_with_nothing_to_do_sleep() {
    with_hubs(|runtime| {
        wait_until("the hubs sleep", || runtime.stats().sleeps > 0);
        // And do not wake for nothing.
        wait_until("the hubs go on sleeping", || {
            let before = runtime.stats().sleeps;
            thread::sleep(Duration::from_millis(50));
            runtime.stats().sleeps - before <= 2
        });
    });
}

#[test]
fn stats_are_those_of_the_callers_runtime() {
    assert!(greenlet::stats().is_none());
    on_hubs(|_| {
        assert_eq!(greenlet::stats().unwrap().spawned, 1);
        assert!(
            thread::spawn(|| greenlet::stats().is_none())
                .join()
                .unwrap()
        );
    });
}
