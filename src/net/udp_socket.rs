//! A UDP socket.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::resolve::first_that_works;
use super::socket_traits::is_a_socket;
use super::std_ref::StdRef;
use super::{ToSocketAddrs, datagram_io};
use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::source::Source;
use crate::sys::socket;

/// A UDP socket: [`std::net::UdpSocket`] for greenlets.
///
/// Bound with [`bind`](Self::bind), it sends to anybody by [`send_to`](Self::send_to) and receives
/// from anybody by [`recv_from`](Self::recv_from). Once it is [connected](Self::connect), it may
/// [`send`](Self::send) and [`recv`](Self::recv) to and from that one address. Several greenlets and
/// threads may do so at once, on one socket or on clones; each message goes to one of them. The
/// socket is closed when its last clone is dropped.
///
/// # Examples
///
/// ```
/// use greenlet::net::UdpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// let near = UdpSocket::bind("127.0.0.1:0")?;
/// let far = UdpSocket::bind("127.0.0.1:0")?;
/// near.send_to(b"hello", far.local_addr()?)?;
///
/// let mut message = [0; 16];
/// let (length, sender) = far.recv_from(&mut message)?;
/// assert_eq!(&message[..length], b"hello");
/// assert_eq!(sender, near.local_addr()?);
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket {
    source: Source,
}

