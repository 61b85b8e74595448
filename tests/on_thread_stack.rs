//! `on_thread_stack`.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use greenlet::{Builder, on_thread_stack};
use support::recursion::use_stack;
use support::{go_to_hub, on_hubs};

thread_local!(static NUMBER: Cell<u32> = const { Cell::new(0) });

#[test]
fn there_is_more_stack_than_the_greenlet_has() {
    on_hubs(|_| {
        let small = Builder::new().stack_size(32 * 1024);
        small
            .spawn(|| on_thread_stack(|| use_stack(1 << 20)))
            .unwrap()
            .join()
            .unwrap();
    });
}

#[test]
fn a_value_comes_back_and_borrows_go_in() {
    on_hubs(|_| {
        let mut numbers = vec![2, 1];
        let length = on_thread_stack(|| {
            numbers.sort_unstable();
            numbers.len()
        });
        assert_eq!((length, numbers), (2, vec![1, 2]));
    });
}

#[test]
fn it_may_be_called_again_and_again_from_any_hub() {
    on_hubs(|hubs| {
        let greenlets: Vec<_> = (0..10)
            .map(|n| {
                greenlet::spawn(move || {
                    for round in 0..20 {
                        go_to_hub((n + round) % hubs);
                        assert_eq!(on_thread_stack(greenlet::hub_id), greenlet::hub_id());
                    }
                })
            })
            .collect();
        greenlets
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
}

#[test]
fn a_panic_passes_and_the_greenlet_goes_on() {
    on_hubs(|_| {
        for _ in 0..3 {
            let payload = catch_unwind(|| on_thread_stack(|| panic!("deep"))).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&"deep"));
            assert!(!thread::panicking());
            greenlet::yield_now();
            greenlet::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_wait_in_there_panics() {
    on_hubs(|_| {
        let waits: [fn(); 4] = [
            greenlet::park,
            greenlet::yield_now,
            || greenlet::sleep(Duration::from_millis(1)),
            || greenlet::park_timeout(Duration::from_millis(1)),
        ];
        for wait in waits {
            let payload = catch_unwind(|| on_thread_stack(wait)).unwrap_err();
            let message = payload.downcast_ref::<&str>().unwrap();
            assert!(message.contains("inside `on_thread_stack`"), "{message}");
            // It may be caught in there, too.
            on_thread_stack(|| assert!(catch_unwind(wait).is_err()));
            greenlet::yield_now();
        }
    });
}

#[test]
fn inside_another_one_the_function_is_called() {
    on_hubs(|_| {
        let nested = || on_thread_stack(|| on_thread_stack(|| 3) + 1);
        assert_eq!(on_thread_stack(nested), 4);
        // The inner one does not end the outer one's.
        let wait = || {
            on_thread_stack(|| ());
            greenlet::yield_now();
        };
        assert!(catch_unwind(|| on_thread_stack(wait)).is_err());
        greenlet::yield_now();
    });
}

#[test]
fn on_a_plain_thread_the_function_is_called() {
    assert_eq!(on_thread_stack(|| 1), 1);
    assert!(catch_unwind(|| on_thread_stack(|| panic!("plain"))).is_err());
}

#[test]
fn the_thread_locals_are_the_greenlets() {
    on_hubs(|_| {
        let greenlets: Vec<_> = (1..10)
            .map(|n| {
                greenlet::spawn(move || {
                    NUMBER.set(n);
                    greenlet::yield_now();
                    let own = thread::current().id();
                    on_thread_stack(|| {
                        assert_eq!(NUMBER.get(), n);
                        assert_eq!(thread::current().id(), own);
                        NUMBER.set(10 * n);
                    });
                    greenlet::yield_now();
                    assert_eq!(NUMBER.get(), 10 * n);
                })
            })
            .collect();
        greenlets
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        assert_eq!(NUMBER.get(), 0);
    });
}

#[test]
fn it_knows_who_it_is_and_may_spawn_and_wake() {
    on_hubs(|_| {
        let id = greenlet::current().id();
        let spawned = on_thread_stack(|| {
            assert_eq!(greenlet::current().id(), id);
            greenlet::current().unpark();
            greenlet::spawn(|| 8)
        });
        greenlet::park();
        assert_eq!(spawned.join().unwrap(), 8);
    });
}

#[test]
fn a_greenlet_that_unwinds_may_use_it() {
    struct Deep;

    impl Drop for Deep {
        fn drop(&mut self) {
            assert!(thread::panicking());
            on_thread_stack(|| {
                assert!(thread::panicking());
                use_stack(1 << 20);
                assert!(catch_unwind(AssertUnwindSafe(|| panic!("inner"))).is_err());
            });
            greenlet::yield_now();
            assert!(thread::panicking());
        }
    }

    on_hubs(|_| {
        let unwinding = greenlet::spawn(|| {
            let _deep = Deep;
            panic!("outer");
        });
        assert_eq!(unwinding.join().unwrap_err().downcast_ref(), Some(&"outer"));
    });
}
