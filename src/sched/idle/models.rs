//! Models of falling asleep: what is pushed is found, and a notification ends a sleep.
//!
//! The queue is a number, as crossbeam's is not in the model; and the sleeps are real, in a
//! reactor and on futexes that are.

use std::sync::Arc as StdArc;

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

use super::*;
use crate::atomic::model;

/// What hubs share.
struct Hubs {
    idle: Idle,
    beds: Vec<Bed>,
    reactor: StdArc<Reactor>,
    queued: AtomicUsize,
}

impl Hubs {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            idle: Idle::new(count),
            beds: (0..count).map(|_| Bed::new()).collect(),
            reactor: StdArc::new(Reactor::new().unwrap()),
            queued: AtomicUsize::new(0),
        })
    }

    /// As `Shared::push`.
    fn push(&self) {
        // Relaxed, because the protocol has to do without the order of the queue.
        self.queued.fetch_add(1, Relaxed);
        if let Some(hub) = self.idle.claim_sleeper() {
            self.beds[hub].notify(&self.reactor);
        }
    }

    fn take(&self) -> bool {
        let less = |queued: usize| queued.checked_sub(1);
        self.queued.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    fn sleep(&self, hub: usize) {
        self.beds[hub].sleep(&self.reactor, None, &mut WakeList::new());
    }

    /// As `Hub::run` up to the first greenlet.
    fn run_one(&self, hub: usize) {
        let mut searching = false;
        loop {
            searching = searching || self.idle.start_searching();
            if self.take() {
                break;
            }
            self.idle.announce_sleep(hub, searching);
            // Not `take`: a read-modify-write sees what a look may miss.
            if self.queued.load(Relaxed) == 0 {
                self.sleep(hub);
            }
            searching = self.idle.retract_sleep(hub);
        }
        if searching && self.idle.stop_searching() {
            self.notify();
        }
    }

    /// As `Shared::notify`.
    fn notify(&self) {
        if let Some(hub) = self.idle.claim_sleeper() {
            self.beds[hub].notify(&self.reactor);
        }
    }
}

#[test]
fn what_is_pushed_while_the_last_hub_falls_asleep_is_found() {
    model(|| {
        let hubs = Hubs::new(1);
        let hub = thread::spawn({
            let hubs = hubs.clone();
            move || hubs.run_one(0)
        });
        hubs.push();
        hub.join().unwrap();
    });
}

/// Each hub finds one and is busy with it for ever.
#[test]
fn two_hubs_find_two() {
    model(|| {
        let hubs = Hubs::new(2);
        let workers = [0, 1].map(|hub| {
            let hubs = hubs.clone();
            thread::spawn(move || hubs.run_one(hub))
        });
        hubs.push();
        hubs.push();
        for thread in workers {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_notification_ends_the_sleep_in_the_poll_and_on_the_futex() {
    model(|| {
        let hubs = Hubs::new(2);
        let sleepers = [0, 1].map(|hub| {
            let hubs = hubs.clone();
            thread::spawn(move || hubs.sleep(hub))
        });
        hubs.beds[0].notify(&hubs.reactor);
        hubs.beds[1].notify(&hubs.reactor);
        for thread in sleepers {
            thread.join().unwrap();
        }
    });
}

/// A hub that is busy looks into the reactor, and may read what is meant for one that sleeps.
#[test]
fn a_notification_that_a_busy_hub_reads_ends_the_sleep_all_the_same() {
    model(|| {
        let hubs = Hubs::new(1);
        let sleeper = thread::spawn({
            let hubs = hubs.clone();
            move || hubs.sleep(0)
        });
        let busy = thread::spawn({
            let hubs = hubs.clone();
            move || hubs.reactor.poll(&mut WakeList::new())
        });
        hubs.beds[0].notify(&hubs.reactor);
        sleeper.join().unwrap();
        busy.join().unwrap();
    });
}
