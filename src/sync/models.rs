//! Models of the locks and channels: one at a time, nobody forgotten, nothing lost.
//!
//! A model's thread waits as a plain thread does, in `sched::park`.

use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::barrier::Barrier;
use super::channel::{Channel, NotReceived, NotSent};
use super::condvar::Condvar;
use super::mutex::Mutex;
use super::once::Once;
use super::raw_mutex::RawMutex;
use super::raw_rw_lock::RawRwLock;
use crate::atomic::model;

/// A deadline that has passed.
const PAST: Option<u64> = Some(1);

/// loom reports two who write it at a time, or one who reads meanwhile.
struct Value(UnsafeCell<u32>);

// SAFETY: loom checks the cell.
unsafe impl Sync for Value {}
// SAFETY: as above.
unsafe impl Send for Value {}

impl Value {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    fn add(&self) {
        // SAFETY: loom checks that nobody else uses it.
        self.0.with_mut(|value| unsafe { *value += 1 });
    }

    fn get(&self) -> u32 {
        // SAFETY: loom checks that nobody writes it.
        self.0.with(|value| unsafe { *value })
    }
}

/// Runs `one` in so many threads and here, on the same thing.
fn together<T: Send + Sync + 'static>(threads: usize, value: T, one: fn(&T)) -> Arc<T> {
    let value = Arc::new(value);
    let others: Vec<_> = (0..threads)
        .map(|_| {
            let value = value.clone();
            thread::spawn(move || one(&value))
        })
        .collect();
    one(&value);
    others.into_iter().for_each(|other| other.join().unwrap());
    value
}

/// In a model a waiter is starved at its first lost turn, so it is handed the lock.
fn a_mutex_is_had_by_one_at_a_time_by(threads: usize, rounds: usize) {
    model(move || {
        let (lock, value) = (RawMutex::new(), Value::new());
        assert!(lock.try_lock());
        lock.unlock();
        let both = together(threads, (lock, value, rounds), |(lock, value, rounds)| {
            for _ in 0..*rounds {
                lock.lock();
                value.add();
                lock.unlock();
            }
        });
        let rounds = (threads + 1) * rounds;
        assert_eq!(both.1.get() as usize, rounds);
        assert!(both.0.try_lock());
    });
}

#[test]
fn a_mutex_is_had_by_one_at_a_time() {
    a_mutex_is_had_by_one_at_a_time_by(1, 2);
}

#[test]
fn a_mutex_forgets_neither_of_two_who_wait() {
    a_mutex_is_had_by_one_at_a_time_by(2, 1);
}

#[test]
fn a_lock_is_had_by_readers_or_by_a_writer() {
    model(|| {
        let (lock, value) = (RawRwLock::new(), Value::new());
        lock.read();
        lock.leave_read();
        let both = Arc::new((lock, value));
        let reader = thread::spawn({
            let both = both.clone();
            move || {
                both.0.read();
                both.1.get();
                both.0.leave_read();
            }
        });
        let writer = thread::spawn({
            let both = both.clone();
            move || {
                both.0.write();
                both.1.add();
                both.0.downgrade();
                assert_eq!(both.1.get() % 2, 1);
                both.0.leave_read();
            }
        });
        both.0.write();
        both.1.add();
        both.1.add();
        both.0.leave_write();
        reader.join().unwrap();
        writer.join().unwrap();
        assert!(both.0.try_write());
        assert_eq!(both.1.get(), 3);
    });
}

#[test]
fn a_notification_comes_whenever_the_condition_has_changed() {
    model(|| {
        let all = Arc::new((Mutex::new(false), Condvar::new()));
        let waited = all.1.wait_timeout(all.0.lock().unwrap(), Duration::ZERO);
        assert!(waited.unwrap().1.timed_out());
        let notifying = thread::spawn({
            let all = all.clone();
            move || {
                *all.0.lock().unwrap() = true;
                all.1.notify_one();
            }
        });
        let guard = all.1.wait_while(all.0.lock().unwrap(), |up| !*up);
        assert!(*guard.unwrap());
        notifying.join().unwrap();
    });
}

#[test]
fn one_initialises_and_the_others_see_it() {
    model(|| {
        let (once, value) = (Once::new(), Value::new());
        assert!(!once.is_completed());
        together(2, (once, value), |(once, value)| {
            once.call_once(|| value.add());
            assert_eq!(value.get(), 1);
        });
    });
}

#[test]
fn two_pass_a_barrier_together() {
    model(|| {
        let barrier = Arc::new(Barrier::new(2));
        let other = thread::spawn({
            let barrier = barrier.clone();
            move || barrier.wait().is_leader()
        });
        let leads = barrier.wait().is_leader();
        assert_ne!(leads, other.join().unwrap());
    });
}

/// Sends two messages through a channel of that capacity.
fn messages_come_in_order_through(capacity: Option<usize>) {
    model(move || {
        let channel = Arc::new(Channel::new(capacity));
        let sending = thread::spawn({
            let channel = channel.clone();
            move || {
                channel.send(1, None).unwrap();
                channel.send(2, None).unwrap();
                channel.disconnect_senders();
            }
        });
        assert_eq!(channel.receive(None).unwrap(), 1);
        assert_eq!(channel.receive(None).unwrap(), 2);
        assert!(matches!(
            channel.receive(None),
            Err(NotReceived::Disconnected)
        ));
        sending.join().unwrap();
    });
}

#[test]
fn messages_come_in_order_whether_or_not_there_is_room() {
    for capacity in [None, Some(1), Some(0)] {
        messages_come_in_order_through(capacity);
    }
}

/// Both receivers and the sender may have to wait; nobody does for ever.
#[test]
fn two_receivers_take_what_a_sender_has_that_waits_for_room() {
    model(|| {
        let channel = Arc::new(Channel::new(Some(1)));
        let receiving = [(); 2].map(|()| {
            let channel = channel.clone();
            thread::spawn(move || channel.receive(None).unwrap())
        });
        channel.send(1, None).unwrap();
        channel.send(2, None).unwrap();
        let received = receiving.map(|receiver| receiver.join().unwrap());
        assert_eq!(received.iter().sum::<u32>(), 3);
    });
}

/// One of the senders makes the other one wait, and the receiver lets it in.
#[test]
fn two_senders_that_wait_for_room_are_let_in() {
    model(|| {
        let channel = Arc::new(Channel::new(Some(1)));
        let sending = [1, 2].map(|message| {
            let channel = channel.clone();
            thread::spawn(move || channel.send(message, None).unwrap())
        });
        let sum: u32 = (0..2).map(|_| channel.receive(None).unwrap()).sum();
        assert_eq!(sum, 3);
        sending
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn a_message_that_meets_a_deadline_is_at_one_place() {
    model(|| {
        let channel = Arc::new(Channel::new(Some(0)));
        let sending = thread::spawn({
            let channel = channel.clone();
            move || match channel.send(1, PAST) {
                Ok(()) => true,
                Err(NotSent::Full(1)) => false,
                Err(other) => panic!("{other:?}"),
            }
        });
        let received = channel.receive(PAST).is_ok();
        assert_eq!(received, sending.join().unwrap());
    });
}

#[test]
fn whoever_waits_at_one_end_hears_that_the_other_is_gone() {
    model(|| {
        let channel = Arc::new(Channel::<u32>::new(Some(0)));
        let sending = thread::spawn({
            let channel = channel.clone();
            move || matches!(channel.send(1, None), Err(NotSent::Disconnected(1)))
        });
        channel.disconnect_receivers();
        assert!(sending.join().unwrap());
    });
}
