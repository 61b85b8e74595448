//! Dropping a `Runtime`: what becomes of its greenlets.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenlet::{Builder, Cancelled, JoinHandle};
use support::process::{descriptors, wait_until, workers};
use support::{Flag, child, runtime, watched, with_hubs};

/// Does something when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Parks until somebody gives it up.
fn park_for_ever() {
    loop {
        greenlet::park();
    }
}

/// Runs `body` in a greenlet, and returns when it has started.
fn started<T: Send + 'static>(
    runtime: &greenlet::Runtime,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let flag = Arc::new(Flag::default());
    let raised = flag.clone();
    let greenlet = runtime.spawn(move || {
        raised.raise();
        body()
    });
    flag.wait();
    greenlet
}

#[test]
fn greenlets_that_wait_unwind_with_cancelled() {
    for hubs in [1, 2, 8] {
        let _watchdog = watched();
        let runtime = runtime(hubs);
        let dropped = Arc::new(AtomicUsize::new(0));
        let never = Arc::new(Flag::default());
        let waits: [fn(&Flag); 5] = [
            |_| park_for_ever(),
            |_| greenlet::park_timeout(Duration::MAX),
            |_| greenlet::sleep(Duration::MAX),
            |never| never.wait(),
            |_| loop {
                greenlet::yield_now();
            },
        ];
        let waiting = waits.map(|wait| {
            let (dropped, never) = (dropped.clone(), never.clone());
            started(&runtime, move || {
                let _guard = OnDrop(|| {
                    assert!(thread::panicking());
                    dropped.fetch_add(1, SeqCst);
                });
                wait(&never);
            })
        });
        drop(runtime);
        assert_eq!(dropped.load(SeqCst), 5);
        for greenlet in waiting {
            assert!(greenlet.is_finished());
            assert!(greenlet.join().unwrap_err().is::<Cancelled>());
        }
    }
}

#[test]
fn greenlets_that_join_unwind_with_cancelled() {
    with_hubs(|_| {
        let runtime = runtime(2);
        let parked = started(&runtime, park_for_ever);
        let joining = started(&runtime, move || parked.join().is_err());
        drop(runtime);
        // The one that it joins may end first: then it learns that.
        match joining.join() {
            Ok(failed) => assert!(failed),
            Err(payload) => assert!(payload.is::<Cancelled>()),
        }
    });
}

#[test]
fn cancelled_greenlets_print_nothing() {
    let test = "cancelled_greenlets_print_nothing";
    let stderr = child::passes(test, &[("RUST_BACKTRACE", "1")], || {
        let _watchdog = watched();
        let runtime = runtime(2);
        let parked: Vec<_> = (0..20).map(|_| started(&runtime, park_for_ever)).collect();
        drop(runtime);
        assert!(parked.into_iter().all(|greenlet| greenlet.join().is_err()));
    });
    if let Some(stderr) = stderr {
        assert_eq!(stderr, "");
    }
}

#[test]
fn a_greenlet_that_goes_on_is_cancelled_again_at_each_wait() {
    for hubs in [1, 2, 8] {
        let _watchdog = watched();
        let runtime = runtime(hubs);
        let stubborn = started(&runtime, || {
            let waits: [fn(); 5] = [
                greenlet::park,
                park_for_ever,
                greenlet::yield_now,
                || greenlet::sleep(Duration::from_secs(1000)),
                || greenlet::park_timeout(Duration::from_secs(1000)),
            ];
            // The first is in the drop's way whenever it comes; the others follow it.
            let first = catch_unwind(park_for_ever).unwrap_err();
            let cancelled = waits.map(|wait| catch_unwind(wait).unwrap_err().is::<Cancelled>());
            (first.is::<Cancelled>(), cancelled)
        });
        drop(runtime);
        assert_eq!(stubborn.join().unwrap(), (true, [true; 5]));
    }
}

