//! Seeing what the scheduler does.

#[cfg(feature = "analysis")]
mod check;
mod environment;
mod options;
#[cfg(feature = "analysis")]
mod read;
mod recording;
#[cfg(feature = "analysis")]
mod report;
mod serve;
mod span;
#[cfg(feature = "analysis")]
mod stream;
mod summary;
#[cfg(feature = "analysis")]
mod tell;
#[cfg(all(test, feature = "analysis"))]
mod tests;
#[cfg(feature = "analysis")]
mod timeline;
mod toggle;
#[cfg(feature = "tracing")]
mod tracing_layer;

use crate::reason::WaitReason;

pub use crate::record::{Actor, Ended, Event, Greenlet, Source, State, Stop, Text, Trigger, Wait};
#[cfg(feature = "analysis")]
pub use check::{Rule, Violation, check, check_whole};
pub use options::Options;
#[cfg(feature = "analysis")]
pub use read::{Lost, Problem, ReadError, Record, Ring, Status, Trace};
pub use recording::{is_on, snapshot, start, stop};
#[cfg(feature = "analysis")]
pub use report::{
    CounterReport, Figures, GreenletTotals, GroupLatency, HubReport, Latency, Lint, LintKind,
    LongRunReport, LostEvents, MarkReport, ObjectTotals, Overview, Report, SiteTotals, SpanReport,
    Totals, WaitTotals, WakePair,
};
pub use serve::{Server, serve};
pub use span::{SpanGuard, counter, mark, span};
#[cfg(feature = "analysis")]
pub use stream::Stream;
pub use summary::{Account, Accounts, RingSummary, Summary};
#[cfg(feature = "analysis")]
pub use timeline::{
    CounterValue, Doing, Hub, HubSlice, Job, Life, LongRun, Mark, Ready, Slice, Span, Timeline,
    WakeEdge,
};
pub use toggle::toggle_on;
#[cfg(feature = "tracing")]
pub use tracing_layer::TracingLayer;

pub(crate) use environment::obey;
pub(crate) use recording::flush;
pub(crate) use serve::serve_by_environment;

/// One word for what a [`Wait`] is for, as `mutex`. `None` for a code of a newer version.
///
/// ```
/// assert_eq!(greenlet::trace::wait_reason(1), Some("sleep"));
/// assert_eq!(greenlet::trace::wait_reason(200), None);
/// ```
pub fn wait_reason(code: u8) -> Option<&'static str> {
    WaitReason::from_code(code).map(WaitReason::name)
}
