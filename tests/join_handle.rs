//! `JoinHandle`.

mod support;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::{Arc, Mutex};
use std::thread;

use greenlet::{Builder, Cancelled, JoinHandle};
use support::{Flag, on_hubs, runtime, watched, with_hubs};

#[test]
fn a_plain_thread_joins() {
    with_hubs(|runtime| {
        let release = Arc::new(Flag::default());
        let waiting = release.clone();
        let greenlet = runtime.spawn(move || {
            waiting.wait();
            1
        });
        let joining = thread::spawn(|| greenlet.join().unwrap());
        release.raise();
        assert_eq!(joining.join().unwrap(), 1);
    });
}

#[test]
fn a_greenlet_of_another_runtime_joins() {
    with_hubs(|runtime| {
        let release = Arc::new(Flag::default());
        let waiting = release.clone();
        let greenlet = runtime.spawn(move || {
            waiting.wait();
            1
        });
        support::runtime(1).run(|| {
            drop(greenlet::spawn(move || release.raise()));
            assert_eq!(greenlet.join().unwrap(), 1);
        });
    });
}

#[test]
fn a_panic_comes_back_with_its_payload() {
    #[derive(Debug, PartialEq)]
    struct Payload(u32);

    on_hubs(|_| {
        let text = greenlet::spawn(|| panic!("text")).join().unwrap_err();
        assert_eq!(text.downcast_ref(), Some(&"text"));
        let number = 6;
        let string = greenlet::spawn(move || panic!("{number}"))
            .join()
            .unwrap_err();
        assert_eq!(string.downcast_ref(), Some(&"6".to_owned()));
        let any = greenlet::spawn(|| panic_any(Payload(7)))
            .join()
            .unwrap_err();
        assert_eq!(any.downcast_ref(), Some(&Payload(7)));
    });
}

#[test]
fn is_finished_says_when_the_greenlet_has_ended() {
    on_hubs(|_| {
        let release = Arc::new(Flag::default());
        let waiting = release.clone();
        let greenlet = greenlet::spawn(move || waiting.wait());
        for _ in 0..10 {
            greenlet::yield_now();
            assert!(!greenlet.is_finished());
        }
        release.raise();
        while !greenlet.is_finished() {
            greenlet::yield_now();
        }
        greenlet.join().unwrap();
    });
}

#[test]
fn a_greenlet_that_panicked_is_finished() {
    on_hubs(|_| {
        let greenlet = greenlet::spawn(|| std::panic::resume_unwind(Box::new(())));
        while !greenlet.is_finished() {
            greenlet::yield_now();
        }
        assert!(greenlet.join().is_err());
    });
}

#[test]
fn a_handle_has_the_greenlets_own_id_and_name() {
    on_hubs(|_| {
        let me = || {
            (
                greenlet::current().id(),
                greenlet::current().name().map(str::to_owned),
            )
        };
        let named = Builder::new().name("bee".into()).spawn(me).unwrap();
        assert_eq!(named.name(), Some("bee"));
        assert_eq!(named.thread().name(), Some("bee"));
        assert_eq!(named.thread().id(), named.id());
        let id = named.id();
        assert_eq!(named.join().unwrap(), (id, Some("bee".into())));

        let unnamed = greenlet::spawn(me);
        assert_eq!(unnamed.name(), None);
        assert_eq!(unnamed.join().unwrap().1, None);
    });
}

#[test]
fn no_two_greenlets_have_the_same_id() {
    let _watchdog = watched();
    let runtimes = [runtime(2), runtime(2)];
    let spawned = runtimes.iter().flat_map(|runtime| {
        let outside = (0..500).map(|_| runtime.spawn(|| ()).id());
        let inside = runtime.run(|| {
            (0..500)
                .map(|_| greenlet::spawn(|| ()).id())
                .collect::<Vec<_>>()
        });
        outside.chain(inside).collect::<Vec<_>>()
    });
    assert_eq!(spawned.collect::<HashSet<_>>().len(), 2000);
}

