//! `sync::Mutex`: exclusion in every mixture, who is next, poison, and ends in the middle.

mod support;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use greenlet::sync::{Mutex, TryLockError};
use support::process::wait_until;
use support::{Flag, crowd, does_not_park, in_crowd, on_hubs, parks, runtime, watched, with_hubs};

const ROUNDS: usize = 500;

#[test]
fn one_at_a_time_has_it_in_greenlets_on_any_hub_and_on_threads() {
    let _watchdog = watched();
    let counter = Mutex::new(0);
    let inside = AtomicUsize::new(0);
    crowd(8, |number| {
        for round in 0..ROUNDS {
            let mut counter = counter.lock().unwrap();
            assert_eq!(inside.fetch_add(1, SeqCst), 0);
            *counter += 1;
            match (number + round) % 50 {
                0 => greenlet::sleep(Duration::from_micros(20)),
                1..5 => greenlet::yield_now(),
                _ => {}
            }
            assert_eq!(inside.fetch_sub(1, SeqCst), 1);
        }
    });
    assert_eq!(counter.into_inner().unwrap(), in_crowd(8) * ROUNDS);
}

#[test]
fn waiting_for_it_parks_the_greenlet() {
    let mutex = Mutex::new(1);
    let guard = mutex.lock().unwrap();
    let seen = {
        let guard = Mutex::new(Some(SendGuard(guard)));
        parks(
            || *mutex.lock().unwrap(),
            || drop(guard.lock().unwrap().take()),
        )
    };
    assert_eq!(seen, 1);
}

/// Unlocking on another thread than locking is what the test wants, and what std forbids.
struct SendGuard<'a>(#[allow(dead_code)] greenlet::sync::MutexGuard<'a, i32>);

// SAFETY: ours has no owner.
unsafe impl Send for SendGuard<'_> {}

#[test]
fn one_that_is_free_parks_nobody() {
    does_not_park(|| {
        let mutex = Mutex::new(0);
        for _ in 0..1000 {
            *mutex.lock().unwrap() += 1;
            *mutex.try_lock().unwrap() += 1;
        }
        let guard = mutex.lock().unwrap();
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        assert_eq!(*guard, 2000);
    });
}

#[test]
fn it_may_be_held_over_any_wait() {
    on_hubs(|_| {
        let mutex = Mutex::new(0);
        greenlet::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mut number = mutex.lock().unwrap();
                    let before = *number;
                    greenlet::sleep(Duration::from_micros(50));
                    *number = before + 1;
                });
            }
        });
        assert_eq!(mutex.into_inner().unwrap(), 20);
    });
}

