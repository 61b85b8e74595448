//! A Unix socket for messages.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::super::datagram_io;
use super::super::std_ref::StdRef;
use super::Received;
use crate::interest::Interest;
use crate::net::socket_traits::is_a_socket;
use crate::reason::WaitReason;
use crate::source::Source;
use crate::sys::unix_socket::{self, unnamed};
use crate::sys::{ancillary, socket};

/// A Unix datagram socket: [`std::os::unix::net::UnixDatagram`] for greenlets.
///
/// Messages arrive whole and in order, and none is lost: who sends more than the receiver takes
/// waits. Several greenlets and threads may send and receive at once, on one socket or on clones.
/// The socket is closed when its last clone is dropped. Its file stays.
///
/// # Examples
///
/// ```
/// use greenlet::os::unix::net::UnixDatagram;
///
/// # fn main() -> std::io::Result<()> {
/// let (near, far) = UnixDatagram::pair()?;
/// near.send(b"hello")?;
/// let mut message = [0; 16];
/// let length = far.recv(&mut message)?;
/// assert_eq!(&message[..length], b"hello");
/// # Ok(())
/// # }
/// ```
///
/// # Differences
///
/// - [`send_with_fds`](Self::send_with_fds) and [`recv_with_fds`](Self::recv_with_fds) pass
///   descriptors; std's way is not stable. [`peek`](Self::peek) and [`peek_from`](Self::peek_from)
///   are here, though not yet stable in std.
/// - A sender that is bound to a path of 108 bytes, which neither std nor this crate can bind, has no
///   name here.
pub struct UnixDatagram {
    source: Source,
}