#[test]
fn a_chain_of_joins_ends() {
    on_hubs(|_| {
        let first = greenlet::spawn(|| 0);
        let last = (0..1000).fold(first, |before, _| {
            greenlet::spawn(|| before.join().unwrap() + 1)
        });
        assert_eq!(last.join().unwrap(), 1000);
    });
}

#[test]
fn a_join_races_with_the_end() {
    on_hubs(|hubs| {
        for n in 0..2000 {
            let greenlet = Builder::new().hub(n % hubs).spawn(move || n).unwrap();
            assert_eq!(greenlet.join().unwrap(), n);
        }
    });
}

#[test]
fn a_detach_races_with_the_end() {
    on_hubs(|hubs| {
        let kept = Arc::new(());
        for n in 0..2000 {
            let result = kept.clone();
            drop(Builder::new().hub(n % hubs).spawn(move || result).unwrap());
        }
        while Arc::strong_count(&kept) > 1 {
            greenlet::yield_now();
        }
    });
}

#[test]
fn a_handle_outlives_its_runtime() {
    let _watchdog = watched();
    let runtime = runtime(2);
    let (done, release) = (runtime.spawn(|| 1), Arc::new(Flag::default()));
    while !done.is_finished() {
        thread::yield_now();
    }
    let waiting = runtime.spawn({
        let release = release.clone();
        move || release.wait()
    });
    let greenlet = waiting.thread().clone();
    drop(runtime);
    assert_eq!(done.join().unwrap(), 1);
    assert!(waiting.is_finished());
    assert!(waiting.join().unwrap_err().is::<Cancelled>());
    release.raise();
    greenlet.unpark();
}

#[test]
fn a_join_whose_caller_is_cancelled_detaches() {
    let _watchdog = watched();
    let (one, other) = (runtime(1), runtime(1));
    let (release, started, over) = <(Arc<Flag>, Arc<Flag>, Arc<Flag>)>::default();
    let joined = other.spawn({
        let (release, over) = (release.clone(), over.clone());
        move || {
            release.wait();
            over.raise();
        }
    });
    let joining = one.spawn({
        let started = started.clone();
        move || {
            started.raise();
            joined.join()
        }
    });
    started.wait();
    drop(one);
    assert!(joining.join().unwrap_err().is::<Cancelled>());
    release.raise();
    over.wait();
}

#[test]
fn a_join_inside_on_thread_stack_panics() {
    on_hubs(|_| {
        let release = Arc::new(Flag::default());
        let waiting = release.clone();
        let greenlet = greenlet::spawn(move || waiting.wait());
        let joined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            greenlet::on_thread_stack(|| greenlet.join())
        }));
        assert!(joined.is_err());
        release.raise();
    });
}

#[test]
fn a_greenlet_that_joins_itself_panics_and_works_on() {
    on_hubs(|_| {
        let own = Arc::new(Mutex::new(None::<JoinHandle<u32>>));
        let greenlet = {
            let own = own.clone();
            greenlet::spawn(move || {
                let handle = loop {
                    if let Some(handle) = own.lock().unwrap().take() {
                        break handle;
                    }
                    greenlet::yield_now();
                };
                let joined = catch_unwind(AssertUnwindSafe(|| handle.join()));
                let payload = joined.unwrap_err();
                assert_eq!(
                    payload.downcast_ref(),
                    Some(&"a greenlet cannot join itself")
                );
                // It waits and joins others as ever.
                greenlet::yield_now();
                assert_eq!(greenlet::spawn(|| 5).join().unwrap(), 5);
                drop(own);
                1
            })
        };
        *own.lock().unwrap() = Some(greenlet);
        while Arc::strong_count(&own) > 1 {
            greenlet::yield_now();
        }
    });
}

#[test]
fn a_handle_may_be_sent_and_shared() {
    fn check<T: Send + Sync + Unpin>() {}
    check::<JoinHandle<u32>>();
    // As std's: what it answers with is sent, not shared.
    check::<JoinHandle<std::cell::Cell<u32>>>();
}
