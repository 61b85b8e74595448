//! Who owns a lock: the numbers that greenlets go by in glibc's eyes.
//!
//! glibc's recursive and error-checking mutexes, rwlocks, and the loader's own locks note as
//! their owner the `tid` in `struct pthread`. With 0 there they would be free for everybody,
//! with the worker's two greenlets could hold one together. So each greenlet has a number of
//! its own, which no thread has: above the kernel's largest id, and below the bits that the
//! kernel uses beside an id in a futex.
//!
//! A block owns a run of 256 numbers and goes to the next with each greenlet that lives in it:
//! a lock that a dead greenlet left locked is not its successor's, and no two blocks that exist
//! at the same time can ever have the same number, however many greenlets there have been. A
//! counter alone would come around in two minutes at full speed.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::lock::Mutex;

/// Numbers per block.
const RUN: u32 = 256;
/// The first number: PID_MAX_LIMIT, which no kernel id reaches.
const FIRST: u32 = 1 << 22;
/// One past the last number: the lowest bit that FUTEX_TID_MASK leaves out.
const END: u32 = 1 << 30;
/// Runs there are: more than four million.
const RUNS: u32 = (END - FIRST) / RUN;

/// The numbers that are free.
#[derive(Debug)]
pub(super) struct Ids {
    /// Where this process starts in the range. Locks in shared memory compare numbers of
    /// several processes, so each starts somewhere else. Written again in a forked child only.
    start: AtomicU32,
    /// Runs that this process ever gave out.
    used: AtomicU32,
    /// The next number of every run that came back. In a forked child also of its parent's, which
    /// are not taken.
    returned: Mutex<Vec<u32>>,
}

impl Ids {
    pub(super) fn new(random: u64) -> Self {
        Self {
            start: AtomicU32::new((random % u64::from(RUNS)) as u32),
            used: AtomicU32::new(0),
            returned: Mutex::new(Vec::new()),
        }
    }

    /// In a forked child: the numbers that were given out so far are the parent's. Takes no lock,
    /// because a thread that is not there any more may have held it.
    pub(super) fn restart(&self, random: u64) {
        let start = (random % u64::from(RUNS)) as u32;
        // Relaxed, both: the child has one thread.
        self.start.store(start, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
    }

    /// A number in a run that no other block has.
    pub(super) fn take(&self) -> Option<u32> {
        while let Some(id) = self.returned.lock().pop() {
            if self.is_own(id) {
                return Some(id);
            }
        }
        self.take_fresh()
    }

    /// A number in a run that no block ever had. Takes no lock.
    pub(super) fn take_fresh(&self) -> Option<u32> {
        let fresh = |used| (used < RUNS).then_some(used + 1);
        let used = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fresh)
            .ok()?;
        let start = self.start.load(Ordering::Relaxed);
        let run = (u64::from(start) + u64::from(used)) % u64::from(RUNS);
        Some(FIRST + run as u32 * RUN)
    }

    /// Whether it is in a run that this process gave out, and not one that it was forked from.
    fn is_own(&self, id: u32) -> bool {
        let run = (id - FIRST) / RUN;
        let since_start = (run + RUNS - self.start.load(Ordering::Relaxed)) % RUNS;
        since_start < self.used.load(Ordering::Relaxed)
    }

    /// Takes back the run that `id` is in.
    pub(super) fn give_back(&self, id: u32) {
        self.returned.lock().push(Self::next(id));
    }

    /// The number after `id` in its run, for the next greenlet in the same block.
    pub(super) fn next(id: u32) -> u32 {
        // RUN is a power of two and divides FIRST, so a run is one value of the upper bits.
        (id & !(RUN - 1)) | (id.wrapping_add(1) & (RUN - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_comes_around_without_leaving_its_256_numbers() {
        let ids = Ids::new(u64::MAX);
        let first = ids.take().unwrap();
        let mut id = first;
        for _ in 0..RUN {
            id = Ids::next(id);
            assert_eq!(id & !(RUN - 1), first & !(RUN - 1));
        }
        assert_eq!(id, first);
    }

    #[test]
    fn blocks_that_exist_together_never_share_a_number() {
        let ids = Ids::new(u64::from(RUNS) - 2);
        let mut runs: Vec<u32> = (0..5).map(|_| ids.take().unwrap() / RUN).collect();
        runs.sort_unstable();
        runs.dedup();
        assert_eq!(runs.len(), 5);
        assert!(runs.iter().all(|run| (FIRST..END).contains(&(run * RUN))));
    }

    #[test]
    fn a_run_that_came_back_goes_on_where_it_was() {
        let ids = Ids::new(0);
        let id = ids.take().unwrap();
        ids.give_back(id);
        assert_eq!(ids.take(), Some(Ids::next(id)));
    }

    #[test]
    fn a_child_takes_nothing_that_its_parent_had() {
        let ids = Ids::new(u64::from(RUNS) - 1);
        let parents: Vec<u32> = (0..3).map(|_| ids.take().unwrap()).collect();
        ids.give_back(parents[0]);
        ids.restart(7);
        // A block of the parent's that the child destroys.
        ids.give_back(parents[1]);
        let first = ids.take_fresh().unwrap();
        assert_eq!(first, FIRST + 7 * RUN);
        ids.give_back(first);
        assert_eq!(ids.take(), Some(Ids::next(first)));
        let run = |id: u32| id / RUN;
        for _ in 0..5 {
            let id = ids.take().unwrap();
            assert!(parents.iter().all(|&parents| run(id) != run(parents)));
        }
    }

    #[test]
    fn the_last_run_is_followed_by_none() {
        let ids = Ids::new(7);
        ids.used.store(RUNS - 1, Ordering::Relaxed);
        assert!(ids.take().is_some());
        assert_eq!(ids.take(), None);
    }
}
