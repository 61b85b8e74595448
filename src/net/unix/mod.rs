//! Unix sockets: what `os::unix::net` shows.

mod datagram;
mod incoming;
mod listener;
mod received;
mod stream;

pub use datagram::UnixDatagram;
pub use incoming::Incoming;
pub use listener::UnixListener;
pub use received::Received;
pub use stream::UnixStream;
