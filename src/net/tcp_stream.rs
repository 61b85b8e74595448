//! A TCP connection.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::resolve::first_that_works;
use super::socket_traits::{is_a_socket, is_a_stream};
use super::{ToSocketAddrs, happy_eyeballs, stream_io};
use crate::blocking;
use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::sched;
use crate::source::Source;
use crate::sys::{self, socket, socket_option};

/// A TCP connection: [`std::net::TcpStream`] for greenlets.
///
/// Made by [`connect`](Self::connect) or [`TcpListener::accept`](super::TcpListener::accept),
/// it is read and written through [`Read`](io::Read) and [`Write`](io::Write), by value or by reference. Several
/// greenlets and threads may do so at once, on one stream or on clones. The connection is closed
/// when its last clone is dropped; [`shutdown`](Self::shutdown) ends either direction before
/// that, and wakes whoever waits for it.
///
/// # Examples
///
/// ```
/// use greenlet::net::{TcpListener, TcpStream};
/// use std::io::{self, Read, Write};
///
/// # fn main() -> io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut near = TcpStream::connect(listener.local_addr()?)?;
/// let (mut far, _) = listener.accept()?;
///
/// near.write_all(b"hello")?;
/// drop(near);
///
/// let mut heard = String::new();
/// far.read_to_string(&mut heard)?;
/// assert_eq!(heard, "hello");
/// # Ok(())
/// # }
/// ```
///
/// # Differences
///
/// - A vectored write to a connection whose peer is gone raises no SIGPIPE. (std's other writes
///   do not either, and neither do ours.)
/// - A write that is cut short by an error reports what was sent, as the kernel's does; the next
///   one may then say [`BrokenPipe`](io::ErrorKind::BrokenPipe) where std's says
///   [`ConnectionReset`](io::ErrorKind::ConnectionReset).
/// - Urgent data that is taken out of its turn, by `recv` with `MSG_OOB` on the raw descriptor, can
///   hide what came behind it from a greenlet that reads at the same time, until more comes.
/// - [`set_linger`](Self::set_linger) and [`linger`](Self::linger) are here, though not yet
///   stable in std.
pub struct TcpStream {
    source: Source,
}

impl TcpStream {
    pub(super) fn new(source: Source) -> Self {
        Self { source }
    }

