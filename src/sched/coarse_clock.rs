//! What time it is, about: a clock that costs a load.
//!
//! It is set by the monitor every few milliseconds while any hub is awake, and by a hub that has
//! slept.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::sys::clock;

static NOW: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds of the monotonic clock, some milliseconds ago.
#[inline]
pub(super) fn now() -> u64 {
    NOW.load(Relaxed)
}

/// Where debuggers read it.
pub(super) const fn place() -> *const AtomicU64 {
    &raw const NOW
}

/// Sets it. Answers with the time.
pub(super) fn refresh() -> u64 {
    let now = clock::now();
    NOW.store(now, Relaxed);
    now
}
