//! A TCP socket that listens for connections.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::resolve::first_that_works;
use super::socket_traits::is_a_socket;
use super::{Incoming, ListenerShutdown, TcpStream, ToSocketAddrs};
use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::source::Source;
use crate::sys::{socket, socket_option};

/// How many connections wait to be accepted before the kernel turns further ones away. More than std's 128: a hub
/// runs all greenlets that connect, as many as there may be, before the one that accepts.
const BACKLOG: libc::c_int = 4096;

/// A TCP socket server: [`std::net::TcpListener`] for greenlets.
///
/// Bound with [`bind`](Self::bind), it gives out connections by [`accept`](Self::accept) and
/// [`incoming`](Self::incoming). Any number of greenlets and threads may accept at once, on one
/// listener or on clones; each connection goes to one of them. The socket is closed when its
/// last clone is dropped.
///
/// # Examples
///
/// A server that echoes, and stops when it is told to:
///
/// ```
/// use greenlet::net::{TcpListener, TcpStream};
/// use std::io::{self, Read, Write};
/// use std::thread;
///
/// # fn main() -> io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let server = listener.try_clone()?;
///
/// let serving = thread::spawn(move || {
///     for stream in server.incoming().map_while(Result::ok) {
///         io::copy(&mut &stream, &mut &stream).unwrap();
///     }
/// });
///
/// let mut stream = TcpStream::connect(addr)?;
/// stream.write_all(b"hello")?;
/// let mut answer = [0; 5];
/// stream.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"hello");
/// drop(stream);
///
/// listener.shutdown()?;
/// serving.join().unwrap();
/// # Ok(())
/// # }
/// ```
///
/// # Differences
///
/// - [`shutdown`](Self::shutdown) is new.
/// - The kernel has no way to accept without waiting but `O_NONBLOCK` on the description, so the
///   first accept sets it. Nobody sees it through this type. Converting the listener into std's,
///   or into a descriptor, gives back the mode that the user asked for; while other clones go on
///   accepting, the two sides share one description and its one mode, so convert all or none.
pub struct TcpListener {
    source: Source,
    /// Whether the socket was listening when we got it. If so, a kernel that says it is not
    /// means that it was shut down.
    listens: bool,
}

