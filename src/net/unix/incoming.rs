//! The connections of a Unix listener, one after the other.

use std::io;

use super::{UnixListener, UnixStream};

/// An iterator over the connections that a listener accepts.
///
/// [`UnixListener::incoming`] makes one; std's is [`std::os::unix::net::Incoming`]. `next` waits as
/// [`UnixListener::accept`] does, fails for the same reasons, and never returns `None`.
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(listener: &'a UnixListener) -> Self {
        Self { listener }
    }
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}
