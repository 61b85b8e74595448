//! `yield_now`.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenlet::yield_now;
use support::{on_hubs, runtime, watched, with_hubs};

#[test]
fn greenlets_of_one_hub_take_turns() {
    let _watchdog = watched();
    let turns = Arc::new(Mutex::new(Vec::new()));
    runtime(1).run(|| {
        let greenlets = [0, 1, 2].map(|n| {
            let turns = turns.clone();
            greenlet::spawn(move || {
                for _ in 0..100 {
                    turns.lock().unwrap().push(n);
                    yield_now();
                }
            })
        });
        greenlets
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
    let turns = turns.lock().unwrap();
    assert!(
        turns.iter().enumerate().all(|(turn, n)| turn % 3 == *n),
        "{turns:?}"
    );
}

#[test]
fn a_greenlet_that_is_alone_goes_on() {
    on_hubs(|_| (0..1000).for_each(|_| yield_now()));
}

/// Nor does it when its hub looks around.
#[test]
fn who_yields_alone_wakes_no_other_hub() {
    on_hubs(|_| {
        let sleeps = || greenlet::stats().unwrap().sleeps;
        // The others fall asleep.
        greenlet::sleep(Duration::from_millis(20));
        let before = sleeps();
        (0..3_000_000).for_each(|_| yield_now());
        let woken = sleeps() - before;
        assert!(woken < 100, "{woken}");
    });
}

#[test]
fn a_plain_thread_yields_too() {
    yield_now();
}

#[test]
fn a_hundred_greenlets_yield_and_none_is_lost() {
    on_hubs(|_| {
        let yields = Arc::new(AtomicUsize::new(0));
        let greenlets: Vec<_> = (0..100)
            .map(|_| {
                let yields = yields.clone();
                greenlet::spawn(move || {
                    for _ in 0..200 {
                        yield_now();
                        yields.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        greenlets
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        assert_eq!(yields.load(SeqCst), 100 * 200);
    });
}

#[test]
fn who_yields_keeps_out_nobody_who_comes_from_outside() {
    with_hubs(|runtime| {
        let over = Arc::new(AtomicBool::new(false));
        let yielding: Vec<_> = (0..2 * runtime.hubs())
            .map(|_| {
                let over = over.clone();
                runtime.spawn(move || {
                    while !over.load(SeqCst) {
                        yield_now();
                    }
                })
            })
            .collect();
        for n in 0..100 {
            assert_eq!(runtime.run(|| n), n);
        }
        over.store(true, SeqCst);
        yielding
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
}

#[test]
fn two_that_wake_each_other_keep_out_nobody() {
    let _watchdog = watched();
    runtime(1).run(|| {
        let over = Arc::new(AtomicBool::new(false));
        // They hand the next slot to and fro.
        let pair = [(); 2].map(|()| {
            let over = over.clone();
            greenlet::spawn(move || {
                greenlet::park();
                let partner: greenlet::Greenlet = PARTNERS.lock().unwrap().pop().unwrap();
                while !over.load(SeqCst) {
                    partner.unpark();
                    greenlet::park();
                }
                partner.unpark();
            })
        });
        PARTNERS
            .lock()
            .unwrap()
            .extend(pair.iter().map(|one| one.thread().clone()));
        // The first one pops the second.
        pair.iter().for_each(|one| one.thread().unpark());
        (0..100).for_each(|_| yield_now());
        over.store(true, SeqCst);
        pair.into_iter().for_each(|one| one.join().unwrap());
    });
}

static PARTNERS: Mutex<Vec<greenlet::Greenlet>> = Mutex::new(Vec::new());