impl UnixDatagram {
    /// A socket that receives at the socket file `path`, which is made.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) when there is a file,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the path is longer than 107 bytes or has a
    /// NUL in it, and those of making a file.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        net::UnixDatagram::bind(path).map(Self::fresh)
    }

    /// A socket that receives at an address: a path, or an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        net::UnixDatagram::bind_addr(socket_addr).map(Self::fresh)
    }

    /// A socket without an address, which can send.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn unbound() -> io::Result<UnixDatagram> {
        net::UnixDatagram::unbound().map(Self::fresh)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (near, far) = net::UnixDatagram::pair()?;
        Ok((Self::fresh(near), Self::fresh(far)))
    }

    fn fresh(socket: net::UnixDatagram) -> Self {
        Self {
            source: Source::plain(socket.into()),
        }
    }

    /// Makes `path` the one that [`send`](Self::send) sends to, and whose messages only are
    /// received. It does not wait.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) when there is no file,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when nobody receives there.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.as_std().connect(path)
    }

    /// [`connect`](Self::connect) to an address: a path, or an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        self.as_std().connect_addr(socket_addr)
    }

    /// Another handle to the same socket. Both send and receive through one address, and share
    /// time-outs and mode.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn try_clone(&self) -> io::Result<UnixDatagram> {
        Ok(Self {
            source: self.source.try_clone()?,
        })
    }

    /// The address of this socket.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the socket came from a descriptor and
    /// is not a Unix socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }

    /// The address that the socket is [connected](Self::connect) to.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().peer_addr()
    }

    /// Waits for a message, and returns its length and whom it is from. What does not fit into
    /// `buf` is lost.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when the [time-out](Self::set_read_timeout) has
    /// passed, or when there is no message and the socket [does not wait](Self::set_nonblocking).
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        datagram_io::receive(
            &self.source,
            |fd| unix_socket::receive_from(fd, buf),
            || Ok((0, unnamed()?)),
        )
    }

    /// Waits for a message, and returns its length. What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        datagram_io::receive(&self.source, |fd| socket::receive(fd, buf), || Ok(0))
    }

    /// Waits as [`recv`](Self::recv) does, and leaves the message for the next one.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        datagram_io::receive(&self.source, |fd| socket::peek(fd, buf), || Ok(0))
    }

    /// Waits as [`recv_from`](Self::recv_from) does, and leaves the message for the next one.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        datagram_io::receive(
            &self.source,
            |fd| unix_socket::peek_from(fd, buf),
            || Ok((0, unnamed()?)),
        )
    }

    /// Sends a message to `path`. Returns its length.
    ///
    /// Waits while the receiver's queue is full. The kernel does not say when that ends, unless the
    /// socket is [connected](Self::connect) and [`send`](Self::send) is used: a greenlet looks again
    /// every few milliseconds.
    ///
    /// # Errors
    ///
    /// - [`WouldBlock`](io::ErrorKind::WouldBlock) when the [time-out](Self::set_write_timeout)
    ///   has passed, or when there is no room and the socket
    ///   [does not wait](Self::set_nonblocking).
    /// - [`NotFound`](io::ErrorKind::NotFound),
    ///   [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) and
    ///   [`InvalidInput`](io::ErrorKind::InvalidInput) as of [`connect`](Self::connect);
    ///   `EMSGSIZE` when the message is too long.
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_addr(buf, &SocketAddr::from_pathname(path)?)
    }

    /// [`send_to`](Self::send_to) an address: a path, or an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to).
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        self.source
            .retry_after_pauses(Interest::Write, WaitReason::IoWrite, |fd| {
                unix_socket::send_to(fd, buf, socket_addr)
            })
    }

    /// Sends a message to the address that the socket is [connected](Self::connect) to. Returns its
    /// length. Waits while the receiver's queue is full.
    ///
    /// # Errors
    ///
    /// - [`WouldBlock`](io::ErrorKind::WouldBlock) as of [`send_to`](Self::send_to).
    /// - [`NotConnected`](io::ErrorKind::NotConnected) when it is not connected, `EMSGSIZE` when the
    ///   message is too long.
    /// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) or
    ///   [`ConnectionReset`](io::ErrorKind::ConnectionReset) when the receiver is gone.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.source
            .retry(Interest::Write, WaitReason::IoWrite, |fd| {
                socket::send(fd, buf)
            })
    }

    /// [`send`](Self::send) from several buffers, and with the message duplicates of `fds`, at most
    /// 253. See [`UnixStream::send_with_fds`](super::UnixStream::send_with_fds).
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), and [`InvalidInput`](io::ErrorKind::InvalidInput) when there
    /// are more descriptors than that.
    pub fn send_with_fds(&self, bufs: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.source
            .retry(Interest::Write, WaitReason::IoWrite, |fd| {
                ancillary::send(fd, bufs, fds)
            })
    }

    /// [`recv`](Self::recv) into several buffers, with the descriptors that came with the message.
    ///
    /// Other calls close the descriptors that come with what they receive.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    pub fn recv_with_fds(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Received> {
        let receive = |fd: BorrowedFd<'_>| ancillary::receive(fd, bufs).map(Received::from);
        datagram_io::receive(&self.source, receive, || Ok(Received::default()))
    }

    /// How long receiving waits before it fails with [`WouldBlock`](io::ErrorKind::WouldBlock);
    /// `None` is for ever. Clones share it. It holds for what begins later.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when it is zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.source.set_timeout(Interest::Read, timeout)
    }

    /// The same for sending.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when it is zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.source.set_timeout(Interest::Write, timeout)
    }

    /// What [`set_read_timeout`](Self::set_read_timeout) set, rounded up as the kernel does.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor that is none.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.source.timeout(Interest::Read)
    }

    /// What [`set_write_timeout`](Self::set_write_timeout) set, rounded up as the kernel does.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor that is none.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.source.timeout(Interest::Write)
    }

    /// Whether sending and receiving answer [`WouldBlock`](io::ErrorKind::WouldBlock) instead of
    /// waiting, in a greenlet, too. Clones share it.
    ///
    /// # Errors
    ///
    /// When the descriptor does not know the mode, which no socket does.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.source.set_nonblocking(nonblocking)
    }

    /// The socket's pending error (`SO_ERROR`), which is thereby cleared.
    ///
    /// # Errors
    ///
    /// When the option cannot be read; the pending error itself is in the `Ok`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.as_std().take_error()
    }

    /// Ends receiving, sending or both, for all clones, and wakes those that wait: after the
    /// messages that had come, receiving answers with an empty one.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor and is not a Unix socket.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.as_std().shutdown(how)?;
        self.source.wake_all();
        Ok(())
    }

    fn as_std(&self) -> StdRef<'_, net::UnixDatagram> {
        StdRef::new(self.as_fd())
    }
}

/// As std's: the descriptor, and the addresses where they can be told.
impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_std().fmt(f)
    }
}

is_a_socket!(UnixDatagram, net::UnixDatagram);

impl From<OwnedFd> for UnixDatagram {
    fn from(fd: OwnedFd) -> Self {
        Self {
            source: Source::adopt(fd),
        }
    }
}
