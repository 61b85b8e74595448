//! Unix sockets: those of the kernel's calls that know their addresses.
//!
//! Everything else is as in `socket`. As there, receiving and sending carry `MSG_DONTWAIT` and
//! `MSG_NOSIGNAL`; for [`accept`] and [`connect`] the caller makes the description non-blocking.

use std::ffi::OsStr;
use std::io;
use std::mem::{self, offset_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use libc::{c_int, sockaddr, sockaddr_un, socklen_t};

use super::{cvt, cvt_size};

const TRANSFER: c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Where the name begins in an address.
const NAME: usize = offset_of!(sockaddr_un, sun_path);

/// A stream socket, non-blocking and closed on exec.
pub(crate) fn stream() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes numbers only.
    let fd = cvt(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    // SAFETY: the kernel has just opened `fd` for us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives the socket an address.
pub(crate) fn bind(socket: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<()> {
    let addr = RawAddress::from(addr);
    // SAFETY: the pointer is valid for the call and for the length that is given.
    cvt(unsafe { libc::bind(socket.as_raw_fd(), addr.as_ptr(), addr.len) }).map(drop)
}

/// Connects, or not at all: `WouldBlock` when the listener's queue is full, which no event tells the
/// end of.
pub(crate) fn connect(socket: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<()> {
    let addr = RawAddress::from(addr);
    // SAFETY: the pointer is valid for the call and for the length that is given.
    cvt(unsafe { libc::connect(socket.as_raw_fd(), addr.as_ptr(), addr.len) }).map(drop)
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

/// A message, and whom it is from.
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

/// Sends a message: `WouldBlock` when the socket has no room for it, which an event tells the end
/// of, or when the receiver's queue is full, which none does.
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
            addr.len,
        )
    })
}

/// An address in the kernel's form.
struct RawAddress {
    addr: sockaddr_un,
    /// Bytes of `addr` that hold the address. After the kernel wrote an address that did not fit,
    /// more than there are.
    len: socklen_t,
}

impl RawAddress {
    /// Room for the kernel to write an address into.
    fn room() -> Self {
        Self {
            // SAFETY: it is made of integers, for which zero is a value.
            addr: unsafe { mem::zeroed() },
            len: size_of::<sockaddr_un>() as socklen_t,
        }
    }

    fn as_ptr(&self) -> *const sockaddr {
        (&raw const self.addr).cast()
    }

    /// Where the kernel writes an address, and where it reads the room there is and writes the
    /// room it wanted. Both pointers are valid as long as `self` is borrowed.
    fn as_mut_ptrs(&mut self) -> (*mut sockaddr, *mut socklen_t) {
        ((&raw mut self.addr).cast(), &raw mut self.len)
    }

    /// std's form of it. A path that takes all 108 bytes, which std does not let anybody make, is
    /// told as no name.
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        let end = (self.len as usize).saturating_sub(NAME);
        let name = self.addr.sun_path.map(|byte| byte as u8);
        let name = &name[..end.min(name.len())];
        match name {
            [] => unnamed(),
            [0, name @ ..] => SocketAddr::from_abstract_name(name),
            path => {
                let path = path.split(|byte| *byte == 0).next().unwrap_or(path);
                SocketAddr::from_pathname(Path::new(OsStr::from_bytes(path))).or_else(|_| unnamed())
            }
        }
    }
}

impl From<&SocketAddr> for RawAddress {
    fn from(socket_addr: &SocketAddr) -> Self {
        let mut this = Self::room();
        this.addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let room = &mut this.addr.sun_path;
        let len = if let Some(path) = socket_addr.as_pathname() {
            // With the NUL, if there is room for it.
            copy(path.as_os_str().as_bytes(), room) + 1
        } else if let Some(name) = socket_addr.as_abstract_name() {
            1 + copy(name, &mut room[1..])
        } else {
            0
        };
        this.len = (NAME + len.min(room.len())) as socklen_t;
        this
    }
}

/// The address of a socket that has no name.
pub(crate) fn unnamed() -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}

/// Answers how many bytes it has copied.
fn copy(from: &[u8], to: &mut [libc::c_char]) -> usize {
    let pairs = to.iter_mut().zip(from);
    pairs.map(|(to, from)| *to = *from as libc::c_char).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(addr: &SocketAddr) -> SocketAddr {
        RawAddress::from(addr).to_socket_addr().unwrap()
    }

    #[test]
    fn an_address_survives_the_way_to_the_kernels_form_and_back() {
        for length in [1, 2, 50, 107] {
            let path = "p".repeat(length);
            let addr = SocketAddr::from_pathname(&path).unwrap();
            assert_eq!(there_and_back(&addr).as_pathname(), Some(Path::new(&path)));

            let addr = SocketAddr::from_abstract_name(&path).unwrap();
            let name = there_and_back(&addr).as_abstract_name().map(<[u8]>::to_vec);
            assert_eq!(name, Some(path.into_bytes()));
        }
        let zeros = SocketAddr::from_abstract_name(b"a\0\0").unwrap();
        assert_eq!(
            there_and_back(&zeros).as_abstract_name(),
            Some(&b"a\0\0"[..])
        );
        let empty = SocketAddr::from_abstract_name(b"").unwrap();
        assert_eq!(there_and_back(&empty).as_abstract_name(), Some(&b""[..]));
    }

    #[test]
    fn no_name_is_no_name() {
        let addr = unnamed().unwrap();
        assert!(addr.is_unnamed());
        assert!(there_and_back(&addr).is_unnamed());
        let mut none = RawAddress::room();
        for len in [0, 2] {
            none.len = len;
            assert!(none.to_socket_addr().unwrap().is_unnamed());
        }
    }

    #[test]
    fn a_path_that_takes_all_the_room_is_told_as_no_name() {
        let mut full = RawAddress::room();
        full.addr.sun_path.fill(b'a' as libc::c_char);
        full.len += 1;
        assert!(full.to_socket_addr().unwrap().is_unnamed());
    }
}
