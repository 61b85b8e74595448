//! Triggers: what makes the last events be written to a file while recording goes on.

use std::fmt;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use super::order::{Order, order};

/// What makes the last events be written to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Trigger {
    /// A greenlet keeps its hub from running others for longer than
    /// [`blocked_after`](crate::RuntimeBuilder::blocked_after).
    LongRun,
    /// A span has taken longer than [it should](crate::trace::Span::slower_than).
    SlowSpan,
    /// A greenlet has panicked. With `panic = "abort"` the process ends before that can be told; there
    /// [`Options::flight_in`](crate::trace::Options::flight_in) keeps the last events.
    Panic,
    /// Nothing can wake the greenlets that are left.
    Deadlock,
}

impl Trigger {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LongRun, Self::SlowSpan, Self::Panic, Self::Deadlock];

    /// Its name in `GREENLET_TRACE` and in names of files, as `long-run`.
    pub fn name(self) -> &'static str {
        match self {
            Self::LongRun => "long-run",
            Self::SlowSpan => "slow-span",
            Self::Panic => "panic",
            Self::Deadlock => "deadlock",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A bit for each trigger that somebody waits for.
static SET: AtomicU8 = AtomicU8::new(0);

/// Pulls a trigger: if it is set, the last events will be written.
#[inline]
pub(crate) fn pull(trigger: Trigger) {
    if SET.load(Relaxed) & trigger.bit() != 0 {
        order(Order::Write(trigger));
    }
}

/// Sets these triggers, and no others.
pub(crate) fn set(triggers: &[Trigger]) {
    let bits = triggers
        .iter()
        .fold(0, |bits, trigger| bits | trigger.bit());
    SET.store(bits, Relaxed);
}
