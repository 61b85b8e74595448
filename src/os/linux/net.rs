//! [`std::os::linux::net`] for greenlets.

pub use ::std::os::linux::net::SocketAddrExt;

pub use crate::net::tcp_stream_ext::TcpStreamExt;
