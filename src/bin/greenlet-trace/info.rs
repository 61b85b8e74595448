//! What a trace is about.

use std::io::{self, Write};
use std::path::Path;

use greenlet::trace::analysis::Trace;

/// Answers whether nothing is damaged.
pub(crate) fn write(out: &mut dyn Write, file: &Path, trace: &Trace) -> io::Result<bool> {
    let (major, minor) = trace.version();
    let path = file.display();
    writeln!(
        out,
        "{path}: a trace of format {major}.{minor}, process {}",
        trace.process()
    )?;
    // It stands for the end where there is none.
    let is_needless = |key: &str| key == "through" && trace.has_ended();
    for (key, value) in trace.facts().filter(|(key, _)| !is_needless(key)) {
        writeln!(out, "  {key}: {value}")?;
    }
    writeln!(
        out,
        "  {} events in {:?}",
        trace.records().len(),
        trace.duration()
    )?;
    if !trace.has_ended() {
        writeln!(
            out,
            "  without an end: its program was killed, or still records, or could not write all"
        )?;
    }
    if trace.unknown_events() > 0 {
        let unknown = trace.unknown_events();
        writeln!(
            out,
            "  {unknown} events of kinds that this version does not know"
        )?;
    }
    let mut events = vec![0_u64; trace.rings().len()];
    for record in trace.records() {
        events[usize::from(record.ring)] += 1;
    }
    for (index, (ring, events)) in trace.rings().iter().zip(events).enumerate() {
        let thread = match ring.hub {
            Some(_) => format!(", thread {}", ring.thread),
            None => String::new(),
        };
        writeln!(out, "  {ring}{thread}: {events} events")?;
        for lost in trace
            .lost()
            .iter()
            .filter(|lost| usize::from(lost.ring) == index)
        {
            let before = lost.before.saturating_sub(trace.begin()) as f64 / 1e9;
            match lost.after {
                None => writeln!(out, "    {} before these were written over", lost.events)?,
                Some(after) => {
                    let after = after.saturating_sub(trace.begin()) as f64 / 1e9;
                    let events = lost.events;
                    writeln!(
                        out,
                        "    LOST: {events} between {after:.6} s and {before:.6} s"
                    )?;
                }
            }
        }
    }
    for problem in trace.problems() {
        writeln!(out, "  DAMAGED {problem}")?;
    }
    Ok(trace.problems().is_empty())
}
