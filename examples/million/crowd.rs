//! The greenlets, from their spawn to their end.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use greenlet::JoinHandle;
use indicatif::ProgressBar;

use crate::report::Report;

/// After so many the others have their turn.
const BATCH: usize = 1000;

/// How often a greenlet is about to park, all together.
static PARKED: AtomicUsize = AtomicUsize::new(0);
/// Whether a greenlet that is woken is to end.
static OVER: AtomicBool = AtomicBool::new(false);

/// All of them; lives in a greenlet of its own.
pub(crate) struct Crowd<'a> {
    greenlets: Vec<JoinHandle<()>>,
    bar: &'a ProgressBar,
}

impl<'a> Crowd<'a> {
    /// Spawns, wakes and ends `count` greenlets.
    pub(crate) fn live(count: usize, bar: &'a ProgressBar, report: &mut Report) -> io::Result<()> {
        let mut crowd = Self {
            greenlets: Vec::with_capacity(count),
            bar,
        };
        report.begin();
        let refused = report.phase("spawned and parked", || crowd.spawn(count));
        report.parked(crowd.greenlets.len(), refused);

        shuffle(&mut crowd.greenlets, 1);
        report.phase("woken, parked again", || crowd.wake());
        shuffle(&mut crowd.greenlets, 2);
        report.phase("woken and ended", || crowd.end())
    }

    /// Returns when all have parked. Answers why there are fewer, if there are.
    fn spawn(&mut self, count: usize) -> Option<io::Error> {
        self.start_bar("spawning", count);
        let mut refused = None;
        while self.greenlets.len() < count && refused.is_none() {
            for _ in 0..BATCH.min(count - self.greenlets.len()) {
                match greenlet::try_spawn(wait) {
                    Ok(greenlet) => self.greenlets.push(greenlet),
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            greenlet::yield_now();
            self.bar.set_position(self.greenlets.len() as u64);
        }
        self.await_parked(self.greenlets.len());
        refused
    }

    /// Returns when all have parked again.
    fn wake(&self) {
        self.start_bar("waking", self.greenlets.len());
        for batch in self.greenlets.chunks(BATCH) {
            for greenlet in batch {
                greenlet.thread().unpark();
            }
            greenlet::yield_now();
            self.bar.inc(batch.len() as u64);
        }
        self.await_parked(2 * self.greenlets.len());
    }

    fn end(&mut self) -> io::Result<()> {
        self.start_bar("ending", self.greenlets.len());
        OVER.store(true, Relaxed);
        while !self.greenlets.is_empty() {
            let rest = self.greenlets.len().saturating_sub(BATCH);
            let batch = self.greenlets.split_off(rest);
            for greenlet in &batch {
                greenlet.thread().unpark();
            }
            self.bar.inc(batch.len() as u64);
            for greenlet in batch {
                let panicked = |_| io::Error::other("a greenlet has panicked");
                greenlet.join().map_err(panicked)?;
            }
        }
        Ok(())
    }

    fn await_parked(&self, times: usize) {
        while PARKED.load(Relaxed) < times {
            greenlet::yield_now();
        }
    }

    fn start_bar(&self, message: &'static str, length: usize) {
        self.bar.set_message(message);
        self.bar.set_length(length as u64);
        self.bar.reset();
    }
}

/// What each greenlet does.
fn wait() {
    while !OVER.load(Relaxed) {
        PARKED.fetch_add(1, Relaxed);
        greenlet::park();
    }
}

/// Fisher and Yates, with xorshift64: any order that no cache foresees will do.
fn shuffle<T>(values: &mut [T], seed: u64) {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for i in (1..values.len()).rev() {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        values.swap(i, (x % (i as u64 + 1)) as usize);
    }
}
