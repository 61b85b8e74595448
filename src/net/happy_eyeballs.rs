//! Connecting to the address of several that answers first (RFC 8305, "Happy Eyeballs").

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::resolve::no_addresses_slow;
use super::tcp_stream::progress;
use super::{WaitFor, select};
use crate::sys::socket;

/// How much earlier an attempt begins than the next one, unless it fails before (RFC 8305, 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A socket, in non-blocking mode, that is on its way to an address.
struct Attempt {
    socket: OwnedFd,
    addr: SocketAddr,
}

impl Attempt {
    fn begin(addr: SocketAddr) -> io::Result<Self> {
        let socket = socket::stream_for(&addr, libc::SOCK_NONBLOCK)?;
        Ok(Self { socket, addr })
    }

    fn progress(&self) -> Poll<io::Result<()>> {
        progress(self.socket.as_fd(), &self.addr)
    }
}

/// Connects to whichever of `addrs` answers first; the sockets of the others are closed.
///
/// The socket is in non-blocking mode still.
pub(super) fn connect(addrs: &[SocketAddr], deadline: Option<Instant>) -> io::Result<OwnedFd> {
    let mut untried = alternating(addrs).into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut next_begin = Instant::now();
    let mut last_error = None;
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) && !addrs.is_empty() {
        return Err(io::Error::from(io::ErrorKind::TimedOut));
    }
    loop {
        // Begin the next attempt, if it is time or none goes on.
        if attempts.is_empty() || next_begin <= Instant::now() {
            if let Some(addr) = untried.next() {
                next_begin = Instant::now() + ATTEMPT_DELAY;
                match Attempt::begin(addr) {
                    Ok(attempt) => attempts.push(attempt),
                    Err(error) => {
                        last_error = Some(error);
                        next_begin = Instant::now();
                    }
                }
            } else if attempts.is_empty() {
                return Err(last_error.unwrap_or_else(no_addresses_slow));
            }
        }
        // See how far they got; the first call begins to connect.
        let mut place = 0;
        while let Some(attempt) = attempts.get(place) {
            match attempt.progress() {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(())) => return Ok(attempts.swap_remove(place).socket),
                Poll::Ready(Err(error)) => {
                    last_error = Some(error);
                    attempts.remove(place);
                    // It gives the next one its turn.
                    next_begin = Instant::now();
                }
            }
        }
        if attempts.is_empty() {
            continue;
        }
        // Wait until one got further, or the next one may begin.
        let is_last = untried.len() == 0;
        let pause_end = match deadline {
            Some(deadline) if is_last || deadline < next_begin => Some(deadline),
            None if is_last => None,
            _ => Some(next_begin),
        };
        let waits: Vec<_> = attempts
            .iter()
            .map(|attempt| WaitFor::writable(&attempt.socket))
            .collect();
        match select(&waits, pause_end) {
            Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(error),
            Err(error) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                return Err(error);
            }
            _ => {}
        }
    }
}

/// The addresses of either IP version in turn, beginning with the first one's.
fn alternating(addrs: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addrs.first() else {
        return Vec::new();
    };
    let (mut one, mut other): (Vec<SocketAddr>, Vec<SocketAddr>) = addrs
        .iter()
        .partition(|addr| addr.is_ipv6() == first.is_ipv6());
    // From the back, where they can be taken.
    one.reverse();
    other.reverse();
    let mut all = Vec::with_capacity(addrs.len());
    while all.len() < addrs.len() {
        all.extend(one.pop());
        all.extend(other.pop());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_versions_take_turns_and_keep_their_order() {
        let addr = |text: &&str| text.parse().unwrap();
        let order = |texts: &[&str]| alternating(&texts.iter().map(addr).collect::<Vec<_>>());
        let (a, b, c) = ("[::1]:1", "[::2]:1", "[::3]:1");
        let (x, y) = ("127.0.0.1:1", "127.0.0.2:1");
        let expected = |texts: &[&str]| texts.iter().map(addr).collect::<Vec<SocketAddr>>();
        assert_eq!(order(&[a, b, c, x, y]), expected(&[a, x, b, y, c]));
        assert_eq!(order(&[x, y, a]), expected(&[x, a, y]));
        assert_eq!(order(&[b, a]), expected(&[b, a]));
        assert_eq!(order(&[]), []);
    }
}
