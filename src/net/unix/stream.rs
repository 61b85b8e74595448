//! A Unix stream.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::super::std_ref::StdRef;
use super::super::stream_io;
use super::Received;
use crate::interest::Interest;
use crate::net::socket_traits::{is_a_socket, is_a_stream};
use crate::reason::WaitReason;
use crate::source::Source;
use crate::sys::{self, ancillary, unix_socket};

/// A Unix stream: [`std::os::unix::net::UnixStream`] for greenlets.
///
/// It is read and written through [`Read`](io::Read) and [`Write`](io::Write), by value or by reference. Several
/// greenlets and threads may do so at once, on one stream or on clones. The connection is closed
/// when its last clone is dropped; [`shutdown`](Self::shutdown) ends either direction before that,
/// and wakes whoever waits for it.
///
/// # Examples
///
/// ```
/// use greenlet::os::unix::net::UnixStream;
/// use std::io::{Read, Write};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut near, mut far) = UnixStream::pair()?;
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
/// - [`send_with_fds`](Self::send_with_fds) and [`recv_with_fds`](Self::recv_with_fds) pass
///   descriptors; std's way is not stable. [`peek`](Self::peek) is here, though not yet stable in
///   std.
/// - A write raises no SIGPIPE.
pub struct UnixStream {
    source: Source,
}

impl UnixStream {
    pub(super) fn new(source: Source) -> Self {
        Self { source }
    }

    /// A connection to the listener at `path`.
    ///
    /// Waits while the listener's queue is full. The kernel does not say when that ends: a greenlet
    /// looks again every few milliseconds.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) when there is no file,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when nobody listens,
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied), and
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the path is longer than 107 bytes or has a
    /// NUL in it.
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        Self::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// A connection to an address: a path, or an abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        let source = Source::plain(unix_socket::stream()?);
        source.retry_after_pauses(Interest::Write, WaitReason::Connect, |fd| {
            unix_socket::connect(fd, socket_addr)
        })?;
        sys::fd::set_nonblocking(source.as_fd(), false)?;
        Ok(Self { source })
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (near, far) = net::UnixStream::pair()?;
        let fresh = |stream: net::UnixStream| Self::new(Source::plain(stream.into()));
        Ok((fresh(near), fresh(far)))
    }

    /// Another handle to the same connection. Both read from and write to one stream of bytes,
    /// and share time-outs and mode.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn try_clone(&self) -> io::Result<UnixStream> {
        Ok(Self {
            source: self.source.try_clone()?,
        })
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the socket came from a descriptor and
    /// is not a Unix socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the socket came from a descriptor and has
    /// no other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().peer_addr()
    }

    /// How long a read waits before it fails with [`WouldBlock`](io::ErrorKind::WouldBlock); `None`
    /// is for ever. Clones share it. It holds for reads that begin later.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when it is zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.source.set_timeout(Interest::Read, timeout)
    }

    /// How long a write waits before it fails with [`WouldBlock`](io::ErrorKind::WouldBlock), or
    /// returns what it sent until then; `None` is for ever. Clones share it. It holds for writes
    /// that begin later.
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

    /// Whether reads and writes answer [`WouldBlock`](io::ErrorKind::WouldBlock) instead of
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

    /// Ends reading, writing or both, for all clones, and wakes those that wait.
    ///
    /// After [`Shutdown::Read`], reads return what had come, then 0, and the peer's writes fail with
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe). After [`Shutdown::Write`], writes do so here, and
    /// the peer reads 0 at the end of what was sent.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the socket came from a descriptor and has
    /// no other end.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.as_std().shutdown(how)?;
        self.source.wake_all();
        Ok(())
    }

    /// Reads without taking: waits as a read does, and leaves the bytes for the next one.
    ///
    /// # Errors
    ///
    /// A read's.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        stream_io::peek(&self.source, buf)
    }

    /// Writes as [`write_vectored`](io::Write::write_vectored) does, and with the first byte sends
    /// duplicates of `fds`, at most 253.
    ///
    /// # Errors
    ///
    /// A write's, and [`InvalidInput`](io::ErrorKind::InvalidInput) when there is no byte to go with
    /// the descriptors, or more descriptors than that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenlet::os::unix::net::UnixStream;
    /// use std::io::{IoSlice, IoSliceMut, Read, Write};
    /// use std::os::fd::AsFd;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (near, far) = UnixStream::pair()?;
    /// let (mut one, other) = UnixStream::pair()?;
    /// near.send_with_fds(&[IoSlice::new(b"take this")], &[other.as_fd()])?;
    ///
    /// let mut text = [0; 9];
    /// let mut received = far.recv_with_fds(&mut [IoSliceMut::new(&mut text)])?;
    /// let mut other = UnixStream::from(received.fds.pop().unwrap());
    /// one.write_all(b"!")?;
    /// let mut byte = [0];
    /// other.read_exact(&mut byte)?;
    /// assert_eq!(byte, *b"!");
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_with_fds(&self, bufs: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let wanted = stream_io::total_of(bufs.iter().map(|buf| buf.len()));
        if wanted == 0 {
            let message = "descriptors are sent with at least one byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        stream_io::send_buffers(&self.source, bufs, wanted, |fd, bufs| {
            ancillary::send(fd, bufs, fds)
        })
    }

    /// Reads as [`read_vectored`](io::Read::read_vectored) does, and takes the descriptors that came with
    /// the bytes. A read ends before the next bytes that have descriptors with them.
    ///
    /// Other reads close the descriptors that they pass by.
    ///
    /// # Errors
    ///
    /// A read's.
    pub fn recv_with_fds(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Received> {
        let received = self
            .source
            .retry(Interest::Read, WaitReason::IoRead, |fd| {
                ancillary::receive(fd, bufs)
            })?;
        Ok(received.into())
    }

    fn as_std(&self) -> StdRef<'_, net::UnixStream> {
        StdRef::new(self.as_fd())
    }
}

/// As std's: the descriptor, and the addresses where they can be told.
impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_std().fmt(f)
    }
}

is_a_stream!(UnixStream);
is_a_socket!(UnixStream, net::UnixStream);

impl From<OwnedFd> for UnixStream {
    fn from(fd: OwnedFd) -> Self {
        Self::new(Source::adopt(fd))
    }
}
