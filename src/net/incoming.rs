//! The connections of a listener, one after the other.

use std::io;
use std::iter::FusedIterator;

use super::{ListenerShutdown, TcpListener, TcpStream};

/// An iterator over the connections that a listener accepts.
///
/// [`TcpListener::incoming`] makes one; std's is [`std::net::Incoming`]. `next` waits as
/// [`TcpListener::accept`] does, and fails for the same reasons.
///
/// # Differences
///
/// std's never ends. This one does when the listener is
/// [shut down](TcpListener::shutdown): it yields the [`ListenerShutdown`] error once, and
/// `None` from then on, so that a loop that shrugs off errors ends too.
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
    ended: bool,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(listener: &'a TcpListener) -> Self {
        Self {
            listener,
            ended: false,
        }
    }
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.listener.accept().map(|(stream, _)| stream);
        self.ended = next.as_ref().is_err_and(ListenerShutdown::is);
        Some(next)
    }
}

impl FusedIterator for Incoming<'_> {}
