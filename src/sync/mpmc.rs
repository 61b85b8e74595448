//! Multi-producer, multi-consumer channels, as those that std is about to have.
//!
//! The names and what they do are those of std's unstable module `std::sync::mpmc` (feature `mpmc_channel`,
//! [rust-lang/rust#126840](https://github.com/rust-lang/rust/issues/126840)), as Rust 1.95 has it; its error types are those
//! of [`mpsc`](super::mpsc). It may change here as it does there.
//!
//! Messages come out in the order in which they went in, and each goes to one receiver. Receivers that
//! wait are served first come, first served, and so are senders that wait for room.
//!
//! ```
//! use greenlet::sync::mpmc;
//!
//! greenlet::run(|| {
//!     let (sender, receiver) = mpmc::sync_channel(2);
//!     let workers: Vec<_> = (0..3)
//!         .map(|_| {
//!             let receiver = receiver.clone();
//!             greenlet::spawn(move || receiver.iter().sum::<u32>())
//!         })
//!         .collect();
//!     (1..=100).for_each(|number| sender.send(number).unwrap());
//!     drop(sender);
//!     let sums = workers.into_iter().map(|worker| worker.join().unwrap());
//!     assert_eq!(sums.sum::<u32>(), 5050);
//! });
//! ```

use std::error::Error;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::time::{Duration, Instant};

use super::channel::{Channel, NotReceived, NotSent};
use crate::sys::clock;

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// A channel without bound: sending does not wait.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    ends(None)
}

/// A channel for up to `cap` messages: sending waits for room. With 0, a message is sent when somebody
/// receives it.
#[must_use]
pub fn sync_channel<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    ends(Some(cap))
}

fn ends<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        channel: Channel::new(capacity),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    let sender = Sender {
        shared: shared.clone(),
    };
    (sender, Receiver { shared })
}

/// The channel, and how many there are at each end: who takes the last one away disconnects it.
struct Shared<T> {
    channel: Channel<T>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// The sending end of a channel. All clones send to the same one.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving end of a channel. All clones receive from the same one: each message comes once.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Sender<T> {
    /// Sends without waiting.
    ///
    /// # Errors
    ///
    /// The channel is full, or all receivers are gone. The error has the message.
    pub fn try_send(&self, msg: T) -> Result<(), TrySendError<T>> {
        self.shared
            .channel
            .try_send(msg)
            .map_err(|error| match error {
                NotSent::Full(msg) => TrySendError::Full(msg),
                NotSent::Disconnected(msg) => TrySendError::Disconnected(msg),
            })
    }

    /// Sends, and waits for room.
    ///
    /// # Errors
    ///
    /// All receivers are gone. The error has the message.
    pub fn send(&self, msg: T) -> Result<(), SendError<T>> {
        match self.shared.channel.send(msg, None) {
            Ok(()) => Ok(()),
            Err(NotSent::Disconnected(msg) | NotSent::Full(msg)) => Err(SendError(msg)),
        }
    }

    /// Sends, and waits for room for about `timeout` at most.
    ///
    /// # Errors
    ///
    /// There was no room, or all receivers are gone. The error has the message.
    pub fn send_timeout(&self, msg: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(msg, clock::after(timeout))
    }

    /// Sends, and waits for room until `deadline`.
    ///
    /// # Errors
    ///
    /// There was no room, or all receivers are gone. The error has the message.
    pub fn send_deadline(&self, msg: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(msg, clock::at(deadline))
    }

    fn send_until(&self, msg: T, deadline: u64) -> Result<(), SendTimeoutError<T>> {
        let sent = self.shared.channel.send(msg, Some(deadline));
        sent.map_err(|error| match error {
            NotSent::Full(msg) => SendTimeoutError::Timeout(msg),
            NotSent::Disconnected(msg) => SendTimeoutError::Disconnected(msg),
        })
    }

    /// Whether there are no messages in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room in the channel, as always in one for 0 messages.
    pub fn is_full(&self) -> bool {
        self.shared.channel.is_full()
    }

    /// How many messages are in the channel.
    pub fn len(&self) -> usize {
        self.shared.channel.len()
    }

    /// How many messages there may be in the channel, if that is bounded.
    pub fn capacity(&self) -> Option<usize> {
        self.shared.channel.capacity()
    }

    /// Whether both send to the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Receiver<T> {
    /// Receives without waiting.
    ///
    /// # Errors
    ///
    /// There is no message; [`Disconnected`](TryRecvError::Disconnected) if there will be none either.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.shared
            .channel
            .try_receive()
            .map_err(|error| match error {
                NotReceived::Empty => TryRecvError::Empty,
                NotReceived::Disconnected => TryRecvError::Disconnected,
            })
    }

    /// Receives, and waits for a message.
    ///
    /// # Errors
    ///
    /// There is no message, and all senders are gone.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.shared.channel.receive(None).map_err(|_| RecvError)
    }

    /// Receives, and waits for a message for about `timeout` at most.
    ///
    /// # Errors
    ///
    /// There was no message, or all senders are gone, too.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(clock::after(timeout))
    }

    /// Receives, and waits for a message until `deadline`.
    ///
    /// # Errors
    ///
    /// There was no message, or all senders are gone, too.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(clock::at(deadline))
    }

    fn recv_until(&self, deadline: u64) -> Result<T, RecvTimeoutError> {
        let received = self.shared.channel.receive(Some(deadline));
        received.map_err(|error| match error {
            NotReceived::Empty => RecvTimeoutError::Timeout,
            NotReceived::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// The messages that are there. It ends when there is none, and does not wait.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { rx: self }
    }

    /// The messages, which it waits for. It ends when there is none and all senders are gone.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { rx: self }
    }

    /// Whether there are no messages in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room in the channel, as always in one for 0 messages.
    pub fn is_full(&self) -> bool {
        self.shared.channel.is_full()
    }

    /// How many messages are in the channel.
    pub fn len(&self) -> usize {
        self.shared.channel.len()
    }

    /// How many messages there may be in the channel, if that is bounded.
    pub fn capacity(&self) -> Option<usize> {
        self.shared.channel.capacity()
    }

    /// Whether both receive from the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        shared.senders.fetch_add(1, Relaxed);
        Self { shared }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        shared.receivers.fetch_add(1, Relaxed);
        Self { shared }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // AcqRel: pairs with itself; all that the others have sent comes before the end.
        if self.shared.senders.fetch_sub(1, AcqRel) == 1 {
            self.shared.channel.disconnect_senders();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // AcqRel: pairs with itself.
        if self.shared.receivers.fetch_sub(1, AcqRel) == 1 {
            self.shared.channel.disconnect_receivers();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}

/// The messages of a receiver, which it waits for: see [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T: 'a> {
    rx: &'a Receiver<T>,
}

/// The messages that are there: see [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T: 'a> {
    rx: &'a Receiver<T>,
}

/// The messages of a receiver that it owns, and waits for.
#[derive(Debug)]
pub struct IntoIter<T> {
    rx: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { rx: self }
    }
}

/// A message was not sent in time. It is in here.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum SendTimeoutError<T> {
    /// There was no room, or with a capacity of 0 nobody who received.
    Timeout(T),
    /// All receivers are gone.
    Disconnected(T),
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendTimeoutError(..)")
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Timeout(_) => "timed out waiting on send operation",
            Self::Disconnected(_) => "sending on a disconnected channel",
        })
    }
}

impl<T> Error for SendTimeoutError<T> {}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(error: SendError<T>) -> Self {
        Self::Disconnected(error.0)
    }
}
