//! The clock of events: the processor's counter where it can be relied on, otherwise the kernel's.

use std::fs;

use crate::arch;
use crate::sys::{clock, probe};

/// What ticks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Those of [`arch::cycles`].
    Cycles,
    /// Nanoseconds of the monotonic clock.
    Kernel,
}

impl Clock {
    /// The counter, if it runs at one speed, on all processors the same: the kernel uses it itself.
    pub(crate) fn choose() -> Self {
        const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let source = || fs::read_to_string(SOURCE).unwrap_or_default();
        if !probe::without("cycles") && source().trim() == arch::CYCLES_SOURCE {
            Self::Cycles
        } else {
            Self::Kernel
        }
    }

    #[inline]
    pub(crate) fn now(self) -> u64 {
        match self {
            Self::Cycles => arch::cycles(),
            Self::Kernel => clock::now(),
        }
    }
}
