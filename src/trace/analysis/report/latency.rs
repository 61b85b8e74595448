//! From when a greenlet became ready to when it ran.

use serde::Serialize;

use super::figures::{Figures, Groups};
use super::labels::Labels;
use crate::trace::analysis::{Doing, Ready, Timeline, Trace};

/// From when greenlets became ready to when they ran.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// After a park had been ended.
    pub woken: Figures,
    /// After it had been spawned.
    pub spawned: Figures,
    /// After it had yielded.
    pub yielded: Figures,
    /// After a park had been ended, by the hubs that then ran them.
    pub hubs: Vec<GroupLatency>,
    /// After a park had been ended, by where they were spawned.
    pub sites: Vec<GroupLatency>,
}

/// The same of a part of them.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct GroupLatency {
    /// Which part: a hub, or a place where greenlets are spawned.
    pub name: String,
    /// How long it took.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Latency {
    pub(super) fn new(trace: &Trace, timeline: &Timeline, labels: &Labels<'_>, top: usize) -> Self {
        let (mut hubs, mut sites) = (Groups::new(), Groups::new());
        let (mut woken, mut spawned, mut yielded) = (Vec::new(), Vec::new(), Vec::new());
        for life in timeline.greenlets() {
            for pair in life.slices.windows(2) {
                let Doing::Ready(why) = pair[0].doing else {
                    continue;
                };
                let Doing::Running { ring, .. } = pair[1].doing else {
                    continue;
                };
                // Where events were lost they need not belong together.
                if pair[0].cut || pair[1].run != pair[0].run.wrapping_add(1) {
                    continue;
                }
                let nanos = pair[0].nanos();
                match why {
                    Ready::Woken(..) => {
                        woken.push(nanos);
                        sites.add(life.site, nanos);
                        if let Some(ring) = ring {
                            hubs.add(ring, nanos);
                        }
                    }
                    Ready::Spawned => spawned.push(nanos),
                    Ready::Yielded => yielded.push(nanos),
                    Ready::Unknown => {}
                }
            }
        }
        let mut hubs = hubs.figures();
        hubs.sort_by_key(|&(ring, _)| ring);
        let hubs = hubs.into_iter().map(|(ring, figures)| GroupLatency {
            name: trace.rings()[usize::from(ring)].to_string(),
            figures,
        });
        let mut sites = sites.figures();
        sites.sort_by_key(|(_, figures)| u64::MAX - figures.p99_ns);
        let sites = sites.into_iter().take(top);
        let sites = sites.map(|(site, figures)| GroupLatency {
            name: labels.text(site),
            figures,
        });
        Self {
            woken: Figures::of(woken.into_iter()),
            spawned: Figures::of(spawned.into_iter()),
            yielded: Figures::of(yielded.into_iter()),
            hubs: hubs.collect(),
            sites: sites.collect(),
        }
    }
}
