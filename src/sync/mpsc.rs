//! [`std::sync::mpsc`] for greenlets: multi-producer, single-consumer channels.
//!
//! A receiver that finds no message parks its greenlet, and so does a sender that finds no room; on a
//! plain thread they block that thread. Messages come out in the order in which they went in, and
//! senders that wait for room are served first come, first served.
//!
//! ```
//! use greenlet::sync::mpsc;
//!
//! greenlet::run(|| {
//!     let (sender, receiver) = mpsc::channel();
//!     for number in 0..10 {
//!         let sender = sender.clone();
//!         greenlet::spawn(move || sender.send(number).unwrap());
//!     }
//!     drop(sender);
//!     assert_eq!(receiver.iter().sum::<i32>(), 45);
//! });
//! ```
//!
//! Only what may be sent goes to another greenlet, and only one receives:
//!
//! ```compile_fail,E0277
//! fn is_send<T: Send>(_: T) {}
//! is_send(greenlet::sync::mpsc::channel::<std::rc::Rc<()>>().0);
//! ```
//!
//! ```compile_fail,E0277
//! fn is_sync<T: Sync>(_: T) {}
//! is_sync(greenlet::sync::mpsc::channel::<u32>().1);
//! ```

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::mpmc;

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// A channel without bound: sending does not wait.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = mpmc::channel();
    (Sender { inner: tx }, Receiver::new(rx))
}

/// A channel for up to `bound` messages: sending waits for room. With 0, a message is sent when
/// somebody receives it.
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (tx, rx) = mpmc::sync_channel(bound);
    (SyncSender { inner: tx }, Receiver::new(rx))
}

/// The sending end of a [`channel`]: [`std::sync::mpsc::Sender`].
pub struct Sender<T> {
    inner: mpmc::Sender<T>,
}

/// The sending end of a [`sync_channel`]: [`std::sync::mpsc::SyncSender`].
pub struct SyncSender<T> {
    inner: mpmc::Sender<T>,
}

/// The receiving end of a channel: [`std::sync::mpsc::Receiver`].
pub struct Receiver<T> {
    inner: mpmc::Receiver<T>,
    /// Not `Sync`.
    _one: PhantomData<Cell<()>>,
}

impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Sender<T> {
    /// Sends. Does not wait.
    ///
    /// # Errors
    ///
    /// The receiver is gone. The error has the message.
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.inner.send(t)
    }
}

impl<T> SyncSender<T> {
    /// Sends, and waits for room; if the bound is 0, for the receiver.
    ///
    /// # Errors
    ///
    /// The receiver is gone. The error has the message.
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.inner.send(t)
    }

    /// Sends without waiting.
    ///
    /// # Errors
    ///
    /// The channel is full, or nobody waits for a message if the bound is 0, or the receiver is gone. The
    /// error has the message.
    pub fn try_send(&self, t: T) -> Result<(), TrySendError<T>> {
        self.inner.try_send(t)
    }
}

impl<T> Receiver<T> {
    fn new(inner: mpmc::Receiver<T>) -> Self {
        Self {
            inner,
            _one: PhantomData,
        }
    }

    /// Receives without waiting.
    ///
    /// # Errors
    ///
    /// There is no message; [`Disconnected`](TryRecvError::Disconnected) if there will be none either.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv()
    }

    /// Receives, and waits for a message.
    ///
    /// # Errors
    ///
    /// There is no message, and all senders are gone.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv()
    }

    /// Receives, and waits for a message for about `timeout` at most.
    ///
    /// # Errors
    ///
    /// There was no message, or all senders are gone, too.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.inner.recv_timeout(timeout)
    }

    /// The messages, which it waits for. It ends when there is none and all senders are gone.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { rx: self }
    }

    /// The messages that are there. It ends when there is none, and does not wait.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { rx: self }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
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
