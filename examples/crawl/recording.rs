//! What the scheduler does meanwhile: `--trace` and `--report`.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;

use greenlet::trace::{self, Options};

use crate::args::Args;

/// A recording that goes on.
#[derive(Debug)]
pub(crate) struct Recording {
    trace: PathBuf,
    /// Whether the trace is only there for the report.
    temporary: bool,
    report: Option<PathBuf>,
}

impl Recording {
    /// Begins it, if the user wants one.
    pub(crate) fn start(args: &Args) -> Result<Option<Self>, String> {
        if args.trace.is_none() && args.report.is_none() {
            return Ok(None);
        }
        let trace = args.trace.clone().unwrap_or_else(|| {
            let name = format!("crawl-{}.trace", process::id());
            env::temp_dir().join(name)
        });
        trace::start(Options::stream(&trace))
            .map_err(|error| format!("cannot record to {}: {error}", trace.display()))?;
        Ok(Some(Self {
            trace,
            temporary: args.trace.is_none(),
            report: args.report.clone(),
        }))
    }

    /// Ends it and writes the files.
    pub(crate) fn finish(self) -> Result<(), String> {
        let failed = |error| format!("cannot record to {}: {error}", self.trace.display());
        let summary = trace::stop().map_err(failed)?;
        let report = self.report.as_deref().map_or(Ok(()), |report| {
            write_report(&self.trace, report)
                .map_err(|error| format!("cannot write {}: {error}", report.display()))
        });
        if self.temporary {
            fs::remove_file(&self.trace).map_err(failed)?;
        } else if let Some(summary) = summary {
            let (events, lost) = (summary.events, summary.lost);
            eprintln!("{}: {events} events, {lost} lost", self.trace.display());
        }
        report
    }
}

#[cfg(feature = "analysis")]
fn write_report(
    trace: &std::path::Path,
    report: &std::path::Path,
) -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write;

    let trace = trace::analysis::Trace::open(trace)?;
    let timeline = trace::analysis::Timeline::new(&trace);
    let mut out = std::io::BufWriter::new(fs::File::create(report)?);
    trace::analysis::export::html(&trace, &timeline, &mut out)?;
    out.flush()?;
    eprintln!("{}: open it in a browser", report.display());
    Ok(())
}

/// The command line does not allow a report without the feature.
#[cfg(not(feature = "analysis"))]
fn write_report(_: &std::path::Path, _: &std::path::Path) -> Result<(), std::convert::Infallible> {
    Ok(())
}
