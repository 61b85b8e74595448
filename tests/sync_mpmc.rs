//! `sync::mpmc`: what it has beyond `mpsc`.

mod support;

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use greenlet::sync::mpmc::{
    RecvTimeoutError, SendTimeoutError, TrySendError, channel, sync_channel,
};
use support::{crowd, in_crowd, on_hubs, parks_for_a_while, watched};

#[test]
fn each_message_goes_to_one_receiver_wherever_the_ends_are() {
    const MESSAGES: usize = 300;
    let _watchdog = watched();
    for bound in [None, Some(0), Some(1), Some(16)] {
        let (sender, receiver) = bound.map_or_else(channel, sync_channel);
        let ends = Mutex::new(Some((sender, receiver)));
        let seen = Mutex::new(HashSet::new());
        // Half of them send. All have an end before the first one is gone.
        let all_have_one = greenlet::sync::Barrier::new(in_crowd(4));
        crowd(4, |number| {
            let (sender, receiver) = ends.lock().unwrap().clone().unwrap();
            if all_have_one.wait().is_leader() {
                ends.lock().unwrap().take();
            }
            if number % 2 == 0 {
                drop(receiver);
                for message in 0..MESSAGES {
                    sender.send((number, message)).unwrap();
                }
            } else {
                drop(sender);
                let received: Vec<_> = receiver.iter().collect();
                for message in received {
                    assert!(seen.lock().unwrap().insert(message), "{message:?} twice");
                }
            }
        });
        assert_eq!(seen.lock().unwrap().len(), in_crowd(4) / 2 * MESSAGES);
    }
}

#[test]
fn receivers_that_wait_are_served_in_the_order_in_which_they_came() {
    let _watchdog = watched();
    support::runtime(1).run(|| {
        let (sender, receiver) = channel();
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let receiver = receiver.clone();
                greenlet::spawn(move || receiver.recv().unwrap())
            })
            .collect();
        greenlet::sleep(Duration::from_millis(1));
        (0..20).for_each(|number| sender.send(number).unwrap());
        for (number, waiting) in waiting.into_iter().enumerate() {
            assert_eq!(waiting.join().unwrap(), number);
        }
    });
}

#[test]
fn sending_with_a_time_limit_parks_the_greenlet_and_gives_the_message_back() {
    for bound in [0, 1] {
        let (sender, receiver) = sync_channel(bound);
        (0..bound).for_each(|_| sender.send(1).unwrap());
        let sent = parks_for_a_while(|| sender.send_timeout(2, Duration::from_millis(3)));
        assert_eq!(sent, Err(SendTimeoutError::Timeout(2)));
        let sent = sender.send_deadline(3, Instant::now() + Duration::from_millis(1));
        assert_eq!(sent, Err(SendTimeoutError::Timeout(3)));
        drop(receiver);
        let sent = sender.send_timeout(4, Duration::from_millis(3));
        assert_eq!(sent, Err(SendTimeoutError::Disconnected(4)));
    }
}

#[test]
fn a_deadline_ends_a_receive() {
    on_hubs(|_| {
        let (sender, receiver) = channel::<u32>();
        let deadline = Instant::now() + Duration::from_millis(3);
        assert_eq!(
            receiver.recv_deadline(deadline),
            Err(RecvTimeoutError::Timeout)
        );
        assert!(Instant::now() >= deadline);
        sender.send(1).unwrap();
        assert_eq!(receiver.recv_deadline(deadline), Ok(1));
    });
}

#[test]
fn a_channel_tells_how_full_it_is() {
    let (sender, receiver) = sync_channel(2);
    assert!(sender.is_empty() && receiver.is_empty() && !receiver.is_full());
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert!(sender.is_full() && receiver.is_full());
    assert_eq!((sender.len(), receiver.len()), (2, 2));
    assert_eq!((sender.capacity(), receiver.capacity()), (Some(2), Some(2)));
    let (unbounded, other) = channel::<i32>();
    assert_eq!((unbounded.capacity(), other.is_full()), (None, false));
    let (none, _receiver) = sync_channel::<i32>(0);
    assert!(none.is_full() && none.is_empty());
    assert!(sender.same_channel(&sender.clone()) && !sender.same_channel(&none));
    assert!(receiver.same_channel(&receiver.clone()) && !receiver.same_channel(&other));
}
