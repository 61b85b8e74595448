//! Descriptors of any kind, read and written without blocking a hub.
//!
//! Owns no `O_NONBLOCK`: that belongs to the open description, which may be shared with other
//! processes (a pipe's end in a child, the terminal of a shell), so it is never set here. Each call is
//! asked not to wait instead (`RWF_NOWAIT`), and when it would, epoll tells when to try again. What
//! cannot be asked so (terminals; pipes before Linux 6.4) is read and written when poll(2) says that
//! it is ready, by the blocking pool, because another reader may be faster. Files on disk, which no
//! poll can tell about, go to the pool when they would wait.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::blocking;
use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::sched;
use crate::source::Source;
use crate::sys::file_kind::FileKind;
use crate::sys::transfer::{self, Waiting};
use crate::sys::{self, fd};

/// The most that a pipe takes without waiting when poll(2) says that it is writable, if there is no
/// other writer.
const PIPE_BUF: usize = libc::PIPE_BUF;

/// A descriptor of any kind.
///
/// In a greenlet what waits parks. On a plain thread it is read(2) and write(2), as in std. Where
/// somebody has set `O_NONBLOCK` on the description, both answer `WouldBlock`, as in std.
pub(crate) struct Channel {
    source: Source,
    /// A [`Way`]. Written by whoever finds out, to one value.
    way: AtomicU8,
}

/// How it is done without blocking the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Way {
    /// By calls that do not wait.
    Ask,
    /// By the blocking pool, once it is ready.
    Poll,
    /// By the blocking pool.
    Offload,
}

