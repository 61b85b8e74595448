//! Why a greenlet is parked.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

/// The kind of call site that parked a greenlet: for dumps, reports and traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitReason {
    /// The public `park`.
    Park,
    /// `sleep` or `sleep_until`.
    Sleep,
    /// `JoinHandle::join`, or `Runtime::run` waiting for its main greenlet.
    Join,
    /// A descriptor to become readable.
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
}

/// The reason of a wait that goes on, or none.
#[derive(Debug)]
pub(crate) struct WaitCell(AtomicU8);

impl WaitCell {
    /// One for every reason, and this one for none.
    const NONE: u8 = u8::MAX;

    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(Self::NONE))
    }

    #[inline]
    pub(crate) fn set(&self, reason: Option<WaitReason>) {
        self.0
            .store(reason.map_or(Self::NONE, |reason| reason as u8), Relaxed);
    }

    pub(crate) fn get(&self) -> Option<WaitReason> {
        WaitReason::ALL
            .get(usize::from(self.0.load(Relaxed)))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_as_it_was_written() {
        let cell = WaitCell::new();
        assert_eq!(cell.get(), None);
        for reason in WaitReason::ALL {
            cell.set(Some(reason));
            assert_eq!(cell.get(), Some(reason));
        }
    }
}
