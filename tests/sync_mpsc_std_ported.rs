//! std's tests of its channels, anew: on plain threads and in greenlets on 1, 2 and 8 hubs.
//!
//! The names are those of library/std/tests/sync/{mpsc,mpsc_sync}.rs in rust-lang/rust; those that are in both
//! files are run with a channel without bound and with one of the bound that the second file has.

mod support;

use greenlet::std;

use std::rc::Rc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SendError, Sender, SyncSender, TryRecvError, TrySendError, channel,
    sync_channel,
};
use std::thread;
use std::time::{Duration, Instant};

use support::sockets::everywhere;

/// Both kinds of senders.
trait Sends<T>: Clone + Send + 'static {
    fn send(&self, message: T) -> Result<(), SendError<T>>;
}

impl<T: Send + 'static> Sends<T> for Sender<T> {
    fn send(&self, message: T) -> Result<(), SendError<T>> {
        Self::send(self, message)
    }
}

impl<T: Send + 'static> Sends<T> for SyncSender<T> {
    fn send(&self, message: T) -> Result<(), SendError<T>> {
        Self::send(self, message)
    }
}

/// Runs a function of both ends everywhere, with both kinds of channels.
macro_rules! with_both {
    ($bound:expr, $body:ident) => {
        everywhere(|| {
            let (tx, rx) = channel();
            $body(tx, rx);
            let (tx, rx) = sync_channel($bound);
            $body(tx, rx);
        })
    };
}

#[test]
fn smoke_and_smoke_shared() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        tx.send(1).unwrap();
        assert_eq!(rx.recv().unwrap(), 1);
        let tx = tx.clone();
        tx.send(1).unwrap();
        assert_eq!(rx.recv().unwrap(), 1);
    }
    with_both!(1, body);
}

#[test]
fn drop_full_and_drop_full_shared() {
    fn body(tx: impl Sends<Box<isize>>, _rx: Receiver<Box<isize>>) {
        drop(tx.clone());
        drop(tx.clone());
        tx.send(Box::new(1)).unwrap();
    }
    with_both!(1, body);
}

#[test]
fn smoke_threads() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        let _t = thread::spawn(move || tx.send(1).unwrap());
        assert_eq!(rx.recv().unwrap(), 1);
    }
    with_both!(0, body);
}

#[test]
fn smoke_port_gone_and_smoke_shared_port_gone2() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        drop(rx);
        assert!(tx.send(1).is_err());
        let tx2 = tx.clone();
        drop(tx);
        assert!(tx2.send(1).is_err());
    }
    with_both!(0, body);
}

#[test]
fn port_gone_concurrent() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        let _t = thread::spawn(move || rx.recv().unwrap());
        while tx.send(1).is_ok() {}
    }
    with_both!(0, body);
}

#[test]
fn port_gone_concurrent_shared() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        let tx2 = tx.clone();
        let _t = thread::spawn(move || rx.recv().unwrap());
        while tx.send(1).is_ok() && tx2.send(1).is_ok() {}
    }
    with_both!(0, body);
}

#[test]
fn smoke_chan_gone_and_smoke_chan_gone_shared() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        let tx2 = tx.clone();
        drop(tx);
        drop(tx2);
        assert!(rx.recv().is_err());
    }
    with_both!(0, body);
}

#[test]
fn chan_gone_concurrent() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        let _t = thread::spawn(move || {
            tx.send(1).unwrap();
            tx.send(1).unwrap();
        });
        while rx.recv().is_ok() {}
    }
    with_both!(0, body);
}

#[test]
fn stress() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        let t = thread::spawn(move || {
            for _ in 0..10_000 {
                tx.send(1).unwrap();
            }
        });
        for _ in 0..10_000 {
            assert_eq!(rx.recv().unwrap(), 1);
        }
        t.join().expect("thread panicked");
    }
    with_both!(0, body);
}

