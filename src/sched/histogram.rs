//! How long things take: counts by powers of two.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// As many classes as there are powers of two of nanoseconds.
pub(crate) const CLASSES: usize = 64;

/// Durations, counted by their size. Class `n` has those of more than 2<sup>n-1</sup> and up to
/// 2<sup>n</sup> nanoseconds.
///
/// The counts are numbers of their own: who reads while others write may see one duration more in the
/// classes than in the sum.
pub(crate) struct Histogram {
    classes: [AtomicU64; CLASSES],
    /// Nanoseconds, of all together; wraps around after 584 years.
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) const fn new() -> Self {
        Self {
            classes: [const { AtomicU64::new(0) }; CLASSES],
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a duration, where several threads may do so.
    pub(crate) fn count(&self, nanos: u64) {
        self.classes[class(nanos)].fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
    }

    /// The same, where no other thread does.
    #[inline]
    pub(crate) fn count_alone(&self, nanos: u64) {
        let class = &self.classes[class(nanos)];
        class.store(class.load(Relaxed) + 1, Relaxed);
        let sum = self.sum.load(Relaxed).wrapping_add(nanos);
        self.sum.store(sum, Relaxed);
    }

    /// The counts of all classes, and the sum in nanoseconds.
    pub(crate) fn read(&self) -> ([u64; CLASSES], u64) {
        let classes = std::array::from_fn(|class| self.classes[class].load(Relaxed));
        (classes, self.sum.load(Relaxed))
    }
}

/// The class of a duration.
#[inline]
fn class(nanos: u64) -> usize {
    let class = u64::BITS - nanos.saturating_sub(1).leading_zeros();
    (class as usize).min(CLASSES - 1)
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (classes, sum) = self.read();
        f.debug_struct("Histogram")
            .field("count", &classes.iter().sum::<u64>())
            .field("sum", &sum)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_ends_with_a_power_of_two() {
        for (nanos, expected) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (1 << 20, 20),
            ((1 << 20) + 1, 21),
            (1 << 63, 63),
            (u64::MAX, 63),
        ] {
            assert_eq!(class(nanos), expected, "{nanos} ns");
        }
    }

    #[test]
    fn what_is_counted_is_read() {
        let histogram = Histogram::new();
        histogram.count(3);
        histogram.count(4);
        histogram.count_alone(1000);
        let (classes, sum) = histogram.read();
        assert_eq!((classes[2], classes[10]), (2, 1));
        assert_eq!(classes.iter().sum::<u64>(), 3);
        assert_eq!(sum, 1007);
    }
}
