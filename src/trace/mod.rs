//! Seeing what the scheduler does: a recorder that is always there, and what can be made of its traces.
//!
//! While recording is on, each hub notes what it does in a ring of its own: which greenlet it runs and why
//! that stops, who wakes whom, when it steals, sleeps and polls; and the program may add [spans](span),
//! [counters](counter) and [marks](mark). The clock is the processor's. An event takes some 15 nanoseconds;
//! while recording is off, a load and a branch.
//!
//! ```
//! use greenlet::trace::{self, Options};
//!
//! # fn main() -> std::io::Result<()> {
//! # let path = std::env::temp_dir().join(format!("greenlet-trace-{}.trace", std::process::id()));
//! trace::start(Options::stream(&path))?;
//! greenlet::run(|| {
//!     let _span = trace::span("greeting");
//!     greenlet::spawn(|| trace::mark("hello")).join().unwrap();
//! });
//! trace::stop()?;
//! # std::fs::remove_file(path)
//! # }
//! ```
//!
//! # Recording
//!
//! | mode | what is kept | for |
//! |---|---|---|
//! | [`Options::stream`] | everything, in a file | looking at a run as a whole |
//! | [`Options::flight`] | the last events, in memory, until a [`snapshot`] | being always on; a [trigger](Options::snapshot_on) writes a file when something goes wrong |
//! | [`Options::flight_in`] | the last events, in a file that is mapped | the last moments of a process that is killed |
//!
//! [`start`] and [`stop`] switch it; so do `GREENLET_TRACE`, for a program that knows nothing of all this
//! ([how](crate::_documentation::environment)), and [a signal](toggle_on). Recording is the process's: all its runtimes
//! take part, and greenlets that are there already are told of.
//!
//! Rings are written over when they are full, and who is too slow loses events. What was lost is counted, in
//! the trace and in the [`Summary`].
//!
//! A global allocator is no place for spans, counters and marks: to record one may take memory, and a lock that the
//! allocator's own call then waits for.
//!
//! # Looking
//!
//! The command `greenlet-trace` (feature `cli`) reads traces:
//!
//! ```sh
//! cargo run --release --features cli --bin greenlet-trace -- report server.trace
//! cargo run --release --features cli --bin greenlet-trace -- export html server.trace -o server.html
//! ```
//!
//! With the feature `analysis` all that it does can be called. The format is
//! [documented](crate::_documentation::trace_format).

#[cfg(feature = "analysis")]
pub mod analysis;
mod environment;
mod options;
mod recording;
mod serve;
mod span;
mod summary;
mod toggle;
#[cfg(feature = "tracing")]
mod tracing_layer;

use crate::reason::WaitReason;

pub use crate::record::{Actor, Ended, Event, Greenlet, Source, State, Stop, Text, Trigger, Wait};
pub use options::Options;
pub use recording::{is_on, snapshot, start, stop};
pub use serve::{Server, serve};
pub use span::{Span, counter, mark, span};
pub use summary::{Account, Accounts, RingSummary, Summary};
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
