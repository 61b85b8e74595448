//! Warm slots, kept for the next greenlet, and given up when nobody misses them.
//!
//! Load that comes and goes within a [`WINDOW`] finds its slots still here: what was in use at any
//! moment of the window is not trimmed after it. Of what lay idle all the time, half is, in every
//! window: so after a burst the memory returns within seconds, and load that comes and goes more
//! slowly loses a half of its slots at a time, not all of them.
//!
//! ```text
//!   slots here
//!     |\      /\        /\   _________   now and then in use: not trimmed
//!     | \    /  \      /  \_/
//!     |  \__/    \____/                  <- idle: the fewest in this window,
//!     |  . . . . . . . . .                   half of which goes in the next
//!     +-------------------------> time
//! ```

use std::collections::VecDeque;

/// In nanoseconds.
pub(crate) const WINDOW: u64 = 500_000_000;

/// While there is other work, this long lies between two batches.
const PAUSE: u64 = 20_000_000;

/// Slots that greenlets have left, with what was built into them: `T`. Last in, first out: the last
/// one used is the one in the cache.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    /// One for each size in use; hardly ever more than two.
    shelves: Vec<Shelf<T>>,
    /// So many slots of a size are not trimmed.
    kept: usize,
    /// When the present window ends, and when a busy hub may trim again; in nanoseconds of the
    /// monotonic clock.
    window_end: u64,
    next_batch: u64,
}

#[derive(Debug)]
struct Shelf<T> {
    slot_size: usize,
    /// The coldest in front. A burst can leave a million here, so taking from the front must not
    /// move the others.
    slots: VecDeque<T>,
    /// The fewest slots that were here in the present window: nobody missed those so far.
    idle: usize,
    /// So many were found superfluous at the end of the last window, and have not gone yet. At
    /// most as many as there are.
    surplus: usize,
}

/// Who trims a [`Pool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trimmer {
    /// It has other work, which waits meanwhile.
    Busy,
    /// It has nothing else to do.
    Idle,
}

impl<T> Pool<T> {
    /// A pool that keeps `kept` slots of a size for ever.
    pub(crate) const fn new(kept: usize) -> Self {
        Self {
            shelves: Vec::new(),
            kept,
            window_end: 0,
            next_batch: 0,
        }
    }

    /// The slot of this size that was put here last.
    #[inline]
    pub(crate) fn take(&mut self, slot_size: usize) -> Option<T> {
        let shelf = self
            .shelves
            .iter_mut()
            .find(|shelf| shelf.slot_size == slot_size)?;
        let taken = shelf.slots.pop_back();
        shelf.note_taken();
        taken
    }

    /// Keeps a slot.
    #[inline]
    pub(crate) fn put(&mut self, slot_size: usize, slot: T) {
        self.shelf(slot_size).slots.push_back(slot);
    }

    /// How many slots of this size are here.
    #[inline]
    pub(crate) fn len(&self, slot_size: usize) -> usize {
        self.shelves
            .iter()
            .find(|shelf| shelf.slot_size == slot_size)
            .map_or(0, |s| s.slots.len())
    }

    /// How many slots there are, of all sizes.
    pub(crate) fn total(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.slots.len()).sum()
    }

    /// Moves up to `count` slots of this size to another pool, the coldest first.
    pub(crate) fn move_to(&mut self, other: &mut Self, slot_size: usize, count: usize) {
        let shelf = self.shelf(slot_size);
        let count = count.min(shelf.slots.len());
        let moved = shelf.slots.drain(..count);
        other.shelf(slot_size).slots.extend(moved);
        shelf.note_taken();
    }

    /// When a hub that is idle should call [`Self::trim`], if ever.
    pub(crate) fn trim_due(&self) -> Option<u64> {
        if self.shelves.iter().any(|shelf| shelf.surplus > 0) {
            return Some(0);
        }
        let any = self.shelves.iter().any(|s| s.slots.len() > self.kept);
        any.then_some(self.window_end)
    }

    /// Takes out slots that nobody missed in the last window, the coldest first and at most `limit`
    /// at a time.
    pub(crate) fn trim(&mut self, now: u64, trimmer: Trimmer, limit: usize) -> Vec<T> {
        if now >= self.window_end {
            self.window_end = now + WINDOW;
            for shelf in &mut self.shelves {
                shelf.surplus = shelf.idle.saturating_sub(self.kept).div_ceil(2);
                shelf.idle = shelf.slots.len();
            }
        }
        if trimmer == Trimmer::Busy && now < self.next_batch {
            return Vec::new();
        }
        let mut trimmed = Vec::new();
        for shelf in &mut self.shelves {
            let count = shelf.surplus.min(limit - trimmed.len());
            trimmed.extend(shelf.slots.drain(..count));
            shelf.surplus -= count;
            shelf.note_taken();
        }
        if !trimmed.is_empty() {
            self.next_batch = now + PAUSE;
        }
        trimmed
    }

    /// Takes out everything.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.shelves.drain(..).flat_map(|shelf| shelf.slots)
    }

    fn shelf(&mut self, slot_size: usize) -> &mut Shelf<T> {
        let found = self
            .shelves
            .iter()
            .position(|shelf| shelf.slot_size == slot_size);
        let index = found.unwrap_or_else(|| {
            self.shelves.push(Shelf {
                slot_size,
                slots: VecDeque::new(),
                idle: 0,
                surplus: 0,
            });
            self.shelves.len() - 1
        });
        &mut self.shelves[index]
    }
}

