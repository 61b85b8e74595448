//! IP socket addresses in the kernel's form.

use std::fmt;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

/// The two kinds of address we know. Both begin with the family, which says which one it is.
///
/// Every field is made of integers, and a value always begins as a zeroed `v6`, the largest, so
/// all bytes are initialised and every field may be read at any time.
#[repr(C)]
#[derive(Clone, Copy)]
union Repr {
    family: libc::sa_family_t,
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

/// A `sockaddr` with its length: an address for the kernel to read, or room for it to write one.
#[derive(Clone, Copy)]
pub(crate) struct RawAddress {
    repr: Repr,
    /// Bytes of `repr` that hold the address. After the kernel wrote an address that did not
    /// fit, more than there are.
    len: socklen_t,
}

impl RawAddress {
    /// Room for the kernel to write an address into.
    pub(crate) fn room() -> Self {
        Self {
            repr: zeroed(),
            len: length_of::<Repr>(),
        }
    }

    pub(crate) fn as_ptr(&self) -> *const sockaddr {
        (&raw const self.repr).cast()
    }

    pub(crate) fn len(&self) -> socklen_t {
        self.len
    }

    /// Where the kernel writes an address, and where it reads the room there is and writes the
    /// room it wanted. Both pointers are valid as long as `self` is borrowed.
    pub(crate) fn as_mut_ptrs(&mut self) -> (*mut sockaddr, *mut socklen_t) {
        ((&raw mut self.repr).cast(), &raw mut self.len)
    }

    /// The address; `InvalidInput` when it is not an IP address (as in std).
    pub(crate) fn to_socket_addr(self) -> io::Result<SocketAddr> {
        match self.family() {
            libc::AF_INET if self.len >= length_of::<sockaddr_in>() => Ok(self.v4().into()),
            libc::AF_INET6 if self.len >= length_of::<sockaddr_in6>() => Ok(self.v6().into()),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the socket's address is not an IP address",
            )),
        }
    }

    fn family(&self) -> libc::c_int {
        // SAFETY: all bytes are initialised, see `Repr`.
        unsafe { self.repr.family }.into()
    }

    fn v4(&self) -> SocketAddrV4 {
        // SAFETY: all bytes are initialised, see `Repr`.
        let v4 = unsafe { self.repr.v4 };
        let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
        SocketAddrV4::new(ip, u16::from_be(v4.sin_port))
    }

    fn v6(&self) -> SocketAddrV6 {
        // SAFETY: all bytes are initialised, see `Repr`.
        let v6 = unsafe { self.repr.v6 };
        SocketAddrV6::new(
            Ipv6Addr::from(v6.sin6_addr.s6_addr),
            u16::from_be(v6.sin6_port),
            v6.sin6_flowinfo,
            v6.sin6_scope_id,
        )
    }
}

impl From<&SocketAddr> for RawAddress {
    fn from(addr: &SocketAddr) -> Self {
        let mut repr = zeroed();
        let len = match addr {
            SocketAddr::V4(addr) => {
                repr.v4 = sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: addr.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(addr.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                length_of::<sockaddr_in>()
            }
            SocketAddr::V6(addr) => {
                repr.v6 = sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: addr.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: addr.ip().octets(),
                    },
                    sin6_scope_id: addr.scope_id(),
                };
                length_of::<sockaddr_in6>()
            }
        };
        Self { repr, len }
    }
}

impl fmt::Debug for RawAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawAddress")
            .field("family", &self.family())
            .field("len", &self.len)
            .finish()
    }
}

/// An address of no family (`AF_UNSPEC` is 0).
fn zeroed() -> Repr {
    // SAFETY: `Repr` is made of integers, for which zero is a value.
    unsafe { mem::zeroed() }
}

const fn length_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_way_to_the_kernels_form_and_back() {
        for addr in ["1.2.3.4:567", "[1:2:3:4:5:6:7:8]:910", "[fe80::1%7]:80"] {
            let addr: SocketAddr = addr.parse().unwrap();
            assert_eq!(RawAddress::from(&addr).to_socket_addr().unwrap(), addr);
        }
        let flow = SocketAddr::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 2, 3));
        assert_eq!(RawAddress::from(&flow).to_socket_addr().unwrap(), flow);
    }

    #[test]
    fn an_address_that_is_not_ip_or_cut_short_is_refused() {
        let unspecified = RawAddress::room().to_socket_addr().unwrap_err();
        assert_eq!(unspecified.kind(), io::ErrorKind::InvalidInput);

        let mut short = RawAddress::from(&"[::1]:80".parse().unwrap());
        short.len = 2;
        let short = short.to_socket_addr().unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::InvalidInput);
    }
}
