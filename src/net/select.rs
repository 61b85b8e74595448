//! Waiting for descriptors that the caller owns, whatever they are.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::sched;
use crate::source::Source;
use crate::sys::epoll::Epoll;
use crate::sys::poll::{Polled, poll_all};

/// A descriptor, and what [`select`] is to wait for.
#[derive(Clone, Copy, Debug)]
pub struct WaitFor<'fd> {
    fd: BorrowedFd<'fd>,
    interest: Interest,
}

impl<'fd> WaitFor<'fd> {
    /// Until a read would not wait: there is something, the end, or an error.
    pub fn readable(fd: &'fd impl AsFd) -> Self {
        Self {
            fd: fd.as_fd(),
            interest: Interest::Read,
        }
    }

    /// Until a write would not wait: there is room, or an error.
    pub fn writable(fd: &'fd impl AsFd) -> Self {
        Self {
            fd: fd.as_fd(),
            interest: Interest::Write,
        }
    }

    fn polled(&self) -> Polled<'fd> {
        Polled::new(self.fd, self.interest.poll_events())
    }
}

/// Waits until a read of `fd` would not wait.
///
/// For descriptors that come from elsewhere: from a C library, or opened with `std`. They stay as they
/// are, in blocking mode or not, and may be waited for in several greenlets, threads and runtimes at
/// once, also where this crate's sockets own them. What can be read is told as long as it is there, so
/// this returns at once, and without parking, if it is there already; another one may have read it
/// when the caller comes to do so. Regular files are always ready.
///
/// # Errors
///
/// [`TimedOut`](io::ErrorKind::TimedOut) when `deadline` passes first. `EBADF` when the descriptor
/// is not open; closing it while this waits, which [`BorrowedFd`] rules out, ends the wait no earlier
/// than anything else does, as with poll(2). `EMFILE` when a greenlet has to wait and the process
/// has too many descriptors open: that takes one more.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::{Duration, Instant};
///
/// greenlet::run(|| -> std::io::Result<()> {
///     let (mut reader, mut writer) = std::io::pipe()?;
///     let writing = greenlet::spawn(move || writer.write_all(b"hello"));
///     greenlet::net::wait_readable(&reader, Some(Instant::now() + Duration::from_secs(10)))?;
///     // It does not block the hub now.
///     let mut text = [0; 5];
///     reader.read_exact(&mut text)?;
///     assert_eq!(&text, b"hello");
///     writing.join().unwrap()
/// })
/// # .unwrap()
/// ```
pub fn wait_readable(fd: impl AsFd, deadline: Option<Instant>) -> io::Result<()> {
    select(&[WaitFor::readable(&fd)], deadline).map(drop)
}

/// Waits until a write to `fd` would not wait. Else as [`wait_readable`].
///
/// # Errors
///
/// Those of [`wait_readable`].
pub fn wait_writable(fd: impl AsFd, deadline: Option<Instant>) -> io::Result<()> {
    select(&[WaitFor::writable(&fd)], deadline).map(drop)
}

/// Waits until at least one of `all` is ready, and returns the places of those that are, in order.
///
/// A descriptor may be there several times. Else as [`wait_readable`].
///
/// # Errors
///
/// Those of [`wait_readable`], and [`InvalidInput`](io::ErrorKind::InvalidInput) when there is
/// nothing to wait for.
///
/// # Examples
///
/// ```
/// use greenlet::net::{UdpSocket, WaitFor, select};
///
/// # fn main() -> std::io::Result<()> {
/// let one = UdpSocket::bind("127.0.0.1:0")?;
/// let other = UdpSocket::bind("127.0.0.1:0")?;
/// one.send_to(b"hello", other.local_addr()?)?;
/// let ready = select(&[WaitFor::readable(&one), WaitFor::readable(&other)], None)?;
/// assert_eq!(ready, [1]);
/// # Ok(())
/// # }
/// ```
pub fn select(all: &[WaitFor<'_>], deadline: Option<Instant>) -> io::Result<Vec<usize>> {
    if all.is_empty() {
        let message = "there is no descriptor to wait for";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut polled: Vec<_> = all.iter().map(WaitFor::polled).collect();
    if poll_uninterrupted(&mut polled, Some(Instant::now()))? {
        // Who never has to wait must not starve the others.
        sched::spend_io();
        return Ok(ready(&polled));
    }
    if !sched::on_greenlet() {
        return match poll_uninterrupted(&mut polled, deadline)? {
            true => Ok(ready(&polled)),
            false => Err(io::ErrorKind::TimedOut.into()),
        };
    }
    park(all, &mut polled, deadline)
}

/// Waits in a greenlet. An epoll of the call's own holds the descriptors, so it does not matter where
/// else they are registered; and what waits for it is one descriptor, which is in no other's hands.
fn park(
    all: &[WaitFor<'_>],
    polled: &mut [Polled<'_>],
    deadline: Option<Instant>,
) -> io::Result<Vec<usize>> {
    let mut wanted = BTreeMap::new();
    for one in all {
        let (_, events) = wanted.entry(one.fd.as_raw_fd()).or_insert((one.fd, 0));
        *events |= match one.interest {
            Interest::Read => libc::EPOLLIN,
            Interest::Write => libc::EPOLLOUT,
        };
    }
    let epoll = Epoll::new()?;
    for (fd, events) in wanted.into_values() {
        epoll.add(fd, events, 0)?;
    }
    let source = Source::plain(epoll.into());
    source.retry_until(
        Interest::Read,
        WaitReason::IoRead,
        deadline,
        |_| match poll_uninterrupted(polled, Some(Instant::now())) {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Ok(ready(polled))),
            Err(error) => Poll::Ready(Err(error)),
        },
    )
}

/// The places of those that the last poll has found ready.
fn ready(polled: &[Polled<'_>]) -> Vec<usize> {
    let places = polled.iter().enumerate();
    let ready = places.filter(|(_, polled)| polled.is_ready());
    ready.map(|(place, _)| place).collect()
}

/// Polls until one is ready (true) or the deadline has passed (false).
fn poll_uninterrupted(polled: &mut [Polled<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match poll_all(polled, left) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A wait of many days is made of several.
            Ok(false) if left != Some(Duration::ZERO) => {}
            answer => return answer,
        }
    }
}
