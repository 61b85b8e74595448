//! How much stack greenlets use, by the place that spawns them; sampled.
//!
//! A greenlet is chosen when it starts. It begins on a stack that is zero, and when it has ended, its
//! hub looks for the lowest word that is not. Other greenlets pay for a counter.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::Location;

use crate::lock::Mutex;

/// One in so many greenlets is sampled, of those that begin on a warm stack.
const INTERVAL: u32 = 1024;
/// A cold stack is zero already, so these cost less and count for more.
const COLD: u32 = 16;

/// How much stack the greenlets of one spawn site have used. By
/// [`Runtime::stack_usage`](crate::Runtime::stack_usage).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackUsage {
    /// Where they were spawned.
    pub spawned_at: &'static Location<'static>,
    /// How many were looked at.
    pub samples: u64,
    /// The most that one of them has used, in bytes. What runs in
    /// [`on_thread_stack`](crate::on_thread_stack) does not count.
    pub high_water: usize,
    /// The size of their stacks, as [`Builder::stack_size`](crate::Builder::stack_size) counts it:
    /// the guard page and the thread-locals, some 10 KiB, are part of it.
    pub stack_size: usize,
}

/// What was seen so far in a runtime.
#[derive(Debug)]
pub(super) struct Usage(Mutex<BTreeMap<(&'static Location<'static>, usize), Seen>>);

#[derive(Debug, Default)]
struct Seen {
    samples: u64,
    high_water: usize,
}

impl Usage {
    pub(super) fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// A greenlet that was spawned at `site` has used so much of its stack.
    pub(super) fn note(&self, site: &'static Location<'static>, stack_size: usize, used: usize) {
        let mut sites = self.0.lock();
        let seen = sites.entry((site, stack_size)).or_default();
        seen.samples += 1;
        seen.high_water = seen.high_water.max(used);
    }

    /// By file, line and column.
    pub(super) fn list(&self) -> Vec<StackUsage> {
        let sites = self.0.lock();
        let list = sites
            .iter()
            .map(|(&(spawned_at, stack_size), seen)| StackUsage {
                spawned_at,
                samples: seen.samples,
                high_water: seen.high_water,
                stack_size,
            });
        list.collect()
    }
}

/// Chooses. One for each hub.
#[derive(Debug)]
pub(super) struct Sampler {
    /// To the next sample.
    left: Cell<u32>,
    /// Between samples; grows up to [`INTERVAL`], so that a small program has some, too.
    interval: Cell<u32>,
}

impl Sampler {
    pub(super) const fn new() -> Self {
        Self {
            left: Cell::new(0),
            interval: Cell::new(1),
        }
    }

    /// Whether the greenlet that starts now is to be sampled.
    #[inline]
    pub(super) fn is_due(&self, is_cold: bool, random: impl FnOnce() -> u64) -> bool {
        let step = if is_cold { COLD } else { 1 };
        let left = self.left.get();
        self.left.set(left.wrapping_sub(step));
        left < step && self.choose(random())
    }

    /// Not at even intervals: spawn sites that take turns would not have theirs.
    #[cold]
    fn choose(&self, random: u64) -> bool {
        let interval = self.interval.get();
        self.interval.set((interval * 2).min(INTERVAL));
        self.left
            .set(interval / 2 + (random >> 32) as u32 % (interval + 1));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: u32, is_cold: bool) -> usize {
        let sampler = Sampler::new();
        let mut x = 1_u64;
        let mut random = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            x
        };
        (0..of)
            .filter(|_| sampler.is_due(is_cold, &mut random))
            .count()
    }

    #[test]
    fn the_first_one_is_sampled_and_then_fewer_and_fewer() {
        assert_eq!(samples(1, false), 1);
        assert!((3..30).contains(&samples(100, false)));
        assert!((900..1100).contains(&samples(1 << 20, false)));
        assert!((900..1100).contains(&samples(1 << 16, true)));
    }

    #[test]
    fn places_and_stack_sizes_are_told_apart() {
        let usage = Usage::new();
        let [a, b] = [Location::caller(), Location::caller()];
        usage.note(b, 1 << 18, 500);
        usage.note(a, 1 << 18, 100);
        usage.note(a, 1 << 20, 700);
        usage.note(a, 1 << 18, 300);
        let list = usage.list();
        let told: Vec<_> = list
            .iter()
            .map(|site| {
                (
                    site.spawned_at,
                    site.stack_size,
                    site.samples,
                    site.high_water,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (a, 1 << 18, 2, 300),
                (a, 1 << 20, 1, 700),
                (b, 1 << 18, 1, 500)
            ]
        );
    }
}
