//! A Unix socket that listens for connections.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use super::super::std_ref::StdRef;
use super::{Incoming, UnixStream};
use crate::interest::Interest;
use crate::net::socket_traits::is_a_socket;
use crate::reason::WaitReason;
use crate::source::Source;
use crate::sys::unix_socket;

/// A Unix socket server: [`std::os::unix::net::UnixListener`] for greenlets.
///
/// Any number of greenlets and threads may accept at once, on one listener or on clones; each
/// connection goes to one of them. The socket is closed when its last clone is dropped. Its file
/// stays.
///
/// # Examples
///
/// ```
/// use greenlet::os::linux::net::SocketAddrExt;
/// use greenlet::os::unix::net::{SocketAddr, UnixListener, UnixStream};
/// use std::io::{Read, Write};
///
/// # fn main() -> std::io::Result<()> {
/// let name = format!("greenlet example {}", std::process::id());
/// let addr = SocketAddr::from_abstract_name(name)?;
/// let listener = UnixListener::bind_addr(&addr)?;
/// let mut near = UnixStream::connect_addr(&addr)?;
/// let (mut far, _) = listener.accept()?;
///
/// near.write_all(b"hello")?;
/// drop(near);
/// let mut heard = String::new();
/// far.read_to_string(&mut heard)?;
/// assert_eq!(heard, "hello");
/// # Ok(())
/// # }
/// ```
///
/// # Differences
///
/// - As with [`TcpListener`](crate::net::TcpListener), the first accept sets `O_NONBLOCK` on the
///   description; nobody sees it through this type, and conversions give back the mode that the user
///   asked for.
/// - A peer that is bound to a path of 108 bytes, which neither std nor this crate can bind, has no
///   name here.
pub struct UnixListener {
    source: Source,
}

impl UnixListener {
    /// A listener on the socket file `path`, which is made.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) when there is a file,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the path is longer than 107 bytes or has a
    /// NUL in it, and those of making a file.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        net::UnixListener::bind(path).map(Self::fresh)
    }

    /// A listener on an address: a path, or an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        net::UnixListener::bind_addr(socket_addr).map(Self::fresh)
    }

    fn fresh(listener: net::UnixListener) -> Self {
        Self {
            source: Source::plain(listener.into()),
        }
    }

    /// Waits for a connection, and returns it with the address of its peer, who seldom has one.
    ///
    /// The connection is closed on exec and in blocking mode, whatever the listener's mode.
    ///
    /// # Errors
    ///
    /// - [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no connection and the listener
    ///   [does not wait](Self::set_nonblocking).
    /// - `EMFILE` and `ENFILE`, when the process or the system has too many descriptors open. The
    ///   connection stays in the queue, so the next call fails at once for as long as that lasts.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (fd, peer) = self
            .source
            .retry(Interest::Read, WaitReason::Accept, |fd| {
                // At every try: a clone that was converted to std's type takes it back.
                self.source.prepare_accept()?;
                unix_socket::accept(fd)
            })?;
        Ok((UnixStream::new(Source::plain(fd)), peer))
    }

    /// Another handle to the same socket. Both accept from one queue of connections, and share the
    /// mode.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn try_clone(&self) -> io::Result<UnixListener> {
        Ok(Self {
            source: self.source.try_clone()?,
        })
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the socket came from a descriptor and
    /// is not a Unix socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }

    /// Whether [`accept`](Self::accept) answers [`WouldBlock`](io::ErrorKind::WouldBlock) instead of
    /// waiting, in a greenlet, too. Clones share it; accepted connections do not inherit it.
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

    /// The connections that [`accept`](Self::accept) returns, one after the other, without the
    /// peers' addresses.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming::new(self)
    }

    fn as_std(&self) -> StdRef<'_, net::UnixListener> {
        StdRef::new(self.as_fd())
    }
}

/// As std's: the descriptor, and the address where it can be told.
impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_std().fmt(f)
    }
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

is_a_socket!(UnixListener, net::UnixListener);

impl From<OwnedFd> for UnixListener {
    fn from(fd: OwnedFd) -> Self {
        Self {
            source: Source::adopt(fd),
        }
    }
}
