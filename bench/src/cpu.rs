//! Processors, and the time that is spent on them.

use std::io;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// This thread, for the kernel.
const SELF: Pid = Pid::from_raw(0);

/// What a row's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The processor time of this process. On a processor of its own it is the same as the wall's,
    /// and where others want that processor, too, what they take is not counted.
    Processor,
    Wall,
}

impl Clock {
    /// The clock for so many workers: with more than one, what counts is when they are done.
    pub(crate) fn for_workers(workers: usize) -> Self {
        match workers {
            1 => Self::Processor,
            _ => Self::Wall,
        }
    }

    /// Time since some moment.
    pub(crate) fn now(self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match self {
            Self::Processor => time(),
            Self::Wall => START.elapsed(),
        }
    }
}

/// The processors that this process may use.
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(SELF)?;
    Ok((0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .collect())
}

/// Calls `f` with this thread on `cpus` only. A process that `f` starts stays there.
pub(crate) fn pinned<T>(cpus: &[usize], f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = sched_getaffinity(SELF)?;
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    sched_setaffinity(SELF, &set)?;
    let result = f();
    sched_setaffinity(SELF, &before)?;
    result
}

/// The processor time that this process has used up to now, all threads together.
pub(crate) fn time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .expect("Linux has this clock")
        .into()
}

/// The same of another process.
pub(crate) fn time_of(process: u32) -> io::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(process.cast_signed()))?;
    Ok(clock_gettime(clock)?.into())
}
