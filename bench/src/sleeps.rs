//! Many tasks that sleep once each.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::cpu;
use crate::peers::Value;

/// Longer than it takes to spawn a task.
const SPAWN: Duration = Duration::from_micros(30);
/// What is longer counts as this.
const LONGEST_NS: u64 = 100_000_000_000;

/// How long each of a number of tasks is to sleep, and how late it woke up.
#[derive(Debug)]
pub(crate) struct Sleeps {
    planned: Vec<Duration>,
    /// Nanoseconds.
    late: Vec<AtomicU64>,
}

impl Sleeps {
    fn new(planned: Vec<Duration>) -> &'static Self {
        Box::leak(Box::new(Self {
            // Not zeros, so that the memory is there.
            late: planned.iter().map(|_| AtomicU64::new(1)).collect(),
            planned,
        }))
    }

    fn at_random(tasks: usize) -> &'static Self {
        let mut random = fastrand::Rng::with_seed(1);
        let mut planned = || Duration::from_micros(random.u64(1_000..=1_000_000));
        Self::new((0..tasks).map(|_| planned()).collect())
    }

    pub(crate) fn tasks(&self) -> usize {
        self.planned.len()
    }

    /// The sleep of one task, which begins now.
    pub(crate) fn begin(&'static self, task: usize) -> Sleep {
        Sleep {
            sleeps: self,
            task,
            started: Instant::now(),
        }
    }

    fn late_us(&self, percentile: f64) -> f64 {
        let mut late =
            Histogram::<u64>::new_with_max(LONGEST_NS, 3).expect("these bounds are possible");
        for ns in &self.late {
            late.saturating_record(ns.load(Relaxed));
        }
        late.value_at_percentile(percentile) as f64 / 1e3
    }
}

/// One task's sleep.
#[derive(Debug)]
pub(crate) struct Sleep {
    sleeps: &'static Sleeps,
    task: usize,
    started: Instant,
}

impl Sleep {
    pub(crate) fn time(&self) -> Duration {
        self.sleeps.planned[self.task]
    }

    /// Says that it is over.
    pub(crate) fn end(self) {
        let late = self.started.elapsed().saturating_sub(self.time());
        self.sleeps.late[self.task].store(late.as_nanos() as u64, Relaxed);
    }
}

/// Measures `round`, which spawns a task for each sleep and joins them: in a process that has done
/// nothing yet, and once more when as many tasks have slept at the same time, so that what they need
/// is there. In the first round many have ended before the last is spawned.
pub(crate) fn measure(
    tasks: usize,
    mut round: impl FnMut(&'static Sleeps) -> io::Result<()>,
) -> io::Result<Vec<Value>> {
    let mut values = Vec::new();
    for (is_warm, [cpu, p50, p99]) in [
        (
            false,
            [
                "timers.cold.cpu",
                "timers.cold.late_p50",
                "timers.cold.late_p99",
            ],
        ),
        (
            true,
            [
                "timers.warm.cpu",
                "timers.warm.late_p50",
                "timers.warm.late_p99",
            ],
        ),
    ] {
        if is_warm {
            let until_all_sleep = SPAWN * tasks.try_into().expect("fewer than 2^32 tasks");
            round(Sleeps::new(vec![until_all_sleep; tasks]))?;
        }
        let sleeps = Sleeps::at_random(tasks);
        let before = cpu::time();
        round(sleeps)?;
        let time = cpu::time() - before;
        values.push((cpu, time.as_secs_f64() * 1e3));
        values.push((p50, sleeps.late_us(50.0)));
        values.push((p99, sleeps.late_us(99.0)));
    }
    Ok(values)
}
