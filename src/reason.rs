//! What a greenlet is parked for.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// The kind of call site that parked a greenlet: for dumps, reports and traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitReason {
    /// The public `park`.
    Park,
    /// `sleep` or `sleep_until`.
    Sleep,
    /// `JoinHandle::join`, or `Runtime::run` waiting for its main greenlet. The object is the number
    /// of the greenlet that is to end.
    Join,
    /// A descriptor, which is the object here and below, to become readable.
    IoRead,
    /// A descriptor to become writable.
    IoWrite,
    /// A listener to have a connection.
    Accept,
    /// A socket to be connected.
    Connect,
    /// A job on the blocking pool.
    Blocking,
}

impl WaitReason {
    const ALL: [Self; 8] = [
        Self::Park,
        Self::Sleep,
        Self::Join,
        Self::IoRead,
        Self::IoWrite,
        Self::Accept,
        Self::Connect,
        Self::Blocking,
    ];

    /// A wait of this kind on something that has a number.
    #[inline]
    pub(crate) fn on(self, object: u64) -> Wait {
        Wait {
            reason: self,
            object,
        }
    }
}

/// A kind of wait, and what is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) reason: WaitReason,
    /// Its number, or [`NO_OBJECT`].
    object: u64,
}

/// Greenlets are numbered from 1, and no descriptor is as large.
const NO_OBJECT: u64 = u64::MAX;

impl Wait {
    /// The number of what is waited for, if it has one.
    pub(crate) fn object(self) -> Option<u64> {
        (self.object != NO_OBJECT).then_some(self.object)
    }
}

impl From<WaitReason> for Wait {
    #[inline]
    fn from(reason: WaitReason) -> Self {
        reason.on(NO_OBJECT)
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            WaitReason::Park => "to be unparked",
            WaitReason::Sleep => "for a time",
            WaitReason::Join => "for the end of greenlet",
            WaitReason::IoRead => "to read from descriptor",
            WaitReason::IoWrite => "to write to descriptor",
            WaitReason::Accept => "for a connection on descriptor",
            WaitReason::Connect => "to be connected by descriptor",
            WaitReason::Blocking => "for the blocking pool",
        };
        f.write_str(what)?;
        match self.object {
            NO_OBJECT => Ok(()),
            object => write!(f, " {object}"),
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The wait that goes on, or none. Written by who waits; read by anybody, each part for itself, so
/// that parts of two waits may be seen together.
#[derive(Debug)]
pub(crate) struct WaitCell {
    reason: AtomicU8,
    object: AtomicU64,
    /// When it began, by the monotonic clock: in units of 2^24 nanoseconds, some 17 ms, which are
    /// enough for two years in so few bytes.
    since: AtomicU32,
}

impl WaitCell {
    /// One for every reason, and this one for none.
    const NONE: u8 = u8::MAX;
    const UNIT_SHIFT: u32 = 24;

    pub(crate) const fn new() -> Self {
        Self {
            reason: AtomicU8::new(Self::NONE),
            object: AtomicU64::new(NO_OBJECT),
            since: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(crate) fn begin(&self, wait: Wait, now: u64) {
        self.object.store(wait.object, Relaxed);
        self.since.store((now >> Self::UNIT_SHIFT) as u32, Relaxed);
        self.reason.store(wait.reason as u8, Relaxed);
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.reason.store(Self::NONE, Relaxed);
    }

    pub(crate) fn get(&self) -> Option<Wait> {
        let reason = WaitReason::ALL.get(usize::from(self.reason.load(Relaxed)))?;
        Some(reason.on(self.object.load(Relaxed)))
    }

    /// When the wait began, about: up to 17 ms earlier.
    pub(crate) fn since(&self) -> u64 {
        u64::from(self.since.load(Relaxed)) << Self::UNIT_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_read_as_it_was_written() {
        let cell = WaitCell::new();
        assert_eq!(cell.get(), None);
        for reason in WaitReason::ALL {
            for wait in [reason.into(), reason.on(0), reason.on(7)] {
                cell.begin(wait, 5_000_000_000);
                assert_eq!(cell.get(), Some(wait));
                assert!((4_980_000_000..=5_000_000_000).contains(&cell.since()));
            }
        }
        cell.end();
        assert_eq!(cell.get(), None);
    }

    #[test]
    fn a_wait_says_what_it_is_for() {
        assert_eq!(Wait::from(WaitReason::Park).to_string(), "to be unparked");
        let join = WaitReason::Join.on(12).to_string();
        assert_eq!(join, "for the end of greenlet 12");
    }
}