#[test]
fn a_drop_that_waits_finishes_while_its_greenlet_unwinds() {
    for hubs in [1, 2, 8] {
        let _watchdog = watched();
        let runtime = runtime(hubs);
        let steps = Arc::new(AtomicUsize::new(0));
        let waits = |steps: Arc<AtomicUsize>, unwinding: Arc<Flag>| {
            OnDrop(move || {
                unwinding.raise();
                for _ in 0..3 {
                    greenlet::sleep(Duration::from_millis(5));
                    greenlet::yield_now();
                    greenlet::park_timeout(Duration::from_millis(1));
                    assert!(thread::panicking());
                    steps.fetch_add(1, SeqCst);
                }
            })
        };
        // One that unwinds before the runtime is dropped, of a panic of its own.
        let unwinding = Arc::new(Flag::default());
        let before = runtime.spawn({
            let guard = waits(steps.clone(), unwinding.clone());
            move || {
                let _guard = guard;
                resume_unwind(Box::new("mine"))
            }
        });
        unwinding.wait();
        // And one that unwinds because of it.
        let because = started(&runtime, {
            let guard = waits(steps.clone(), Arc::default());
            move || {
                let _guard = guard;
                park_for_ever();
            }
        });
        drop(runtime);
        assert_eq!(steps.load(SeqCst), 6);
        let own: thread::Result<()> = before.join();
        assert_eq!(own.unwrap_err().downcast_ref(), Some(&"mine"));
        assert!(because.join().unwrap_err().is::<Cancelled>());
    }
}

#[test]
fn closures_that_have_not_started_are_dropped() {
    let _watchdog = watched();
    let runtime = runtime(2);
    let cancelled = Arc::new(AtomicBool::new(false));
    // Keeps hub 0 until the drop of the runtime has begun, as the other one tells.
    let (busy, parked) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
    let greenlets = runtime.run(|| {
        let telling = Builder::new().hub(1).spawn({
            let (parked, cancelled) = (parked.clone(), cancelled.clone());
            move || {
                let _guard = OnDrop(|| cancelled.store(true, SeqCst));
                parked.raise();
                park_for_ever();
            }
        });
        parked.wait();
        let keeping = Builder::new().hub(0).spawn({
            let (busy, cancelled) = (busy.clone(), cancelled.clone());
            move || {
                busy.raise();
                while !cancelled.load(SeqCst) {
                    thread::yield_now();
                }
            }
        });
        [telling.unwrap(), keeping.unwrap()]
    });
    busy.wait();
    let owned = Arc::new(());
    let run = Arc::new(AtomicUsize::new(0));
    // This runs on hub 1, since hub 0 is busy.
    let unstarted: Vec<JoinHandle<()>> = runtime.run(|| {
        let spawn = |_| {
            let (owned, run) = (owned.clone(), run.clone());
            let closure = move || {
                let _owned = owned;
                run.fetch_add(1, SeqCst);
            };
            Builder::new().hub(0).spawn(closure).unwrap()
        };
        (0..100).map(spawn).collect()
    });
    drop(runtime);
    assert_eq!(run.load(SeqCst), 0);
    assert_eq!(Arc::strong_count(&owned), 1);
    for greenlet in unstarted {
        assert!(greenlet.join().unwrap_err().is::<Cancelled>());
    }
    let [telling, keeping] = greenlets;
    assert!(telling.join().unwrap_err().is::<Cancelled>());
    keeping.join().unwrap();
}

#[test]
fn a_spawn_after_the_drop_has_begun_joins_as_err() {
    for hubs in [1, 2, 8] {
        let _watchdog = watched();
        let runtime = runtime(hubs);
        let results = Arc::new(Mutex::new(Vec::new()));
        let spawning = started(&runtime, {
            let results = results.clone();
            move || {
                let _guard = OnDrop(|| {
                    let late = greenlet::spawn(|| 1);
                    let reserved = greenlet::try_spawn(|| 2).unwrap();
                    // It unwinds, so it may wait for them.
                    results
                        .lock()
                        .unwrap()
                        .extend([late.join(), reserved.join()]);
                });
                park_for_ever();
            }
        });
        drop(runtime);
        assert!(spawning.is_finished());
        let results = std::mem::take(&mut *results.lock().unwrap());
        assert_eq!(results.len(), 2);
        for result in results {
            assert!(result.unwrap_err().is::<Cancelled>());
        }
    }
}

