//! Warm slots, kept for the next greenlet.

/// Slots that greenlets have left, with what was built into them: `T`. Last in, first out: the last
/// one used is the one in the cache.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    /// One for each size in use; hardly ever more than two.
    shelves: Vec<Shelf<T>>,
}

#[derive(Debug)]
struct Shelf<T> {
    slot_size: usize,
    slots: Vec<T>,
    /// The fewest slots that were here since the last [`Pool::trim`]: nobody missed those.
    idle: usize,
}

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self {
            shelves: Vec::new(),
        }
    }

    /// The slot of this size that was put here last.
    #[inline]
    pub(crate) fn take(&mut self, slot_size: usize) -> Option<T> {
        let shelf = self
            .shelves
            .iter_mut()
            .find(|shelf| shelf.slot_size == slot_size)?;
        let taken = shelf.slots.pop();
        shelf.idle = shelf.idle.min(shelf.slots.len());
        taken
    }

    /// Keeps a slot.
    #[inline]
    pub(crate) fn put(&mut self, slot_size: usize, slot: T) {
        self.shelf(slot_size).slots.push(slot);
    }

    /// How many slots of this size are here.
    #[inline]
    pub(crate) fn len(&self, slot_size: usize) -> usize {
        self.shelves
            .iter()
            .find(|shelf| shelf.slot_size == slot_size)
            .map_or(0, |s| s.slots.len())
    }

    /// Whether there is nothing to trim.
    pub(crate) fn is_empty(&self) -> bool {
        self.shelves.iter().all(|shelf| shelf.slots.is_empty())
    }

    /// Moves up to `count` slots of this size to another pool, the coldest first.
    pub(crate) fn move_to(&mut self, other: &mut Self, slot_size: usize, count: usize) {
        let shelf = self.shelf(slot_size);
        let count = count.min(shelf.slots.len());
        let moved = shelf.slots.drain(..count);
        other.shelf(slot_size).slots.extend(moved);
        shelf.idle = shelf.idle.min(shelf.slots.len());
    }

    /// Takes out half of the slots that nobody missed since the last call, the coldest first, and
    /// at most `limit` of a size.
    ///
    /// Called every so often this empties what lies idle, and leaves alone what comes and goes.
    pub(crate) fn trim(&mut self, limit: usize) -> Vec<T> {
        let mut trimmed = Vec::new();
        for shelf in &mut self.shelves {
            let count = shelf.idle.div_ceil(2).min(limit);
            trimmed.extend(shelf.slots.drain(..count));
            shelf.idle = shelf.slots.len();
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
                slots: Vec::new(),
                idle: 0,
            });
            self.shelves.len() - 1
        });
        &mut self.shelves[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1 << 15;

    fn filled(count: usize) -> Pool<usize> {
        let mut pool = Pool::new();
        (0..count).for_each(|number| pool.put(SIZE, number));
        pool
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
        assert!(
            pool.trim(100).is_empty(),
            "the first call only begins to watch"
        );
        let taken: Vec<_> = (0..6).map(|_| pool.take(SIZE).unwrap()).collect();
        taken.into_iter().for_each(|number| pool.put(SIZE, number));
        assert_eq!(
            pool.trim(100),
            [0, 1],
            "the coldest go first, and half of the four that idled"
        );
        assert_eq!(pool.len(SIZE), 8);
    }

    #[test]
    fn trimming_empties_what_lies_idle_and_not_more_than_the_limit_at_a_time() {
        let mut pool = filled(100);
        pool.trim(10);
        assert_eq!(pool.trim(10).len(), 10);
        while !pool.is_empty() {
            assert!((1..=10).contains(&pool.trim(10).len()));
        }
    }

    #[test]
    fn slots_move_between_pools_up_to_what_there_is() {
        let (mut from, mut to) = (filled(4), Pool::new());
        from.move_to(&mut to, SIZE, 3);
        from.move_to(&mut to, SIZE, 3);
        assert_eq!((from.len(SIZE), to.len(SIZE)), (0, 4));
        assert!(from.is_empty());
        assert_eq!(to.drain().count(), 4);
    }
}
