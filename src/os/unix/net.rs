//! [`std::os::unix::net`] for greenlets.
//!
//! # Differences
//!
//! Descriptors are passed by `send_with_fds` and `recv_with_fds` of the streams and datagram
//! sockets; std's `SocketAncillary`, which is not stable, is not here.

pub use ::std::os::unix::net::SocketAddr;

pub use crate::net::unix::{Incoming, Received, UnixDatagram, UnixListener, UnixStream};
