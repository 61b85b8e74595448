//! glibc's own lock, `lll_lock`, for a word that glibc locks, too.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::place;
use crate::arch;

/// The address of a word: 0 free, 1 held, 2 held and waited for.
#[derive(Debug)]
pub(super) struct Lock(usize);

impl Lock {
    const FREE: u32 = 0;
    const HELD: u32 = 1;
    const CONTENDED: u32 = 2;

    /// The lock whose word lies at `address`, or something that is to be looked at as if it were.
    ///
    /// # Safety
    ///
    /// An aligned word of four bytes lies there as long as the lock is used.
    pub(super) unsafe fn at(address: usize) -> Self {
        Self(address)
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the word is there (see `at`), and is only used atomically, by glibc as well.
        unsafe { AtomicU32::from_ptr(place(self.0, 0)) }
    }

    pub(super) fn try_lock(&self) -> bool {
        // Acquire: pairs with the release of whoever unlocked it, glibc or `unlock`.
        let (new, success) = (Self::HELD, Ordering::Acquire);
        self.word()
            .compare_exchange(Self::FREE, new, success, Ordering::Relaxed)
            .is_ok()
    }

    pub(super) fn try_lock_for(&self, patience: Duration) -> bool {
        wait_until(patience, || self.try_lock())
    }

    #[inline]
    pub(super) fn lock(&self) {
        if !self.try_lock() {
            self.lock_slow();
        }
    }

    #[cold]
    fn lock_slow(&self) {
        // Acquire: as in `try_lock`.
        while self.word().swap(Self::CONTENDED, Ordering::Acquire) != Self::FREE {
            self.futex(libc::FUTEX_WAIT, Self::CONTENDED);
        }
    }

    pub(super) fn unlock(&self) {
        // Release: what was written to the list is there for the next `lock`, glibc's or ours.
        if self.word().swap(Self::FREE, Ordering::Release) == Self::CONTENDED {
            self.futex(libc::FUTEX_WAKE, 1);
        }
    }

    /// Unlocks it only if it says that it is locked, for when it may not be a lock.
    pub(super) fn unlock_if_held(&self) -> bool {
        let word = self.word();
        let free = |from| {
            // Release: as in `unlock`.
            let order = Ordering::Release;
            word.compare_exchange(from, Self::FREE, order, Ordering::Relaxed)
                .is_ok()
        };
        // Held may have become contended between the two, so look once more.
        if free(Self::HELD) {
            return true;
        }
        let contended = free(Self::CONTENDED);
        if contended {
            self.futex(libc::FUTEX_WAKE, 1);
        }
        contended
    }

    pub(super) fn is_contended(&self) -> bool {
        self.word().load(Ordering::Relaxed) == Self::CONTENDED
    }

    fn futex(&self, operation: i32, value: u32) {
        let operation = operation | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: waiting and waking read no memory but the word; a fourth argument of 0 is no
        // time-out. A wait that ends early is looked at again by the caller.
        unsafe {
            let number = libc::SYS_futex as usize;
            arch::syscall4(number, self.0, operation as usize, value as usize, 0);
        }
    }
}

/// Waits until `condition` holds. False if it did not within `patience`.
pub(super) fn wait_until(patience: Duration, condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > patience {
            return false;
        }
        thread::yield_now();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_wait_for_the_lock_and_go_on() {
        let word = AtomicU32::new(0);
        // SAFETY: the word outlives the lock.
        let lock = unsafe { Lock::at(word.as_ptr().expose_provenance()) };
        let counter = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        lock.lock();
                        let value = counter.load(Ordering::Relaxed);
                        counter.store(value + 1, Ordering::Relaxed);
                        lock.unlock();
                    }
                });
            }
        });
        assert_eq!(counter.into_inner(), 40_000);
    }
}
