//! What was recorded.

use std::collections::BTreeMap;

use super::{Greenlet, Source};
use crate::record::{Owner, Session};

/// What was recorded; by [`stop`](super::stop).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Events recorded.
    pub events: u64,
    /// Those of them that are not in the file: the rings were full before they were written. Of the flight
    /// recorder, those that newer ones have taken the place of.
    pub lost: u64,
    /// Texts, as names, for which there was no room.
    pub texts_lost: u64,
    /// How long the file of a stream is, in bytes.
    pub bytes: u64,
    /// The hubs, and last, if there is any, what other threads have recorded.
    pub rings: Vec<RingSummary>,
    /// What was counted besides, if [`Options::accounts`](super::Options::accounts) was wanted.
    pub accounts: Option<Accounts>,
}

/// What one hub has recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RingSummary {
    /// The number of the runtime; 0 for all other threads.
    pub runtime: u16,
    /// The number of the hub; `None` for all other threads.
    pub hub: Option<u16>,
    /// Events recorded.
    pub events: u64,
}

/// What was counted beside the rings, for the whole time that recording was on.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Accounts {
    /// What each greenlet did.
    pub greenlets: BTreeMap<Greenlet, Account>,
    /// How often who has ended whose parks.
    pub wakes: BTreeMap<(Source, Greenlet), u64>,
}

/// What one greenlet did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// Runs that have ended: from a switch in to the next switch out.
    pub runs: u64,
    /// How long they took together, in ticks of the trace's clock.
    pub ticks: u64,
}

impl Summary {
    pub(super) fn of(session: &Session) -> Self {
        let rings = session.rings();
        let summaries = rings.iter().map(|ring| RingSummary {
            runtime: ring.owner().runtime,
            hub: Some(ring.owner().hub).filter(|hub| *hub != Owner::NO_HUB),
            events: ring.events(),
        });
        let mut summaries: Vec<_> = summaries.collect();
        summaries.sort_by_key(|ring| (ring.hub.is_none(), ring.runtime, ring.hub));
        let kept: u64 = rings.iter().map(|ring| ring.kept_events()).sum();
        let events = summaries.iter().map(|ring| ring.events).sum();
        let accounts = session.accounts().map(|counted| Accounts {
            greenlets: counted
                .greenlets
                .into_iter()
                .map(|(greenlet, account)| {
                    let (runs, ticks) = (account.runs, account.ticks);
                    (greenlet, Account { runs, ticks })
                })
                .collect(),
            wakes: counted.wakes.into_iter().collect(),
        });
        Self {
            events,
            lost: events - kept.min(events),
            texts_lost: session.texts().lost(),
            bytes: 0,
            rings: summaries,
            accounts,
        }
    }
}
