//! Folded stacks.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::names::{self, Names};
use crate::trace::analysis::{Doing, Life, Timeline, Trace};

/// Writes where greenlets wait, as `inferno-flamegraph` and `flamegraph.pl` take it: a line for each kind of wait,
/// with how many microseconds it took all greenlets together.
///
/// ```text
/// main;src/crawl.rs:80:9;fetcher;io-read;descriptor 1503340
/// ```
///
/// The frames are the greenlet's ancestors, oldest first, and itself (each by its name, or else by where it was
/// spawned), the reason, and what kind of thing is waited for. Greenlets that are ready have the reason `ready`:
/// they wait for a hub.
///
/// # Errors
///
/// Those of `out`.
pub fn folded(trace: &Trace, timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let names = Names::new(trace, timeline);
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for life in timeline.greenlets() {
        let family = family(&names, timeline, life);
        for slice in &life.slices {
            let wait = match slice.doing {
                Doing::Running { .. } => continue,
                Doing::Ready(_) => "ready".into(),
                Doing::Waiting { wait, .. } => match names::object_kind(wait) {
                    Some(kind) => format!("{};{kind}", names::reason(wait)),
                    None => names::reason(wait).into_owned(),
                },
            };
            let nanos: &mut u64 = stacks.entry(format!("{family};{wait}")).or_default();
            *nanos = nanos.saturating_add(slice.nanos());
        }
    }
    for (stack, nanos) in stacks {
        let micros = nanos.saturating_add(500) / 1000;
        if micros > 0 {
            writeln!(out, "{stack} {micros}")?;
        }
    }
    Ok(())
}

/// Ancestors more than this are left out.
const MOST_ANCESTORS: usize = 64;

/// A greenlet's ancestors and itself.
fn family(names: &Names<'_>, timeline: &Timeline, life: &Life) -> String {
    let mut frames = vec![frame(names, life)];
    let mut parent = life.parent;
    while let Some(life) = timeline.greenlet(parent)
        && frames.len() <= MOST_ANCESTORS
    {
        frames.push(frame(names, life));
        parent = life.parent;
    }
    frames.reverse();
    frames.join(";")
}

/// Without what has a meaning in the format.
fn frame(names: &Names<'_>, life: &Life) -> String {
    let name = names.text(life.name);
    let site = names.text(life.site);
    let frame = match (name.trim(), site.trim()) {
        ("", "") => "greenlet",
        ("", site) => site,
        (name, _) => name,
    };
    frame.replace([';', '\n'], ",")
}