#[test]
fn stress_shared() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        const AMT: u32 = 1000;
        const NTHREADS: u32 = 8;
        let t = thread::spawn(move || {
            for _ in 0..AMT * NTHREADS {
                assert_eq!(rx.recv().unwrap(), 1);
            }
            assert!(rx.try_recv().is_err());
        });
        for _ in 0..NTHREADS {
            let tx = tx.clone();
            thread::spawn(move || {
                for _ in 0..AMT {
                    tx.send(1).unwrap();
                }
            });
        }
        drop(tx);
        t.join().expect("thread panicked");
    }
    with_both!(0, body);
}

#[test]
fn send_and_recv_from_outside_runtime() {
    everywhere(|| {
        let (tx1, rx1) = channel();
        let (tx2, rx2) = channel();
        let t1 = thread::spawn(move || {
            tx1.send(()).unwrap();
            for _ in 0..40 {
                assert_eq!(rx2.recv().unwrap(), 1);
            }
        });
        rx1.recv().unwrap();
        let t2 = thread::spawn(move || {
            for _ in 0..40 {
                tx2.send(1).unwrap();
            }
        });
        t1.join().expect("thread panicked");
        t2.join().expect("thread panicked");
    });
}

#[test]
fn no_runtime() {
    everywhere(|| {
        let (tx1, rx1) = channel();
        let (tx2, rx2) = channel();
        let t1 = thread::spawn(move || {
            assert_eq!(rx1.recv().unwrap(), 1);
            tx2.send(2).unwrap();
        });
        let t2 = thread::spawn(move || {
            tx1.send(1).unwrap();
            assert_eq!(rx2.recv().unwrap(), 2);
        });
        t1.join().expect("thread panicked");
        t2.join().expect("thread panicked");
    });
}

#[test]
fn oneshot_single_thread_close_port_first_and_chan_first() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        drop(rx);
        drop(tx);
        let (tx, rx) = sync_channel::<i32>(0);
        drop(tx);
        drop(rx);
    }
    with_both!(0, body);
}

#[test]
fn oneshot_single_thread_send_port_close() {
    fn body(tx: impl Sends<Box<i32>>, rx: Receiver<Box<i32>>) {
        drop(rx);
        assert!(tx.send(Box::new(0)).is_err());
    }
    with_both!(0, body);
}

#[test]
fn oneshot_single_thread_send_then_recv() {
    fn body(tx: impl Sends<Box<i32>>, rx: Receiver<Box<i32>>) {
        tx.send(Box::new(10)).unwrap();
        assert_eq!(*rx.recv().unwrap(), 10);
    }
    with_both!(1, body);
}

#[test]
fn oneshot_single_thread_try_send() {
    everywhere(|| {
        let (tx, rx) = sync_channel(1);
        assert_eq!(tx.try_send(10), Ok(()));
        assert_eq!(rx.recv(), Ok(10));
        let (tx, rx) = sync_channel(0);
        drop(rx);
        assert_eq!(tx.try_send(10), Err(TrySendError::Disconnected(10)));
        let (tx, _rx) = sync_channel(0);
        assert_eq!(tx.try_send(10), Err(TrySendError::Full(10)));
    });
}

#[test]
fn oneshot_single_thread_try_recv_closed_with_data() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        tx.send(10).unwrap();
        drop(tx);
        assert_eq!(rx.try_recv(), Ok(10));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    }
    with_both!(1, body);
}

#[test]
fn oneshot_single_thread_peek_data() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        tx.send(10).unwrap();
        assert_eq!(rx.try_recv(), Ok(10));
    }
    with_both!(1, body);
}

#[test]
fn oneshot_single_thread_peek_close() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        drop(tx);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    }
    with_both!(0, body);
}

#[test]
fn oneshot_single_thread_peek_open() {
    fn body(_tx: impl Sends<i32>, rx: Receiver<i32>) {
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    }
    with_both!(0, body);
}

#[test]
fn oneshot_multi_task_recv_then_send() {
    fn body(tx: impl Sends<Box<i32>>, rx: Receiver<Box<i32>>) {
        let _t = thread::spawn(move || assert_eq!(*rx.recv().unwrap(), 10));
        tx.send(Box::new(10)).unwrap();
    }
    with_both!(0, body);
}

#[test]
fn oneshot_multi_task_recv_then_close() {
    fn body(tx: impl Sends<Box<i32>>, rx: Receiver<Box<i32>>) {
        let _t = thread::spawn(move || drop(tx));
        assert!(thread::spawn(move || rx.recv().is_err()).join().unwrap());
    }
    with_both!(0, body);
}

