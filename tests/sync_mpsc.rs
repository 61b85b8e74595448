//! `sync::mpsc`: every order of ends, bounds, time limits, and ends in the middle.

mod support;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use greenlet::sync::mpsc::{
    RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError, channel, sync_channel,
};
use support::process::wait_until;
use support::{
    crowd, does_not_park, in_crowd, on_hubs, parks, parks_for_a_while, runtime, watched,
};

const MESSAGES: usize = 300;

/// Sends from everywhere and receives here, in a greenlet or on a thread.
fn all_messages_arrive_in_order<S: Clone + Send + Sync>(
    ends: (S, greenlet::sync::mpsc::Receiver<(usize, usize)>),
    send: impl Fn(&S, (usize, usize)) + Send + Sync,
    receive_in_greenlet: bool,
) {
    let (sender, receiver) = ends;
    let receive = move || {
        let mut next = vec![0; in_crowd(4)];
        for (from, message) in receiver {
            assert_eq!(message, next[from]);
            next[from] += 1;
        }
        assert_eq!(next, vec![MESSAGES; in_crowd(4)]);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| match receive_in_greenlet {
            true => runtime(2).run(receive),
            false => receive(),
        });
        let sender = Mutex::new(Some(sender));
        let clone = || sender.lock().unwrap().clone().unwrap();
        crowd(4, |number| {
            let sender = clone();
            for message in 0..MESSAGES {
                send(&sender, (number, message));
            }
        });
    });
}

#[test]
fn messages_arrive_in_order_from_greenlets_on_any_hub_and_from_threads() {
    let _watchdog = watched();
    for in_greenlet in [true, false] {
        all_messages_arrive_in_order(
            channel(),
            |sender, message| sender.send(message).unwrap(),
            in_greenlet,
        );
        for bound in [0, 1, 2, 128] {
            all_messages_arrive_in_order(
                sync_channel(bound),
                |sender, message| sender.send(message).unwrap(),
                in_greenlet,
            );
        }
    }
}

#[test]
fn receiving_parks_the_greenlet_up_to_the_message() {
    let (sender, receiver) = channel();
    let received = parks(move || receiver.recv(), || sender.send(1).unwrap());
    assert_eq!(received, Ok(1));
    let (sender, receiver) = sync_channel(0);
    let received = parks(
        move || receiver.recv_timeout(Duration::MAX),
        || sender.send(2).unwrap(),
    );
    assert_eq!(received, Ok(2));
}

#[test]
fn sending_parks_the_greenlet_up_to_the_room() {
    for bound in [0, 1] {
        let (sender, receiver) = sync_channel(bound);
        (0..bound).for_each(|_| sender.send(1).unwrap());
        let sent = parks(
            || sender.send(1),
            move || (0..=bound).for_each(|_| assert_eq!(receiver.recv(), Ok(1))),
        );
        assert_eq!(sent, Ok(()));
    }
}

#[test]
fn receiving_with_a_time_limit_parks_the_greenlet() {
    let (_sender, receiver) = channel::<()>();
    let start = Instant::now();
    let received = parks_for_a_while(move || receiver.recv_timeout(Duration::from_millis(5)));
    assert_eq!(received, Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= Duration::from_millis(5));
}

