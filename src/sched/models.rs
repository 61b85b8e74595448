//! Models of hubs: real ones, in a model's threads, with greenlets that are queued, parked and
//! resumed, but have no stack.

use std::cell::UnsafeCell;
use std::os::fd::AsFd;
use std::panic::Location;
use std::ptr;
use std::sync::Arc as StdArc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::body;
use super::cell::{CellRef, Id};
use super::current::{self, Current};
use super::greenlet_cell::{GreenletCell, Runnable, SpawnOptions};
use super::hub::{Hub, Turn};
use super::monitor::{BLOCKED_AFTER, MonitorOptions, OnBlocked};
use super::park::{Parking, forget_timer};
use super::queue::RunQueue;
use super::shared::Shared;
use crate::atomic::model;
use crate::interest::Interest;
use crate::sys::event_fd::EventFd;
use crate::waker::models::SleeperRef;
use crate::waker::{Header, Outcome, Waker};

/// A deadline that has passed.
const PAST: u64 = 1;

/// A runtime whose hubs are made and run by the model.
struct Hubs {
    shared: StdArc<Shared>,
    queues: Vec<RunQueue>,
}

impl Hubs {
    fn new(count: usize) -> Self {
        let queues: Vec<_> = (0..count).map(|_| RunQueue::new(count == 1)).collect();
        let stealers = queues.iter().map(RunQueue::stealer).collect();
        let monitor = MonitorOptions {
            blocked_after: BLOCKED_AFTER,
            on_blocked: OnBlocked::Print,
            blocking_counts: || (0, 0, 0),
        };
        let shared = StdArc::new(Shared::new(stealers, 1 << 15, None, monitor).unwrap());
        Self { shared, queues }
    }

    /// Runs `body` on the next hub, in a thread of its own.
    fn start<T: 'static>(
        &mut self,
        body: impl FnOnce(&Hub) -> T + 'static,
    ) -> thread::JoinHandle<T> {
        let index = self.shared.hub_count() - self.queues.len();
        let (shared, queue) = (self.shared.clone(), self.queues.remove(0));
        thread::spawn(move || {
            let hub = Hub::new(index, shared, queue, 0..0);
            current::set(Current::new(&hub, ptr::null()));
            let answer = body(&hub);
            current::set(Current::new(ptr::null(), ptr::null()));
            answer
        })
    }
}

/// A greenlet that never runs.
struct Stackless(CellRef);

impl Stackless {
    fn new(shared: &StdArc<Shared>, hub: Option<usize>) -> Self {
        let options = SpawnOptions {
            hub,
            ..SpawnOptions::new(1 << 15, Location::caller())
        };
        let id = Id::new(1);
        // SAFETY: the closure owns nothing.
        let cell = unsafe { body::allocate(id, options, StdArc::as_ptr(shared), || ()) };
        // SAFETY: one of the two references that it has from the start; the other is given up by `drop`.
        Self(unsafe { CellRef::from_owned(cell.cast()) })
    }

    fn greenlet(&self) -> &GreenletCell {
        // SAFETY: alive, and a `GreenletCell`.
        unsafe { self.0.as_ptr().cast().as_ref() }
    }

    /// The right to run it, which exists once.
    fn runnable(&self) -> Runnable {
        // SAFETY: alive; models ask once.
        unsafe { Runnable::new(self.0.as_ptr().cast()) }
    }
}

impl Drop for Stackless {
    fn drop(&mut self) {
        // SAFETY: the greenlet's own reference; it is in no queue any more.
        unsafe { Header::release(self.0.as_ptr().cast()) };
    }
}

/// A hub's loop, up to the first greenlet.
fn next(hub: &Hub) -> Runnable {
    loop {
        match hub.find_work() {
            Some(runnable) => return runnable,
            None => sleep(hub),
        }
    }
}

/// A hub that has seen old news for a while sees what there is.
fn sleep(hub: &Hub) {
    hub.sleep();
    thread::yield_now();
}

/// Lets nobody go on before two have come.
struct Pair {
    come: Mutex<usize>,
    complete: Condvar,
}

impl Pair {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            come: Mutex::new(0),
            complete: Condvar::new(),
        })
    }

    fn wait(&self) {
        let mut come = self.come.lock().unwrap();
        *come += 1;
        self.complete.notify_all();
        while *come < 2 {
            come = self.complete.wait(come).unwrap();
        }
    }
}