#[test]
fn oneshot_multi_thread_close_send_close_and_recv_close_stress() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        let tx2 = tx.clone();
        let _t = thread::spawn(move || drop(rx));
        let _ = thread::spawn(move || tx2.send(1)).join();
        drop(tx);
    }
    fn receive(tx: impl Sends<i32>, rx: Receiver<i32>) {
        let t = thread::spawn(move || thread::spawn(move || rx.recv().is_err()).join().unwrap());
        thread::spawn(move || drop(thread::spawn(move || drop(tx))));
        assert!(t.join().unwrap());
    }
    with_both!(0, body);
    with_both!(0, receive);
}

#[test]
fn oneshot_multi_thread_send_recv_stress() {
    fn body(tx: impl Sends<Box<i32>>, rx: Receiver<Box<i32>>) {
        let _t = thread::spawn(move || tx.send(Box::new(10)).unwrap());
        assert_eq!(*rx.recv().unwrap(), 10);
    }
    with_both!(0, body);
}

#[test]
fn stream_send_recv_stress() {
    fn send(tx: impl Sends<Box<i32>>, i: i32) {
        if i < 10 {
            thread::spawn(move || {
                tx.send(Box::new(i)).unwrap();
                send(tx, i + 1);
            });
        }
    }
    fn recv(rx: Receiver<Box<i32>>, i: i32) {
        if i < 10 {
            thread::spawn(move || {
                assert_eq!(*rx.recv().unwrap(), i);
                recv(rx, i + 1);
            })
            .join()
            .unwrap();
        }
    }
    fn body(tx: impl Sends<Box<i32>>, rx: Receiver<Box<i32>>) {
        send(tx, 0);
        recv(rx, 0);
    }
    with_both!(0, body);
}

#[test]
fn oneshot_single_thread_recv_timeout() {
    fn body(tx: impl Sends<()>, rx: Receiver<()>) {
        let millisecond = Duration::from_millis(1);
        tx.send(()).unwrap();
        assert_eq!(rx.recv_timeout(millisecond), Ok(()));
        assert_eq!(rx.recv_timeout(millisecond), Err(RecvTimeoutError::Timeout));
        tx.send(()).unwrap();
        assert_eq!(rx.recv_timeout(millisecond), Ok(()));
    }
    with_both!(1, body);
}

#[test]
fn stress_recv_timeout_two_threads() {
    fn body(tx: impl Sends<usize>, rx: Receiver<usize>) {
        const STRESS: usize = 50;
        let timeout = Duration::from_millis(1);
        thread::spawn(move || {
            for i in 0..STRESS {
                if i % 2 == 0 {
                    thread::sleep(timeout * 2);
                }
                tx.send(1).unwrap();
            }
        });
        assert_eq!(count_with_timeouts(&rx, timeout), STRESS);
    }
    with_both!(0, body);
}

#[test]
fn stress_recv_timeout_shared() {
    fn body(tx: impl Sends<usize>, rx: Receiver<usize>) {
        const STRESS: usize = 100;
        for i in 0..STRESS {
            let tx = tx.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_micros(i as u64 * 300));
                tx.send(1).unwrap();
            });
        }
        drop(tx);
        assert_eq!(count_with_timeouts(&rx, Duration::from_millis(1)), STRESS);
    }
    with_both!(0, body);
}

fn count_with_timeouts(rx: &Receiver<usize>, timeout: Duration) -> usize {
    let mut count = 0;
    loop {
        match rx.recv_timeout(timeout) {
            Ok(n) => count += n,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return count,
        }
    }
}

#[test]
fn recv_timeout_upgrade() {
    fn body(tx: impl Sends<()>, rx: Receiver<()>) {
        let timeout = Duration::from_millis(1);
        let _tx_clone = tx.clone();
        let start = Instant::now();
        assert_eq!(rx.recv_timeout(timeout), Err(RecvTimeoutError::Timeout));
        assert!(Instant::now() >= start + timeout);
    }
    with_both!(1, body);
}