/// One that unlocks it and at once locks it again, holding it all the time, lets the others in.
#[test]
fn nobody_starves_beside_one_that_takes_it_again_at_once() {
    with_hubs(|runtime| {
        let done = AtomicUsize::new(0);
        let mutex = Mutex::new(());
        let start = Instant::now();
        runtime.run(|| {
            greenlet::thread::scope(|scope| {
                scope.spawn(|| {
                    while done.load(SeqCst) < 10 {
                        let guard = mutex.lock().unwrap();
                        greenlet::sleep(Duration::from_micros(300));
                        drop(guard);
                    }
                });
                for _ in 0..10 {
                    scope.spawn(|| {
                        for _ in 0..10 {
                            drop(mutex.lock().unwrap());
                            greenlet::yield_now();
                        }
                        done.fetch_add(1, SeqCst);
                    });
                }
            });
        });
        assert!(start.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_thread_does_not_starve_beside_greenlets_that_take_it_again_at_once() {
    let _watchdog = watched();
    let (mutex, done) = (Mutex::new(()), AtomicUsize::new(0));
    crowd(2, |number| {
        if number % 2 == 0 {
            while done.load(SeqCst) < in_crowd(2) / 2 {
                let guard = mutex.lock().unwrap();
                greenlet::sleep(Duration::from_micros(100));
                drop(guard);
            }
        } else {
            for _ in 0..20 {
                drop(mutex.lock().unwrap());
            }
            done.fetch_add(1, SeqCst);
        }
    });
}

#[test]
fn those_who_have_waited_long_get_it_in_the_order_in_which_they_came() {
    let _watchdog = watched();
    let order = Mutex::new(Vec::new());
    let mutex = Mutex::new(());
    runtime(1).run(|| {
        greenlet::thread::scope(|scope| {
            let guard = mutex.lock().unwrap();
            for number in 0..50 {
                let (mutex, order) = (&mutex, &order);
                scope.spawn(move || {
                    let _guard = mutex.lock().unwrap();
                    order.lock().unwrap().push(number);
                    greenlet::yield_now();
                });
            }
            greenlet::sleep(Duration::from_millis(20));
            drop(guard);
        });
    });
    assert_eq!(order.into_inner().unwrap(), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_panic_poisons_it_for_those_who_wait_too() {
    on_hubs(|_| {
        let (mutex, locked) = (Mutex::new(0), Flag::default());
        greenlet::thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _guard = mutex.lock().unwrap();
                locked.raise();
                greenlet::sleep(Duration::from_millis(5));
                panic::resume_unwind(Box::new("meant"));
            });
            locked.wait();
            let waiting = [(); 5].map(|()| scope.spawn(|| mutex.lock().is_err()));
            assert!(panicking.join().is_err());
            for waiting in waiting {
                assert!(waiting.join().unwrap());
            }
        });
        assert!(mutex.is_poisoned());
        mutex.clear_poison();
        assert!(mutex.lock().is_ok());
    });
}

#[test]
fn one_that_is_locked_in_a_destructor_while_unwinding_waits_and_is_not_poisoned() {
    on_hubs(|_| {
        struct Locks<'a>(&'a Mutex<i32>);
        impl Drop for Locks<'_> {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        let mutex = Mutex::new(0);
        greenlet::thread::scope(|scope| {
            let guard = mutex.lock().unwrap();
            let unwinding = scope.spawn(|| {
                let _locks = Locks(&mutex);
                panic::resume_unwind(Box::new("meant"));
            });
            greenlet::sleep(Duration::from_millis(2));
            drop(guard);
            assert!(unwinding.join().is_err());
        });
        assert_eq!(mutex.into_inner().unwrap(), 1);
    });
}

#[test]
fn a_runtime_that_is_dropped_takes_its_waiters_along_and_nobody_elses() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let mutex = Arc::new(Mutex::new(0));
        let ending = runtime(hubs);
        let guard = mutex.lock().unwrap();
        let counts = ending.stats().parks;
        for _ in 0..50 {
            let mutex = mutex.clone();
            ending.spawn(move || *mutex.lock().unwrap() += 1000);
        }
        wait_until("all wait", || ending.stats().parks - counts >= 50);
        let others: Vec<_> = (0..4)
            .map(|_| {
                let mutex = mutex.clone();
                std::thread::spawn(move || *mutex.lock().unwrap() += 1)
            })
            .collect();
        drop(ending);
        drop(guard);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 4);
    }
}

/// Cancelled while the lock goes from one to the next: whoever had its turn passes it on.
#[test]
fn turns_of_those_who_are_cancelled_are_passed_on() {
    let _watchdog = watched();
    for round in 0..30 {
        let mutex = Arc::new(Mutex::new(0_u64));
        let (ending, staying) = (runtime(2), runtime(2));
        for _ in 0..20 {
            let mutex = mutex.clone();
            ending.spawn(move || {
                loop {
                    // A cancelled one that holds it poisons it.
                    let mut guard = mutex
                        .lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner());
                    *guard += 1;
                    greenlet::yield_now();
                }
            });
        }
        let others: Vec<_> = (0..8)
            .map(|_| {
                let mutex = mutex.clone();
                staying.spawn(move || {
                    for _ in 0..100 {
                        let mut guard = mutex
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner());
                        *guard += 1;
                        greenlet::yield_now();
                    }
                })
            })
            .collect();
        greenlet::sleep(Duration::from_micros(100 * round));
        drop(ending);
        others.into_iter().for_each(|other| other.join().unwrap());
        // Nobody has it, and nobody is about to.
        drop(mutex.lock());
    }
}

#[test]
fn one_that_would_wait_on_the_threads_stack_panics_and_stays_whole() {
    let _watchdog = watched();
    runtime(1).run(|| {
        let mutex = Mutex::new(0);
        let guard = mutex.lock().unwrap();
        let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
            greenlet::on_thread_stack(|| drop(mutex.lock()));
        }));
        assert!(panicked.is_err());
        drop(guard);
        *mutex.lock().unwrap() += 1;
        assert_eq!(mutex.into_inner().unwrap(), 1);
    });
}

#[test]
fn a_static_one_is_made_by_the_compiler() {
    static NUMBER: Mutex<u32> = Mutex::new(5);
    assert_eq!(*NUMBER.lock().unwrap(), 5);
}
