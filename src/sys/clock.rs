//! The monotonic clock, as nanoseconds.

use std::time::{Duration, Instant};

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of [`Instant`].
#[inline]
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: one writable timespec. The clock always exists, so the call does not fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// `now` plus a duration; as late as the clock goes if that is too far.
#[inline]
pub(crate) fn after(duration: Duration) -> u64 {
    now().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// A time-out as the kernel takes it.
pub(crate) fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: timeout.as_secs().min(i64::MAX as u64) as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

/// The same moment as `instant`; `Instant` does not tell its nanoseconds, so it is measured
/// against `Instant::now()`.
pub(crate) fn at(instant: Instant) -> u64 {
    after(instant.saturating_duration_since(Instant::now()))
}
