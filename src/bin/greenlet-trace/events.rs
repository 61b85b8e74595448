//! Every event, one on a line.

use std::io::{self, Write};

use greenlet::trace::Event;
use greenlet::trace::analysis::Trace;

pub(crate) fn write(out: &mut dyn Write, trace: &Trace, greenlet: Option<u64>) -> io::Result<()> {
    for record in trace.records() {
        if greenlet.is_some_and(|greenlet| !concerns(&record.event, greenlet)) {
            continue;
        }
        let seconds = record.time.saturating_sub(trace.begin()) as f64 / 1e9;
        let ring = trace.rings()[usize::from(record.ring)];
        let event = trace.tell(&record.event);
        writeln!(out, "{seconds:>14.9} {ring:<10} {event}")?;
    }
    Ok(())
}

/// Whether it is about the greenlet, or done by it.
fn concerns(event: &Event, greenlet: u64) -> bool {
    event.greenlets().contains(&Some(greenlet))
}
