//! Opening a FIFO: waiting for its other end.
//!
//! The kernel knows only how to block a thread until the other end is there. A thread of the pool for
//! each that waits would be the end of the pool, where the other ends need threads, too; and it could not
//! be called back when its runtime ends. So the end is opened with `O_NONBLOCK`, which waits for nothing,
//! and has the flag taken off before anybody sees it. A writer is refused while there is no reader, and
//! asks again. A reader that is there first waits for the first bytes by epoll, which does not tell of a
//! writer that has not written: it, too, looks again from time to time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::File;
use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::source::Source;
use crate::sys;

/// How long the first pause is. Doubled each time.
const SHORTEST: Duration = Duration::from_micros(500);
/// How long a pause becomes, where few wait.
const LONGEST: Duration = Duration::from_millis(20);
/// The same for each that waits, so that all together look no more than 50,000 times a second.
const LONGEST_EACH: Duration = Duration::from_micros(20);

/// How many wait.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Growing times between two looks of one that waits.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        WAITING.fetch_add(1, Relaxed);
        Self(SHORTEST)
    }

    fn next(&mut self) -> Duration {
        let next = self.0;
        let waiting = u32::try_from(WAITING.load(Relaxed)).unwrap_or(u32::MAX);
        let longest = LONGEST.max(LONGEST_EACH.saturating_mul(waiting));
        self.0 = (next * 2).min(longest);
        next
    }

    pub(super) fn sleep(&mut self) {
        crate::greenlet::sleep(self.next());
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Relaxed);
    }
}

/// Makes an ordinary description of one end of a FIFO that was opened with `O_NONBLOCK`; a reader
/// first waits until there is a writer, or has been one.
pub(super) fn complete(fd: OwnedFd, is_reader: bool) -> io::Result<File> {
    let source = Source::plain(fd);
    if is_reader {
        wait_for_writer(&source)?;
    }
    let fd = source.into_fd();
    sys::fd::set_nonblocking(fd.as_fd(), false)?;
    Ok(fd.into())
}

fn wait_for_writer(source: &Source) -> io::Result<()> {
    let mut pauses = Pauses::new();
    loop {
        let deadline = Instant::now() + pauses.next();
        let answer = source.retry_until(Interest::Read, WaitReason::IoRead, Some(deadline), |fd| {
            match sys::file::fifo_has_writer(fd) {
                Ok(true) => Poll::Ready(Ok(())),
                Ok(false) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        });
        match answer.as_ref().map_err(io::Error::kind) {
            Err(io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {}
            _ => return answer,
        }
    }
}
