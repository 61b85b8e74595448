//! The report of a hub that is blocked.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::cell::Id;

/// A greenlet keeps its hub from running others: it has not parked or yielded for a while.
///
/// Given to [`RuntimeBuilder::on_blocked`](crate::RuntimeBuilder::on_blocked). Its `Display` is the
/// report that is written to standard error by default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BlockedHub {
    /// The number of the hub.
    pub hub: usize,
    /// The greenlet; none where the kernel has no `membarrier`.
    pub greenlet: Option<BlockingGreenlet>,
    /// How long it has run already.
    pub since: Duration,
    /// What it does.
    pub activity: BlockedActivity,
    /// Who has called whom, the innermost function first; as a text, for people. With the feature
    /// `stacks` the whole stack, names and lines, without the scheduler's frames at both ends; otherwise where it is,
    /// and nothing more.
    pub stack: Vec<String>,
}

/// The greenlet that blocks its hub.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BlockingGreenlet {
    /// Its number.
    pub id: Id,
    /// Its name.
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
}

/// What a greenlet does that blocks its hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockedActivity {
    /// It computes.
    Computing,
    /// It waits in the kernel: in the system call with this number, or for a page of memory if there
    /// is none.
    Waiting {
        /// The number, as in the C header `sys/syscall.h`.
        syscall: Option<u32>,
    },
}

impl fmt::Display for BlockedHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.greenlet {
            Some(greenlet) => greenlet.fmt(f)?,
            None => f.write_str("a greenlet")?,
        }
        let milliseconds = self.since.as_millis();
        write!(
            f,
            " has kept hub {} to itself for {milliseconds} ms: {}",
            self.hub, self.activity
        )?;
        for frame in &self.stack {
            write!(f, "\n    in {frame}")?;
        }
        Ok(())
    }
}

impl fmt::Display for BlockingGreenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("<unnamed>");
        let Self { id, spawned_at, .. } = self;
        write!(
            f,
            "greenlet '{name}' (number {id}, spawned at {spawned_at})"
        )
    }
}

impl fmt::Display for BlockedActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Computing => f.write_str("it computes without a wait or `yield_now`"),
            Self::Waiting {
                syscall: Some(number),
            } => match CALLS
                .iter()
                .find(|(known, ..)| *known == i64::from(*number))
            {
                Some((_, name, advice)) => {
                    write!(f, "it waits in the kernel, in `{name}`: {advice}")
                }
                None => write!(f, "it waits in the kernel, in system call {number}"),
            },
            Self::Waiting { syscall: None } => f.write_str("it waits for a page of memory"),
        }
    }
}

/// Calls in which threads are often found, by what, and what to do about it.
const CALLS: [(i64, &str, &str); 12] = [
    (
        libc::SYS_futex,
        "futex",
        "a std lock that another one holds, a std channel or `Condvar`, `thread::park` or `join`",
    ),
    (libc::SYS_clock_nanosleep, "clock_nanosleep", SLEEP),
    (libc::SYS_nanosleep, "nanosleep", SLEEP),
    (libc::SYS_recvfrom, "recvfrom", SOCKET),
    (libc::SYS_sendto, "sendto", SOCKET),
    (libc::SYS_accept4, "accept4", SOCKET),
    (libc::SYS_connect, "connect", SOCKET),
    (libc::SYS_ppoll, "ppoll", SOCKET),
    (libc::SYS_read, "read", FILE),
    (libc::SYS_write, "write", FILE),
    (libc::SYS_fsync, "fsync", FILE),
    (libc::SYS_wait4, "wait4", "a child process"),
];
const SLEEP: &str = "`greenlet::sleep` would not block the hub";
const SOCKET: &str = "`greenlet::net` would not block the hub";
const FILE: &str = "a file, a pipe or a socket of std's";
