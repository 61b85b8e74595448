//! A hierarchical timing wheel: insert and cancel in constant time.
//!
//! Owns the timers of one hub; the hub inserts, cancels, and calls [`Wheel::expire`] on every
//! tick. Most timers are time-outs that are cancelled, so nothing is sorted before it has to be.
//!
//! Time is cut into ticks of 4,096 ns. A slot of level 0 holds the timers of one tick; a slot of
//! level `n` those of 64^n ticks. A timer's level is the highest base-64 digit in which its tick
//! differs from the current one:
//!
//! ```text
//!   tick     [d8 d7 d6 d5 d4 d3 d2 d1 d0]     nine digits are all 64 bits of nanoseconds: 584 years
//!   current  [d8 d7 d6 d5 d4 c3 c2 c1 c0]     d3 > c3: level 3, slot d3
//! ```
//!
//! When the current tick reaches the start of a slot above level 0, the slot's timers move down
//! (they cascade), each to the level where it differs now: at most eight times in all.
//!
//! Invariant: a timer's slot begins after the current tick, or is the current tick's slot of level
//! 0. Hence no slot is behind, none wraps around, every slot of a level comes before every slot
//! of a higher one, and the first timer is in the first slot of the lowest level that has any.

use super::nodes::{Key, NIL, Nodes};

/// Nanoseconds to ticks, as a shift: 4,096 ns.
const TICK_SHIFT: u32 = 12;

/// Bits of a base-64 digit.
const DIGIT_BITS: u32 = 6;

const SLOTS: usize = 1 << DIGIT_BITS;

/// As many digits as a tick has.
const LEVELS: usize = (u64::BITS - TICK_SHIFT).div_ceil(DIGIT_BITS) as usize;

/// Timers that [`Wheel::next_deadline`] looks at.
const EXAMINED: usize = 16;

/// Timers by deadline, in nanoseconds of one clock.
///
/// A timer never expires before its deadline, and at the first [`expire`](Self::expire) at or
/// after it: the wheel itself adds no lateness. Timers that expire in one call come in the order
/// of their ticks; those of one tick in no particular order.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// The current tick: that of the latest time `expire` was called with.
    now: u64,
    /// Bit `n`: level `n` has timers.
    levels: u16,
    /// Bit `s` of `occupied[n]`: slot `s` of level `n` has timers.
    occupied: [u64; LEVELS],
    /// The first node of every slot's list, level by level.
    heads: [u32; LEVELS * SLOTS],
    nodes: Nodes<T>,
}

impl<T> Wheel<T> {
    /// An empty wheel; `now_ns` is the time.
    pub(crate) fn new(now_ns: u64) -> Self {
        const { assert!(LEVELS <= u16::BITS as usize) };
        Self {
            now: now_ns >> TICK_SHIFT,
            levels: 0,
            occupied: [0; LEVELS],
            heads: [NIL; LEVELS * SLOTS],
            nodes: Nodes::new(),
        }
    }