impl UdpSocket {
    /// A socket that is bound to `addr`.
    ///
    /// With port 0 the kernel picks one; [`local_addr`](Self::local_addr) tells. When `addr` is
    /// several addresses, they are tried in turn until one can be bound. Names are looked up off
    /// the hub, see [`ToSocketAddrs`].
    ///
    /// # Errors
    ///
    /// The error of the last address, or of the lookup. Among them
    /// [`AddrInUse`](io::ErrorKind::AddrInUse),
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable),
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied), and
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when there is no address at all.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        let socket = first_that_works(addr, |addr| std::net::UdpSocket::bind(addr))?;
        Ok(Self {
            source: Source::plain(socket.into()),
        })
    }

    /// Waits for a message, and returns its length and whom it is from. What does not fit into
    /// `buf` is lost.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when the [time-out](Self::set_read_timeout) has
    /// passed, or when there is no message and the socket [does not wait](Self::set_nonblocking).
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        datagram_io::receive(&self.source, |fd| socket::receive_from(fd, buf), no_sender)
    }

    /// Waits as [`recv_from`](Self::recv_from) does, and leaves the message for the next one.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        datagram_io::receive(&self.source, |fd| socket::peek_from(fd, buf), no_sender)
    }

    /// Sends a message to `addr`, to the first one if it is several. Returns its length.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when there is no address at all, the lookup's
    /// errors, and those of [`send`](Self::send).
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(addr) = addr.to_socket_addrs()?.next() else {
            let message = "no addresses to send data to";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        self.source
            .retry(Interest::Write, WaitReason::IoWrite, |fd| {
                socket::send_to(fd, buf, &addr)
            })
    }

    /// The address that the socket is [connected](Self::connect) to.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().peer_addr()
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the socket came from a descriptor and
    /// is not an IP socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }

    /// Another handle to the same socket. Both send and receive through one port, and share
    /// options, time-outs and mode.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        Ok(Self {
            source: self.source.try_clone()?,
        })
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

    /// The same for sending, which waits while the kernel has no room for the message.
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

    /// Sets `SO_BROADCAST`: whether the socket may send to a broadcast address.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor and has no such option; so for all options below.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.as_std().set_broadcast(broadcast)
    }

    /// The value of `SO_BROADCAST`.
    ///
    /// # Errors
    ///
    /// When there is no such option.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.as_std().broadcast()
    }

    /// Sets `IP_MULTICAST_LOOP`: whether multicast messages come back to this host.
    ///
    /// # Errors
    ///
    /// When there is no such option.
    pub fn set_multicast_loop_v4(&self, multicast_loop_v4: bool) -> io::Result<()> {
        self.as_std().set_multicast_loop_v4(multicast_loop_v4)
    }

    /// The value of `IP_MULTICAST_LOOP`.
    ///
    /// # Errors
    ///
    /// When there is no such option.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.as_std().multicast_loop_v4()
    }

    /// Sets `IP_MULTICAST_TTL`: how many routers a multicast message passes, and one more.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) unless it is 0 to 255.
    pub fn set_multicast_ttl_v4(&self, multicast_ttl_v4: u32) -> io::Result<()> {
        self.as_std().set_multicast_ttl_v4(multicast_ttl_v4)
    }

    /// The value of `IP_MULTICAST_TTL`.
    ///
    /// # Errors
    ///
    /// When there is no such option.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.as_std().multicast_ttl_v4()
    }

    /// Sets `IPV6_MULTICAST_LOOP`: whether multicast messages come back to this host.
    ///
    /// # Errors
    ///
    /// When it is not an IPv6 socket.
    pub fn set_multicast_loop_v6(&self, multicast_loop_v6: bool) -> io::Result<()> {
        self.as_std().set_multicast_loop_v6(multicast_loop_v6)
    }

    /// The value of `IPV6_MULTICAST_LOOP`.
    ///
    /// # Errors
    ///
    /// When it is not an IPv6 socket.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.as_std().multicast_loop_v6()
    }

    /// Sets `IP_TTL`, the time-to-live of every packet.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) unless it is 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.as_std().set_ttl(ttl)
    }

    /// The value of `IP_TTL`.
    ///
    /// # Errors
    ///
    /// When there is no such option.
    pub fn ttl(&self) -> io::Result<u32> {
        self.as_std().ttl()
    }

    /// Receives what is sent to the group `multiaddr` on the interface that has the address
    /// `interface`, or on one of the kernel's choice if that is unspecified.
    ///
    /// # Errors
    ///
    /// When `multiaddr` is no group, or there is no such interface.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.as_std().join_multicast_v4(multiaddr, interface)
    }

    /// The same for IPv6, where interfaces have numbers; 0 is one of the kernel's choice.
    ///
    /// # Errors
    ///
    /// When `multiaddr` is no group, or there is no such interface.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.as_std().join_multicast_v6(multiaddr, interface)
    }

    /// Takes back what [`join_multicast_v4`](Self::join_multicast_v4) did.
    ///
    /// # Errors
    ///
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) when it has not joined.
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.as_std().leave_multicast_v4(multiaddr, interface)
    }

    /// Takes back what [`join_multicast_v6`](Self::join_multicast_v6) did.
    ///
    /// # Errors
    ///
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) when it has not joined.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.as_std().leave_multicast_v6(multiaddr, interface)
    }

    /// The socket's pending error (`SO_ERROR`), which is thereby cleared.
    ///
    /// # Errors
    ///
    /// When the option cannot be read; the pending error itself is in the `Ok`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.as_std().take_error()
    }

    /// Makes `addr` the one that [`send`](Self::send) sends to, and whose messages only are
    /// received. When `addr` is several addresses, they are tried in turn until one works. It does
    /// not wait for anything but a lookup.
    ///
    /// # Errors
    ///
    /// The error of the last address, or of the lookup;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when there is no address at all.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        first_that_works(addr, |addr| self.as_std().connect(addr))
    }

    /// Sends a message to the address that the socket is [connected](Self::connect) to. Returns its
    /// length.
    ///
    /// # Errors
    ///
    /// - [`WouldBlock`](io::ErrorKind::WouldBlock) when the [time-out](Self::set_write_timeout)
    ///   has passed, or when there is no room and the socket
    ///   [does not wait](Self::set_nonblocking).
    /// - `EDESTADDRREQ` when it is not connected, `EMSGSIZE` when the message is too long.
    /// - [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when a message before it has
    ///   reached nobody.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.source
            .retry(Interest::Write, WaitReason::IoWrite, |fd| {
                socket::send(fd, buf)
            })
    }

    /// Waits for a message from the address that the socket is [connected](Self::connect) to, and
    /// returns its length. What does not fit into `buf` is lost.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from), and
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when a message sent before has
    /// reached nobody.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        datagram_io::receive(&self.source, |fd| socket::receive(fd, buf), || Ok(0))
    }

    /// Waits as [`recv`](Self::recv) does, and leaves the message for the next one.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        datagram_io::receive(&self.source, |fd| socket::peek(fd, buf), || Ok(0))
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

    fn as_std(&self) -> StdRef<'_, std::net::UdpSocket> {
        StdRef::new(self.as_fd())
    }
}

/// As std's: the address where it can be told, and the descriptor.
impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_std().fmt(f)
    }
}

is_a_socket!(UdpSocket, std::net::UdpSocket);

impl From<OwnedFd> for UdpSocket {
    fn from(fd: OwnedFd) -> Self {
        Self {
            source: Source::adopt(fd),
        }
    }
}

/// The end of what can be received has no sender. The error is std's.
fn no_sender<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "the socket was shut down",
    ))
}
