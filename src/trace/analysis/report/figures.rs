//! Percentiles of many values, by groups. One histogram is enough for all groups: a trace may have any
//! number of those.

use hdrhistogram::Histogram;
use serde::Serialize;

/// How values are distributed: how many there are, and below what how many of them are. Exact to three
/// digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// How many values there are. Without any, all others are 0.
    pub count: u64,
    /// All together.
    pub total_ns: u64,
    /// On average.
    pub mean_ns: u64,
    /// The smallest.
    pub min_ns: u64,
    /// Half of them are at most this.
    pub p50_ns: u64,
    /// 90 in 100 are at most this.
    pub p90_ns: u64,
    /// 99 in 100 are at most this.
    pub p99_ns: u64,
    /// 999 in 1,000 are at most this.
    pub p99_9_ns: u64,
    /// 9,999 in 10,000 are at most this.
    pub p99_99_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

/// Values with what group each is of.
#[derive(Debug)]
pub(super) struct Groups<K> {
    values: Vec<(K, u64)>,
}

impl Figures {
    pub(super) fn of(values: impl Iterator<Item = u64>) -> Self {
        Self::with(&mut histogram(), values)
    }

    fn with(histogram: &mut Histogram<u64>, values: impl Iterator<Item = u64>) -> Self {
        histogram.reset();
        let (mut total, mut min, mut max) = (0_u64, u64::MAX, 0);
        for value in values {
            // It grows as is needed, up to this.
            let countable = value.min(i64::MAX as u64);
            histogram.record(countable).expect("there is memory");
            total = total.saturating_add(value);
            min = min.min(value);
            max = max.max(value);
        }
        let count = histogram.len();
        if count == 0 {
            return Self::default();
        }
        // The upper end of the range of values that are counted together.
        let below = |quantile| histogram.value_at_quantile(quantile).clamp(min, max);
        Self {
            count,
            total_ns: total,
            mean_ns: total / count,
            min_ns: min,
            p50_ns: below(0.5),
            p90_ns: below(0.9),
            p99_ns: below(0.99),
            p99_9_ns: below(0.999),
            p99_99_ns: below(0.9999),
            max_ns: max,
        }
    }
}

fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("three digits");
    histogram.auto(true);
    histogram
}

impl<K: Copy + Ord> Groups<K> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new() }
    }

    pub(super) fn add(&mut self, group: K, value: u64) {
        self.values.push((group, value));
    }

    /// Of every group, those with the largest totals first.
    pub(super) fn figures(mut self) -> Vec<(K, Figures)> {
        self.values.sort_unstable();
        let mut histogram = histogram();
        let groups = self.values.chunk_by(|a, b| a.0 == b.0);
        let mut figures: Vec<(K, Figures)> = groups
            .map(|group| {
                let values = group.iter().map(|&(_, value)| value);
                (group[0].0, Figures::with(&mut histogram, values))
            })
            .collect();
        figures.sort_by_key(|&(group, figures)| (u64::MAX - figures.total_ns, group));
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_values() {
        let figures = Figures::of((1..=100_000).rev());
        assert_eq!(
            (figures.count, figures.min_ns, figures.max_ns),
            (100_000, 1, 100_000)
        );
        assert_eq!(figures.mean_ns, 50_000);
        for (value, expected) in [
            (figures.p50_ns, 50_000),
            (figures.p90_ns, 90_000),
            (figures.p99_ns, 99_000),
            (figures.p99_9_ns, 99_900),
            (figures.p99_99_ns, 99_990),
        ] {
            assert!(
                value.abs_diff(expected) <= expected / 500,
                "{value} {expected}"
            );
        }
        assert_eq!(Figures::of(std::iter::empty()), Figures::default());
        let huge = Figures::of([u64::MAX, u64::MAX].into_iter());
        assert_eq!((huge.count, huge.max_ns), (2, u64::MAX));
    }

    #[test]
    fn groups_are_told_apart() {
        let mut groups = Groups::new();
        for value in 0..100 {
            groups.add(value % 3, value);
        }
        let figures = groups.figures();
        let names: Vec<_> = figures.iter().map(|&(name, _)| name).collect();
        assert_eq!(names, [0, 2, 1]);
        assert_eq!(figures[0].1.total_ns, (0..100).step_by(3).sum::<u64>());
        assert_eq!(figures[1].1.min_ns, 2);
    }
}
