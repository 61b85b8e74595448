//! `spawn`, `try_spawn` and `spawn_local`.

mod support;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use greenlet::Builder;
use support::process::wait_until;
use support::{Flag, child, on_hubs, runtime, watched, with_hubs};

#[test]
fn a_result_comes_back() {
    on_hubs(|_| {
        let greenlets: Vec<_> = (0..100).map(|n| greenlet::spawn(move || n * n)).collect();
        for (n, greenlet) in greenlets.into_iter().enumerate() {
            assert_eq!(greenlet.join().unwrap(), n * n);
        }
    });
}

#[test]
fn a_spawn_does_not_run_the_greenlet_yet() {
    let _watchdog = watched();
    runtime(1).run(|| {
        let greenlet = greenlet::spawn(|| ());
        assert!(!greenlet.is_finished());
        greenlet.join().unwrap();
    });
}

#[test]
fn one_hub_starts_greenlets_in_the_order_of_their_spawns() {
    let _watchdog = watched();
    let order = Arc::new(Mutex::new(Vec::new()));
    runtime(1).run(|| {
        let greenlets: Vec<_> = (0..1000)
            .map(|n| {
                let order = order.clone();
                greenlet::spawn(move || order.lock().unwrap().push(n))
            })
            .collect();
        greenlets
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
    assert_eq!(*order.lock().unwrap(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_greenlet_spawns_into_its_own_runtime() {
    with_hubs(|runtime| {
        let before = runtime.stats().spawned;
        runtime.run(|| (0..10).for_each(|_| greenlet::spawn(|| ()).join().unwrap()));
        assert_eq!(runtime.stats().spawned - before, 11);
    });
}

#[test]
fn a_greenlet_whose_handle_is_dropped_runs_on() {
    on_hubs(|_| {
        let flag = Arc::new(Flag::default());
        drop(greenlet::spawn({
            let flag = flag.clone();
            move || flag.raise()
        }));
        flag.wait();
    });
}

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_result_that_nobody_takes_is_dropped_once() {
    on_hubs(|_| {
        let drops = Arc::new(AtomicUsize::new(0));
        // The handle goes first.
        let early = greenlet::spawn({
            let counted = Counted(drops.clone());
            move || {
                greenlet::yield_now();
                counted
            }
        });
        drop(early);
        // The greenlet ends first.
        let late = greenlet::spawn({
            let counted = Counted(drops.clone());
            move || counted
        });
        while !late.is_finished() {
            greenlet::yield_now();
        }
        drop(late);
        while drops.load(SeqCst) < 2 {
            greenlet::yield_now();
        }
        greenlet::yield_now();
        assert_eq!(drops.load(SeqCst), 2);
    });
}

/// Its user code would run under the thread-locals of the hub, whom a wait in it would block.
#[test]
fn a_result_that_nobody_takes_is_not_dropped_by_a_hub() {
    struct Asks(Arc<AtomicUsize>);

    impl Drop for Asks {
        fn drop(&mut self) {
            // A hub is named as its thread is; a greenlet is named in `run` only.
            let greenlet = greenlet::current();
            if greenlet
                .name()
                .is_some_and(|name| name.starts_with("greenlet-hub"))
            {
                self.0.fetch_add(1, SeqCst);
            }
        }
    }

    on_hubs(|hubs| {
        let by_hubs = Arc::new(AtomicUsize::new(0));
        for n in 0..5000 {
            let result = Asks(by_hubs.clone());
            let greenlet = Builder::new().hub(n % hubs).spawn(move || result).unwrap();
            // The drop of the handle comes before, at and after the end of the greenlet.
            for _ in 0..n % 64 {
                std::hint::spin_loop();
            }
            if n % 3 == 0 {
                greenlet::yield_now();
            }
            drop(greenlet);
        }
        while Arc::strong_count(&by_hubs) > 1 {
            greenlet::yield_now();
        }
        assert_eq!(by_hubs.load(SeqCst), 0);
    });
}

#[test]
fn what_the_closure_owns_is_dropped_before_the_join_returns() {
    on_hubs(|_| {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = Counted(drops.clone());
        greenlet::spawn(move || drop(counted)).join().unwrap();
        assert_eq!(drops.load(SeqCst), 1);
    });
}

#[test]
fn large_closures_and_results_pass_unchanged() {
    on_hubs(|_| {
        let numbers: [u64; 1024] = std::array::from_fn(|n| n as u64);
        let doubled = greenlet::spawn(move || numbers.map(|n| 2 * n))
            .join()
            .unwrap();
        assert!(
            doubled
                .iter()
                .zip(numbers)
                .all(|(double, n)| *double == 2 * n)
        );
    });
}

#[test]
fn over_aligned_closures_and_results_stay_aligned() {
    #[repr(align(256))]
    struct Aligned(u8);

    on_hubs(|_| {
        let aligned = Aligned(7);
        let result = greenlet::spawn(move || {
            assert_eq!((&raw const aligned).addr() % 256, 0);
            aligned
        });
        assert_eq!(result.join().unwrap().0, 7);
    });
}

#[test]
fn greenlets_that_spawn_greenlets_all_run() {
    fn tree(depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        let branches = [(); 2].map(|()| greenlet::spawn(move || tree(depth - 1)));
        branches
            .into_iter()
            .map(|branch| branch.join().unwrap())
            .sum()
    }

    on_hubs(|_| assert_eq!(tree(9), 512));
}

#[test]
fn threads_spawn_into_a_runtime_at_once() {
    with_hubs(|runtime| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let greenlets: Vec<_> = (0..500).map(|n| runtime.spawn(move || n)).collect();
                    for (n, greenlet) in greenlets.into_iter().enumerate() {
                        assert_eq!(greenlet.join().unwrap(), n);
                    }
                });
            }
        });
        wait_until("all are counted", || runtime.stats().greenlets == 0);
    });
}

