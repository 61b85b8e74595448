//! How operations are counted and timed: the same way for every peer.
//!
//! A peer writes its loop in its own idiom around `while meter.more()`. The meter looks at the clock
//! now and then only, and what happens during the warm-up does not count.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::cpu::Clock;
use crate::peers::Job;

/// A look at the clock is to be rare against this.
const BETWEEN_LOOKS: Duration = Duration::from_micros(50);

/// One loop of operations, on one task.
#[derive(Debug)]
pub(crate) struct Meter {
    clock: Clock,
    time: Duration,
    /// When the warm-up began, or what counts.
    since: Duration,
    warm: bool,
    done: u64,
    /// Operations from one look at the clock to the next, and how many of them are still to do.
    batch: u64,
    left: u64,
    looked: Duration,
}

impl Meter {
    /// Counts for the job's time, after a warm-up of a quarter of that.
    pub(crate) fn new(job: &Job) -> Self {
        let clock = job.clock();
        let now = clock.now();
        Self {
            clock,
            time: job.time,
            since: now,
            warm: false,
            done: 0,
            batch: 0,
            left: 0,
            looked: now,
        }
    }

    /// Whether there is to be another operation; when this is called, the last one is done.
    #[inline]
    pub(crate) fn more(&mut self) -> bool {
        if self.left == 0 {
            return self.look();
        }
        self.left -= 1;
        true
    }

    #[cold]
    fn look(&mut self) -> bool {
        let now = self.clock.now();
        self.done += self.batch;
        if !self.warm && now - self.since >= self.time / 4 {
            (self.warm, self.since, self.done) = (true, now, 0);
        } else if self.warm && now - self.since >= self.time {
            self.looked = now;
            return false;
        }
        if now - self.looked < BETWEEN_LOOKS {
            self.batch *= 2;
        }
        self.batch = self.batch.max(1);
        self.left = self.batch - 1;
        self.looked = now;
        true
    }

    /// Nanoseconds per operation, after the loop.
    pub(crate) fn ns(&self) -> f64 {
        nanoseconds(self.looked - self.since) / self.done as f64
    }
}

/// Rounds of many operations, each of which is timed as a whole.
#[derive(Debug)]
pub(crate) struct Rounds {
    clock: Clock,
    time: Duration,
    operations: usize,
    spent: Duration,
    started: Option<Duration>,
    warm: bool,
    ns: Vec<f64>,
}

impl Rounds {
    /// Rounds for the job's time, three at least, after one that does not count.
    pub(crate) fn new(job: &Job, operations: usize) -> Self {
        Self {
            clock: job.clock(),
            time: job.time,
            operations,
            spent: Duration::ZERO,
            started: None,
            warm: false,
            ns: Vec::new(),
        }
    }

    /// Whether there is to be another round; when this is called, the last one is done.
    pub(crate) fn more(&mut self) -> bool {
        if let Some(started) = self.started {
            let time = self.clock.now() - started;
            if self.warm {
                self.spent += time;
                self.ns.push(nanoseconds(time) / self.operations as f64);
            }
            self.warm = true;
        }
        self.started = Some(self.clock.now());
        self.ns.len() < 3 || self.spent < self.time
    }

    /// Nanoseconds per operation in the median round.
    pub(crate) fn ns(mut self) -> f64 {
        crate::report::median(&mut self.ns)
    }
}

/// How often each task of the row mutex locks in a round: that spawning it is nothing against it.
pub(crate) const LOCKS: usize = 50_000;

/// Nobody counts yet.
const WARM_UP: u8 = 0;
/// All count.
const MEASURE: u8 = 1;
/// All end.
const STOP: u8 = 2;

/// A number of tasks that do nothing but yield.
///
/// Task 0 leads. When all have come and are warm, it notes the time and tells the others to count;
/// after a while it notes the time again and tells them to stop. So neither the spawning nor the
/// ending counts, and it does not matter whether every task yields equally often.
#[derive(Debug)]
pub(crate) struct Yields {
    tasks: usize,
    clock: Clock,
    time: Duration,
    phase: AtomicU8,
    arrived: AtomicU64,
    counted: AtomicU64,
    /// Nanoseconds from the first counted yield to the last.
    took: AtomicU64,
}

