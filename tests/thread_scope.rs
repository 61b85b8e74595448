//! `thread::scope`.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use greenlet::thread::{Builder, scope};
use greenlet::{Cancelled, sleep, yield_now};
use support::{Flag, on_hubs, parks, quiet, runtime, watched};

/// The text of a panic.
fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast_ref::<&str>().expect("a text")).to_owned(),
    }
}

#[test]
fn greenlets_borrow_from_their_scope() {
    on_hubs(|_| {
        let mut numbers = vec![0; 100];
        scope(|scope| {
            for (n, number) in numbers.iter_mut().enumerate() {
                scope.spawn(move || {
                    yield_now();
                    *number = n;
                });
            }
        });
        assert!(numbers.iter().copied().eq(0..100));
    });
}

#[test]
fn a_scope_on_a_plain_thread_blocks_it_until_all_have_ended() {
    let _watchdog = watched();
    let ended = AtomicUsize::new(0);
    let sum = scope(|scope| {
        let handles: Vec<_> = (0..10)
            .map(|n| {
                let ended = &ended;
                scope.spawn(move || {
                    sleep(Duration::from_millis(2));
                    ended.fetch_add(1, Relaxed);
                    n
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .sum::<usize>()
    });
    assert_eq!((sum, ended.into_inner()), (45, 10));
}

#[test]
fn an_empty_scope_returns_at_once() {
    support::does_not_park(|| assert_eq!(scope(|_| 5), 5));
    assert_eq!(scope(|_| 5), 5);
}

#[test]
fn a_scope_parks_while_its_greenlets_run() {
    let flag = Flag::default();
    parks(
        || {
            scope(|scope| {
                scope.spawn(|| flag.wait());
            })
        },
        || flag.raise(),
    );
}

#[test]
fn scopes_nest_and_greenlets_spawn_into_theirs() {
    on_hubs(|_| {
        let count = AtomicUsize::new(0);
        scope(|outer| {
            for _ in 0..5 {
                outer.spawn(|| {
                    outer.spawn(|| count.fetch_add(1, Relaxed));
                    scope(|inner| {
                        inner.spawn(|| count.fetch_add(1, Relaxed));
                        inner.spawn(|| outer.spawn(|| count.fetch_add(1, Relaxed)));
                    });
                });
            }
        });
        assert_eq!(count.into_inner(), 15);
    });
}

#[test]
fn a_panic_that_nobody_asks_for_is_the_scopes() {
    quiet::install();
    on_hubs(|_| {
        let ended = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                scope.spawn(|| quiet::panic(1));
                scope.spawn(|| {
                    sleep(Duration::from_millis(2));
                    ended.fetch_add(1, Relaxed);
                });
            });
        }));
        assert_eq!(message(result.unwrap_err()), "a scoped thread panicked");
        assert_eq!(ended.into_inner(), 1, "the others run to their end");
    });
}

#[test]
fn a_panic_that_join_has_told_is_not_the_scopes() {
    quiet::install();
    on_hubs(|_| {
        scope(|scope| {
            let payload = scope.spawn(|| quiet::panic(2)).join().unwrap_err();
            assert!(quiet::is(&*payload, 2));
        });
    });
}

#[test]
fn a_panic_of_the_body_comes_after_the_greenlets() {
    quiet::install();
    on_hubs(|_| {
        let ended = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                scope.spawn(|| {
                    sleep(Duration::from_millis(2));
                    ended.fetch_add(1, Relaxed);
                });
                quiet::panic(3);
            })
        }));
        assert!(quiet::is(&*result.unwrap_err(), 3));
        assert_eq!(ended.into_inner(), 1);
    });
}

#[test]
fn a_forgotten_handle_holds_nobody_up() {
    on_hubs(|_| scope(|scope| std::mem::forget(scope.spawn(|| vec![1, 2, 3]))));
}

#[test]
fn a_result_that_nobody_takes_is_dropped_within_the_scope() {
    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            yield_now();
            self.0.fetch_add(1, SeqCst);
        }
    }
    on_hubs(|_| {
        let dropped = AtomicUsize::new(0);
        scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| Counted(&dropped));
            }
            let finished = scope.spawn(|| Counted(&dropped));
            while !finished.is_finished() {
                yield_now();
            }
        });
        assert_eq!(dropped.into_inner(), 21);
    });
}

#[test]
fn names_stacks_and_hubs_are_for_scoped_greenlets_too() {
    on_hubs(|hubs| {
        let word = String::from("borrowed");
        scope(|scope| {
            let handle = Builder::new()
                .name("scoped".into())
                .stack_size(1 << 20)
                .hub(hubs - 1)
                .spawn_scoped(scope, || (word.len(), greenlet::hub_id()))
                .unwrap();
            assert_eq!(handle.thread().name(), Some("scoped"));
            assert_eq!(handle.join().unwrap(), (8, Some(hubs - 1)));
            // Refused, and forgotten.
            let refused = Builder::new().hub(hubs).spawn_scoped(scope, || word.len());
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        });
    });
}

#[test]
fn a_runtime_that_is_dropped_ends_scopes_with_all_in_them() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        for _ in 0..10 {
            let runtime = runtime(hubs);
            let ended = Arc::new(AtomicUsize::new(0));
            let parked = Arc::new(AtomicUsize::new(0));
            let owner = runtime.spawn({
                let (ended, parked) = (ended.clone(), parked.clone());
                move || {
                    struct OnEnd<'a>(&'a AtomicUsize);
                    impl Drop for OnEnd<'_> {
                        fn drop(&mut self) {
                            self.0.fetch_add(1, SeqCst);
                        }
                    }
                    let local = AtomicUsize::new(0);
                    let result = catch_unwind(AssertUnwindSafe(|| {
                        scope(|scope| {
                            for _ in 0..50 {
                                scope.spawn(|| {
                                    let _end = OnEnd(&local);
                                    parked.fetch_add(1, SeqCst);
                                    loop {
                                        greenlet::park();
                                    }
                                });
                            }
                        })
                    }));
                    ended.store(local.load(SeqCst), SeqCst);
                    resume_unwind(result.unwrap_err())
                }
            });
            while parked.load(SeqCst) < 50 {
                std::thread::sleep(Duration::from_micros(100));
            }
            drop(runtime);
            assert!(owner.join().unwrap_err().is::<Cancelled>());
            assert_eq!(ended.load(SeqCst), 50);
        }
    }
}

/// It could not wait there for greenlets that borrow.
#[test]
fn on_the_workers_stack_no_scope_begins() {
    on_hubs(|_| {
        let local = vec![1; 100];
        let result = catch_unwind(AssertUnwindSafe(|| {
            greenlet::on_thread_stack(|| {
                scope(|scope| {
                    scope.spawn(|| {
                        sleep(Duration::from_millis(5));
                        local.len()
                    });
                });
            });
        }));
        assert!(message(result.unwrap_err()).contains("`on_thread_stack`"));
        drop(local);
        sleep(Duration::from_millis(10));
    });
}