    /// A connection to `addr`.
    ///
    /// When `addr` is several addresses, they are tried in turn until one answers. Names are
    /// looked up off the hub, see [`ToSocketAddrs`].
    ///
    /// # Errors
    ///
    /// The error of the last address, or of the lookup. Among them
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused),
    /// [`TimedOut`](io::ErrorKind::TimedOut) when the kernel gives up (after about two minutes),
    /// [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable), and
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when there is no address at all.
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        first_that_works(addr, |addr| Self::connect_to(addr, None))
    }

    /// A connection to `addr` that is made within `timeout`, or not at all.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) when time is up,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when `timeout` is zero, and those of
    /// [`connect`](Self::connect).
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot set a 0 duration timeout",
            ));
        }
        // A deadline that the clock cannot express is none.
        Self::connect_to(addr, Instant::now().checked_add(timeout))
    }

    /// A connection to whichever of `addrs` answers first, made before `deadline` or not at all.
    ///
    /// They are tried in their order, but that IPv6 and IPv4 take turns; each one that has not
    /// answered after 250 ms, or fails earlier, gives the next one its turn and goes on beside it
    /// (RFC 8305, "Happy Eyeballs"). The sockets of those that come too late are closed. Where
    /// addresses are known, but not all of them work, this is faster than
    /// [`connect`](Self::connect), which waits for each one to fail. For a name, see
    /// [`lookup_host`](super::lookup_host).
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) when `deadline` passes first, and those of
    /// [`connect`](Self::connect).
    ///
    /// # Differences
    ///
    /// std has nothing like it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenlet::net::{TcpListener, TcpStream, lookup_host};
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("localhost:0")?;
    /// let port = listener.local_addr()?.port();
    ///
    /// let deadline = Some(Instant::now() + Duration::from_secs(10));
    /// let mut addrs = lookup_host("localhost", deadline)?;
    /// addrs.iter_mut().for_each(|addr| addr.set_port(port));
    /// let stream = TcpStream::connect_happy_eyeballs(&addrs, deadline)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_happy_eyeballs(
        addrs: &[SocketAddr],
        deadline: Option<Instant>,
    ) -> io::Result<TcpStream> {
        let socket = happy_eyeballs::connect(addrs, deadline)?;
        sys::fd::set_nonblocking(socket.as_fd(), false)?;
        Ok(Self::new(Source::new(socket)))
    }

    fn connect_to(addr: &SocketAddr, deadline: Option<Instant>) -> io::Result<Self> {
        let source = Source::new(socket::stream_for(addr, libc::SOCK_NONBLOCK)?);
        source.retry_until(Interest::Write, WaitReason::Connect, deadline, |fd| {
            progress(fd, addr)
        })?;
        sys::fd::set_nonblocking(source.as_fd(), false)?;
        Ok(Self { source })
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket::peer_addr(self.as_fd())
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the socket came from a descriptor and
    /// is not an IP socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_addr(self.as_fd())
    }

    /// Ends reading, writing or both, for all clones, and wakes those that wait.
    ///
    /// After [`Shutdown::Read`], reads return what had come, then 0. After
    /// [`Shutdown::Write`], writes fail with [`BrokenPipe`](io::ErrorKind::BrokenPipe), and the
    /// peer reads 0 at the end of what was sent.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(self.as_fd(), how)?;
        self.source.wake_all();
        Ok(())
    }

    /// Another handle to the same connection. Both read from and write to one stream of bytes,
    /// and share options, time-outs and mode.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(Self {
            source: self.source.try_clone()?,
        })
    }

    /// How long a read waits before it fails with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock); `None` is for ever. Clones share it. It holds
    /// for reads that begin later.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when it is zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.source.set_timeout(Interest::Read, timeout)
    }

    /// How long a write waits before it fails with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), or returns what it sent until then; `None` is
    /// for ever. Clones share it. It holds for writes that begin later.
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

    /// Reads without taking: waits as a read does, and leaves the bytes for the next one.
    ///
    /// # Errors
    ///
    /// A read's.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        stream_io::peek(&self.source, buf)
    }

    /// Sets `SO_LINGER`, in whole seconds: how long closing waits for what was written to be
    /// received. `None`, the kernel's default, does not wait and still sends it; zero throws it
    /// away and resets the connection.
    ///
    /// It is the kernel that waits, in the `close` of the last clone's drop; in a greenlet, where that
    /// parks, a thread of the blocking pool does it.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor that is none.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let seconds = linger.map_or(0, |linger| linger.as_secs());
        let value = libc::linger {
            l_onoff: linger.is_some().into(),
            l_linger: libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX),
        };
        socket_option::LINGER.set(self.as_fd(), value)?;
        if value.l_linger > 0 {
            self.source.close_by(close_lingering);
        }
        Ok(())
    }

    /// The value of `SO_LINGER`.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor that is none.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let value = socket_option::LINGER.get(self.as_fd())?;
        Ok((value.l_onoff != 0).then(|| Duration::from_secs(value.l_linger as u64)))
    }

    /// Sets `TCP_NODELAY`: small segments are sent at once rather than gathered (Nagle).
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor and is not TCP.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        socket_option::NODELAY.set(self.as_fd(), nodelay.into())
    }

    /// The value of `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor and is not TCP.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(socket_option::NODELAY.get(self.as_fd())? != 0)
    }

    /// Sets `IP_TTL`, the time-to-live of every packet.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) unless it is 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        socket_option::TTL.set(self.as_fd(), ttl as libc::c_int)
    }

    /// The value of `IP_TTL`.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor and has no such option.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(socket_option::TTL.get(self.as_fd())? as u32)
    }

    /// The socket's pending error (`SO_ERROR`), which is thereby cleared.
    ///
    /// # Errors
    ///
    /// When the option cannot be read; the pending error itself is in the `Ok`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.as_fd())
    }

    /// Whether reads and writes answer [`WouldBlock`](io::ErrorKind::WouldBlock) instead of
    /// waiting, in a greenlet, too. Clones share it.
    ///
    /// # Errors
    ///
    /// When the descriptor does not know the mode, which no socket does.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.source.set_nonblocking(nonblocking)
    }
}

/// As std's: the addresses where they can be told, and the descriptor.
impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

is_a_stream!(TcpStream);
is_a_socket!(TcpStream, std::net::TcpStream);

impl From<OwnedFd> for TcpStream {
    fn from(fd: OwnedFd) -> Self {
        Self::new(Source::adopt(fd))
    }
}

/// How far a non-blocking socket got on its way to `addr`.
///
/// The first call begins to connect, each later one asks, and takes the error if it failed. Unlike
/// `SO_ERROR`, that is not fooled by a wake without a cause.
pub(super) fn progress(fd: BorrowedFd<'_>, addr: &SocketAddr) -> Poll<io::Result<()>> {
    loop {
        let Err(error) = socket::connect(fd, addr) else {
            return Poll::Ready(Ok(()));
        };
        match error.raw_os_error() {
            Some(libc::EISCONN) => return Poll::Ready(Ok(())),
            Some(libc::EINPROGRESS | libc::EALREADY) => return Poll::Pending,
            Some(libc::EINTR) => {}
            _ => return Poll::Ready(Err(error)),
        }
    }
}

/// Closes a socket that had a linger time once. As a drop does it, it is not cancelled.
#[cold]
fn close_lingering(socket: OwnedFd) {
    let linger = socket_option::LINGER.get(socket.as_fd());
    let may_wait = linger.is_ok_and(|linger| linger.l_onoff != 0 && linger.l_linger > 0);
    if may_wait && sched::on_greenlet() && sched::can_park() {
        blocking::offload(|| drop(socket));
    }
}
