//! `sync::Condvar`: notifications, time limits, and ends in the middle.

mod support;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use greenlet::sync::{Condvar, Mutex};
use support::process::wait_until;
use support::{
    Flag, crowd, does_not_park, in_crowd, on_hubs, parks, parks_for_a_while, runtime, watched,
};

#[test]
fn waiting_parks_the_greenlet_up_to_the_notification() {
    let (mutex, condvar) = (Mutex::new(false), Condvar::new());
    let woken = parks(
        || {
            *condvar
                .wait_while(mutex.lock().unwrap(), |up| !*up)
                .unwrap()
        },
        || {
            *mutex.lock().unwrap() = true;
            condvar.notify_one();
        },
    );
    assert!(woken);
}

#[test]
fn waiting_with_a_time_limit_parks_the_greenlet() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let start = Instant::now();
    let (_, result) = parks_for_a_while(|| {
        let guard = mutex.lock().unwrap();
        let (guard, result) = condvar
            .wait_timeout(guard, Duration::from_millis(5))
            .unwrap();
        (drop(guard), result)
    });
    assert!(result.timed_out());
    assert!(start.elapsed() >= Duration::from_millis(5));
    // The mutex was locked again, and given back.
    assert!(mutex.try_lock().is_ok());
}

#[test]
fn notifying_nobody_parks_nobody_and_is_not_kept() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    does_not_park(|| {
        condvar.notify_one();
        condvar.notify_all();
    });
    let guard = mutex.lock().unwrap();
    let waited = condvar.wait_timeout(guard, Duration::from_millis(2));
    assert!(waited.unwrap().1.timed_out());
}

#[test]
fn a_condition_that_holds_parks_nobody() {
    does_not_park(|| {
        let (mutex, condvar) = (Mutex::new(1), Condvar::new());
        let guard = condvar
            .wait_while(mutex.lock().unwrap(), |number| *number != 1)
            .unwrap();
        let (_guard, result) = condvar
            .wait_timeout_while(guard, Duration::ZERO, |number| *number != 1)
            .unwrap();
        assert!(!result.timed_out());
    });
}

/// A queue with a bound, as everybody writes one.
struct Queue {
    items: Mutex<VecDeque<usize>>,
    changed: Condvar,
}

impl Queue {
    fn put(&self, item: usize) {
        let mut items = self
            .changed
            .wait_while(self.items.lock().unwrap(), |items| items.len() == 3)
            .unwrap();
        items.push_back(item);
        drop(items);
        self.changed.notify_all();
    }

    fn take(&self) -> usize {
        let mut items = self
            .changed
            .wait_while(self.items.lock().unwrap(), |items| items.is_empty())
            .unwrap();
        let item = items.pop_front().unwrap();
        drop(items);
        self.changed.notify_all();
        item
    }
}

#[test]
fn a_queue_made_of_it_loses_nothing_between_greenlets_hubs_and_threads() {
    const ITEMS: usize = 200;
    let _watchdog = watched();
    let queue = Queue {
        items: Mutex::default(),
        changed: Condvar::new(),
    };
    let sum = AtomicUsize::new(0);
    crowd(4, |number| {
        for item in 1..=ITEMS {
            if number % 2 == 0 {
                queue.put(item);
            } else {
                sum.fetch_add(queue.take(), SeqCst);
            }
        }
    });
    let expected = in_crowd(4) / 2 * ITEMS * (ITEMS + 1) / 2;
    assert_eq!(sum.load(SeqCst), expected);
}

#[test]
fn one_notification_wakes_one_and_one_for_all_wakes_all() {
    let _watchdog = watched();
    runtime(1).run(|| {
        let (turns, condvar) = (Mutex::new(0), Condvar::new());
        let passed = AtomicUsize::new(0);
        greenlet::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let mut turns = condvar
                        .wait_while(turns.lock().unwrap(), |turns| *turns == 0)
                        .unwrap();
                    *turns -= 1;
                    passed.fetch_add(1, SeqCst);
                });
            }
            greenlet::sleep(Duration::from_millis(2));
            for expected in 1..=3 {
                *turns.lock().unwrap() += 1;
                condvar.notify_one();
                greenlet::sleep(Duration::from_millis(2));
                assert_eq!(passed.load(SeqCst), expected);
            }
            *turns.lock().unwrap() += 7;
            condvar.notify_all();
        });
        assert_eq!(passed.load(SeqCst), 10);
    });
}