impl Yields {
    pub(crate) fn new(tasks: usize, job: &Job) -> &'static Self {
        Box::leak(Box::new(Self {
            tasks,
            clock: job.clock(),
            time: job.time,
            phase: AtomicU8::new(WARM_UP),
            arrived: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            took: AtomicU64::new(0),
        }))
    }

    /// The parts of all tasks.
    pub(crate) fn parts(&'static self) -> impl Iterator<Item = Part> {
        (0..self.tasks).map(move |task| Part {
            yields: self,
            leader: (task == 0).then(|| Leader::new(self)),
            count: None,
        })
    }

    /// Nanoseconds per yield, after all tasks have ended.
    pub(crate) fn ns(&self) -> f64 {
        self.took.load(Relaxed) as f64 / self.counted.load(Relaxed) as f64
    }
}

/// What one task has to do with [`Yields`].
#[derive(Debug)]
pub(crate) struct Part {
    yields: &'static Yields,
    leader: Option<Leader>,
    /// The yields that count, once the task has begun.
    count: Option<u64>,
}

impl Part {
    /// Whether the task is to yield again.
    #[inline]
    pub(crate) fn more(&mut self) -> bool {
        let yields = self.yields;
        let count = self.count.get_or_insert_with(|| {
            yields.arrived.fetch_add(1, Relaxed);
            0
        });
        if let Some(leader) = &mut self.leader {
            leader.lead(yields, count);
        }
        match yields.phase.load(Relaxed) {
            WARM_UP => true,
            MEASURE => {
                *count += 1;
                true
            }
            _ => {
                yields.counted.fetch_add(*count, Relaxed);
                false
            }
        }
    }
}

#[derive(Debug)]
struct Leader {
    /// Yields of its own from one look at the clock to the next.
    stride: u64,
    left: u64,
    since: Duration,
}

impl Leader {
    fn new(yields: &Yields) -> Self {
        Self {
            // While the leader yields once, so do all others.
            stride: (4096 / yields.tasks as u64).max(1),
            left: 0,
            since: yields.clock.now(),
        }
    }

    #[inline]
    fn lead(&mut self, yields: &Yields, count: &mut u64) {
        if self.left == 0 {
            self.left = self.stride;
            self.look(yields, count);
        }
        self.left -= 1;
    }

    #[cold]
    fn look(&mut self, yields: &Yields, count: &mut u64) {
        let now = yields.clock.now();
        let time = now - self.since;
        match yields.phase.load(Relaxed) {
            WARM_UP => {
                let all = yields.arrived.load(Relaxed) == yields.tasks as u64;
                if all && time >= yields.time / 4 {
                    *count = 0;
                    self.since = now;
                    yields.phase.store(MEASURE, Relaxed);
                }
            }
            _ if time >= yields.time => {
                yields.took.store(time.as_nanos() as u64, Relaxed);
                yields.phase.store(STOP, Relaxed);
            }
            _ => (),
        }
    }
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use crate::rows::Row;

    fn job(workers: usize, millis: u64) -> Job {
        Job {
            row: Row::Yield,
            params: format!("w={workers}").parse().unwrap(),
            time: Duration::from_millis(millis),
        }
    }

    #[test]
    fn a_meter_counts_what_follows_the_warm_up() {
        let job = job(2, 40);
        let started = Instant::now();
        let mut meter = Meter::new(&job);
        let mut operations = 0;
        while meter.more() {
            operations += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(started.elapsed() >= job.time + job.time / 4);
        assert!(
            meter.done < operations,
            "{} of {operations} counted",
            meter.done
        );
        assert!(meter.ns() >= 2e6, "{} ns for a sleep of 2 ms", meter.ns());
    }

    #[test]
    fn the_first_round_does_not_count() {
        let mut rounds = Rounds::new(&job(2, 0), 1);
        let mut n = 0;
        while rounds.more() {
            n += 1;
            if n == 1 {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        assert_eq!(n, 4);
        assert!(rounds.ns() < 1e7);
    }

    #[test]
    fn yields_of_all_tasks_count() {
        let yields = Yields::new(3, &job(1, 20));
        let mut parts: Vec<_> = yields.parts().collect();
        while !parts.is_empty() {
            parts.retain_mut(Part::more);
        }
        let counted = yields.counted.load(Relaxed);
        assert!(counted > 0 && counted.is_multiple_of(3), "{counted}");
    }

    #[test]
    fn one_worker_is_not_charged_for_what_others_do() {
        let mut rounds = Rounds::new(&job(1, 0), 1);
        while rounds.more() {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(rounds.ns() < 1e7);
    }
}