#[test]
fn a_spawn_into_another_runtime_runs_there() {
    let _watchdog = watched();
    let (one, other) = (runtime(1), runtime(2));
    one.run(|| {
        let greenlet = other.spawn(|| greenlet::hub_id().unwrap());
        assert!(greenlet.join().unwrap() < 2);
    });
    assert_eq!((one.stats().spawned, other.stats().spawned), (1, 1));
}

#[test]
fn a_spawn_outside_of_any_runtime_uses_the_default_one() {
    let test = "a_spawn_outside_of_any_runtime_uses_the_default_one";
    child::passes(test, &[("GREENLET_HUBS", "3")], || {
        let _watchdog = watched();
        assert_eq!(greenlet::hub_id(), None);
        let spawned = greenlet::spawn(|| (greenlet::hub_id(), greenlet::stats().unwrap().spawned));
        let (hub, spawned) = spawned.join().unwrap();
        assert!(hub.unwrap() < 3);
        assert_eq!(spawned, 1);
        // It is the same one the next time, and has what the environment says.
        let third = Builder::new()
            .hub(2)
            .spawn(|| greenlet::stats().unwrap().spawned);
        assert_eq!(third.unwrap().join().unwrap(), 2);
        assert!(Builder::new().hub(3).spawn(|| ()).is_err());
        assert!(greenlet::try_spawn(|| ()).unwrap().join().is_ok());
    });
}

#[test]
fn a_default_runtime_that_cannot_be_built_panics_with_the_reason() {
    let test = "a_default_runtime_that_cannot_be_built_panics_with_the_reason";
    child::passes(test, &[("GREENLET_HUBS", "many")], || {
        let _watchdog = watched();
        let payload = thread::spawn(|| greenlet::spawn(|| ())).join().unwrap_err();
        let message = payload.downcast_ref::<String>().unwrap();
        assert!(message.contains("default runtime"), "{message}");
        assert!(message.contains("many"), "{message}");
    });
}

#[test]
fn the_default_runtime_ends_with_the_process() {
    let test = "the_default_runtime_ends_with_the_process";
    child::passes(test, &[], || {
        let _watchdog = watched();
        let started = Arc::new(Flag::default());
        let parked = started.clone();
        drop(greenlet::spawn(move || {
            parked.raise();
            loop {
                greenlet::park();
            }
        }));
        started.wait();
    });
}

#[test]
fn try_spawn_runs_what_it_is_given() {
    on_hubs(|_| assert_eq!(greenlet::try_spawn(|| 7).unwrap().join().unwrap(), 7));
}

#[test]
fn a_spawn_remembers_where_it_was_called() {
    on_hubs(|_| {
        let spawned = [
            (line!(), greenlet::spawn(|| ())),
            (line!(), greenlet::try_spawn(|| ()).unwrap()),
            (line!(), Builder::new().spawn(|| ()).unwrap()),
            // SAFETY: nothing is captured.
            (line!(), unsafe { greenlet::spawn_local(|| ()) }),
        ];
        for (line, greenlet) in spawned {
            assert_eq!(greenlet.thread().spawned_at().file(), file!());
            assert_eq!(greenlet.thread().spawned_at().line(), line);
            greenlet.join().unwrap();
        }
    });
}

#[test]
fn a_local_greenlet_stays_on_the_hub_of_its_spawn() {
    on_hubs(|_| {
        let hub = greenlet::hub_id();
        let shared = Rc::new(5);
        // SAFETY: the Rc is no handle into thread-locals, and the other greenlet's alone from now.
        let local = unsafe {
            greenlet::spawn_local(move || {
                for _ in 0..100 {
                    assert_eq!(greenlet::hub_id(), hub);
                    greenlet::yield_now();
                }
                *shared
            })
        };
        assert_eq!(local.join().unwrap(), 5);
    });
}

#[test]
fn a_local_spawn_outside_of_a_greenlet_panics() {
    // SAFETY: nothing is captured.
    let spawn = || unsafe { greenlet::spawn_local(|| ()) };
    let payload = std::panic::catch_unwind(spawn).unwrap_err();
    let message = payload.downcast_ref::<&str>().unwrap();
    assert!(
        message.contains("must be called in a greenlet"),
        "{message}"
    );
}
