//! `sync::Barrier`.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use greenlet::sync::Barrier;
use support::process::wait_until;
use support::{crowd, does_not_park, in_crowd, parks, runtime, watched};

#[test]
fn nobody_passes_before_all_have_come_and_one_leads() {
    const ROUNDS: usize = 50;
    let _watchdog = watched();
    let barrier = Barrier::new(in_crowd(4));
    let (come, leaders) = (AtomicUsize::new(0), AtomicUsize::new(0));
    crowd(4, |_| {
        for round in 1..=ROUNDS {
            come.fetch_add(1, SeqCst);
            if barrier.wait().is_leader() {
                leaders.fetch_add(1, SeqCst);
            }
            assert!(come.load(SeqCst) >= round * in_crowd(4));
            barrier.wait();
        }
    });
    assert_eq!(leaders.load(SeqCst), ROUNDS);
}

#[test]
fn waiting_for_the_others_parks_the_greenlet() {
    let barrier = Barrier::new(2);
    let leads = parks(
        || barrier.wait().is_leader(),
        || assert!(barrier.wait().is_leader()),
    );
    assert!(!leads);
}

#[test]
fn the_last_one_does_not_park() {
    does_not_park(|| {
        assert!(Barrier::new(0).wait().is_leader());
        let barrier = Barrier::new(1);
        assert!(barrier.wait().is_leader() && barrier.wait().is_leader());
    });
}

#[test]
fn one_that_is_cancelled_has_not_come() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let barrier = Arc::new(Barrier::new(3));
        let ending = runtime(hubs);
        let theirs = barrier.clone();
        let cancelled = ending.spawn(move || theirs.wait());
        wait_until("it waits", || ending.stats().parks >= 1);
        drop(ending);
        assert!(cancelled.join().is_err());
        let passed = Arc::new(AtomicUsize::new(0));
        let others = [(); 2].map(|()| {
            let (barrier, passed) = (barrier.clone(), passed.clone());
            std::thread::spawn(move || {
                barrier.wait();
                passed.fetch_add(1, SeqCst);
            })
        });
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(passed.load(SeqCst), 0);
        barrier.wait();
        others.into_iter().for_each(|other| other.join().unwrap());
    }
}

#[test]
fn one_that_cannot_wait_has_not_come() {
    let _watchdog = watched();
    runtime(1).run(|| {
        let barrier = Barrier::new(2);
        let on_thread_stack = || greenlet::on_thread_stack(|| barrier.wait());
        assert!(catch_unwind(AssertUnwindSafe(on_thread_stack)).is_err());
        greenlet::thread::scope(|scope| {
            let other = scope.spawn(|| barrier.wait().is_leader());
            greenlet::yield_now();
            assert!(on_thread_stack().is_leader());
            assert!(!other.join().unwrap());
        });
    });
}
