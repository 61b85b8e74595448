//! Waiting for signals.

use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Signal;
use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::sched;
use crate::sched::signals::{self, Listening};
use crate::source::Source;
use crate::sys::clock;

/// A queue of signals, from the moment on in which [`listen`] was called.
///
/// Several greenlets and threads may wait at once; each signal goes to one of them. Listeners know nothing
/// of each other: each has all signals.
#[derive(Debug)]
pub struct Signals {
    kinds: Vec<Kind>,
    source: Source,
}

#[derive(Debug)]
struct Kind {
    listening: Listening,
    /// How many of them were taken, counted with those that came before we listened.
    taken: AtomicUsize,
}

/// Listens to these signals.
///
/// # Errors
///
/// When the process or the system has too many descriptors open: a listener is one.
/// [`InvalidInput`](io::ErrorKind::InvalidInput) when there is no signal to listen to.
pub fn listen(signals: &[Signal]) -> io::Result<Signals> {
    if signals.is_empty() {
        let message = "there is no signal to wait for";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let source = Source::plain(signals::event()?);
    let kinds = signals.iter().map(|signal| {
        let listening = Listening::to(signal.as_raw())?;
        let taken = AtomicUsize::new(listening.count());
        Ok(Kind { listening, taken })
    });
    Ok(Signals {
        kinds: kinds.collect::<io::Result<_>>()?,
        source,
    })
}

/// Waits for one of these signals, from now on.
///
/// Before and after the call nobody listens, and a signal has its default action, which often is the end of
/// the process. To wait again and again, [`listen`].
///
/// # Errors
///
/// Those of [`listen`] and of [`Signals::wait`].
pub fn wait(signals: &[Signal]) -> io::Result<Signal> {
    listen(signals)?.wait()
}

/// [`wait`], for `timeout` at most: then `None`.
///
/// # Errors
///
/// Those of [`wait`].
pub fn wait_timeout(signals: &[Signal], timeout: Duration) -> io::Result<Option<Signal>> {
    listen(signals)?.wait_timeout(timeout)
}

impl Signals {
    /// Takes the next signal, and waits for it. In a greenlet it parks; a plain thread blocks.
    ///
    /// Of several kinds that have come, the one is first that was first in [`listen`]'s list.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory to wait with.
    pub fn wait(&self) -> io::Result<Signal> {
        let signal = self.wait_unless(None, || false)?;
        Ok(signal.expect("there is no deadline, and nothing else that ends the wait"))
    }

    /// [`wait`](Self::wait), for `timeout` at most: then `None`.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<Option<Signal>> {
        // A deadline that the clock cannot express is none.
        self.wait_unless(Instant::now().checked_add(timeout), || false)
    }

    /// [`wait`](Self::wait), until `deadline` at most: then `None`.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn wait_until(&self, deadline: Instant) -> io::Result<Option<Signal>> {
        self.wait_unless(Some(deadline), || false)
    }

    /// Takes the next signal if there is one.
    pub fn try_next(&self) -> Option<Signal> {
        self.kinds.iter().find_map(Kind::take)
    }

    /// The signals, one after the other; waits for each, and never ends.
    pub fn iter(&self) -> Iter<'_> {
        Iter { signals: self }
    }

    /// `None` at the deadline, and when it is `over`, which is looked at with every
    /// [`signals::wake`].
    pub(super) fn wait_unless(
        &self,
        deadline: Option<Instant>,
        over: impl Fn() -> bool,
    ) -> io::Result<Option<Signal>> {
        let ready = || match self.try_next() {
            Some(signal) => Some(Some(signal)),
            None => over().then_some(None),
        };
        if !sched::on_greenlet() {
            let deadline = deadline.map(clock::at);
            return Ok(signals::wait_on_thread(deadline, ready).flatten());
        }
        let answer = self
            .source
            .retry_until(Interest::Read, WaitReason::Signal, deadline, |_| {
                ready().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
            });
        match answer {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
            answer => {
                // Another one who waits may have been meant, too.
                self.source.wake_all();
                answer
            }
        }
    }
}

impl<'a> IntoIterator for &'a Signals {
    type Item = io::Result<Signal>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The signals of a listener, one after the other; by [`Signals::iter`].
#[derive(Clone, Debug)]
#[must_use = "an iterator does nothing before it is asked"]
pub struct Iter<'a> {
    signals: &'a Signals,
}

impl Iterator for Iter<'_> {
    type Item = io::Result<Signal>;

    fn next(&mut self) -> Option<io::Result<Signal>> {
        Some(self.signals.wait())
    }
}

impl Kind {
    fn take(&self) -> Option<Signal> {
        let mut taken = self.taken.load(Relaxed);
        while taken != self.listening.count() {
            match self
                .taken
                .compare_exchange_weak(taken, taken.wrapping_add(1), Relaxed, Relaxed)
            {
                Ok(_) => return Signal::from_raw(self.listening.signal()).ok(),
                Err(now) => taken = now,
            }
        }
        None
    }
}
