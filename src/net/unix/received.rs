//! What a message with descriptors has brought.

use std::os::fd::OwnedFd;

use crate::sys::ancillary;

/// Bytes and descriptors that came together:
/// [`UnixStream::recv_with_fds`](super::UnixStream::recv_with_fds) and
/// [`UnixDatagram::recv_with_fds`](super::UnixDatagram::recv_with_fds) return it.
///
/// std's form of this, `SocketAncillary`, is not stable.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Received {
    /// How many bytes have been read. 0 is the end of a stream, or an empty message.
    pub len: usize,
    /// The descriptors, closed on exec. They are open files of this process: dropping them closes
    /// them.
    pub fds: Vec<OwnedFd>,
    /// The message was longer than the buffers, and its end is lost. Never for a stream.
    pub truncated: bool,
    /// More descriptors came, which are lost: the process may not have as many open.
    pub fds_lost: bool,
}

impl From<ancillary::Received> for Received {
    fn from(received: ancillary::Received) -> Self {
        Self {
            len: received.len,
            fds: received.descriptors,
            truncated: received.truncated,
            fds_lost: received.descriptors_lost,
        }
    }
}
