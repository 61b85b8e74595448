//! The same work, done one page at a time.

use std::time::{Duration, Instant};

use crate::crawler::Crawl;
use crate::visitor::Visitor;

/// How long the visits of a crawl take when they are made one after the other.
#[derive(Debug)]
pub(crate) struct Serial {
    pub(crate) time: Duration,
    /// When that is an estimate: how many of the visits were really made.
    pub(crate) sample: Option<usize>,
}

impl Serial {
    /// Repeats the visits of `crawl` one by one; when `budget` is spent, estimates the rest.
    pub(crate) fn measure(mut visitor: Visitor, crawl: &Crawl, budget: Duration) -> Self {
        let visits = &crawl.visits;
        let started = Instant::now();
        let (mut made, mut alone, mut in_crawl) = (0, Duration::ZERO, Duration::ZERO);
        for visit in spread(visits.len()).map(|index| &visits[index]) {
            if started.elapsed() >= budget {
                break;
            }
            alone += visitor.visit(visit.url.clone()).elapsed;
            in_crawl += visit.elapsed;
            made += 1;
        }
        if made == visits.len() {
            return Self {
                time: alone,
                sample: None,
            };
        }

        // Pages differ, and the sample may have too many of the slow ones. So what is scaled is
        // not the time per page, but the share of the time that the same pages took in the crawl.
        let all_in_crawl: Duration = visits.iter().map(|visit| visit.elapsed).sum();
        Self {
            time: all_in_crawl.mul_f64(alone.div_duration_f64(in_crawl)),
            sample: Some(made),
        }
    }
}

/// The numbers below `n` in an order that, wherever one stops, has taken some from everywhere.
fn spread(n: usize) -> impl Iterator<Item = usize> {
    // Steps of the golden section leave no gap for long. With no divisor in common with `n` they
    // come to each number once.
    let golden = (n as f64 * 0.618) as usize;
    let step = (golden..).find(|&step| greatest_common_divisor(step, n) <= 1);
    let step = step.expect("there is always a larger prime");
    (0..n).map(move |index| index * step % n)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_order_has_every_number_once() {
        for n in (0..50).chain([610, 683, 1024]) {
            let mut order: Vec<_> = spread(n).collect();
            order.sort();
            assert!(order.into_iter().eq(0..n), "{n}");
        }
    }

    #[test]
    fn a_spread_order_leaves_no_large_gap() {
        let mut first: Vec<_> = spread(683).take(17).collect();
        first.sort();
        let largest = first.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(largest.unwrap() < 2 * 683 / 17, "{first:?}");
    }
}
