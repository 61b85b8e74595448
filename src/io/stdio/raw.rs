//! The descriptors 0, 1 and 2, without buffers.
//!
//! They are not this crate's: the program may close or replace them at any time, and other processes share
//! their descriptions. So nothing is kept of them. What would wait does so on a duplicate, for as long as
//! it takes.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use crate::blocking;
use crate::interest::Interest;
use crate::io::channel::Channel;
use crate::sched;
use crate::sys::file_kind::FileKind;
use crate::sys::transfer::{self, Waiting};
use crate::sys::{self, fd};

/// What is written to a file on disk without asking the blocking pool: it costs more than the write to the
/// page cache does, for every line of a log.
const SMALL: usize = 4096;

/// One of the three.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawStream(RawFd);

pub(super) const STDIN: RawStream = RawStream(libc::STDIN_FILENO);
pub(super) const STDOUT: RawStream = RawStream(libc::STDOUT_FILENO);
pub(super) const STDERR: RawStream = RawStream(libc::STDERR_FILENO);

impl RawStream {
    pub(super) fn as_fd(self) -> BorrowedFd<'static> {
        // SAFETY: as in std: the three are open from the start of the process on. Where the program closes
        // them, calls answer `EBADF`.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }

    /// The end of the data where the descriptor is closed, as in std.
    pub(super) fn read(self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        closed_is(0, self.try_read(bufs))
    }

    /// What is written to now.
    pub(super) fn sink(self) -> Sink {
        let kind = FileKind::of(self.as_fd());
        Sink {
            stream: self,
            is_on_disk: kind.is_ok_and(|kind| kind == FileKind::Disk),
        }
    }

    fn try_read(self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let fd = self.as_fd();
        if !sched::on_greenlet() {
            return transfer::read(fd, bufs, Waiting::Allowed);
        }
        match transfer::read(fd, bufs, Waiting::Never) {
            Err(error) if may_wait(&error) => match self.duplicate()? {
                Some(channel) => channel.read_vectored(bufs),
                None => blocking::offload(|| transfer::read(fd, bufs, Waiting::Allowed)),
            },
            answer => {
                sched::spend_io();
                answer
            }
        }
    }

    /// `None` if there is no descriptor left.
    fn duplicate(self) -> io::Result<Option<Channel>> {
        match self.as_fd().try_clone_to_owned() {
            Ok(fd) => Ok(Some(Channel::new(fd))),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A stream that is written to, as it was found: for one call of the user, because the next may find it
/// replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sink {
    stream: RawStream,
    is_on_disk: bool,
}

impl Sink {
    /// Whether a [`SMALL`] write is made on the hub.
    pub(super) fn is_on_disk(self) -> bool {
        self.is_on_disk
    }

    fn try_write(self, buf: &[u8]) -> io::Result<usize> {
        let fd = self.stream.as_fd();
        let whole = [IoSlice::new(buf)];
        if !sched::on_greenlet() {
            return transfer::write(fd, &whole, Waiting::Allowed);
        }
        // Files are not asked not to wait: most refuse each time, and others may write the half of a line.
        if self.is_on_disk {
            if buf.len() > SMALL {
                return blocking::offload(|| transfer::write(fd, &whole, Waiting::Allowed));
            }
            let answer = transfer::write(fd, &whole, Waiting::Allowed);
            sched::spend_io();
            return answer;
        }
        let written = match transfer::write(fd, &whole, Waiting::Never) {
            Err(error) if may_wait(&error) => 0,
            Ok(written) if written < buf.len() => written,
            answer => {
                sched::spend_io();
                return answer;
            }
        };
        let rest = &buf[written..];
        let result = match self.stream.duplicate()? {
            Some(channel) => channel.write(rest),
            None => {
                blocking::offload(|| transfer::write(fd, &[IoSlice::new(rest)], Waiting::Allowed))
            }
        };
        match result {
            Err(error) if written == 0 => Err(error),
            result => Ok(written + result.unwrap_or(0)),
        }
    }

    /// Waits until a pipe takes what fits into one page, or others take something. Does not wait where
    /// that cannot be found out, nor where somebody has asked for `WouldBlock`.
    pub(super) fn wait_writable(self) -> io::Result<()> {
        if self.is_on_disk {
            return Ok(());
        }
        let fd = self.stream.as_fd();
        if is_writable(fd).unwrap_or(true) || fd::is_nonblocking(fd).unwrap_or(true) {
            return Ok(());
        }
        let Some(channel) = self.stream.duplicate()? else {
            return Ok(());
        };
        channel.retry(Interest::Write, |fd| {
            if is_writable(fd)? {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(libc::EAGAIN))
            }
        })
    }
}

/// All of `buf` is written where a blocking write(2) does that; and as if it were, where the descriptor is
/// closed, as in std.
impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        closed_is(buf.len(), self.try_write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_writable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    sys::poll::poll(fd, libc::POLLOUT, Some(Duration::ZERO))
}

/// Whether a call that must not wait would have to, or may.
fn may_wait(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || transfer::is_unsupported(error)
}

fn closed_is(answer: usize, result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(answer),
        result => result,
    }
}
