//! Why a page could not be fetched.

use std::fmt;
use std::io;

/// Why a page could not be fetched.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// The time of the page was up.
    TimedOut,
    /// The server closed the connection instead of answering.
    NoAnswer,
    /// The server closed the connection in the middle of its answer.
    CutOff,
    /// The operating system's word: refused, reset, unreachable.
    Io(io::Error),
    /// The answer is not HTTP/1, or HTTP that nobody can make sense of.
    Malformed(&'static str),
    /// The answer is larger than we are ready to read.
    TooLarge,
    /// The server answered with an error.
    Status(u16),
    /// The page redirects, by way of others or at once, to itself.
    RedirectLoop,
    /// The redirects seem to have no end.
    TooManyRedirects,
}

impl FetchError {
    /// Whether it may be better next time.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::TimedOut | Self::NoAnswer | Self::CutOff | Self::Io(_) => true,
            Self::Status(status) => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Malformed(_) | Self::TooLarge => false,
            Self::RedirectLoop | Self::TooManyRedirects => false,
        }
    }

    /// Whether it is what happens when a server has closed a connection that was kept for the
    /// next request.
    pub(crate) fn is_stale_connection(&self) -> bool {
        match self {
            Self::NoAnswer => true,
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ),
            _ => false,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::NoAnswer => f.write_str("closed without an answer"),
            Self::CutOff => f.write_str("cut off"),
            // The kind rather than the error: it reads well, and the same trouble reads the same.
            Self::Io(error) => error.kind().fmt(f),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::TooLarge => f.write_str("too large"),
            Self::Status(status) => write!(f, "HTTP {status}"),
            Self::RedirectLoop => f.write_str("redirect loop"),
            Self::TooManyRedirects => f.write_str("too many redirects"),
        }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A socket whose read or write timed out says "would block", as std's does on Linux.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}
