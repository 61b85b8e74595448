//! Socket options, each with the type of its value.

use std::io;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, linger, timeval};

use super::cvt;

pub(crate) const ACCEPTS_CONNECTIONS: SocketOption<c_int> =
    SocketOption::new(libc::SOL_SOCKET, libc::SO_ACCEPTCONN);
pub(crate) const ERROR: SocketOption<c_int> = SocketOption::new(libc::SOL_SOCKET, libc::SO_ERROR);
pub(crate) const LINGER: SocketOption<linger> =
    SocketOption::new(libc::SOL_SOCKET, libc::SO_LINGER);
pub(crate) const NODELAY: SocketOption<c_int> =
    SocketOption::new(libc::IPPROTO_TCP, libc::TCP_NODELAY);
pub(crate) const ONLY_V6: SocketOption<c_int> =
    SocketOption::new(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY);
pub(crate) const PROTOCOL: SocketOption<c_int> =
    SocketOption::new(libc::SOL_SOCKET, libc::SO_PROTOCOL);
pub(crate) const QUICKACK: SocketOption<c_int> =
    SocketOption::new(libc::IPPROTO_TCP, libc::TCP_QUICKACK);
pub(crate) const READ_TIMEOUT: SocketOption<timeval> =
    SocketOption::new(libc::SOL_SOCKET, libc::SO_RCVTIMEO);
pub(crate) const REUSE_ADDRESS: SocketOption<c_int> =
    SocketOption::new(libc::SOL_SOCKET, libc::SO_REUSEADDR);
pub(crate) const TTL: SocketOption<c_int> = SocketOption::new(libc::IPPROTO_IP, libc::IP_TTL);
pub(crate) const WRITE_TIMEOUT: SocketOption<timeval> =
    SocketOption::new(libc::SOL_SOCKET, libc::SO_SNDTIMEO);

/// A socket option whose value is a `T`.
///
/// Only the constants above make one. They hold the invariant that [`get`](Self::get) and
/// [`set`](Self::set) stand on: the kernel reads and writes the option as a `T`, and `T` is made
/// of integers only.
#[derive(Debug)]
pub(crate) struct SocketOption<T> {
    level: c_int,
    name: c_int,
    value: PhantomData<fn(T) -> T>,
}

impl<T> SocketOption<T> {
    const fn new(level: c_int, name: c_int) -> Self {
        Self {
            level,
            name,
            value: PhantomData,
        }
    }

    pub(crate) fn get(&self, socket: BorrowedFd<'_>) -> io::Result<T> {
        // SAFETY: `T` is made of integers (see the type), for which zero is a value.
        let mut value: T = unsafe { mem::zeroed() };
        let mut len = size_of::<T>() as libc::socklen_t;
        // SAFETY: both pointers are valid for the call; the kernel writes at most `len` bytes of
        // `value`, and any bytes make a `T` (see the type).
        cvt(unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                self.level,
                self.name,
                (&raw mut value).cast(),
                &raw mut len,
            )
        })?;
        Ok(value)
    }

    pub(crate) fn set(&self, socket: BorrowedFd<'_>, value: T) -> io::Result<()> {
        // SAFETY: the pointer is valid for the call, for the length that is given, and to a `T`,
        // which is what this option is read as (see the type).
        cvt(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                self.level,
                self.name,
                (&raw const value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        })
        .map(drop)
    }
}
