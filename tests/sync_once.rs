//! `sync::Once`, `OnceLock` and `LazyLock`: initialisations that wait, panic, are cancelled, or ask for
//! themselves.

mod support;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use greenlet::sync::{LazyLock, Once, OnceLock};
use support::process::wait_until;
use support::{Flag, crowd, does_not_park, on_hubs, parks, runtime, watched};

#[test]
fn one_of_many_initialises_and_the_others_see_it() {
    let _watchdog = watched();
    for round in 0..20 {
        let (once, cell, runs) = (Once::new(), OnceLock::new(), AtomicUsize::new(0));
        let lazy = LazyLock::new(|| {
            greenlet::sleep(Duration::from_micros(round * 10));
            runs.fetch_add(1, SeqCst)
        });
        crowd(4, |number| {
            once.call_once(|| {
                greenlet::yield_now();
                runs.fetch_add(1, SeqCst);
            });
            assert!(once.is_completed());
            let value = *cell.get_or_init(|| {
                greenlet::sleep(Duration::from_micros(round * 10));
                runs.fetch_add(1, SeqCst);
                number
            });
            assert_eq!(cell.get(), Some(&value));
            assert_eq!(*lazy, 2);
        });
        assert_eq!(runs.load(SeqCst), 3);
    }
}

#[test]
fn waiting_for_another_ones_initialisation_parks_the_greenlet() {
    let (cell, begun, go_on) = (OnceLock::new(), Flag::default(), Flag::default());
    let value = parks(
        || {
            greenlet::thread::scope(|scope| {
                scope.spawn(|| {
                    cell.get_or_init(|| {
                        begun.raise();
                        go_on.wait();
                        1
                    });
                });
                begun.wait();
                *cell.get_or_init(|| 2)
            })
        },
        || go_on.raise(),
    );
    assert_eq!(value, 1);
}

#[test]
fn waiting_for_somebody_to_initialise_parks_the_greenlet() {
    let (once, cell) = (Once::new(), OnceLock::new());
    parks(|| once.wait(), || once.call_once(|| ()));
    parks(
        || once_forced().wait_force(),
        || once_forced().call_once(|| ()),
    );
    assert_eq!(parks(|| *cell.wait(), || cell.set(3).unwrap()), 3);
}

fn once_forced() -> &'static Once {
    static ONCE: Once = Once::new();
    &ONCE
}

#[test]
fn what_is_initialised_parks_nobody() {
    does_not_park(|| {
        let (once, cell, lazy) = (Once::new(), OnceLock::new(), LazyLock::new(|| 5));
        for _ in 0..100 {
            once.call_once(|| ());
            once.wait();
            assert_eq!(cell.get_or_init(|| 4), cell.wait());
            assert_eq!(*lazy, 5);
        }
    });
}

#[test]
fn a_panic_poisons_a_once_for_those_who_wait_too() {
    on_hubs(|_| {
        let (once, begun) = (Once::new(), Flag::default());
        greenlet::thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                once.call_once(|| {
                    begun.raise();
                    greenlet::sleep(Duration::from_millis(2));
                    panic::resume_unwind(Box::new("meant"));
                });
            });
            begun.wait();
            let waiting = panic::catch_unwind(AssertUnwindSafe(|| {
                once.call_once(|| unreachable!("somebody is at it"));
            }));
            assert!(waiting.is_err());
            assert!(panicking.join().is_err());
        });
        let mut was_poisoned = false;
        once.call_once_force(|state| was_poisoned = state.is_poisoned());
        assert!(was_poisoned && once.is_completed());
        once.call_once(|| unreachable!("it is done"));
    });
}

#[test]
fn a_panic_leaves_a_once_lock_for_the_next_and_a_lazy_lock_poisoned() {
    on_hubs(|_| {
        let cell = OnceLock::new();
        let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
            cell.get_or_init(|| panic::resume_unwind(Box::new("meant")));
        }));
        assert!(panicked.is_err());
        assert_eq!(*cell.get_or_init(|| 6), 6);
        let lazy: LazyLock<i32> = LazyLock::new(|| panic::resume_unwind(Box::new("meant")));
        for _ in 0..2 {
            assert!(panic::catch_unwind(AssertUnwindSafe(|| *lazy)).is_err());
        }
        assert_eq!(LazyLock::get(&lazy), None);
    });
}

#[test]
fn an_initialisation_that_asks_for_itself_panics_and_says_why() {
    on_hubs(|_| {
        let cell = OnceLock::new();
        let panic = panic::catch_unwind(AssertUnwindSafe(|| {
            cell.get_or_init(|| *cell.get_or_init(|| 1));
        }));
        let payload = panic.unwrap_err();
        let message = payload.downcast_ref::<&str>().expect("a text");
        assert!(message.contains("waits for itself"), "{message}");
        assert_eq!(*cell.get_or_init(|| 2), 2);
    });
}

/// Who is cancelled in the middle has initialised nothing: the next one does.
#[test]
fn a_runtime_that_is_dropped_leaves_initialisation_and_waiters_to_others() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let cell = Arc::new(OnceLock::new());
        let (begun, ending) = (Arc::new(Flag::default()), runtime(hubs));
        let (its, it_begins) = (cell.clone(), begun.clone());
        ending.spawn(move || {
            its.get_or_init(|| {
                it_begins.raise();
                greenlet::park();
                1
            });
        });
        begun.wait();
        let before = ending.stats().parks;
        for _ in 0..10 {
            let cell = cell.clone();
            ending.spawn(move || *cell.get_or_init(|| 2));
        }
        wait_until("they wait", || ending.stats().parks - before >= 10);
        let others = [(); 3].map(|()| {
            let cell = cell.clone();
            std::thread::spawn(move || *cell.get_or_init(|| 3))
        });
        drop(ending);
        for other in others {
            assert_eq!(other.join().unwrap(), *cell.get().unwrap());
        }
        assert_ne!(cell.get(), Some(&1));
    }
}
