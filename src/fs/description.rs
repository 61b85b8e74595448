//! How an open description is read and written without blocking a hub.
//!
//! | way | for | a read or write |
//! |---|---|---|
//! | `Now` | files and block devices whose filesystem knows `RWF_NOWAIT` | is tried inline, and goes to the blocking pool if it would wait |
//! | `Pool` | all other files; directories; synchronous, direct and appending writes | goes to the blocking pool |
//! | `Memory` | files of a tmpfs | is done inline: it waits no more than memory does |
//! | `PollNow` | pipes, sockets, and devices that know `RWF_NOWAIT` | is tried inline, and parks on epoll if it would wait |
//! | `Poll` | FIFOs, terminals and other devices | parks on epoll until the kernel says it is ready, and goes to the blocking pool then |
//!
//! A way is found out by the first operation and kept: a filesystem that lacks the flag is asked once.
//! The flag is the call's own, so `O_NONBLOCK` is never set on a description that others share.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicUsize};

use super::line::Line;
use crate::sys::file::{self, Kind};

/// How one direction of a description is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Way {
    Now = 1,
    Pool,
    Memory,
    PollNow,
    Poll,
}

/// A [`Way`] that is known from the first use on. Several threads may find it out at once: they find
/// the same.
#[derive(Debug, Default)]
pub(super) struct KnownWay(AtomicU8);

impl KnownWay {
    #[inline]
    fn get(&self) -> Option<Way> {
        match self.0.load(Relaxed) {
            1 => Some(Way::Now),
            2 => Some(Way::Pool),
            3 => Some(Way::Memory),
            4 => Some(Way::PollNow),
            5 => Some(Way::Poll),
            _ => None,
        }
    }

    fn set(&self, way: Way) {
        self.0.store(way as u8, Relaxed);
    }

    /// The kernel has refused to do without waiting. Answers with the way that is left.
    #[cold]
    pub(super) fn refused(&self, fd: BorrowedFd<'_>) -> Way {
        let way = match self.get() {
            Some(Way::PollNow | Way::Poll) => Way::Poll,
            _ if file::is_in_memory(fd) => Way::Memory,
            _ => Way::Pool,
        };
        self.set(way);
        way
    }
}

/// What all clones of a [`File`](super::File) share, because the kernel's description is shared.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) reading: KnownWay,
    pub(super) writing: KnownWay,
    /// How many threads of the pool use the file's position now. The kernel has them hold a lock
    /// meanwhile, and would block a hub that wants the position, too.
    moving: AtomicUsize,
    /// Those that read, and those that write, by [`Way::Poll`]: between the kernel's word that it is
    /// ready and the use of it nobody else may come.
    pub(super) readers: Line,
    pub(super) writers: Line,
}

impl Description {
    #[inline]
    pub(super) fn way_to_read(&self, fd: BorrowedFd<'_>) -> Way {
        match self.reading.get() {
            Some(way) => way,
            None => self.find_way_to_read(fd),
        }
    }

    #[cold]
    fn find_way_to_read(&self, fd: BorrowedFd<'_>) -> Way {
        // A direct read waits for the disk whatever the flag says.
        let has = |flags| file::flags(fd).is_ok_and(|found| found & flags != 0);
        let way = way_of(fd, || !has(libc::O_DIRECT));
        self.reading.set(way);
        way
    }

    #[inline]
    pub(super) fn way_to_write(&self, fd: BorrowedFd<'_>) -> Way {
        match self.writing.get() {
            Some(way) => way,
            None => self.find_way_to_write(fd),
        }
    }

    #[cold]
    fn find_way_to_write(&self, fd: BorrowedFd<'_>) -> Way {
        // Direct and synchronous writes wait for the disk whatever the flag says. Without waiting,
        // a write may be cut short, and what is appended is to stay in one piece.
        const SLOW: libc::c_int = libc::O_DIRECT | libc::O_SYNC | libc::O_DSYNC | libc::O_APPEND;
        let has = |flags| file::flags(fd).is_ok_and(|found| found & flags != 0);
        let way = way_of(fd, || !has(SLOW));
        self.writing.set(way);
        way
    }

    /// Whether the kernel may hold the lock of the file's position over a wait.
    #[inline]
    pub(super) fn is_moving(&self) -> bool {
        self.moving.load(Relaxed) > 0
    }

    /// Runs `f`, which uses the file's position on a thread that may block.
    pub(super) fn moving<T>(&self, f: impl FnOnce() -> T) -> T {
        self.moving.fetch_add(1, Relaxed);
        let _moved = Moved(&self.moving);
        f()
    }
}

struct Moved<'a>(&'a AtomicUsize);

impl Drop for Moved<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn way_of(fd: BorrowedFd<'_>, may_be_now: impl FnOnce() -> bool) -> Way {
    match kind(fd) {
        Kind::Storage if !may_be_now() => Way::Pool,
        Kind::Storage if file::can_read_now() => Way::Now,
        Kind::Storage if file::is_in_memory(fd) => Way::Memory,
        Kind::Storage | Kind::Other => Way::Pool,
        Kind::Stream if file::can_read_now() => Way::PollNow,
        Kind::Stream => Way::Poll,
    }
}

/// A descriptor that does not say what it is fails every read, on a thread that may block.
fn kind(fd: BorrowedFd<'_>) -> Kind {
    file::kind(fd).unwrap_or(Kind::Other)
}

/// Whether a call was refused because of the flag.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}
