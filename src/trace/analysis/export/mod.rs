//! Traces as what other programs read.
//!
//! | function | made for |
//! |---|---|
//! | [`perfetto`] | <https://ui.perfetto.dev>: a track for each hub and greenlet, arrows from who wakes to who is woken |
//! | [`perfetto_sched`] | the same, as if hubs were processors and greenlets threads: its analysis of schedulers works |
//! | [`chrome`] | `chrome://tracing`, Speedscope and others that read Chrome's JSON |
//! | [`json_lines`] | `jq` and scripts: an event on a line |
//! | [`folded`] | `inferno-flamegraph` and `flamegraph.pl`: where greenlets wait |
//! | [`html`] | a browser, without a network |
//!
//! All of them write while they go, in small pieces: give a [`BufWriter`](std::io::BufWriter) or what else
//! gathers them.
//!
//! ```no_run
//! use std::fs::File;
//! use std::io::BufWriter;
//!
//! use greenlet::trace::analysis::{Timeline, Trace, export};
//!
//! let trace = Trace::open("crawl.trace")?;
//! let timeline = Timeline::new(&trace);
//! let mut out = BufWriter::new(File::create("crawl.pftrace")?);
//! export::perfetto(&trace, &timeline, &mut out)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chrome;
mod folded;
mod html;
mod json_lines;
mod names;
mod perfetto;
mod perfetto_sched;
mod proto;
#[cfg(test)]
mod tests;
mod thread_ids;

pub use chrome::chrome;
pub use folded::folded;
pub use html::html;
pub use json_lines::json_lines;
pub use perfetto::perfetto;
pub use perfetto_sched::perfetto_sched;
