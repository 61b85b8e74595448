//! Models of waiting for a descriptor: no edge is lost between those who poll, wait and give up.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::thread;

use super::*;
use crate::atomic::model;
use crate::waker::Outcome;
use crate::waker::models::SleeperRef;

fn registration() -> Arc<Registration> {
    Arc::new(Registration::new(Weak::new(), 0, 0))
}

/// What the holder of the poller's lock does with one event.
fn poll(registration: &Registration, events: libc::c_int) {
    let mut wakes = WakeList::new();
    registration.edge(events, &mut wakes);
    wakes.wake_all();
}

/// Waits for an edge after `seen`, as a source does.
fn wait(registration: &Registration, sleeper: &SleeperRef, interest: Interest, seen: usize) {
    let waker = sleeper.park(false).unwrap();
    registration.arm(interest, seen, waker);
    sleeper.wait();
}

/// Takes one of the things that the descriptor has, waiting for it.
fn take(registration: &Registration, things: &AtomicUsize) {
    let sleeper = SleeperRef::new();
    loop {
        let seen = registration.edges(Interest::Read);
        let taken = things.fetch_update(AcqRel, Acquire, |left| left.checked_sub(1));
        if taken.is_ok() {
            return registration.pass_on(Interest::Read);
        }
        wait(registration, &sleeper, Interest::Read, seen);
    }
}

#[test]
fn an_edge_that_comes_before_during_or_after_the_arming_is_seen() {
    model(|| {
        let (registration, things) = (registration(), Arc::new(AtomicUsize::new(0)));
        let poller = thread::spawn({
            let (registration, things) = (registration.clone(), things.clone());
            move || {
                for _ in 0..2 {
                    things.fetch_add(1, Relaxed);
                    poll(&registration, libc::EPOLLIN);
                }
            }
        });
        take(&registration, &things);
        take(&registration, &things);
        poller.join().unwrap();
    });
}

#[test]
fn two_who_wait_get_two_things_of_one_edge() {
    model(|| {
        let (registration, things) = (registration(), Arc::new(AtomicUsize::new(0)));
        let takers = [(); 2].map(|()| {
            let (registration, things) = (registration.clone(), things.clone());
            thread::spawn(move || take(&registration, &things))
        });
        things.store(2, Relaxed);
        poll(&registration, libc::EPOLLIN);
        for thread in takers {
            thread.join().unwrap();
        }
    });
}

/// One waits with a time-out and takes nothing, however its wait ends; then the other one gets the
/// edge.
#[test]
fn who_gives_up_passes_an_edge_on_that_has_taken_its_waker() {
    model(|| {
        let (registration, things) = (registration(), Arc::new(AtomicUsize::new(0)));
        let taker = thread::spawn({
            let (registration, things) = (registration.clone(), things.clone());
            move || take(&registration, &things)
        });
        let poller = thread::spawn({
            let registration = registration.clone();
            move || {
                things.store(1, Relaxed);
                poll(&registration, libc::EPOLLIN);
            }
        });
        let sleeper = SleeperRef::new();
        let seen = registration.edges(Interest::Read);
        let waker = sleeper.park(false).unwrap();
        registration.arm(Interest::Read, seen, waker.clone());
        waker.expire();
        if sleeper.wait() == Outcome::Woken {
            registration.pass_on(Interest::Read);
        } else {
            let header = sleeper.header_pointer();
            registration.disarm(Interest::Read, header, sleeper.last_park());
        }
        taker.join().unwrap();
        poller.join().unwrap();
        assert!(!sleeper.is_scheduled());
    });
}

#[test]
fn an_error_wakes_all_who_wait_in_both_directions() {
    model(|| {
        let (registration, failed) = (registration(), Arc::new(AtomicBool::new(false)));
        let waiting = [Interest::Read, Interest::Read, Interest::Write].map(|interest| {
            let (registration, failed) = (registration.clone(), failed.clone());
            thread::spawn(move || {
                let sleeper = SleeperRef::new();
                loop {
                    let seen = registration.edges(interest);
                    if failed.load(Relaxed) {
                        break;
                    }
                    wait(&registration, &sleeper, interest, seen);
                }
            })
        });
        failed.store(true, Relaxed);
        poll(&registration, libc::EPOLLERR);
        for thread in waiting {
            thread.join().unwrap();
        }
    });
}

#[test]
fn the_end_of_the_reactor_ends_every_wait() {
    model(|| {
        let registration = registration();
        let waiting = thread::spawn({
            let registration = registration.clone();
            move || {
                let sleeper = SleeperRef::new();
                while !registration.is_dead() {
                    let seen = registration.edges(Interest::Read);
                    wait(&registration, &sleeper, Interest::Read, seen);
                }
            }
        });
        registration.die();
        waiting.join().unwrap();
    });
}
