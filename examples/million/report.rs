//! The numbers at the end.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::args::ThreadLocals;
use crate::memory::{self, Memory};

/// What one run took.
#[derive(Debug)]
pub(crate) struct Report {
    thread_locals: ThreadLocals,
    hubs: usize,
    /// How many greenlets the user asked for, and how many there were.
    asked: usize,
    greenlets: usize,
    /// Why there were fewer.
    reason: Option<String>,
    before: Memory,
    phases: Vec<Phase>,
}

#[derive(Debug)]
struct Phase {
    name: &'static str,
    time: Duration,
    /// At its end.
    memory: Memory,
}

impl Report {
    pub(crate) fn new(thread_locals: ThreadLocals, asked: usize, hubs: usize) -> Self {
        Self {
            thread_locals,
            hubs,
            asked,
            greenlets: 0,
            reason: None,
            before: Memory::now(),
            phases: Vec::new(),
        }
    }

    /// The greenlets come after this.
    pub(crate) fn begin(&mut self) {
        self.before = Memory::now();
    }

    /// Measures a phase.
    pub(crate) fn phase<T>(&mut self, name: &'static str, phase: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = phase();
        let time = started.elapsed();
        let memory = Memory::now();
        self.phases.push(Phase { name, time, memory });
        result
    }

    /// All have parked; if the system has refused one more it said so.
    pub(crate) fn parked(&mut self, greenlets: usize, refused: Option<io::Error>) {
        self.greenlets = greenlets;
        self.reason = match refused {
            Some(error) => Some(format!("the system refused one more: {error}")),
            None if greenlets < self.asked => {
                let mib = (self.before.total() + memory::available()) >> 20;
                Some(format!("there were {mib} MiB of memory when it began"))
            }
            None => None,
        };
    }

    fn thread_locals(&self) -> &'static str {
        match self.thread_locals {
            ThreadLocals::Own => "own",
            ThreadLocals::Shared => "shared",
        }
    }

    /// Bytes that memory has grown by, per greenlet.
    fn each(&self, memory: Memory) -> f64 {
        let grown = memory.total() as f64 - self.before.total() as f64;
        grown / self.greenlets as f64
    }

    fn nanoseconds(&self, phase: &Phase) -> f64 {
        phase.time.as_secs_f64() * 1e9 / self.greenlets as f64
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        let phase = |phase: &Phase| {
            serde_json::json!({
                "phase": phase.name,
                "seconds": phase.time.as_secs_f64(),
                "ns_per_greenlet": self.nanoseconds(phase),
                "bytes_per_greenlet": self.each(phase.memory),
                "resident_bytes": phase.memory.resident,
                "page_table_bytes": phase.memory.page_tables,
                "mappings": phase.memory.mappings,
            })
        };
        serde_json::json!({
            "thread_locals": self.thread_locals(),
            "hubs": self.hubs,
            "asked": self.asked,
            "greenlets": self.greenlets,
            "fewer_because": self.reason,
            "phases": self.phases.iter().map(phase).collect::<Vec<_>>(),
        })
    }
}

/// The table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (greenlets, hubs) = (indicatif::HumanCount(self.greenlets as u64), self.hubs);
        let thread_locals = self.thread_locals();
        writeln!(
            f,
            "{greenlets} greenlets with {thread_locals} thread-locals on {hubs} hub{}",
            if hubs == 1 { "" } else { "s" }
        )?;
        if let Some(reason) = &self.reason {
            let asked = indicatif::HumanCount(self.asked as u64);
            writeln!(f, "FEWER than the {asked} asked for: {reason}")?;
        }
        writeln!(
            f,
            "{:<20}{:>9}{:>10}{:>13}{:>13}{:>10}{:>12}",
            "", "time", "ns each", "resident", "page tables", "mappings", "bytes each"
        )?;
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let mut row = |name, time: String, nanoseconds: String, memory: Memory, each: String| {
            let (resident, page_tables) = (mib(memory.resident), mib(memory.page_tables));
            let mappings = memory.mappings;
            let line = format!(
                "{name:<20}{time:>9}{nanoseconds:>10}{resident:>13}{page_tables:>13}{mappings:>10}{each:>12}"
            );
            writeln!(f, "{}", line.trim_end())
        };
        let none = String::new;
        row("before", none(), none(), self.before, none())?;
        for phase in &self.phases {
            row(
                phase.name,
                format!("{:.2} s", phase.time.as_secs_f64()),
                format!("{:.0}", self.nanoseconds(phase)),
                phase.memory,
                format!("{:.0}", self.each(phase.memory)),
            )?;
        }
        Ok(())
    }
}
