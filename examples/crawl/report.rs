//! The numbers at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Duration;

use greenlet::Stats;
use indicatif::HumanBytes;

use crate::crawler::Crawl;
use crate::serial::Serial;
use crate::visitor::Answer;

/// What the crawl did, and what it took.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) pages: usize,
    pub(crate) bytes: usize,
    redirects: usize,
    retries: u32,
    /// How often each kind of error happened.
    errors: BTreeMap<String, usize>,
    wall: Duration,
    /// None when there was nothing to compare with.
    serial: Option<Serial>,
    machine: Machine,
}

/// What the runtime and the process needed for it.
#[derive(Debug)]
pub(crate) struct Machine {
    stats: Stats,
    os_threads: usize,
    hubs: usize,
}

impl Machine {
    /// Reads the counters of the runtime, which has `hubs` hubs, and of the process.
    pub(crate) fn read(hubs: usize) -> Self {
        Self {
            stats: greenlet::stats().expect("called from a greenlet"),
            os_threads: os_threads(),
            hubs,
        }
    }
}

fn os_threads() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    threads.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

impl Report {
    pub(crate) fn new(crawl: &Crawl, serial: Option<Serial>, machine: Machine) -> Self {
        let mut report = Self {
            pages: 0,
            bytes: 0,
            redirects: 0,
            retries: 0,
            errors: BTreeMap::new(),
            wall: crawl.wall,
            serial,
            machine,
        };
        for visit in &crawl.visits {
            report.retries += visit.retries;
            match &visit.outcome {
                Ok(Answer::Page { bytes, .. }) => {
                    report.pages += 1;
                    report.bytes += bytes;
                }
                Ok(Answer::Redirect(_) | Answer::OffSite(_)) => report.redirects += 1,
                Err(error) => *report.errors.entry(error.to_string()).or_default() += 1,
            }
        }
        report
    }

    pub(crate) fn errors(&self) -> usize {
        self.errors.values().sum()
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "pages": self.pages,
            "bytes": self.bytes,
            "errors": self.errors(),
            "wall_s": rounded(self.wall.as_secs_f64()),
            "serial_s": self.serial.as_ref().map(|serial| rounded(serial.time.as_secs_f64())),
            "speedup": self.speedup().map(rounded),
            "greenlets_peak": self.machine.stats.greenlets_peak,
            "os_threads": self.machine.os_threads,
            "hubs": self.machine.hubs,
        })
    }

    fn speedup(&self) -> Option<f64> {
        let serial = self.serial.as_ref()?;
        Some(serial.time.div_duration_f64(self.wall))
    }

    /// How many visits were made, whatever came of them.
    fn visits(&self) -> usize {
        self.pages + self.redirects + self.errors()
    }
}

/// The table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String, note: String| {
            let line = format!("{name:<16}{value:>12}  {note}");
            writeln!(f, "{}", line.trim_end())
        };
        let kinds: Vec<_> = self
            .errors
            .iter()
            .map(|(error, times)| format!("{times} × {error}"))
            .collect();

        row("pages", self.pages.to_string(), String::new())?;
        let bytes = HumanBytes(self.bytes as u64).to_string();
        row("bytes", self.bytes.to_string(), bytes)?;
        row("redirects", self.redirects.to_string(), String::new())?;
        row("retries", self.retries.to_string(), String::new())?;
        row("errors", self.errors().to_string(), kinds.join(", "))?;
        row("wall time", seconds(self.wall), String::new())?;
        if let Some(serial) = &self.serial {
            let note = serial.sample.map_or(String::new(), |sample| {
                format!("sampled: {sample} of {} visits, scaled", self.visits())
            });
            row("one at a time", seconds(serial.time), note)?;
        }
        if let Some(speedup) = self.speedup() {
            row("speed-up", format!("{speedup:.1} ×"), String::new())?;
        }
        row(
            "greenlets",
            self.machine.stats.greenlets_peak.to_string(),
            "at the peak".into(),
        )?;
        row(
            "OS threads",
            self.machine.os_threads.to_string(),
            String::new(),
        )?;
        row("hubs", self.machine.hubs.to_string(), String::new())
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Milliseconds are enough for everybody.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
