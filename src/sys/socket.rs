//! Sockets: each of the kernel's calls once.
//!
//! Called by `net/`. Receiving and sending carry `MSG_DONTWAIT`, so they answer `WouldBlock`
//! instead of waiting whatever the description's mode is, and `MSG_NOSIGNAL`, so a peer that
//! went away is an error and never a SIGPIPE. [`accept`] and [`connect`] have no such flag: the
//! caller makes the description non-blocking.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use libc::{c_int, msghdr};

use super::address::RawAddress;
use super::poll::poll;
use super::{cvt, cvt_raw, cvt_size, socket_option};
use crate::arch;

const TRANSFER: c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// The kernel refuses more buffers than this in one call; the rest waits for the next one.
pub(crate) const BUFFERS_MAX: usize = libc::UIO_MAXIOV as usize;

/// A stream socket of the family of `addr`, closed on exec. `flags`: `SOCK_NONBLOCK` or 0.
pub(crate) fn stream_for(addr: &SocketAddr, flags: c_int) -> io::Result<OwnedFd> {
    let family = match addr {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags;
    // SAFETY: the call takes numbers only.
    let fd = cvt(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the kernel has just opened `fd` for us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn bind(socket: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<()> {
    let addr = RawAddress::from(addr);
    // SAFETY: the pointer is valid for the call and for the length that is given.
    cvt(unsafe { libc::bind(socket.as_raw_fd(), addr.as_ptr(), addr.len()) }).map(drop)
}

pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: c_int) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    cvt(unsafe { libc::listen(socket.as_raw_fd(), backlog) }).map(drop)
}

/// Begins to connect, or says how far it got: `EINPROGRESS` for begun, `EALREADY` for still
/// going on, `Ok` or `EISCONN` for done, everything else for failed.
pub(crate) fn connect(socket: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<()> {
    let addr = RawAddress::from(addr);
    // SAFETY: the pointer is valid for the call and for the length that is given.
    cvt(unsafe { libc::connect(socket.as_raw_fd(), addr.as_ptr(), addr.len()) }).map(drop)
}

/// The next connection, closed on exec and in blocking mode, and its peer.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut peer = RawAddress::room();
    let (addr, len) = peer.as_mut_ptrs();
    // SAFETY: both pointers are valid for the call; `len` says how much room `addr` has.
    let fd = cvt(unsafe { libc::accept4(listener.as_raw_fd(), addr, len, libc::SOCK_CLOEXEC) })?;
    // SAFETY: the kernel has just opened `fd` for us, nobody else owns it.
    let connection = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((connection, peer.to_socket_addr()?))
}

pub(crate) fn local_addr(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut name = RawAddress::room();
    let (addr, len) = name.as_mut_ptrs();
    // SAFETY: both pointers are valid for the call; `len` says how much room `addr` has.
    cvt(unsafe { libc::getsockname(socket.as_raw_fd(), addr, len) })?;
    name.to_socket_addr()
}

pub(crate) fn peer_addr(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut name = RawAddress::room();
    let (addr, len) = name.as_mut_ptrs();
    // SAFETY: both pointers are valid for the call; `len` says how much room `addr` has.
    cvt(unsafe { libc::getpeername(socket.as_raw_fd(), addr, len) })?;
    name.to_socket_addr()
}

pub(crate) fn shutdown(socket: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: the call takes numbers only.
    cvt(unsafe { libc::shutdown(socket.as_raw_fd(), how) }).map(drop)
}

/// Whether reading was shut down, here or by the peer.
pub(crate) fn is_read_shut_down(socket: BorrowedFd<'_>) -> bool {
    loop {
        match poll(socket, libc::POLLRDHUP, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer.unwrap_or(false),
        }
    }
}

/// The pending error, which is thereby cleared.
pub(crate) fn take_error(socket: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    match socket_option::ERROR.get(socket)? {
        0 => Ok(None),
        error => Ok(Some(io::Error::from_raw_os_error(error))),
    }
}

#[inline]
pub(crate) fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    receive_with(socket, buf, TRANSFER)
}

/// [`receive`] that leaves the bytes where they are.
pub(crate) fn peek(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    receive_with(socket, buf, TRANSFER | libc::MSG_PEEK)
}

#[inline]
fn receive_with(socket: BorrowedFd<'_>, buf: &mut [u8], flags: c_int) -> io::Result<usize> {
    let buf = (buf.as_mut_ptr().expose_provenance(), buf.len());
    // SAFETY: the pointer is valid for writes for the call and for the length that is given.
    unsafe { transfer(libc::SYS_recvfrom, socket, buf, flags) }
}

#[inline]
pub(crate) fn send(socket: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    let buf = (buf.as_ptr().expose_provenance(), buf.len());
    // SAFETY: the pointer is valid for the call and for the length that is given.
    unsafe { transfer(libc::SYS_sendto, socket, buf, TRANSFER) }
}

/// recv(2) or send(2), which the C library makes of recvfrom(2) and sendto(2). Its own are points at which
/// pthread_cancel(3) may end a thread: two atomic operations, on a cache line of its own, for calls that do not wait.
///
/// # Safety
///
/// `buf`, an address and a length, is valid for the call.
#[inline]
unsafe fn transfer(
    number: libc::c_long,
    socket: BorrowedFd<'_>,
    buf: (usize, usize),
    flags: c_int,
) -> io::Result<usize> {
    let arguments = [
        socket.as_raw_fd() as usize,
        buf.0,
        buf.1,
        flags as usize,
        0,
        0,
    ];
    // SAFETY: valid for the kernel (caller); the C library keeps nothing about it.
    cvt_raw(unsafe { arch::syscall6(number as usize, arguments) })
}

/// [`receive`], and whom it is from.
pub(crate) fn receive_from(
    socket: BorrowedFd<'_>,
    buf: &mut [u8],
) -> io::Result<(usize, SocketAddr)> {
    receive_from_with(socket, buf, TRANSFER)
}

/// [`receive_from`] that leaves the message where it is.
pub(crate) fn peek_from(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    receive_from_with(socket, buf, TRANSFER | libc::MSG_PEEK)
}

fn receive_from_with(
    socket: BorrowedFd<'_>,
    buf: &mut [u8],
    flags: c_int,
) -> io::Result<(usize, SocketAddr)> {
    let mut sender = RawAddress::room();
    let (addr, len) = sender.as_mut_ptrs();
    // SAFETY: the buffer is valid for writes for the call and for the length that is given; so are
    // the other two pointers, and `len` says how much room `addr` has.
    let received = cvt_size(unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buf.as_mut_ptr().cast(),
            buf.len(),
            flags,
            addr,
            len,
        )
    })?;
    Ok((received, sender.to_socket_addr()?))
}

