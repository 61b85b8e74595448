//! `sync::RwLock`: who is in at the same time, who is next, poison, and ends in the middle.

mod support;

use std::panic;
use std::sync::Arc;
use std::sync::atomic::AtomicIsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use greenlet::sync::{Mutex, RwLock, RwLockWriteGuard, TryLockError};
use support::process::wait_until;
use support::{Flag, crowd, does_not_park, in_crowd, on_hubs, parks, runtime, watched, with_hubs};

#[test]
fn readers_are_together_and_writers_alone_in_greenlets_on_any_hub_and_on_threads() {
    const ROUNDS: usize = 300;
    let _watchdog = watched();
    let lock = RwLock::new(0);
    // Readers count up, a writer is a thousand down.
    let inside = AtomicIsize::new(0);
    crowd(8, |number| {
        for round in 0..ROUNDS {
            let pause = || match (number * 7 + round) % 50 {
                0 => greenlet::sleep(Duration::from_micros(20)),
                1..5 => greenlet::yield_now(),
                _ => {}
            };
            if round % 5 == 0 {
                let mut count = lock.write().unwrap();
                assert_eq!(inside.fetch_sub(1000, SeqCst), 0);
                *count += 1;
                pause();
                assert_eq!(inside.fetch_add(1000, SeqCst), -1000);
                if round % 10 == 0 {
                    inside.fetch_add(1, SeqCst);
                    let before = *count;
                    let count = RwLockWriteGuard::downgrade(count);
                    pause();
                    assert_eq!(*count, before);
                    assert!(inside.fetch_sub(1, SeqCst) > 0);
                }
            } else {
                let _count = lock.read().unwrap();
                assert!(inside.fetch_add(1, SeqCst) >= 0);
                pause();
                assert!(inside.fetch_sub(1, SeqCst) > 0);
            }
        }
    });
    assert_eq!(lock.into_inner().unwrap(), in_crowd(8) * ROUNDS / 5);
}

/// Holds it in a greenlet beside, until told.
fn held_by_another<T: Send>(
    lock: &RwLock<i32>,
    hold: impl FnOnce(&RwLock<i32>, &dyn Fn()) + Send,
    wait: impl FnOnce() -> T + Send,
) -> T {
    let (held, give_back) = (Flag::default(), Flag::default());
    parks(
        || {
            greenlet::thread::scope(|scope| {
                scope.spawn(|| {
                    hold(lock, &|| {
                        held.raise();
                        give_back.wait();
                    });
                });
                held.wait();
                wait()
            })
        },
        || give_back.raise(),
    )
}

#[test]
fn waiting_to_read_and_to_write_parks_the_greenlet() {
    let lock = RwLock::new(1);
    let writes = |lock: &RwLock<i32>, until: &dyn Fn()| {
        let mut number = lock.write().unwrap();
        until();
        *number += 1;
    };
    let reads = |lock: &RwLock<i32>, until: &dyn Fn()| {
        let _number = lock.read().unwrap();
        until();
    };
    assert_eq!(held_by_another(&lock, writes, || *lock.read().unwrap()), 2);
    held_by_another(&lock, writes, || *lock.write().unwrap() += 1);
    held_by_another(&lock, reads, || *lock.write().unwrap() += 1);
    assert_eq!(lock.into_inner().unwrap(), 5);
}

#[test]
fn one_that_is_free_or_read_parks_no_reader() {
    does_not_park(|| {
        let lock = RwLock::new(0);
        for _ in 0..1000 {
            *lock.write().unwrap() += 1;
            let (one, two) = (lock.read().unwrap(), lock.try_read().unwrap());
            assert_eq!(*one, *two);
            assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        }
        let _guard = lock.write().unwrap();
        assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    });
}

#[test]
fn a_writer_that_waits_keeps_new_readers_out() {
    on_hubs(|_| {
        let (lock, order) = (RwLock::new(()), Mutex::new(Vec::new()));
        let note = |what| order.lock().unwrap().push(what);
        greenlet::thread::scope(|scope| {
            let reading = lock.read().unwrap();
            scope.spawn(|| {
                let _guard = lock.write().unwrap();
                note("writer");
            });
            wait_until("the writer waits", || lock.try_read().is_err());
            let readers = [(); 3].map(|()| {
                scope.spawn(|| {
                    let _guard = lock.read().unwrap();
                    note("reader");
                })
            });
            greenlet::sleep(Duration::from_millis(2));
            drop(reading);
            readers
                .into_iter()
                .for_each(|reader| reader.join().unwrap());
        });
        let order = order.into_inner().unwrap();
        assert_eq!(order, ["writer", "reader", "reader", "reader"]);
    });
}

#[test]
fn readers_that_wait_come_in_together_when_the_writer_leaves() {
    with_hubs(|runtime| {
        let lock = RwLock::new(());
        let together = support::Barrier::new(10);
        runtime.run(|| {
            greenlet::thread::scope(|scope| {
                let writing = lock.write().unwrap();
                for _ in 0..10 {
                    scope.spawn(|| {
                        let _guard = lock.read().unwrap();
                        together.wait();
                    });
                }
                greenlet::sleep(Duration::from_millis(2));
                drop(writing);
            });
        });
    });
}

