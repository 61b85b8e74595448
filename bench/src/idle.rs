//! Many tasks that wait for nothing.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::cpu::Clock;
use crate::memory;
use crate::peers::{Job, Value};

/// A number of tasks that come to a place where they wait.
#[derive(Debug)]
pub(crate) struct Idle {
    tasks: usize,
    bytes_before: f64,
    clock: Clock,
    started: Duration,
    arrived: AtomicUsize,
    /// Nanoseconds until the last one came.
    took: AtomicU64,
}

impl Idle {
    /// Begins to measure; the runtime is up, and has run a task or two.
    pub(crate) fn begin(job: &Job) -> io::Result<&'static Self> {
        let clock = job.clock();
        Ok(Box::leak(Box::new(Self {
            tasks: job.params.get("n"),
            bytes_before: memory::resident("self")?,
            arrived: AtomicUsize::new(0),
            took: AtomicU64::new(0),
            clock,
            started: clock.now(),
        })))
    }

    pub(crate) fn tasks(&self) -> usize {
        self.tasks
    }

    /// One task is about to wait.
    pub(crate) fn arrive(&self) {
        if self.arrived.fetch_add(1, Relaxed) + 1 == self.tasks {
            let took = (self.clock.now() - self.started).as_nanos() as u64;
            self.took.store(took, Relaxed);
        }
    }

    /// Whether the last one has come.
    pub(crate) fn all_arrived(&self) -> bool {
        self.took.load(Relaxed) != 0
    }

    /// What a task has cost, when all have come.
    pub(crate) fn end(&self) -> io::Result<Vec<Value>> {
        assert!(self.all_arrived());
        let tasks = self.tasks as f64;
        let bytes = memory::resident("self")? - self.bytes_before;
        let took = self.took.load(Relaxed) as f64;
        Ok(vec![
            ("idle.bytes", bytes / tasks),
            ("idle.start", took / tasks),
        ])
    }
}
