//! The error of an accept that [`TcpListener::shutdown`](super::TcpListener::shutdown) ended.

use std::error::Error;
use std::fmt;
use std::io;

/// The listener was shut down: there will be no more connections.
///
/// It comes inside an [`io::Error`] of kind [`NotConnected`](io::ErrorKind::NotConnected), from
/// [`TcpListener::accept`](super::TcpListener::accept) and
/// [`Incoming`](super::Incoming).
///
/// # Examples
///
/// ```
/// use greenlet::net::{ListenerShutdown, TcpListener};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// listener.shutdown()?;
///
/// let error = listener.accept().unwrap_err();
/// assert!(ListenerShutdown::is(&error));
/// assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerShutdown;

impl ListenerShutdown {
    /// Whether that is what `error` says: short for a downcast of
    /// [`io::Error::get_ref`].
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl fmt::Display for ListenerShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the listener was shut down")
    }
}

impl Error for ListenerShutdown {}

impl From<ListenerShutdown> for io::Error {
    fn from(error: ListenerShutdown) -> Self {
        io::Error::new(io::ErrorKind::NotConnected, error)
    }
}