#[test]
fn downgrading_lets_readers_in_and_keeps_writers_out() {
    on_hubs(|_| {
        let (lock, reads) = (RwLock::new(1), Flag::default());
        greenlet::thread::scope(|scope| {
            let writing = lock.write().unwrap();
            let reader = scope.spawn(|| {
                reads.raise();
                *lock.read().unwrap()
            });
            reads.wait();
            greenlet::sleep(Duration::from_millis(10));
            let writer = scope.spawn(|| *lock.write().unwrap() += 1);
            greenlet::sleep(Duration::from_millis(1));
            let reading = RwLockWriteGuard::downgrade(writing);
            assert_eq!(reader.join().unwrap(), 1);
            assert!(!writer.is_finished());
            assert_eq!(*reading, 1);
            drop(reading);
            writer.join().unwrap();
        });
        assert_eq!(lock.into_inner().unwrap(), 2);
    });
}

#[test]
fn neither_readers_nor_writers_starve() {
    on_hubs(|_| {
        let (lock, done) = (RwLock::new(()), std::sync::atomic::AtomicUsize::new(0));
        greenlet::thread::scope(|scope| {
            // Some of these always read, and always write.
            for _ in 0..4 {
                scope.spawn(|| {
                    while done.load(SeqCst) < 2 {
                        let _guard = lock.read().unwrap();
                        greenlet::sleep(Duration::from_micros(50));
                    }
                });
                scope.spawn(|| {
                    while done.load(SeqCst) < 2 {
                        let _guard = lock.write().unwrap();
                        greenlet::sleep(Duration::from_micros(50));
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..20 {
                    drop(lock.write().unwrap());
                }
                done.fetch_add(1, SeqCst);
            });
            scope.spawn(|| {
                for _ in 0..20 {
                    drop(lock.read().unwrap());
                }
                done.fetch_add(1, SeqCst);
            });
        });
    });
}

#[test]
fn a_writer_that_panics_poisons_it_and_a_reader_does_not() {
    on_hubs(|_| {
        let lock = RwLock::new(());
        let panics =
            |f: &(dyn Fn() + Sync)| greenlet::thread::scope(|scope| scope.spawn(f).join().is_err());
        assert!(panics(&|| {
            let _guard = lock.read().unwrap();
            panic::resume_unwind(Box::new("meant"));
        }));
        assert!(panics(&|| {
            let _guard = RwLockWriteGuard::downgrade(lock.write().unwrap());
            panic::resume_unwind(Box::new("meant"));
        }));
        assert!(!lock.is_poisoned());
        assert!(panics(&|| {
            let _guard = lock.write().unwrap();
            panic::resume_unwind(Box::new("meant"));
        }));
        assert!(lock.read().is_err() && lock.write().is_err());
        lock.clear_poison();
        assert!(lock.read().is_ok());
    });
}

/// A writer that is cancelled lets in the readers that wait behind it.
#[test]
fn a_runtime_that_is_dropped_takes_its_waiters_along_and_nobody_elses() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let lock = Arc::new(RwLock::new(0));
        let ending = runtime(hubs);
        let reading = lock.read().unwrap();
        let writer = lock.clone();
        ending.spawn(move || *writer.write().unwrap() += 1000);
        wait_until("the writer waits", || lock.try_read().is_err());
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                std::thread::spawn(move || *lock.read().unwrap())
            })
            .collect();
        for _ in 0..20 {
            let (reader, writer) = (lock.clone(), lock.clone());
            ending.spawn(move || drop(reader.read().unwrap()));
            ending.spawn(move || *writer.write().unwrap() += 1000);
        }
        drop(ending);
        // The one that reads is still there: they come in beside it.
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 0);
        }
        drop(reading);
        *lock.write().unwrap() += 1;
        assert_eq!(*lock.read().unwrap(), 1);
    }
}

#[test]
fn runtimes_that_end_in_the_middle_leave_it_usable() {
    let _watchdog = watched();
    for round in 0..30 {
        let lock = Arc::new(RwLock::new(0_u64));
        let (ending, staying) = (runtime(2), runtime(2));
        let work = |lock: &RwLock<u64>, round: usize| {
            if round.is_multiple_of(3) {
                *lock.write().unwrap_or_else(|p| p.into_inner()) += 1;
            } else {
                let guard = lock.read().unwrap_or_else(|p| p.into_inner());
                greenlet::yield_now();
                drop(guard);
            }
        };
        for number in 0..20 {
            let lock = lock.clone();
            ending.spawn(move || {
                for round in number.. {
                    work(&lock, round);
                }
            });
        }
        let others: Vec<_> = (0..8)
            .map(|number| {
                let lock = lock.clone();
                staying.spawn(move || (number..number + 100).for_each(|round| work(&lock, round)))
            })
            .collect();
        greenlet::sleep(Duration::from_micros(100 * round));
        drop(ending);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(!matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    }
}
