//! From ticks to nanoseconds: one straight line for the whole file, so that no clock goes back from one
//! block to the next, and differences are the same wherever they are taken.

use super::Problem;
use super::blocks::Block;
use crate::record::block::{Content, FileHeader};

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// A moment in ticks.
    ticks: u64,
    /// And in nanoseconds.
    nanos: u64,
    /// So many nanoseconds
    nanos_between: u64,
    /// are so many ticks; not 0.
    ticks_between: u64,
}

impl Clock {
    /// Through the first and the last of the pairs that the blocks have, if those are at least a tenth of
    /// a second from each other or there is nothing else; otherwise with the header's rate through the
    /// first.
    pub(super) fn new(
        header: &FileHeader,
        blocks: &[Block<'_>],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let pairs = || {
            let timed = blocks.iter().map(|block| block.header).filter(|header| {
                matches!(header.content, Content::Events | Content::Statuses)
                    && header.base_ticks != 0
            });
            timed.map(|header| (header.base_ticks, header.base_nanos))
        };
        let (first, last) = (pairs().min(), pairs().max());
        let (first, last) = (first.unwrap_or((0, 0)), last.unwrap_or((0, 0)));
        let mut problem = |what: &str| {
            problems.push(Problem {
                offset: 24,
                what: what.into(),
            });
        };
        let ticks_between = last.0 - first.0;
        let nanos_between = last.1.saturating_sub(first.1);
        let by_pairs = Self {
            ticks: first.0,
            nanos: first.1,
            nanos_between,
            ticks_between,
        };
        let rate = header.ticks_per_second;
        if rate == 0 && ticks_between > 0 && nanos_between > 0 {
            return by_pairs;
        }
        if rate == 0 && first.0 != 0 {
            problem("how long a tick is cannot be told: taken as a nanosecond");
        }
        let by_header = Self {
            nanos_between: SECOND,
            ticks_between: if rate == 0 { SECOND } else { rate },
            ..by_pairs
        };
        if rate == 0 || ticks_between < rate / 10 || ticks_between == 0 {
            return by_header;
        }
        // Where it differs a lot, one of the pairs is damaged.
        let expected = u128::from(ticks_between) * u128::from(SECOND) / u128::from(rate);
        let off = expected.abs_diff(u128::from(nanos_between));
        if off > expected / 10 {
            problem(
                "the clocks of the blocks do not go with the rate in the header, which is taken: times may be wrong",
            );
            return by_header;
        }
        by_pairs
    }

    /// The moment so many ticks after a block's beginning.
    pub(super) fn nanos(&self, base: u64, ticks: u64) -> u64 {
        let since = i128::from(base) + i128::from(ticks) - i128::from(self.ticks);
        // What does not fit is of a damaged file.
        let nanos = since.saturating_mul(self.nanos_between.into());
        let nanos = nanos.div_euclid(self.ticks_between.into());
        let nanos = nanos.saturating_add(self.nanos.into());
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}