#[test]
fn two_hubs_find_two_greenlets_pushed_from_outside() {
    model(|| {
        let mut hubs = Hubs::new(2);
        let greenlets = [(); 2].map(|()| Stackless::new(&hubs.shared, None));
        let both = Pair::new();
        let workers = [(); 2].map(|()| {
            let both = both.clone();
            hubs.start(move |hub| {
                next(hub);
                both.wait();
            })
        });
        for greenlet in &greenlets {
            hubs.shared.push(greenlet.runnable());
        }
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// The one that was in the next slot is pushed out of it, and found by the other hub.
#[test]
fn what_a_busy_hub_has_queued_is_stolen() {
    model(|| {
        let mut hubs = Hubs::new(2);
        let greenlets = [(); 2].map(|()| Stackless::new(&hubs.shared, None));
        let both = Pair::new();
        let busy = hubs.start({
            let (both, runnables) = (both.clone(), greenlets.each_ref().map(Stackless::runnable));
            move |hub| {
                runnables.into_iter().for_each(|one| hub.push_next(one));
                next(hub);
                both.wait();
            }
        });
        let thief = hubs.start(move |hub| {
            next(hub);
            both.wait();
        });
        busy.join().unwrap();
        thief.join().unwrap();
    });
}

/// Which is in no queue while the hub takes the next one: the other hub may have fallen asleep meanwhile.
#[test]
fn who_yields_to_another_is_stolen() {
    model(|| {
        let mut hubs = Hubs::new(2);
        let greenlets = [(); 2].map(|()| Stackless::new(&hubs.shared, None));
        let both = Pair::new();
        let busy = hubs.start({
            let both = both.clone();
            let [yielding, waiting] = greenlets.each_ref().map(Stackless::runnable);
            move |hub| {
                hub.push_back(waiting);
                if !matches!(hub.turn(yielding.cell()), Turn::Same) {
                    hub.push_overtaken(yielding);
                }
                both.wait();
            }
        });
        let thief = hubs.start(move |hub| {
            next(hub);
            both.wait();
        });
        busy.join().unwrap();
        thief.join().unwrap();
    });
}

/// One hub polls, gets a greenlet of its own and is busy with it until a descriptor is ready: the
/// other one, which sleeps on its futex, has to take over.
#[test]
fn while_a_hub_is_busy_one_that_sleeps_polls() {
    model(|| {
        let mut hubs = Hubs::new(2);
        let shared = hubs.shared.clone();
        let greenlet = Stackless::new(&shared, Some(0));
        let descriptor = StdArc::new(EventFd::new().unwrap());
        let registration = shared.reactor.register((*descriptor).as_fd(), 0).unwrap();
        let reader = SleeperRef::new();
        registration.arm(Interest::Read, 0, reader.park(false).unwrap());
        let over = Arc::new(AtomicBool::new(false));
        let busy = hubs.start({
            let over = over.clone();
            move |hub| {
                next(hub);
                reader.wait();
                over.store(true, Relaxed);
                hub.shared().notify_all();
            }
        });
        let idle = hubs.start(move |hub| {
            while !over.load(Relaxed) {
                assert!(hub.find_work().is_none());
                sleep(hub);
            }
        });
        shared.push_pinned(0, greenlet.runnable());
        descriptor.signal();
        busy.join().unwrap();
        idle.join().unwrap();
        registration.deregister((*descriptor).as_fd());
    });
}

/// A greenlet that parks, and what its stack holds meanwhile.
struct Parked {
    greenlet: Stackless,
    /// Where the commit puts the waker.
    waker: Mutex<Option<Waker>>,
    /// Used by the commit, up to the publishing, and by the greenlet when it goes on.
    stack: loom::cell::UnsafeCell<usize>,
    resumed: AtomicUsize,
}

// SAFETY: loom checks `stack`.
unsafe impl Sync for Parked {}
// SAFETY: as above.
unsafe impl Send for Parked {}

impl Parked {
    fn new(hubs: &Hubs) -> Arc<Self> {
        Arc::new(Self {
            greenlet: Stackless::new(&hubs.shared, None),
            waker: Mutex::new(None),
            stack: loom::cell::UnsafeCell::new(0),
            resumed: AtomicUsize::new(0),
        })
    }

    /// What a hub does with a greenlet that has run up to a park.
    fn park(&self, hub: &Hub, deadline: Option<u64>) {
        let commit = UnsafeCell::new(Some(|waker| {
            let mut place = self.waker.lock().unwrap();
            self.use_stack();
            *place = Some(waker);
        }));
        let parking = Parking::new(deadline, false, &commit);
        hub.park(self.greenlet.runnable().into_cell(), parking);
    }

    /// What the greenlet does when it runs again.
    fn resume(&self, _right: Runnable) -> Outcome {
        self.use_stack();
        let greenlet = self.greenlet.greenlet();
        let outcome = greenlet.header().outcome();
        forget_timer(greenlet, greenlet.run.get(), outcome);
        drop(self.waker.lock().unwrap().take());
        assert_eq!(self.resumed.fetch_add(1, AcqRel), 0);
        outcome
    }

    /// Runs a hub until somebody has resumed the greenlet.
    fn run(&self, hub: &Hub) -> Option<Outcome> {
        let mut outcome = None;
        while self.resumed.load(Relaxed) == 0 {
            match hub.find_work() {
                Some(runnable) => outcome = Some(self.resume(runnable)),
                None => sleep(hub),
            }
        }
        hub.shared().notify_all();
        outcome
    }

    fn wake(&self) -> bool {
        let waker = self.waker.lock().unwrap().take();
        waker.map(Waker::wake).is_some()
    }

    fn use_stack(&self) {
        // SAFETY: loom checks that nobody else does.
        self.stack.with_mut(|stack| unsafe { *stack += 1 });
    }

    /// It was resumed once, and has left nothing behind.
    fn check(&self, shared: &Shared) {
        assert_eq!(self.resumed.load(Relaxed), 1);
        assert!(shared.injector.is_empty());
        for remote in &shared.hubs {
            assert!(remote.timers.lock().is_empty() && remote.stealer.is_empty());
        }
    }
}

#[test]
fn a_park_ends_by_its_deadline_or_its_waker() {
    model(|| {
        let mut hubs = Hubs::new(1);
        let (shared, parked) = (hubs.shared.clone(), Parked::new(&hubs));
        let hub = hubs.start({
            let parked = parked.clone();
            move |hub| {
                parked.park(hub, Some(PAST));
                parked.run(hub)
            }
        });
        let woken = parked.wake();
        let outcome = hub.join().unwrap().unwrap();
        assert!(outcome == Outcome::Deadline || woken && outcome == Outcome::Woken);
        parked.check(&shared);
    });
}

#[test]
fn a_greenlet_that_goes_on_elsewhere_waits_for_the_commit_and_takes_its_timer_back() {
    model(|| {
        let mut hubs = Hubs::new(2);
        let (shared, parked) = (hubs.shared.clone(), Parked::new(&hubs));
        let workers = [true, false].map(|is_first| {
            let parked = parked.clone();
            hubs.start(move |hub| {
                if is_first {
                    parked.park(hub, Some(u64::MAX));
                } else {
                    parked.wake();
                }
                if parked.waker.lock().unwrap().is_some() && is_first {
                    parked.wake();
                }
                parked.run(hub)
            })
        });
        let outcomes = workers.map(|worker| worker.join().unwrap());
        assert!(outcomes.contains(&Some(Outcome::Woken)));
        parked.check(&shared);
    });
}

/// The other hub may resume it at once, if the canceller does not wait for the commit.
#[test]
fn a_cancelled_greenlet_goes_on_when_its_commit_is_through() {
    model(|| {
        let mut hubs = Hubs::new(2);
        let (shared, parked) = (hubs.shared.clone(), Parked::new(&hubs));
        let workers = [true, false].map(|is_first| {
            let parked = parked.clone();
            hubs.start(move |hub| {
                if is_first {
                    parked.park(hub, None);
                }
                parked.run(hub)
            })
        });
        parked.greenlet.greenlet().cancel();
        let outcomes = workers.map(|worker| worker.join().unwrap());
        assert!(outcomes.contains(&Some(Outcome::Cancelled)));
        parked.check(&shared);
    });
}

#[test]
fn a_cancelled_greenlet_takes_its_timer_back() {
    model(|| {
        let mut hubs = Hubs::new(1);
        let (shared, parked) = (hubs.shared.clone(), Parked::new(&hubs));
        let hub = hubs.start({
            let parked = parked.clone();
            move |hub| {
                parked.park(hub, Some(PAST));
                parked.run(hub)
            }
        });
        parked.greenlet.greenlet().cancel();
        assert_ne!(hub.join().unwrap().unwrap(), Outcome::Woken);
        parked.check(&shared);
    });
}
