//! Models of the end of a greenlet: who waits hears of it, and the result has one owner.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::*;
use crate::atomic::model;
use crate::waker::models::SleeperRef;

/// A slot, and the result that goes with it: loom reports two who use that at a time.
struct Ending {
    slot: JoinSlot,
    result: UnsafeCell<Option<u32>>,
    /// What the destructors of thread-locals write, after the result is in its place.
    destroyed: UnsafeCell<bool>,
    /// How often the result was dropped.
    dropped: UnsafeCell<usize>,
}

// SAFETY: loom checks the cells.
unsafe impl Sync for Ending {}
// SAFETY: as above.
unsafe impl Send for Ending {}

impl Ending {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            slot: JoinSlot::new(),
            result: UnsafeCell::new(None),
            destroyed: UnsafeCell::new(false),
            dropped: UnsafeCell::new(0),
        })
    }

    /// What the greenlet does last, and then its hub.
    fn end(&self) {
        // SAFETY: loom checks that nobody else uses it.
        self.result.with_mut(|result| unsafe { *result = Some(7) });
        if self.slot.hand_over() {
            self.drop_result();
        }
        // SAFETY: loom checks that nobody else uses it.
        self.destroyed
            .with_mut(|destroyed| unsafe { *destroyed = true });
        self.slot.end();
    }

    fn is_destroyed(&self) -> bool {
        // SAFETY: loom checks that nobody writes to it.
        self.destroyed.with(|destroyed| unsafe { *destroyed })
    }

    fn take(&self) -> Option<u32> {
        // SAFETY: loom checks that nobody else uses it.
        self.result.with_mut(|result| unsafe { (*result).take() })
    }

    fn drop_result(&self) {
        assert_eq!(self.take(), Some(7));
        // SAFETY: loom checks that nobody else uses it.
        self.dropped.with_mut(|dropped| unsafe { *dropped += 1 });
    }
}

#[test]
fn a_thread_that_joins_gets_the_result() {
    model(|| {
        let ending = Ending::new();
        let greenlet = thread::spawn({
            let ending = ending.clone();
            move || ending.end()
        });
        // SAFETY: only this thread waits.
        assert_eq!(
            unsafe { ending.slot.wait(Id::new(1), false) },
            Outcome::Woken
        );
        assert!(ending.is_destroyed());
        assert_eq!(ending.take(), Some(7));
        greenlet.join().unwrap();
    });
}

#[test]
fn who_sees_that_it_has_ended_sees_the_result() {
    model(|| {
        let ending = Ending::new();
        let greenlet = thread::spawn({
            let ending = ending.clone();
            move || ending.end()
        });
        if ending.slot.has_ended() {
            assert!(ending.is_destroyed());
            assert_eq!(ending.take(), Some(7));
        }
        greenlet.join().unwrap();
    });
}

#[test]
fn a_join_that_is_cancelled_and_the_end_do_not_both_take_the_waker() {
    model(|| {
        let (ending, sleeper) = (Ending::new(), SleeperRef::new());
        let waker = sleeper.park(false).unwrap();
        // SAFETY: nobody waits yet.
        unsafe { ending.slot.publish(waker) };
        let greenlet = thread::spawn({
            let ending = ending.clone();
            move || ending.end()
        });
        let canceller = thread::spawn({
            let sleeper = sleeper.clone();
            move || sleeper.cancel(&AtomicBool::new(false))
        });
        if sleeper.wait() == Outcome::Cancelled {
            ending.slot.withdraw();
            if ending.slot.detach() {
                ending.drop_result();
            }
        } else {
            assert_eq!(ending.take(), Some(7));
        }
        greenlet.join().unwrap();
        canceller.join().unwrap();
        assert!(!sleeper.is_scheduled());
    });
}

#[test]
fn the_result_that_nobody_wants_is_dropped_once() {
    model(|| {
        let ending = Ending::new();
        let greenlet = thread::spawn({
            let ending = ending.clone();
            move || ending.end()
        });
        if ending.slot.detach() {
            ending.drop_result();
        }
        greenlet.join().unwrap();
        // SAFETY: the other thread has ended.
        assert_eq!(ending.dropped.with(|dropped| unsafe { *dropped }), 1);
    });
}