#[test]
fn it_may_be_used_with_two_mutexes_at_once() {
    on_hubs(|_| {
        let (one, two, condvar) = (Mutex::new(false), Mutex::new(false), Condvar::new());
        greenlet::thread::scope(|scope| {
            let waiting = [&one, &two].map(|mutex| {
                let condvar = &condvar;
                scope.spawn(move || {
                    *condvar
                        .wait_while(mutex.lock().unwrap(), |up| !*up)
                        .unwrap()
                })
            });
            greenlet::sleep(Duration::from_millis(1));
            *one.lock().unwrap() = true;
            *two.lock().unwrap() = true;
            condvar.notify_all();
            for waiting in waiting {
                assert!(waiting.join().unwrap());
            }
        });
    });
}

/// A notification that meets the time limit or the end of its greenlet goes to another one.
#[test]
fn a_notification_is_not_lost_with_one_that_times_out_or_is_cancelled() {
    let _watchdog = watched();
    for round in 0..50 {
        let pair = Arc::new((Mutex::new(0), Condvar::new()));
        let (ending, staying) = (runtime(2), runtime(2));
        let wait = |pair: Arc<(Mutex<i32>, Condvar)>| {
            move || {
                let (mutex, condvar) = &*pair;
                let mut turns = condvar
                    .wait_while(mutex.lock().unwrap(), |turns| *turns == 0)
                    .unwrap();
                *turns -= 1;
            }
        };
        let before = ending.stats().parks;
        for _ in 0..10 {
            ending.spawn(wait(pair.clone()));
        }
        wait_until("they wait", || ending.stats().parks - before >= 10);
        let others: Vec<_> = (0..10).map(|_| staying.spawn(wait(pair.clone()))).collect();
        let notifying = std::thread::spawn({
            let pair = pair.clone();
            move || {
                // Each gets one, and those that are gone none: `turns` tells.
                for _ in 0..20 {
                    *pair.0.lock().unwrap_or_else(|p| p.into_inner()) += 1;
                    pair.1.notify_one();
                }
            }
        });
        greenlet::sleep(Duration::from_micros(5 * round));
        drop(ending);
        notifying.join().unwrap();
        others.into_iter().for_each(|other| {
            let _ = other.join();
        });
    }
}

#[test]
fn the_mutex_is_poisoned_for_one_that_comes_back_to_it() {
    on_hubs(|_| {
        let (mutex, condvar, locked) = (Mutex::new(()), Condvar::new(), Flag::default());
        greenlet::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let guard = mutex.lock().unwrap();
                locked.raise();
                condvar.wait(guard).is_err()
            });
            locked.wait();
            let panicking = scope.spawn(|| {
                let _guard = mutex.lock().unwrap();
                condvar.notify_one();
                std::panic::resume_unwind(Box::new("meant"));
            });
            assert!(panicking.join().is_err());
            assert!(waiting.join().unwrap());
        });
    });
}

#[test]
fn a_cancelled_wait_does_not_poison_the_mutex() {
    let _watchdog = watched();
    let pair = Arc::new((Mutex::new(()), Condvar::new()));
    let ending = runtime(1);
    let theirs = pair.clone();
    ending.spawn(move || drop(theirs.1.wait(theirs.0.lock().unwrap())));
    wait_until("it waits", || ending.stats().parks >= 1);
    drop(ending);
    assert!(pair.0.lock().is_ok());
}

#[test]
fn the_time_limit_of_a_condition_counts_over_all_its_waits() {
    on_hubs(|_| {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let done = Mutex::new(false);
        greenlet::thread::scope(|scope| {
            scope.spawn(|| {
                while !*done.lock().unwrap() {
                    condvar.notify_all();
                    greenlet::sleep(Duration::from_micros(200));
                }
            });
            let start = Instant::now();
            let waited = condvar.wait_timeout_while(
                mutex.lock().unwrap(),
                Duration::from_millis(10),
                |()| true,
            );
            assert!(waited.unwrap().1.timed_out());
            assert!(start.elapsed() >= Duration::from_millis(10));
            *done.lock().unwrap() = true;
        });
    });
}

#[test]
#[allow(deprecated)]
fn milliseconds_answer_whether_it_was_notified() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let (_guard, notified) = condvar.wait_timeout_ms(mutex.lock().unwrap(), 1).unwrap();
    assert!(!notified);
}
