//! [`std::time`], and what ticks.

pub use ::std::time::{
    Duration, Instant, SystemTime, SystemTimeError, TryFromFloatSecsError, UNIX_EPOCH,
};

use crate::greenlet::sleep_until;

/// Ticks every `period`, the first time at once.
///
/// Follows tokio's `time::interval`, with missed ticks skipped: whoever comes late gets one tick at
/// once and the next when it would have been due anyway, as from Go's `time.Ticker`.
///
/// # Panics
///
/// If `period` is zero.
///
/// ```
/// use greenlet::time::{self, Duration};
///
/// greenlet::run(|| {
///     let start = time::Instant::now();
///     let ticks: Vec<_> = time::interval(Duration::from_millis(2)).take(3).collect();
///     // Later if the machine was so busy that a tick was missed.
///     assert!(ticks[2] - ticks[0] >= Duration::from_millis(4));
///     assert!(start.elapsed() >= Duration::from_millis(4));
/// });
/// ```
#[must_use = "an interval ticks only for who waits for it"]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// [`interval`] whose first tick is at `start`.
///
/// # Panics
///
/// If `period` is zero.
#[must_use = "an interval ticks only for who waits for it"]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "the period of an interval must not be zero"
    );
    Interval {
        next: start,
        period,
    }
}

/// A clock that ticks; made by [`interval`]. As an iterator it has no end.
#[derive(Debug)]
pub struct Interval {
    next: Instant,
    period: Duration,
}

impl Interval {
    /// Waits for the next tick and says when it was due. Does not wait for one that has passed.
    ///
    /// # Panics
    ///
    /// As [`sleep`](crate::sleep).
    pub fn tick(&mut self) -> Instant {
        let due = self.next;
        let now = Instant::now();
        if due > now {
            sleep_until(due);
        }
        self.next = after(due, self.period, Instant::now());
        due
    }

    /// The time from one tick to the next.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The next tick comes a whole period from now.
    pub fn reset(&mut self) {
        let now = Instant::now();
        self.next = after(now, self.period, now);
    }
}

impl Iterator for Interval {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        Some(self.tick())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

/// The first tick after `due` that is not before `now`.
fn after(due: Instant, period: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let periods = late.div_ceil(period.as_nanos()).max(1);
    let ahead = periods.saturating_mul(period.as_nanos());
    let ahead = Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX));
    due.checked_add(ahead).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_skipped_and_the_rhythm_is_kept() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let period = Duration::from_millis(10);
        assert_eq!(after(start, period, at(0)), at(10));
        assert_eq!(after(start, period, at(3)), at(10));
        assert_eq!(after(start, period, at(10)), at(10));
        assert_eq!(after(start, period, at(35)), at(40));
        // A clock that is not there yet.
        assert_eq!(after(at(20), period, at(0)), at(30));
        // A period longer than the clock goes.
        let _ = after(start, Duration::MAX, at(5));
        interval(Duration::MAX).reset();
    }
}
