//! Who has a lock, for reports: the lock itself says so, at the address that its waiters wait at.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::reason::{Wait, WaitReason};
use crate::sys::task;

/// Who has the lock whose first field this is. Written by the one who has it.
///
/// There is a moment after locking in which it says nobody, and one before unlocking.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct OwnerCell(AtomicU64);

/// Set in the number of a plain thread.
pub(crate) const THREAD: u64 = 1 << 63;

/// Stands for any plain thread, where none has a number at hand.
pub(crate) const PLAIN_THREAD: u64 = u64::MAX;

impl OwnerCell {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The one with this number has the lock: a greenlet's, or a thread's with [`THREAD`].
    #[inline]
    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Relaxed);
    }

    /// It is about to be given back.
    #[inline]
    pub(crate) fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Who keeps somebody waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The greenlet with this number.
    Greenlet(u64),
    PlainThread,
    /// So many readers of a reader-writer lock.
    Readers(u32),
}

/// What the first words of a lock are that says who has it.
const WORDS: usize = 16;

impl Holder {
    /// Who has what is waited for, or is to end: if it says so, or the wait does.
    ///
    /// The wait may be over, and the lock gone: memory that is not there has no owner, and who asks has
    /// to look again whether the wait goes on.
    pub(crate) fn of(wait: Wait) -> Option<Self> {
        if let Some(greenlet) = wait.greenlet() {
            return Some(Self::Greenlet(greenlet));
        }
        let shift = match wait.reason {
            WaitReason::Mutex | WaitReason::Once => None,
            // Beside the writer and the waiters, the state counts readers.
            WaitReason::Read | WaitReason::Write => Some(2),
            _ => return None,
        };
        let mut words = [0; WORDS];
        let read = task::read_memory(wait.address()?, &mut words).ok()?;
        (read == WORDS).then_some(())?;
        let (owner, state) = words.split_at(8);
        match (u64::from_ne_bytes(*owner.first_chunk()?), shift) {
            (0, Some(shift)) => {
                let readers = u32::from_ne_bytes(*state.first_chunk()?) >> shift;
                (readers > 0).then_some(Self::Readers(readers))
            }
            (0, None) => None,
            (number, _) if number & THREAD != 0 => Some(Self::PlainThread),
            (number, _) => Some(Self::Greenlet(number)),
        }
    }
}