impl TcpListener {
    /// A listener that is bound to `addr` and listens.
    ///
    /// With port 0 the kernel picks one; [`local_addr`](Self::local_addr) tells. When `addr` is
    /// several addresses, they are tried in turn until one can be bound. Names are looked up off
    /// the hub, see [`ToSocketAddrs`]. As std's, the socket has `SO_REUSEADDR` and is closed on exec. Its
    /// backlog is 4,096 (std's: 128), or `net.core.somaxconn` if that is less. Where more connections
    /// come before they are accepted, the kernel drops some, and their clients try again after a second;
    /// listen(2) may be called again to change it.
    ///
    /// # Errors
    ///
    /// The error of the last address, or of the lookup. Among them
    /// [`AddrInUse`](io::ErrorKind::AddrInUse),
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable),
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied), and
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when there is no address at all.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        first_that_works(addr, Self::bind_to)
    }

    fn bind_to(addr: &SocketAddr) -> io::Result<Self> {
        let fd = socket::stream_for(addr, 0)?;
        socket_option::REUSE_ADDRESS.set(fd.as_fd(), 1)?;
        socket::bind(fd.as_fd(), addr)?;
        socket::listen(fd.as_fd(), BACKLOG)?;
        Ok(Self {
            source: Source::new(fd),
            listens: true,
        })
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the socket came from a descriptor and
    /// is not an IP socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_addr(self.as_fd())
    }

    /// Another handle to the same socket. Both accept from one queue of connections, and share
    /// options and mode.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(Self {
            source: self.source.try_clone()?,
            listens: self.listens,
        })
    }

    /// Waits for a connection, and returns it with the address of its peer.
    ///
    /// The connection is closed on exec and in blocking mode, whatever the listener's mode.
    ///
    /// # Errors
    ///
    /// - [`ListenerShutdown`], in an error of kind [`NotConnected`](io::ErrorKind::NotConnected),
    ///   when the listener was [shut down](Self::shutdown), now or before.
    /// - [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no connection and the listener
    ///   [does not wait](Self::set_nonblocking).
    /// - Errors of the connection rather than of the listener: accepting again is right after
    ///   [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) and its like.
    /// - `EMFILE` and `ENFILE`, when the process or the system has too many descriptors open. The
    ///   connection stays in the queue, so the next call fails at once for as long as that
    ///   lasts: close something, or sleep a little, before accepting again. The listener itself
    ///   is well.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.source.retry(Interest::Read, WaitReason::Accept, |fd| {
            // At every try: a clone that was converted to std's type takes it back.
            self.source.prepare_accept()?;
            socket::accept(fd)
        });
        match accepted {
            Ok((fd, peer)) => Ok((TcpStream::new(Source::new(fd)), peer)),
            Err(error) => Err(self.accept_error_slow(error)),
        }
    }

    /// `EINVAL` is the kernel's word for a socket that does not listen.
    #[cold]
    fn accept_error_slow(&self, error: io::Error) -> io::Error {
        if !self.listens || error.raw_os_error() != Some(libc::EINVAL) {
            return error;
        }
        // The event that woke this greenlet may have been meant for one of the others, too.
        self.source.wake_all();
        ListenerShutdown.into()
    }

    /// The connections that [`accept`](Self::accept) returns, one after the other, without the
    /// peers' addresses.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming::new(self)
    }

    /// Stops listening: every [`accept`](Self::accept) ends with [`ListenerShutdown`].
    ///
    /// That goes for those that wait now and those that come later, in greenlets and in threads,
    /// on this listener and on all its clones (also on those that were made std's, or inherited
    /// by another process: they get `EINVAL`). Connections that nobody has accepted yet are
    /// reset by the kernel; those that were accepted go on. Another listener may have the port at
    /// once. Doing it again does nothing.
    ///
    /// This is how a server is stopped: the greenlet that accepts sees the error and ends, those
    /// that serve finish what they have.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the socket came from a descriptor and
    /// was not listening.
    ///
    /// # Differences
    ///
    /// std has nothing like it.
    pub fn shutdown(&self) -> io::Result<()> {
        match socket::shutdown(self.as_fd(), Shutdown::Read) {
            // It was shut down before.
            Err(error) if self.listens && error.kind() == io::ErrorKind::NotConnected => {}
            answer => answer?,
        }
        self.source.wake_all();
        Ok(())
    }

    /// Sets `IP_TTL`, the time-to-live of every packet. Accepted connections inherit it.
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

    /// Sets `IPV6_V6ONLY`, which the kernel allows only before a socket is bound.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the socket is bound, as it always is
    /// after [`bind`](Self::bind).
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        socket_option::ONLY_V6.set(self.as_fd(), only_v6.into())
    }

    /// Whether an IPv6 listener turns IPv4 peers away (`IPV6_V6ONLY`).
    ///
    /// # Errors
    ///
    /// When it is not an IPv6 socket.
    #[deprecated(note = "this option can only be set before the socket is bound")]
    pub fn only_v6(&self) -> io::Result<bool> {
        Ok(socket_option::ONLY_V6.get(self.as_fd())? != 0)
    }

    /// The socket's pending error (`SO_ERROR`), which is thereby cleared.
    ///
    /// # Errors
    ///
    /// When the option cannot be read; the pending error itself is in the `Ok`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.as_fd())
    }

    /// Whether [`accept`](Self::accept) answers
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) instead of waiting, in a greenlet, too. Clones
    /// share it; accepted connections do not inherit it.
    ///
    /// # Errors
    ///
    /// When the descriptor does not know the mode, which no socket does.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.source.set_nonblocking(nonblocking)
    }
}

/// As std's: the address where it can be told, and the descriptor.
impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

is_a_socket!(TcpListener, std::net::TcpListener);

impl From<OwnedFd> for TcpListener {
    fn from(fd: OwnedFd) -> Self {
        let listens = socket_option::ACCEPTS_CONNECTIONS.get(fd.as_fd());
        Self {
            source: Source::adopt(fd),
            listens: listens.is_ok_and(|listens| listens != 0),
        }
    }
}
