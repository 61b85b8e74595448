//! What a greenlet is parked for.

use std::fmt;
use std::mem;
use std::ptr;
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
    /// A lock on the file behind a descriptor, or the turn to do something with it.
    FileLock,
    /// The greenlets of a `thread::scope` to end.
    Scope,
    /// A mutex. The object, from here to `Receive`, is the address of what is waited for.
    Mutex,
    /// A reader-writer lock, to read.
    Read,
    /// A reader-writer lock, to write.
    Write,
    /// A condition variable.
    Condvar,
    /// Somebody else's initialisation of a `Once`, `OnceLock` or `LazyLock`.
    Once,
    /// The others at a barrier.
    Barrier,
    /// Room in a channel.
    Send,
    /// A message from a channel.
    Receive,
    /// A child process to end.
    Child,
    /// A signal to come.
    Signal,
    /// The lock of a standard stream.
    Stream,
}

impl WaitReason {
    const ALL: [Self; 21] = [
        Self::Park,
        Self::Sleep,
        Self::Join,
        Self::IoRead,
        Self::IoWrite,
        Self::Accept,
        Self::Connect,
        Self::Blocking,
        Self::FileLock,
        Self::Scope,
        Self::Mutex,
        Self::Read,
        Self::Write,
        Self::Condvar,
        Self::Once,
        Self::Barrier,
        Self::Send,
        Self::Receive,
        Self::Child,
        Self::Signal,
        Self::Stream,
    ];

    /// The reason with this number, which is its place in the enum. Numbers are never given anew: they
    /// are in traces.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// One word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::Sleep => "sleep",
            Self::Join => "join",
            Self::IoRead => "io-read",
            Self::IoWrite => "io-write",
            Self::Accept => "accept",
            Self::Connect => "connect",
            Self::Blocking => "blocking",
            Self::FileLock => "file-lock",
            Self::Scope => "scope",
            Self::Mutex => "mutex",
            Self::Read => "rwlock-read",
            Self::Write => "rwlock-write",
            Self::Condvar => "condvar",
            Self::Once => "once",
            Self::Barrier => "barrier",
            Self::Send => "channel-send",
            Self::Receive => "channel-receive",
            Self::Child => "child",
            Self::Signal => "signal",
            Self::Stream => "stream",
        }
    }

    /// Whether only a greenlet or a thread ends such a wait: neither a clock, nor the kernel, nor a
    /// job on the blocking pool.
    pub(crate) fn is_for_others(self) -> bool {
        match self {
            Self::Sleep
            | Self::IoRead
            | Self::IoWrite
            | Self::Accept
            | Self::Connect
            | Self::Blocking
            | Self::FileLock
            | Self::Child
            | Self::Signal => false,
            Self::Park
            | Self::Join
            | Self::Scope
            | Self::Mutex
            | Self::Read
            | Self::Write
            | Self::Condvar
            | Self::Once
            | Self::Barrier
            | Self::Send
            | Self::Receive
            | Self::Stream => true,
        }
    }

    /// Whether the object is an address.
    pub(crate) fn is_on_address(self) -> bool {
        matches!(
            self,
            Self::Mutex
                | Self::Read
                | Self::Write
                | Self::Condvar
                | Self::Once
                | Self::Barrier
                | Self::Send
                | Self::Receive
        )
    }

    /// A wait of this kind on something that has a number.
    #[inline]
    pub(crate) fn on(self, object: u64) -> Wait {
        Wait {
            reason: self,
            object,
        }
    }

    /// A wait of this kind on something that is told by its address.
    #[inline]
    pub(crate) fn at<T>(self, object: &T) -> Wait {
        debug_assert!(self.is_on_address());
        self.on(ptr::from_ref(object).addr() as u64)
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
    /// Its number, if it has one: a descriptor's or a greenlet's; or its address.
    pub(crate) fn object(self) -> Option<u64> {
        (self.object != NO_OBJECT).then_some(self.object)
    }

    /// The address of what is waited for, if it is told by that.
    pub(crate) fn address(self) -> Option<usize> {
        let address = self.object().filter(|_| self.reason.is_on_address())?;
        usize::try_from(address).ok()
    }

    /// The number of the greenlet whose end is waited for, if it is that.
    pub(crate) fn greenlet(self) -> Option<u64> {
        (self.reason == WaitReason::Join && self.object != NO_OBJECT).then_some(self.object)
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
            WaitReason::FileLock => "for the lock of the file of descriptor",
            WaitReason::Scope => "for the greenlets of its scope",
            WaitReason::Mutex => "for the Mutex at",
            WaitReason::Read => "to read the RwLock at",
            WaitReason::Write => "to write the RwLock at",
            WaitReason::Condvar => "for a notification of the Condvar at",
            WaitReason::Once => "for the initialisation of the Once at",
            WaitReason::Barrier => "for others at the Barrier at",
            WaitReason::Send => "for room in the channel at",
            WaitReason::Receive => "for a message from the channel at",
            WaitReason::Child => "for the end of the process behind descriptor",
            WaitReason::Signal => "for a signal on descriptor",
            WaitReason::Stream => "for the lock of a standard stream",
        };
        f.write_str(what)?;
        match self.object {
            NO_OBJECT => Ok(()),
            object if self.reason.is_on_address() => write!(f, " {object:#x}"),
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
    /// Where debuggers find what, and in which unit.
    pub(crate) const WAIT: usize = mem::offset_of!(Self, wait);
    pub(crate) const SINCE: usize = mem::offset_of!(Self, since);
    pub(crate) const UNIT_SHIFT: u32 = UNIT;

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

    /// The wait as numbers, for traces: the reason's, and the object's, which has all bits if there is none.
    pub(crate) fn code(&self) -> Option<(u8, u64)> {
        let wait = self.wait.load(Relaxed);
        let reason = (wait >> Self::REASON_SHIFT) as u8;
        (wait != Self::NONE).then_some((reason, wait & Self::OBJECT))
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
    fn the_script_for_gdb_knows_the_reasons() {
        let script = include_str!("../tools/gdb/greenlet.py");
        let list = |name: &str, end: &str| -> Vec<&str> {
            let (_, after) = script.split_once(name).expect(name);
            let (list, _) = after.split_once(end).expect("an end");
            let words = list.split_whitespace();
            words.map(|word| word.trim_matches(['"', ','])).collect()
        };
        let all: Vec<_> = WaitReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(list("REASONS = [", "]"), all);
        let on_address = WaitReason::ALL
            .iter()
            .filter(|reason| reason.is_on_address());
        let on_address: Vec<_> = on_address.map(|reason| reason.name()).collect();
        assert_eq!(list("ON_ADDRESS = {", "}"), on_address);
    }

    #[test]
    fn a_wait_says_what_it_is_for() {
        assert_eq!(Wait::from(WaitReason::Park).to_string(), "to be unparked");
        let join = WaitReason::Join.on(12).to_string();
        assert_eq!(join, "for the end of greenlet 12");
        let mutex = WaitReason::Mutex.on(0x7f00_1000).to_string();
        assert_eq!(mutex, "for the Mutex at 0x7f001000");
    }
}
