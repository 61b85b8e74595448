//! What a greenlet is parked for.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

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
    /// A child process to end.
    Child,
    /// A signal to come.
    Signal,
    /// The lock of a standard stream.
    Stream,
}

impl WaitReason {
    const ALL: [Self; 11] = [
        Self::Park,
        Self::Sleep,
        Self::Join,
        Self::IoRead,
        Self::IoWrite,
        Self::Accept,
        Self::Connect,
        Self::Blocking,
        Self::Child,
        Self::Signal,
        Self::Stream,
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
            WaitReason::Child => "for the end of the process behind descriptor",
            WaitReason::Signal => "for a signal on descriptor",
            WaitReason::Stream => "for the lock of a standard stream",
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
    /// The reason in the high byte, the object's number in the others.
    wait: AtomicU64,
    /// When it began, in units of [`UNIT`].
    since: AtomicU32,
}

/// 2 to the power of this many nanoseconds, about a millisecond.
const UNIT: u32 = 20;

impl WaitCell {
    const REASON_SHIFT: u32 = 56;
    const OBJECT: u64 = (1 << Self::REASON_SHIFT) - 1;
    /// No reason has all bits.
    const NONE: u64 = u64::MAX;

    pub(crate) const fn new() -> Self {
        Self {
            wait: AtomicU64::new(Self::NONE),
            since: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(crate) fn begin(&self, wait: Wait, now: u64) {
        let reason = (wait.reason as u64) << Self::REASON_SHIFT;
        self.since.store((now >> UNIT) as u32, Relaxed);
        self.wait
            .store(reason | wait.object & Self::OBJECT, Relaxed);
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.wait.store(Self::NONE, Relaxed);
    }

    pub(crate) fn get(&self) -> Option<Wait> {
        let wait = self.wait.load(Relaxed);
        let reason = WaitReason::ALL.get((wait >> Self::REASON_SHIFT) as usize)?;
        let object = match wait & Self::OBJECT {
            Self::OBJECT => NO_OBJECT,
            object => object,
        };
        Some(reason.on(object))
    }

    /// How long ago the wait began, up to a millisecond or two, and up to 26 days.
    pub(crate) fn age(&self, now: u64) -> Duration {
        let units = ((now >> UNIT) as u32).wrapping_sub(self.since.load(Relaxed));
        // A clock that is a little behind.
        let units = if units > u32::MAX / 2 { 0 } else { units };
        Duration::from_nanos(u64::from(units) << UNIT)
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
                cell.begin(wait, 5 << UNIT);
                assert_eq!(cell.get(), Some(wait));
                assert_eq!(cell.age(7 << UNIT), Duration::from_nanos(2 << UNIT));
                assert_eq!(cell.age(4 << UNIT), Duration::ZERO);
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
