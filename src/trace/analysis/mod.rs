//! Reading traces, and what can be made of them.
//!
//! A [`Trace`] is what is in a file: events in the order of time. A [`Timeline`] has what each greenlet and each hub
//! did, a [`Report`] the figures and what looks wrong, [`check`](check()) holds the scheduler to its own rules, and
//! [`export`] writes a trace in the formats of other programs. A [`Stream`] reads along while a program runs.
//!
//! ```
//! use greenlet::trace::analysis::{Report, Timeline, Trace};
//! use greenlet::trace::{self, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("greenlet-analysis-{}.trace", std::process::id()));
//! trace::start(Options::stream(&path))?;
//! greenlet::run(|| greenlet::spawn(greenlet::yield_now).join().unwrap());
//! trace::stop()?;
//! let trace = Trace::open(&path)?;
//! let timeline = Timeline::new(&trace);
//! assert_eq!(timeline.greenlets().len(), 2);
//! # std::fs::remove_file(path)?;
//! # Ok(())
//! # }
//! ```

mod check;
pub mod export;
mod read;
mod report;
mod stream;
mod tell;
#[cfg(test)]
mod tests;
mod timeline;

pub use check::{Rule, Violation, check, check_whole};
pub use read::{Lost, Problem, ReadError, Record, Ring, Status, Trace};
pub use report::{
    CounterReport, Figures, GreenletTotals, GroupLatency, HubReport, Latency, Lint, LintKind,
    LongRunReport, LostEvents, MarkReport, ObjectTotals, Overview, Report, SiteTotals, SpanReport,
    Totals, WaitTotals, WakePair,
};
pub use stream::Stream;
pub use timeline::{
    CounterValue, Doing, Hub, HubSlice, Job, Life, LongRun, Mark, Ready, Slice, Span, Timeline,
    WakeEdge,
};
