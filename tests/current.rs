//! `current`, `hub_id` and `Greenlet`.

mod support;

use std::sync::{Arc, Mutex};
use std::thread;

use greenlet::Greenlet;
use support::{Flag, go_to_hub, on_hubs, watched, with_hubs};

#[test]
fn current_is_the_greenlet_that_runs() {
    on_hubs(|hubs| {
        let greenlets: Vec<_> = (0..20)
            .map(|n| {
                greenlet::spawn(move || {
                    let id = greenlet::current().id();
                    for round in 0..10 {
                        go_to_hub((n + round) % hubs);
                        assert_eq!(greenlet::current().id(), id);
                    }
                    id
                })
            })
            .collect();
        for greenlet in greenlets {
            let id = greenlet.id();
            assert_eq!(greenlet.join().unwrap(), id);
        }
    });
}

#[test]
fn the_greenlet_of_run_is_named_main() {
    with_hubs(|runtime| {
        let line = line!() + 1;
        let current = runtime.run(greenlet::current);
        assert_eq!(current.name(), Some("main"));
        assert_eq!(
            (current.spawned_at().file(), current.spawned_at().line()),
            (file!(), line)
        );
    });
}

#[test]
fn a_plain_thread_has_an_id_and_its_own_name() {
    let _watchdog = watched();
    let me = || {
        (
            greenlet::current().id(),
            greenlet::current().name().map(str::to_owned),
        )
    };
    let named = thread::Builder::new()
        .name("fox".into())
        .spawn(move || (me(), me()));
    let (first, second) = named.unwrap().join().unwrap();
    assert_eq!(first, second);
    assert_eq!(first.1.as_deref(), Some("fox"));
    assert_ne!(first.0, greenlet::current().id());
}

#[test]
fn hub_id_is_there_on_hubs_only() {
    on_hubs(|hubs| assert!(greenlet::hub_id().unwrap() < hubs));
    assert_eq!(greenlet::hub_id(), None);
    on_hubs(|_| assert_eq!(thread::spawn(greenlet::hub_id).join().unwrap(), None));
}

#[test]
fn a_handle_may_be_kept_cloned_and_sent() {
    fn check<T: Send + Sync + Clone + std::fmt::Debug>() {}
    check::<Greenlet>();

    on_hubs(|_| {
        let (place, there) = (Arc::new(Mutex::new(None)), Arc::new(Flag::default()));
        let parking = greenlet::spawn({
            let (place, there) = (place.clone(), there.clone());
            move || {
                *place.lock().unwrap() = Some(greenlet::current());
                there.raise();
                greenlet::park();
            }
        });
        there.wait();
        let handle = place.lock().unwrap().take().unwrap();
        let cloned = handle.clone();
        assert_eq!(cloned.id(), parking.id());
        thread::spawn(move || cloned.unpark()).join().unwrap();
        parking.join().unwrap();
        assert!(format!("{handle:?}").contains("Greenlet"));
    });
}