#[test]
fn messages_that_are_there_and_room_that_is_there_park_nobody() {
    does_not_park(|| {
        let (sender, receiver) = sync_channel(100);
        (0..100).for_each(|number| sender.send(number).unwrap());
        assert_eq!(sender.try_send(0), Err(TrySendError::Full(0)));
        assert!((0..100).eq(receiver.try_iter()));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        let (sender, receiver) = channel();
        (0..1000).for_each(|number| sender.send(number).unwrap());
        drop(sender);
        assert!((0..1000).eq(&receiver));
        assert_eq!(receiver.recv(), Err(RecvError));
        let (sender, receiver) = sync_channel(0);
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_receiver_that_waits_hears_of_the_last_sender() {
    on_hubs(|_| {
        let (sender, receiver) = channel::<()>();
        let second = sender.clone();
        let waiting = greenlet::spawn(move || receiver.recv());
        greenlet::sleep(Duration::from_millis(1));
        drop(sender);
        greenlet::sleep(Duration::from_millis(1));
        assert!(!waiting.is_finished());
        drop(second);
        assert_eq!(waiting.join().unwrap(), Err(RecvError));
    });
}

#[test]
fn senders_that_wait_hear_of_the_receiver_and_get_their_messages_back() {
    on_hubs(|_| {
        for bound in [0, 2] {
            let (sender, receiver) = sync_channel(bound);
            (0..bound).for_each(|_| sender.send(100).unwrap());
            let waiting: Vec<_> = (0..10)
                .map(|number| {
                    let sender = sender.clone();
                    greenlet::spawn(move || sender.send(number))
                })
                .collect();
            greenlet::sleep(Duration::from_millis(1));
            drop(receiver);
            for (number, waiting) in waiting.into_iter().enumerate() {
                assert_eq!(waiting.join().unwrap(), Err(SendError(number)));
            }
            assert_eq!(sender.try_send(1), Err(TrySendError::Disconnected(1)));
        }
    });
}

#[test]
fn messages_of_senders_that_are_gone_are_received_first() {
    on_hubs(|_| {
        let (sender, receiver) = channel();
        for number in 0..10 {
            let sender = sender.clone();
            greenlet::spawn(move || sender.send(number).unwrap())
                .join()
                .unwrap();
        }
        drop(sender);
        assert!((0..10).eq(receiver.iter()));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(
            receiver.recv_timeout(Duration::from_secs(1)),
            Err(RecvTimeoutError::Disconnected)
        );
    });
}

#[test]
fn a_rendezvous_ends_when_the_message_was_taken() {
    on_hubs(|_| {
        let (sender, receiver) = sync_channel(0);
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let sending = greenlet::spawn(move || {
            for number in 0..10 {
                sender.send(number).unwrap();
                counted.fetch_add(1, SeqCst);
            }
        });
        for number in 0..10 {
            greenlet::sleep(Duration::from_micros(200));
            assert_eq!(sent.load(SeqCst), number);
            assert_eq!(receiver.recv(), Ok(number));
            while sent.load(SeqCst) == number {
                greenlet::yield_now();
            }
        }
        sending.join().unwrap();
    });
}

#[test]
fn a_message_that_meets_a_time_limit_is_received_or_stays() {
    let _watchdog = watched();
    on_hubs(|_| {
        let (sender, receiver) = channel();
        let receiving = greenlet::spawn(move || {
            let (mut sum, mut timeouts) = (0, 0);
            loop {
                match receiver.recv_timeout(Duration::from_micros(50)) {
                    Ok(number) => sum += number,
                    Err(RecvTimeoutError::Timeout) => timeouts += 1,
                    Err(RecvTimeoutError::Disconnected) => return (sum, timeouts),
                }
            }
        });
        for number in 1..=200 {
            sender.send(number).unwrap();
            greenlet::sleep(Duration::from_micros(number % 100));
        }
        drop(sender);
        let (sum, _timeouts) = receiving.join().unwrap();
        assert_eq!(sum, 200 * 201 / 2);
    });
}

#[test]
fn dropping_the_receiver_drops_the_messages_at_once() {
    let alive = Arc::new(());
    let (sender, receiver) = channel();
    (0..10).for_each(|_| sender.send(alive.clone()).unwrap());
    assert_eq!(Arc::strong_count(&alive), 11);
    drop(receiver);
    assert_eq!(Arc::strong_count(&alive), 1);
    assert!(sender.send(alive.clone()).is_err());
}

/// What a sender that is cancelled wanted to send is dropped, and was not sent.
#[test]
fn a_runtime_that_is_dropped_takes_its_senders_along_and_no_messages() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let (sender, receiver) = sync_channel(1);
        sender.send((0, Arc::new(()))).unwrap();
        let alive = Arc::new(());
        let ending = runtime(hubs);
        let before = ending.stats().parks;
        for _ in 0..10 {
            let (sender, alive) = (sender.clone(), alive.clone());
            ending.spawn(move || sender.send((1000, alive)));
        }
        wait_until("they wait", || ending.stats().parks - before >= 10);
        let other = std::thread::spawn(move || sender.send((1, Arc::new(()))));
        drop(ending);
        assert_eq!(Arc::strong_count(&alive), 1);
        let received: Vec<_> = receiver.iter().map(|(number, _)| number).collect();
        assert_eq!(received, [0, 1]);
        other.join().unwrap().unwrap();
    }
}

#[test]
fn a_receiver_that_is_cancelled_leaves_the_messages_to_whoever_has_it_next() {
    let _watchdog = watched();
    for round in 0..30 {
        let (sender, receiver) = channel();
        let receiver = Arc::new(greenlet::sync::Mutex::new((receiver, 0_usize)));
        let ending = runtime(2);
        let its = receiver.clone();
        ending.spawn(move || {
            let mut guard = its.lock().unwrap();
            while let Ok(number) = guard.0.recv() {
                guard.1 += number;
            }
        });
        let sending = std::thread::spawn(move || {
            for number in 1..=1000 {
                sender.send(number).unwrap();
            }
        });
        std::thread::sleep(Duration::from_micros(10 * round));
        drop(ending);
        sending.join().unwrap();
        // It was cancelled while it held the mutex.
        let (receiver, sum) = match Arc::into_inner(receiver).unwrap().into_inner() {
            Ok(both) => both,
            Err(poisoned) => poisoned.into_inner(),
        };
        assert_eq!(sum + receiver.iter().sum::<usize>(), 1000 * 1001 / 2);
    }
}

#[test]
fn ends_may_be_dropped_in_any_order_while_others_work() {
    let _watchdog = watched();
    for round in 0..100 {
        let (sender, receiver) = sync_channel(round % 3);
        let sending = runtime(2);
        for _ in 0..4 {
            let sender = sender.clone();
            sending.spawn(move || while sender.send(1).is_ok() {});
        }
        drop(sender);
        let received: usize = receiver.iter().take(round).sum();
        assert_eq!(received, round);
        match round % 2 {
            0 => drop(receiver),
            _ => {
                drop(sending);
                assert!(receiver.iter().count() <= 2);
            }
        }
    }
}