impl<T> Shelf<T> {
    /// Slots that are not here are neither idle nor superfluous.
    #[inline]
    fn note_taken(&mut self) {
        self.idle = self.idle.min(self.slots.len());
        self.surplus = self.surplus.min(self.slots.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1 << 15;
    const MILLISECOND: u64 = 1_000_000;

    fn filled(count: usize) -> Pool<usize> {
        let mut pool = Pool::new(0);
        (0..count).for_each(|number| pool.put(SIZE, number));
        pool
    }

    fn trim(pool: &mut Pool<usize>, now: u64) -> Vec<usize> {
        pool.trim(now, Trimmer::Idle, 1000)
    }

    /// Takes `count` slots, building those that are not there, and puts them back. Answers how many
    /// had to be built.
    fn use_slots(pool: &mut Pool<usize>, count: usize) -> usize {
        let taken: Vec<_> = (0..count).map(|_| pool.take(SIZE)).collect();
        let built = taken.iter().filter(|slot| slot.is_none()).count();
        taken
            .into_iter()
            .for_each(|slot| pool.put(SIZE, slot.unwrap_or(0)));
        built
    }

    #[test]
    fn the_last_slot_put_is_the_first_one_taken() {
        let mut pool = filled(3);
        assert_eq!(pool.take(SIZE), Some(2));
        assert_eq!(pool.take(2 * SIZE), None);
        assert_eq!(pool.len(SIZE), 2);
    }

    #[test]
    fn trimming_takes_only_what_nobody_missed() {
        let mut pool = filled(10);
        assert!(trim(&mut pool, 1).is_empty(), "it only begins to watch");
        use_slots(&mut pool, 6);
        assert!(trim(&mut pool, WINDOW).is_empty(), "the window is not over");
        assert_eq!(
            trim(&mut pool, WINDOW + 1),
            [0, 1],
            "the coldest go first, and half of the four that idled"
        );
        assert_eq!(pool.len(SIZE), 8);
    }

    #[test]
    fn load_that_comes_and_goes_finds_its_slots_again() {
        let mut pool = Pool::new(0);
        let (mut built, mut trimmed) = (0, 0);
        // Ten seconds of waves: 100 greenlets every 200 ms, looked at every 10 ms.
        for time in 0..1000 {
            if time % 20 == 0 {
                built += use_slots(&mut pool, 100);
            }
            trimmed += trim(&mut pool, time * 10 * MILLISECOND).len();
        }
        assert_eq!((built, trimmed), (100, 0));
    }

    #[test]
    fn load_that_comes_and_goes_slowly_does_not_lose_all_of_its_slots() {
        let mut pool = Pool::new(0);
        let mut built = 0;
        // Nine waves in two seconds each.
        for time in 0..1800 {
            if time % 200 == 0 {
                built += use_slots(&mut pool, 100);
            }
            trim(&mut pool, time * 10 * MILLISECOND);
        }
        assert!(built < 9 * 100 - 30, "{built} of 900 were built anew");
    }

    #[test]
    fn after_a_burst_all_slots_go_within_seconds() {
        let mut pool = Pool::new(0);
        use_slots(&mut pool, 1000);
        let mut time = 0;
        while pool.trim_due().is_some() {
            time += MILLISECOND;
            trim(&mut pool, time);
        }
        assert!(time < 7_000 * MILLISECOND, "{} ms", time / MILLISECOND);
        assert_eq!(pool.len(SIZE), 0);
    }

    #[test]
    fn after_a_burst_the_slots_of_a_small_load_stay() {
        let mut pool = Pool::new(0);
        use_slots(&mut pool, 1000);
        for time in 0..2000 {
            let built = use_slots(&mut pool, 20);
            assert_eq!(built, 0, "{time}");
            trim(&mut pool, time * 10 * MILLISECOND);
        }
        assert_eq!(pool.len(SIZE), 20);
    }

    #[test]
    fn a_pool_keeps_what_it_was_told_to() {
        let mut pool = Pool::new(8);
        use_slots(&mut pool, 100);
        let mut time = 0;
        while let Some(due) = pool.trim_due() {
            time = due.max(time);
            trim(&mut pool, time);
        }
        assert_eq!(pool.len(SIZE), 8);
    }

    #[test]
    fn whoever_is_busy_trims_a_little_at_a_time() {
        let mut pool = filled(100);
        pool.trim(1, Trimmer::Busy, 10);
        let now = 1 + WINDOW;
        assert_eq!(pool.trim(now, Trimmer::Busy, 10).len(), 10);
        assert_eq!(pool.trim(now + 1, Trimmer::Busy, 10).len(), 0);
        assert_eq!(pool.trim(now + 1, Trimmer::Idle, 10).len(), 10);
        assert_eq!(pool.trim(now + 1 + PAUSE, Trimmer::Busy, 10).len(), 10);
        assert_eq!(pool.trim_due(), Some(0), "there are 20 more of the 50");
    }

    #[test]
    fn slots_move_between_pools_up_to_what_there_is() {
        let (mut from, mut to) = (filled(4), Pool::new(0));
        from.move_to(&mut to, SIZE, 3);
        from.move_to(&mut to, SIZE, 3);
        assert_eq!((from.len(SIZE), to.len(SIZE)), (0, 4));
        assert_eq!(from.trim_due(), None);
        assert_eq!(to.drain().count(), 4);
    }
}
