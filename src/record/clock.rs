//! The clock of events: the processor's counter where it can be relied on, otherwise the kernel's.

use std::fs;
use std::hint;
use std::sync::OnceLock;

use crate::arch;
use crate::sys::{clock, probe};

/// One moment in two clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) ticks: u64,
    pub(crate) nanos: u64,
}

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

    /// Ticks, and nanoseconds of the monotonic clock, at about the same moment: whoever is interrupted
    /// between the two tries again.
    pub(crate) fn pair(self) -> Pair {
        const TRIES: usize = 4;
        let pair = || {
            let before = self.now();
            let nanos = clock::now();
            let ticks = self.now();
            (ticks.wrapping_sub(before), Pair { ticks, nanos })
        };
        let pairs = std::iter::repeat_with(pair).take(TRIES);
        let best = pairs.min_by_key(|(apart, _)| *apart);
        best.expect("it has tried").1
    }

    /// Ticks in a second: measured over a millisecond the first time, and over all the time since then
    /// later.
    pub(crate) fn ticks_per_second(self) -> u64 {
        /// For a ten-thousandth.
        const LEAST: u64 = 1_000_000;
        static FIRST: OnceLock<Pair> = OnceLock::new();
        if self == Self::Kernel {
            return 1_000_000_000;
        }
        let first = FIRST.get_or_init(|| self.pair());
        while clock::now() < first.nanos + LEAST {
            hint::spin_loop();
        }
        let now = self.pair();
        let ticks = u128::from(now.ticks.saturating_sub(first.ticks));
        (ticks * 1_000_000_000 / u128::from(now.nanos - first.nanos)) as u64
    }

    #[inline]
    pub(crate) fn now(self) -> u64 {
        match self {
            Self::Cycles => arch::cycles(),
            Self::Kernel => clock::now(),
        }
    }
}