#[test]
fn very_long_recv_timeout_wont_panic() {
    everywhere(|| {
        let (tx, rx) = channel();
        let waiting = thread::spawn(move || rx.recv_timeout(Duration::from_secs(u64::MAX)));
        thread::sleep(Duration::from_millis(20));
        assert!(tx.send(()).is_ok());
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
}

#[test]
fn recv_a_lot() {
    fn body(tx: impl Sends<()>, rx: Receiver<()>) {
        for _ in 0..10_000 {
            tx.send(()).unwrap();
        }
        for _ in 0..10_000 {
            rx.recv().unwrap();
        }
    }
    with_both!(10_000, body);
}

#[test]
fn shared_recv_timeout() {
    fn body(tx: impl Sends<()>, rx: Receiver<()>) {
        for _ in 0..5 {
            let tx = tx.clone();
            thread::spawn(move || tx.send(()).unwrap());
        }
        for _ in 0..5 {
            rx.recv().unwrap();
        }
        let millisecond = Duration::from_millis(1);
        assert_eq!(rx.recv_timeout(millisecond), Err(RecvTimeoutError::Timeout));
        tx.send(()).unwrap();
        assert_eq!(rx.recv_timeout(millisecond), Ok(()));
    }
    with_both!(1, body);
}

#[test]
fn shared_chan_stress() {
    fn body(tx: impl Sends<()>, rx: Receiver<()>) {
        for _ in 0..100 {
            let tx = tx.clone();
            thread::spawn(move || tx.send(()).unwrap());
        }
        for _ in 0..100 {
            rx.recv().unwrap();
        }
    }
    with_both!(0, body);
}

#[test]
fn test_nested_recv_iter() {
    fn body(tx: impl Sends<i32>, rx: Receiver<i32>) {
        let (total_tx, total_rx) = sync_channel(0);
        let _t = thread::spawn(move || total_tx.send(rx.iter().sum::<i32>()).unwrap());
        for number in [3, 1, 2] {
            tx.send(number).unwrap();
        }
        drop(tx);
        assert_eq!(total_rx.recv().unwrap(), 6);
    }
    with_both!(0, body);
}

#[test]
fn test_recv_iter_break() {
    everywhere(|| {
        let (tx, rx) = sync_channel(0);
        let (count_tx, count_rx) = sync_channel(0);
        let _t = thread::spawn(move || {
            let mut count = 0;
            for number in rx.iter() {
                if count >= 3 {
                    break;
                }
                count += number;
            }
            count_tx.send(count).unwrap();
        });
        for _ in 0..3 {
            tx.send(2).unwrap();
        }
        let _ = tx.try_send(2);
        drop(tx);
        assert_eq!(count_rx.recv().unwrap(), 4);
    });
}

#[test]
fn test_recv_try_iter() {
    everywhere(|| {
        let (request_tx, request_rx) = channel();
        let (response_tx, response_rx) = channel();
        let t = thread::spawn(move || {
            let mut count = 0;
            loop {
                for number in response_rx.try_iter() {
                    count += number;
                    if count == 6 {
                        return count;
                    }
                }
                request_tx.send(()).unwrap();
            }
        });
        for () in request_rx.iter() {
            if response_tx.send(2).is_err() {
                break;
            }
        }
        assert_eq!(t.join().unwrap(), 6);
    });
}

#[test]
fn test_recv_into_iter_owned_and_borrowed() {
    everywhere(|| {
        let (tx, rx) = channel();
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        drop(tx);
        let mut iter = (&rx).into_iter();
        assert_eq!(
            (iter.next(), iter.next(), iter.next()),
            (Some(1), Some(2), None)
        );
        let mut iter = {
            let (tx, rx) = channel();
            tx.send(1).unwrap();
            tx.send(2).unwrap();
            rx.into_iter()
        };
        assert_eq!(
            (iter.next(), iter.next(), iter.next()),
            (Some(1), Some(2), None)
        );
    });
}

#[test]
fn try_recv_states() {
    fn body(tx1: impl Sends<i32>, rx1: Receiver<i32>) {
        let (tx2, rx2) = sync_channel(1);
        let (tx3, rx3) = sync_channel(1);
        let _t = thread::spawn(move || {
            rx2.recv().unwrap();
            tx1.send(1).unwrap();
            tx3.send(()).unwrap();
            rx2.recv().unwrap();
            drop(tx1);
            tx3.send(()).unwrap();
        });
        assert_eq!(rx1.try_recv(), Err(TryRecvError::Empty));
        tx2.send(()).unwrap();
        rx3.recv().unwrap();
        assert_eq!(rx1.try_recv(), Ok(1));
        assert_eq!(rx1.try_recv(), Err(TryRecvError::Empty));
        tx2.send(()).unwrap();
        rx3.recv().unwrap();
        assert_eq!(rx1.try_recv(), Err(TryRecvError::Disconnected));
    }
    with_both!(1, body);
}

#[test]
fn destroy_upgraded_shared_port_when_sender_still_active() {
    fn body(tx: impl Sends<()>, rx: Receiver<()>) {
        let (tx2, rx2) = sync_channel(0);
        let _t = thread::spawn(move || {
            rx.recv().unwrap();
            drop(rx);
            tx2.send(()).unwrap();
        });
        for _ in 0..5000 {
            thread::yield_now();
        }
        let t = tx.clone();
        drop(tx);
        t.send(()).unwrap();
        rx2.recv().unwrap();
    }
    with_both!(0, body);
}

#[test]
fn send1_send2_and_send3() {
    everywhere(|| {
        let (tx, rx) = sync_channel(0);
        let _t = thread::spawn(move || rx.recv().unwrap());
        assert_eq!(tx.send(1), Ok(()));
        let (tx, rx) = sync_channel(0);
        let _t = thread::spawn(move || drop::<Receiver<i32>>(rx));
        assert!(tx.send(1).is_err());
        let (tx, rx) = sync_channel(1);
        assert_eq!(tx.send(1), Ok(()));
        let _t = thread::spawn(move || drop::<Receiver<i32>>(rx));
        assert!(tx.send(1).is_err());
    });
}

#[test]
fn send4() {
    everywhere(|| {
        let (tx, rx) = sync_channel::<i32>(0);
        let (done, done_rx) = channel();
        for tx in [tx.clone(), tx] {
            let done = done.clone();
            thread::spawn(move || {
                assert!(tx.send(1).is_err());
                done.send(()).unwrap();
            });
        }
        drop(rx);
        done_rx.recv().unwrap();
        done_rx.recv().unwrap();
    });
}

#[test]
fn try_send1_try_send2_and_try_send3() {
    everywhere(|| {
        let (tx, _rx) = sync_channel(0);
        assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
        let (tx, rx) = sync_channel(1);
        assert_eq!(tx.try_send(1), Ok(()));
        assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
        drop(rx);
        assert_eq!(tx.try_send(1), Err(TrySendError::Disconnected(1)));
    });
}

#[test]
fn issue_15761() {
    everywhere(|| {
        for _ in 0..100 {
            let (tx1, rx1) = sync_channel(3);
            let (tx2, rx2) = sync_channel(3);
            let _t = thread::spawn(move || {
                rx1.recv().unwrap();
                tx2.try_send(()).unwrap();
            });
            tx1.try_send(()).unwrap();
            rx2.recv().unwrap();
        }
    });
}

#[test]
fn drop_unreceived() {
    everywhere(|| {
        let (tx, rx) = sync_channel(1);
        let msg = Rc::new(());
        let weak = Rc::downgrade(&msg);
        assert!(tx.send(msg).is_ok());
        drop(rx);
        // At once, with the receiver.
        assert!(weak.upgrade().is_none());
        drop(tx);
    });
}

#[test]
fn debug_is_stds() {
    let (tx, rx) = channel::<i32>();
    let (stx, _srx) = sync_channel::<i32>(1);
    let (their_tx, their_rx) = ::std::sync::mpsc::channel::<i32>();
    let (their_stx, _their_srx) = ::std::sync::mpsc::sync_channel::<i32>(1);
    assert_eq!(
        format!("{tx:?} {rx:?}"),
        format!("{their_tx:?} {their_rx:?}")
    );
    assert_eq!(format!("{stx:?}"), format!("{their_stx:?}"));
}
