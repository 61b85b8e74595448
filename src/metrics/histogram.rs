//! How long things took, to be looked at.

use std::time::Duration;

use crate::sched::{self, CLASSES};

/// How long things took: how many took up to one, two, four, eight nanoseconds and so on.
#[derive(Clone, Debug)]
pub struct Histogram {
    classes: [u64; CLASSES],
    sum: u64,
}

impl Histogram {
    /// What was counted so far.
    pub(super) fn of(counted: &sched::Histogram) -> Self {
        let (classes, sum) = counted.read();
        Self { classes, sum }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// How long all took together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// The longest time of each class, and how many took longer than those of the class before, and up
    /// to that: 1 ns, 2 ns, 4 ns and so on. What is longer than the last is in the last.
    pub fn classes(&self) -> impl Iterator<Item = (Duration, u64)> {
        let numbered = self.classes.iter().enumerate();
        numbered.map(|(class, &count)| (Duration::from_nanos(1 << class), count))
    }

    /// A time that at least the part `part` of all, 0 to 1, did not exceed: the end of a class, so up to
    /// twice the exact time. `None` if nothing was counted.
    ///
    /// ```
    /// # let metrics = greenlet::metrics();
    /// if let Some(time) = metrics.blocking.durations.quantile(0.99) {
    ///     println!("99 of 100 jobs took at most {time:?}");
    /// }
    /// ```
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        let wanted = (part * count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.classes().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        let longest = self.classes().filter(|&(_, count)| count > 0).last();
        found.or(longest).filter(|_| count > 0).map(|(end, _)| end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(nanos: &[u64]) -> Histogram {
        let counted = sched::Histogram::new();
        nanos.iter().for_each(|&nanos| counted.count(nanos));
        Histogram::of(&counted)
    }

    #[test]
    fn a_quantile_is_the_end_of_its_class() {
        let histogram = counted(&[1000, 1000, 1000, 5_000_000]);
        assert_eq!(histogram.count(), 4);
        assert_eq!(histogram.sum(), Duration::from_nanos(5_003_000));
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_nanos(1024)));
        assert_eq!(histogram.quantile(0.75), Some(Duration::from_nanos(1024)));
        let longest = Some(Duration::from_nanos(1 << 23));
        assert_eq!(histogram.quantile(0.76), longest);
        assert_eq!(histogram.quantile(1.0), longest);
        assert_eq!(histogram.quantile(7.0), longest);
    }

    #[test]
    fn of_nothing_there_is_no_quantile() {
        assert_eq!(counted(&[]).quantile(0.5), None);
        assert_eq!(counted(&[]).sum(), Duration::ZERO);
    }
}