#[test]
fn greenlets_that_end_by_themselves_do_so() {
    for hubs in [1, 2, 8] {
        let _watchdog = watched();
        let runtime = runtime(hubs);
        let go = Arc::new(AtomicBool::new(false));
        // It computes, and so is not asked.
        let computing = started(&runtime, {
            let go = go.clone();
            move || {
                while !go.load(SeqCst) {
                    thread::yield_now();
                }
                7
            }
        });
        thread::scope(|scope| {
            scope.spawn(|| go.store(true, SeqCst));
            drop(runtime);
        });
        assert_eq!(computing.join().unwrap(), 7);
    }
}

#[test]
fn a_runtime_without_greenlets_ends() {
    with_hubs(|_| drop(runtime(1)));
    for hubs in [1, 2, 8] {
        let _watchdog = watched();
        for _ in 0..50 {
            drop(runtime(hubs));
        }
    }
}

#[test]
fn a_runtime_may_be_dropped_in_a_greenlet_of_another() {
    with_hubs(|other| {
        let ending = runtime(2);
        let parked = started(&ending, park_for_ever);
        let joined = other.run(move || {
            drop(ending);
            parked.is_finished() && parked.join().is_err()
        });
        assert!(joined);
    });
}

#[test]
fn runtimes_may_be_dropped_in_greenlets_that_unwind() {
    with_hubs(|other| {
        let ending = runtime(2);
        let parked = started(&ending, park_for_ever);
        let unwinding = other.spawn(move || {
            let _ending = ending;
            resume_unwind(Box::new("mine"))
        });
        let payload: thread::Result<()> = unwinding.join();
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&"mine"));
        assert!(parked.is_finished());
    });
}

#[test]
fn a_runtime_that_its_own_greenlet_drops_ends_in_the_background() {
    let test = "a_runtime_that_its_own_greenlet_drops_ends_in_the_background";
    child::alone(test, || {
        let _watchdog = watched();
        // What is made once in a process is there before.
        drop(runtime(1));
        let before = descriptors();
        for hubs in [1, 2, 8] {
            let runtime = Arc::new(runtime(hubs));
            let parked = started(&runtime, park_for_ever);
            let (own, go) = (runtime.clone(), Arc::new(Flag::default()));
            let dropping = started(&runtime, {
                let go = go.clone();
                move || {
                    go.wait();
                    drop(own);
                    // It is cancelled itself.
                    park_for_ever();
                }
            });
            drop(runtime);
            go.raise();
            assert!(dropping.join().unwrap_err().is::<Cancelled>());
            assert!(parked.join().unwrap_err().is::<Cancelled>());
        }
        wait_until("the workers end", || workers() == 0);
        wait_until("the descriptors are closed", || descriptors() == before);
    });
}

#[test]
fn a_dropped_runtime_leaves_no_thread_and_no_descriptor() {
    let test = "a_dropped_runtime_leaves_no_thread_and_no_descriptor";
    child::alone(test, || {
        let _watchdog = watched();
        drop(runtime(1));
        let before = descriptors();
        let owned = Arc::new(());
        for round in 0..30 {
            let runtime = runtime(1 + round % 8);
            for _ in 0..20 {
                let kept = owned.clone();
                drop(runtime.spawn(move || {
                    let _kept = kept;
                    greenlet::sleep(Duration::from_micros(50));
                    park_for_ever();
                }));
            }
            drop(runtime);
            assert_eq!(Arc::strong_count(&owned), 1);
            // A thread that was joined may still be listed for a moment.
            wait_until("the workers are gone", || workers() == 0);
            assert_eq!(descriptors(), before);
        }
    });
}

#[test]
fn a_runtime_ends_while_others_wake_its_greenlets() {
    for hubs in [1, 2, 8] {
        let _watchdog = watched();
        for _ in 0..30 {
            let runtime = runtime(hubs);
            let parked: Vec<_> = (0..8).map(|_| started(&runtime, park_for_ever)).collect();
            let handles: Vec<_> = parked.iter().map(|p| p.thread().clone()).collect();
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while !over.load(SeqCst) {
                            handles.iter().for_each(greenlet::Greenlet::unpark);
                        }
                    });
                }
                drop(runtime);
                over.store(true, SeqCst);
            });
            for greenlet in parked {
                assert!(greenlet.join().unwrap_err().is::<Cancelled>());
            }
        }
    }
}

