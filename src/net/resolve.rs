//! From what names a peer to its addresses.
//!
//! Owns the trait that the constructors of sockets take, and the rule that a name is never
//! looked up on a hub: the C library's `getaddrinfo` blocks its thread for as long as a name
//! server likes.
//!
//! Why a trait of our own: std's may be implemented by anybody, for types that must not leave
//! their thread (`!Send`), so a generic caller could not hand the lookup to another thread; and
//! it cannot tell a string from such a type. With a trait of our own, each implementation knows
//! what it has in hand, and the two that may have a name copy it and send it away.

use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::option;
use std::slice;
use std::vec;

use super::lookup_host;

/// What can be turned into one or more socket addresses: [`std::net::ToSocketAddrs`] for
/// greenlets.
///
/// It is implemented for exactly the types that std's is: socket addresses, pairs of an IP
/// address and a port, slices of socket addresses, and, as strings or pairs of a string and a
/// port, everything that is an address in writing or a host's name.
///
/// An address in writing is parsed in place. A name is looked up on a thread of the blocking
/// pool; the greenlet parks until the answer is there, and a plain thread looks it up itself. Answers
/// are kept for a few seconds, see [`set_lookup_ttl`](super::set_lookup_ttl).
///
/// # Differences
///
/// This is not std's trait, and types that implement only std's do not implement it: code that
/// is not known here would run on the hub, and its lookups would block all greenlets of it. A
/// type of your own implements this trait best by handing on to a string or a pair:
///
/// ```
/// use greenlet::net::{SocketAddr, ToSocketAddrs};
/// use std::io;
///
/// struct Service {
///     host: String,
/// }
///
/// impl ToSocketAddrs for Service {
///     type Iter = std::vec::IntoIter<SocketAddr>;
///
///     fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
///         (self.host.as_str(), 8080).to_socket_addrs()
///     }
/// }
///
/// # fn main() -> io::Result<()> {
/// let service = Service { host: "127.0.0.1".to_owned() };
/// let addrs: Vec<SocketAddr> = service.to_socket_addrs()?.collect();
/// assert_eq!(addrs, ["127.0.0.1:8080".parse().unwrap()]);
/// # Ok(())
/// # }
/// ```
pub trait ToSocketAddrs {
    /// The addresses, one after the other.
    type Iter: Iterator<Item = SocketAddr>;

    /// The addresses, as many as there are.
    ///
    /// # Errors
    ///
    /// std's: [`InvalidInput`](io::ErrorKind::InvalidInput) when a string has no port or one
    /// that is not a number from 0 to 65535, and what the system's resolver says when it does
    /// not find the name.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

impl ToSocketAddrs for SocketAddr {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(Some(*self).into_iter())
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::V4(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::V6(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (IpAddr, u16) {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv4Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv6Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![SocketAddr::new(ip, port)].into_iter()),
            Err(_) => look_up(host, port),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (self.0.as_str(), self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self.parse() {
            Ok(addr) => Ok(vec![addr].into_iter()),
            Err(_) => {
                let (host, port) = self
                    .rsplit_once(':')
                    .ok_or_else(|| invalid_input_slow("invalid socket address"))?;
                let port = port.parse();
                look_up(
                    host,
                    port.map_err(|_| invalid_input_slow("invalid port value"))?,
                )
            }
        }
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        self.as_str().to_socket_addrs()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Copied<slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().copied())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
}

/// Looks a name up, off the hub.
#[cold]
fn look_up(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    let mut addrs = lookup_host(host, None)?;
    addrs.iter_mut().for_each(|addr| addr.set_port(port));
    Ok(addrs.into_iter())
}

/// What `f` makes of the first address that it makes anything of; the last error otherwise.
pub(super) fn first_that_works<A: ToSocketAddrs, T>(
    addrs: A,
    mut f: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for addr in addrs.to_socket_addrs()? {
        match f(&addr) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_addresses_slow))
}

#[cold]
pub(super) fn no_addresses_slow() -> io::Error {
    invalid_input_slow("could not resolve to any addresses")
}

#[cold]
fn invalid_input_slow(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
