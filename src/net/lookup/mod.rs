//! The addresses of hosts, by name.
//!
//! | file | noun |
//! |---|---|
//! | `resolver` | who asks for a name, once for all that want to know at the same time |
//! | `pending` | a lookup that goes on, and who waits for it |
//! | `answer` | what came out of one |
//! | `cache` | answers, for a few seconds |

mod answer;
mod cache;
mod pending;
mod resolver;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use resolver::Resolver;

/// The one of the process, which asks the C library.
static RESOLVER: Resolver = Resolver::new(|host| (host, 0).to_socket_addrs().map(Vec::from_iter));

/// The addresses of `host`, a name or an IP address in writing; their port is 0.
///
/// They come in the order in which they are to be tried. Set their port
/// ([`set_port`](SocketAddr::set_port)) and connect to one after the other, or to all by
/// [`TcpStream::connect_happy_eyeballs`](super::TcpStream::connect_happy_eyeballs).
///
/// A name server that does not answer can keep the C library for half a minute, and there is no way to
/// stop it. It keeps a thread of the blocking pool, not the caller: that one is back at the deadline,
/// and whoever asks for the name again meanwhile waits for the same lookup. Its answer, when it comes,
/// is kept for the next one who asks. See [`set_lookup_ttl`] on how long.
///
/// # Errors
///
/// [`TimedOut`](io::ErrorKind::TimedOut) when `deadline` passes first, and what the system's
/// resolver says when it does not find the name.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use greenlet::net::lookup_host;
///
/// # fn main() -> std::io::Result<()> {
/// let deadline = Instant::now() + Duration::from_secs(10);
/// let addrs = lookup_host("localhost", Some(deadline))?;
/// assert!(addrs.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 0));
/// # Ok(())
/// # }
/// ```
pub fn lookup_host(host: &str, deadline: Option<Instant>) -> io::Result<Vec<SocketAddr>> {
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok(vec![SocketAddr::new(ip, 0)]),
        Err(_) => RESOLVER.resolve(host, deadline),
    }
}

/// How long the addresses of a name are kept, for the whole process; at first 5 seconds. Zero switches
/// the cache off.
///
/// That goes for [`lookup_host`] and for every [`ToSocketAddrs`](super::ToSocketAddrs). The system does
/// not tell how long a name server lets its answer be kept, and std asks anew every time; a few
/// seconds are less than name servers allow, and enough for a burst of connections to one host to ask
/// once. That a name is not known is kept for a second, or for `ttl` if that is shorter. At most 1,024
/// names are kept.
///
/// What was kept so far is forgotten. While the cache is off every call asks for itself, as std's
/// do.
///
/// ```
/// // Ask every time.
/// greenlet::net::set_lookup_ttl(std::time::Duration::ZERO);
/// ```
pub fn set_lookup_ttl(ttl: Duration) {
    RESOLVER.set_ttl(ttl);
}
