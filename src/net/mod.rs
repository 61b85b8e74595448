//! TCP and UDP for greenlets: [`std::net`]'s names, meanings and errors.
//!
//! `use greenlet::net` in the place of `use std::net` is all that a program has to change. A
//! call that waits (connecting, accepting, reading, writing, looking up a name) then parks the
//! greenlet that made it, and its hub runs others in the meantime. Outside a greenlet the same
//! call blocks its thread, as std's does. A socket belongs to no hub and no runtime: greenlets
//! of any hub, and plain threads, may use it at the same time.
//!
//! | std | here |
//! |---|---|
//! | [`TcpStream`], [`TcpListener`], [`Incoming`], [`UdpSocket`] | the same, made green |
//! | [`ToSocketAddrs`] | the same types; names are looked up on a thread of the blocking pool |
//! | addresses, [`Shutdown`], [`AddrParseError`] | std's own |
//! | | [`lookup_host`]: addresses of a name before a deadline; [`set_lookup_ttl`]: how long they are kept |
//! | | [`TcpStream::connect_happy_eyeballs`]: to the first of several addresses that answers |
//! | | [`wait_readable`], [`wait_writable`], [`select`]: for descriptors that are not from here |
//!
//! Unix sockets are in [`os::unix::net`](crate::os::unix::net).
//!
//! # Differences
//!
//! Each item has a section *Differences* where there are any. The ones that are seen most:
//!
//! - [`TcpListener::shutdown`] is new: it ends every [`accept`](TcpListener::accept), on all
//!   clones, with a [`ListenerShutdown`] error, and [`Incoming`] ends with it.
//! - [`ToSocketAddrs`] is a trait of this crate. Types of your own that implement std's have to
//!   implement this one. What a name's addresses are is kept for 5 seconds; [`set_lookup_ttl`]
//!   switches that off.
//! - Sockets stay in blocking mode in the kernel's eyes, so that a descriptor may be shared with
//!   code that knows nothing of greenlets. A listener that has accepted is the exception: see
//!   [`TcpListener`].

mod datagram_io;
mod happy_eyeballs;
mod incoming;
mod listener_shutdown;
mod lookup;
mod resolve;
mod select;
mod socket_traits;
mod std_ref;
mod stream_io;
mod tcp_listener;
mod tcp_stream;
pub(crate) mod tcp_stream_ext;
mod udp_socket;
pub(crate) mod unix;

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};

pub use incoming::Incoming;
pub use listener_shutdown::ListenerShutdown;
pub use lookup::{lookup_host, set_lookup_ttl};
pub use resolve::ToSocketAddrs;
pub use select::{WaitFor, select, wait_readable, wait_writable};
pub use tcp_listener::TcpListener;
pub use tcp_stream::TcpStream;
pub use udp_socket::UdpSocket;
