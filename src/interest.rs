//! What a greenlet waits for on a descriptor.

/// A direction of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Data, a connection to accept, the peer's end of stream, or an error.
    Read,
    /// Room to write, the end of connecting, or an error.
    Write,
}

impl Interest {
    /// What poll(2) calls it.
    pub(crate) fn poll_events(self) -> libc::c_short {
        match self {
            Self::Read => libc::POLLIN,
            Self::Write => libc::POLLOUT,
        }
    }
}