/// [`send`] to somebody.
pub(crate) fn send_to(socket: BorrowedFd<'_>, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
    let addr = RawAddress::from(addr);
    // SAFETY: both pointers are valid for the call and for the lengths that are given.
    cvt_size(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            buf.as_ptr().cast(),
            buf.len(),
            TRANSFER,
            addr.as_ptr(),
            addr.len(),
        )
    })
}

/// [`receive`] into several buffers, at most 1,024 of them.
pub(crate) fn receive_vectored(
    socket: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    // `IoSliceMut` has the layout of `iovec`, std says.
    let mut message = message_of(bufs.as_mut_ptr().cast(), bufs.len());
    // SAFETY: `message` holds pointers to buffers that are valid for writes for the call.
    cvt_size(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, TRANSFER) })
}

/// [`send`] from several buffers, at most 1,024 of them.
pub(crate) fn send_vectored(socket: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    // `IoSlice` has the layout of `iovec`, std says. The kernel only reads what they point to.
    let message = message_of(bufs.as_ptr().cast_mut().cast(), bufs.len());
    // SAFETY: `message` holds pointers to buffers that are valid for the call.
    cvt_size(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, TRANSFER) })
}

/// A message without an address or control data.
fn message_of(buffers: *mut libc::iovec, count: usize) -> msghdr {
    msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: buffers,
        msg_iovlen: count.min(BUFFERS_MAX),
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    }
}