    /// The number of timers.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no timers.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of timers there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.nodes.capacity()
    }

    /// Keeps `payload` until its deadline. A deadline in the past expires at the next `expire`.
    #[inline]
    pub(crate) fn insert(&mut self, deadline_ns: u64, payload: T) -> Key {
        let key = self.nodes.insert(deadline_ns, payload);
        self.place(key.index(), deadline_ns);
        key
    }

    /// Takes a timer out before its deadline. `None` if it has expired or was cancelled.
    #[inline]
    pub(crate) fn cancel(&mut self, key: Key) -> Option<T> {
        let index = self.nodes.find(key)?;
        self.unlink(index);
        self.nodes.remove(index)
    }

    /// Hands out every timer whose deadline is at or before `now_ns`.
    ///
    /// A `now_ns` before that of an earlier call is allowed and may expire nothing.
    #[inline]
    pub(crate) fn expire(&mut self, now_ns: u64, expired: &mut impl FnMut(T)) {
        let now = now_ns >> TICK_SHIFT;
        while let Some(first) = self.first_slot().filter(|first| first.start <= now) {
            self.now = first.start;
            // Timers of a longer span move down, to be looked at again.
            if first.level > 0 {
                self.cascade(first.slot);
                continue;
            }
            // The tick that is still running is the last one, and may have timers that wait on.
            if first.start == now {
                self.expire_until(first.slot, now_ns, expired);
                break;
            }
            // A tick that is over has none.
            self.expire_all(first.slot, expired);
        }
        self.now = self.now.max(now);
    }

    /// When to call [`expire`](Self::expire) next; `None` if there is no timer.
    ///
    /// This is the earliest deadline, with two exceptions that bound the work. If the first slot
    /// has many timers and is not of level 0, it is the time at which they cascade: earlier, and
    /// after that call the answer is closer. If more than [`EXAMINED`] timers share the first
    /// tick, it is the earliest of some of them: late by less than a tick, 4,096 ns.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let first = self.first_slot()?;
        let head = self.heads[first.slot];
        let mut earliest = u64::MAX;
        let mut index = head;
        for _ in 0..EXAMINED {
            let node = self.nodes.get(index);
            earliest = earliest.min(node.deadline);
            index = node.next;
            if index == head {
                return Some(earliest);
            }
        }
        if first.level == 0 {
            Some(earliest)
        } else {
            Some(first.start << TICK_SHIFT)
        }
    }

    /// Puts a node that is in no list into the slot of its deadline.
    #[inline]
    fn place(&mut self, index: u32, deadline_ns: u64) {
        let tick = (deadline_ns >> TICK_SHIFT).max(self.now);
        let highest_bit = ((tick ^ self.now) | 1).ilog2();
        let level = (highest_bit / DIGIT_BITS) as usize;
        let digit = (tick >> (level as u32 * DIGIT_BITS)) as usize % SLOTS;
        let slot = level * SLOTS + digit;
        self.nodes.append(&mut self.heads[slot], slot as u16, index);
        self.occupied[level] |= 1 << digit;
        self.levels |= 1 << level;
    }

    /// Takes a node out of its slot's list.
    #[inline]
    fn unlink(&mut self, index: u32) {
        let slot = usize::from(self.nodes.get(index).slot);
        self.nodes.unlink(&mut self.heads[slot], index);
        if self.heads[slot] == NIL {
            self.vacate(slot);
        }
    }

    /// Notes that a slot has no timers any more.
    #[inline]
    fn vacate(&mut self, slot: usize) {
        let level = slot / SLOTS;
        self.occupied[level] &= !(1 << (slot % SLOTS));
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// The slot with the earliest timers.
    #[inline]
    fn first_slot(&self) -> Option<FirstSlot> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let digit = self.occupied[level as usize].trailing_zeros();
        // The current tick's digits above the level, the slot's own, and zeros.
        let shift = level * DIGIT_BITS;
        let above = self.now >> shift >> DIGIT_BITS << DIGIT_BITS;
        Some(FirstSlot {
            level,
            slot: level as usize * SLOTS + digit as usize,
            start: (above | u64::from(digit)) << shift,
        })
    }

    /// Moves the timers of a slot whose time span has begun to lower levels.
    #[cold]
    fn cascade(&mut self, slot: usize) {
        while self.heads[slot] != NIL {
            let index = self.heads[slot];
            self.nodes.unlink(&mut self.heads[slot], index);
            self.place(index, self.nodes.get(index).deadline);
        }
        self.vacate(slot);
    }

    /// Hands out all timers of a slot.
    fn expire_all(&mut self, slot: usize, expired: &mut impl FnMut(T)) {
        while self.heads[slot] != NIL {
            self.expire_one(self.heads[slot], expired);
        }
    }

    /// Hands out the timers of a slot whose deadlines have passed; the others stay where they are.
    fn expire_until(&mut self, slot: usize, now_ns: u64, expired: &mut impl FnMut(T)) {
        let last = self.nodes.last(self.heads[slot]);
        let mut next = self.heads[slot];
        loop {
            let index = next;
            let node = self.nodes.get(index);
            next = node.next;
            if node.deadline <= now_ns {
                self.expire_one(index, expired);
            }
            if index == last {
                break;
            }
        }
    }

    /// Hands out one timer.
    #[inline]
    fn expire_one(&mut self, index: u32, expired: &mut impl FnMut(T)) {
        self.unlink(index);
        if let Some(payload) = self.nodes.remove(index) {
            expired(payload);
        }
    }
}

/// The answer of [`Wheel::first_slot`].
#[derive(Clone, Copy, Debug)]
struct FirstSlot {
    level: u32,
    /// Index into the heads.
    slot: usize,
    /// The slot's first tick. At or after the current one.
    start: u64,
}