impl Channel {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            source: Source::plain(fd),
            way: AtomicU8::new(Way::Ask as u8),
        }
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            source: self.source.try_clone()?,
            way: AtomicU8::new(self.way.load(Relaxed)),
        })
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.source.into_fd()
    }

    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buf)])
    }

    pub(crate) fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.transfer(Interest::Read, |fd, waiting, _| {
            transfer::read(fd, bufs, waiting)
        })
    }

    /// In a greenlet, too, all of `buf` is written where a blocking write(2) does that.
    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        loop {
            let rest = &buf[written..];
            let result = self.transfer(Interest::Write, |fd, waiting, most| {
                let part = &rest[..rest.len().min(most)];
                transfer::write(fd, &[IoSlice::new(part)], waiting)
            });
            match result {
                Ok(count) => {
                    written += count;
                    if count == 0 || written == buf.len() {
                        return Ok(written);
                    }
                }
                Err(error) if written == 0 => return Err(error),
                // What went wrong after the first byte is for the next call to meet.
                Err(_) => return Ok(written),
            }
        }
    }

    /// May write less than all.
    pub(crate) fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.transfer(Interest::Write, |fd, waiting, most| {
            let total = bufs
                .iter()
                .map(|buf| buf.len())
                .fold(0, usize::saturating_add);
            if total <= most {
                return transfer::write(fd, bufs, waiting);
            }
            let first = bufs.iter().find(|buf| !buf.is_empty());
            let first = first.map_or(&[][..], |buf| &buf[..buf.len().min(most)]);
            transfer::write(fd, &[IoSlice::new(first)], waiting)
        })
    }

    /// Waits until it is ready, or at an end or in error. `WouldBlock` where somebody has asked for that.
    pub(crate) fn wait(&self, interest: Interest) -> io::Result<()> {
        let answer = self.retry(interest, |fd| {
            if sys::poll::poll(fd, interest.poll_events(), Some(Duration::ZERO))? {
                return Ok(Ok(()));
            }
            let would_block = io::Error::from_raw_os_error(libc::EAGAIN);
            if waits(fd) {
                Err(would_block)
            } else {
                Ok(Err(would_block))
            }
        });
        answer?
    }

    /// Runs `op`, which must not wait, until it answers something else than `WouldBlock`.
    pub(crate) fn retry<T>(
        &self,
        interest: Interest,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.source.retry(interest, reason_for(interest), op)
    }

    /// Runs `op`, which is told whether it may wait and how much it may write.
    fn transfer(
        &self,
        interest: Interest,
        mut op: impl FnMut(BorrowedFd<'_>, Waiting, usize) -> io::Result<usize> + Send,
    ) -> io::Result<usize> {
        if !sched::on_greenlet() {
            return op(self.as_fd(), Waiting::Allowed, usize::MAX);
        }
        let tried = self.retry(interest, |fd| match self.attempt(interest, fd, &mut op) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && waits(fd) => Err(error),
            answer => Ok(answer),
        });
        match tried {
            Ok(answer) => answer,
            // epoll's word for a file that it cannot wait for.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let fd = self.as_fd();
                blocking::offload(|| op(fd, Waiting::Allowed, usize::MAX))
            }
            Err(error) => Err(error),
        }
    }

    /// Once, without waiting. All errors are those of the descriptor.
    fn attempt(
        &self,
        interest: Interest,
        fd: BorrowedFd<'_>,
        op: &mut (impl FnMut(BorrowedFd<'_>, Waiting, usize) -> io::Result<usize> + Send),
    ) -> io::Result<usize> {
        loop {
            match self.way() {
                Way::Ask => match op(fd, Waiting::Never, usize::MAX) {
                    Err(error) if transfer::is_unsupported(&error) => self.find_way(fd)?,
                    answer => return answer,
                },
                Way::Poll => {
                    if !sys::poll::poll(fd, interest.poll_events(), Some(Duration::ZERO))? {
                        return Err(io::Error::from_raw_os_error(libc::EAGAIN));
                    }
                    return blocking::offload(|| op(fd, Waiting::Allowed, PIPE_BUF));
                }
                Way::Offload => return blocking::offload(|| op(fd, Waiting::Allowed, usize::MAX)),
            }
        }
    }

    fn way(&self) -> Way {
        match self.way.load(Relaxed) {
            0 => Way::Ask,
            1 => Way::Poll,
            _ => Way::Offload,
        }
    }

    #[cold]
    fn find_way(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let way = match FileKind::of(fd)? {
            FileKind::Disk => Way::Offload,
            FileKind::Pipe | FileKind::Other => Way::Poll,
        };
        self.way.store(way as u8, Relaxed);
        Ok(())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// As std's `FileDesc`, which is what the public types show.
impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Number(RawFd);

        impl fmt::Debug for Number {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("OwnedFd").field("fd", &self.0).finish()
            }
        }

        let number = Number(self.as_fd().as_raw_fd());
        f.debug_tuple("FileDesc").field(&number).finish()
    }
}

/// What every public type has that is a [`Channel`] in a tuple.
macro_rules! is_a_descriptor {
    ($type:ident) => {
        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $type {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl IntoRawFd for $type {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }

        impl From<OwnedFd> for $type {
            fn from(fd: OwnedFd) -> Self {
                Self(Channel::new(fd))
            }
        }

        impl From<$type> for OwnedFd {
            fn from(end: $type) -> Self {
                end.0.into_fd()
            }
        }

        /// std's type, which blocks its thread.
        impl From<$type> for std_types::$type {
            fn from(end: $type) -> Self {
                OwnedFd::from(end).into()
            }
        }

        impl From<std_types::$type> for $type {
            fn from(end: std_types::$type) -> Self {
                OwnedFd::from(end).into()
            }
        }

        impl From<$type> for Stdio {
            fn from(end: $type) -> Self {
                OwnedFd::from(end).into()
            }
        }
    };
}
pub(crate) use is_a_descriptor;

/// Whether whoever would block is to wait: not where somebody has asked for `WouldBlock`.
fn waits(fd: BorrowedFd<'_>) -> bool {
    !fd::is_nonblocking(fd).unwrap_or(true)
}

fn reason_for(interest: Interest) -> WaitReason {
    match interest {
        Interest::Read => WaitReason::IoRead,
        Interest::Write => WaitReason::IoWrite,
    }
}