#[test]
fn a_runtime_ends_while_its_greenlets_spawn() {
    for hubs in [1, 2, 8] {
        let _watchdog = watched();
        let owned = Arc::new(());
        for _ in 0..20 {
            let runtime = runtime(hubs);
            let spawning: Vec<_> = (0..4)
                .map(|_| {
                    let owned = owned.clone();
                    started(&runtime, move || {
                        loop {
                            let kept = owned.clone();
                            drop(greenlet::spawn(move || {
                                greenlet::yield_now();
                                drop(kept);
                            }));
                            greenlet::yield_now();
                        }
                    })
                })
                .collect();
            drop(runtime);
            for greenlet in spawning {
                let result: thread::Result<()> = greenlet.join();
                assert!(result.unwrap_err().is::<Cancelled>());
            }
            assert_eq!(Arc::strong_count(&owned), 1);
        }
    }
}

#[test]
fn a_closure_that_panics_when_it_is_dropped_unstarted_harms_nobody() {
    let _watchdog = watched();
    let runtime = runtime(1);
    let late = Arc::new(Mutex::new(None));
    let spawning = started(&runtime, {
        let late = late.clone();
        move || {
            let unwound = catch_unwind(AssertUnwindSafe(park_for_ever));
            let bomb = OnDrop(|| resume_unwind(Box::new("bomb")));
            *late.lock().unwrap() = Some(greenlet::spawn(move || drop(bomb)));
            unwound.is_err()
        }
    });
    drop(runtime);
    assert!(spawning.join().unwrap());
    let late = late.lock().unwrap().take().unwrap();
    assert!(late.join().unwrap_err().is::<Cancelled>());
}

/// It used to abort the process: a result that nobody asks for is dropped where no panic may pass.
#[test]
fn a_result_whose_drop_waits_is_dropped_in_a_cancelled_greenlet() {
    for hubs in [1, 2, 8] {
        let _watchdog = watched();
        let runtime = runtime(hubs);
        let dropped = Arc::new(AtomicBool::new(false));
        let raised = dropped.clone();
        drop(started(&runtime, move || {
            assert!(catch_unwind(park_for_ever).is_err());
            OnDrop(move || {
                greenlet::sleep(Duration::from_millis(5));
                greenlet::yield_now();
                raised.store(true, SeqCst);
            })
        }));
        drop(runtime);
        assert!(dropped.load(SeqCst));
    }
}

/// A park that one hub is about to publish, cancelled by the hub on which the greenlet has started:
/// the first used the stack of a greenlet that was gone.
#[test]
fn a_runtime_ends_while_greenlets_park_on_other_hubs_than_they_started_on() {
    let _watchdog = watched();
    for round in 0..200 {
        let runtime = runtime(2 + round % 3);
        let over = Arc::new(AtomicBool::new(false));
        let parking: Vec<_> = (0..16)
            .map(|_| {
                started(&runtime, || {
                    loop {
                        greenlet::current().unpark();
                        greenlet::park();
                        greenlet::park_timeout(Duration::from_micros(1));
                    }
                })
            })
            .collect();
        let handles: Vec<_> = parking.iter().map(|p| p.thread().clone()).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    handles.iter().for_each(greenlet::Greenlet::unpark);
                }
            });
            drop(runtime);
            over.store(true, SeqCst);
        });
        for greenlet in parking {
            let result: thread::Result<()> = greenlet.join();
            assert!(result.unwrap_err().is::<Cancelled>());
        }
    }
}

#[test]
fn where_a_greenlet_cannot_park_a_drop_blocks() {
    with_hubs(|outer| {
        let inner = runtime(2);
        let parked = inner.spawn(park_for_ever);
        outer.run(|| greenlet::on_thread_stack(|| drop(inner)));
        assert!(parked.join().unwrap_err().is::<Cancelled>());
    });
}
