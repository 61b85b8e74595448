//! `greenlet::thread` and `greenlet::time`, as far as they are not about spawning, parking or
//! scopes, which have files of their own.

mod support;

use std::collections::HashSet;
use std::panic::catch_unwind;

use greenlet::thread::{self, Builder, ThreadId};
use greenlet::time::{self, Duration, Instant};
use support::{Flag, on_hubs, parks, parks_for_a_while, watched};

#[test]
fn every_greenlet_and_every_plain_thread_has_an_id() {
    on_hubs(|_| {
        let handles: Vec<_> = (0..50)
            .map(|_| thread::spawn(|| thread::current().id()))
            .collect();
        let told: HashSet<ThreadId> = handles.iter().map(|handle| handle.thread().id()).collect();
        let own: HashSet<ThreadId> = handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .collect();
        assert_eq!(own, told);
        assert_eq!(own.len(), 50);
        assert!(!own.contains(&thread::current().id()));
    });
    let here = thread::current().id();
    assert_eq!(here, thread::current().id());
    let there = std::thread::spawn(|| thread::current().id());
    assert_ne!(there.join().unwrap(), here);
}

#[test]
fn a_thread_that_is_spawned_on_a_plain_thread_is_a_greenlet() {
    let _watchdog = watched();
    let hub = thread::spawn(greenlet::hub_id).join().unwrap();
    assert!(hub.is_some());
}

#[test]
fn a_name_with_a_null_byte_is_refused_as_in_std() {
    let _watchdog = watched();
    for name in ["\0", "a\0b"] {
        let builder = Builder::new().name(name.into());
        let spawned = catch_unwind(|| builder.spawn(|| ()));
        let payload = spawned.unwrap_err();
        let text = payload.downcast_ref::<&str>().copied();
        assert_eq!(
            text,
            Some("thread name may not contain interior null bytes")
        );
    }
}

#[test]
fn spawn_unchecked_runs_what_borrows() {
    on_hubs(|_| {
        let mut number = 1;
        let borrowed = &mut number;
        // SAFETY: joined before `number` goes.
        let handle = unsafe { Builder::new().spawn_unchecked(|| *borrowed += 1) }.unwrap();
        handle.join().unwrap();
        assert_eq!(number, 2);
    });
}

#[test]
#[allow(deprecated)]
fn the_old_names_wait_too() {
    let sleeper = Flag::default();
    parks(
        || {
            thread::sleep_ms(1);
            sleeper.wait();
            thread::park_timeout_ms(1);
        },
        || sleeper.raise(),
    )
}

#[test]
fn a_sleep_parks() {
    on_hubs(|_| {
        let start = Instant::now();
        thread::sleep(Duration::from_millis(3));
        assert!(start.elapsed() >= Duration::from_millis(3));
    });
    parks_for_a_while(|| thread::sleep(Duration::from_millis(5)));
}

#[test]
fn an_interval_ticks_at_once_and_then_in_its_rhythm() {
    on_hubs(|_| {
        let period = Duration::from_millis(3);
        let start = Instant::now();
        let mut interval = time::interval(period);
        let first = interval.tick();
        assert!(first <= Instant::now());
        let ticks: Vec<_> = interval.by_ref().take(5).collect();
        for (n, tick) in (1..).zip(&ticks) {
            let since = *tick - first;
            assert!(since >= period * n);
            assert_eq!(since.as_nanos() % period.as_nanos(), 0);
        }
        assert!(start.elapsed() >= period * 5);
    });
}

#[test]
fn an_interval_does_not_wait_for_a_tick_that_has_passed_and_gives_it_once() {
    on_hubs(|_| {
        let period = Duration::from_millis(2);
        let mut interval = time::interval(period);
        let first = interval.tick();
        thread::sleep(period * 5);
        let late = interval.tick();
        assert_eq!(late - first, period);
        let next = interval.tick();
        assert!(next - first > period * 4, "those between are skipped");
    });
}

#[test]
fn an_interval_parks_and_may_be_reset() {
    parks_for_a_while(|| {
        let period = Duration::from_millis(5);
        let mut interval = time::interval(period);
        interval.tick();
        assert_eq!(interval.period(), period);
        let reset = Instant::now();
        interval.reset();
        assert!(interval.tick() >= reset + period);
    });
}

#[test]
fn an_interval_of_no_time_is_refused() {
    let made = catch_unwind(|| time::interval(Duration::ZERO));
    assert!(made.is_err());
}
