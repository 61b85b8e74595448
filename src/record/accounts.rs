//! Accounts: what a recorder counts itself, beside its ring, if it is asked to. They are exact for the whole
//! session, where a ring forgets.

use std::collections::HashMap;

use super::event::{Greenlet, Source};

/// What happened while recording was on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) greenlets: HashMap<Greenlet, Account>,
    /// How often who ended whose parks.
    pub(crate) wakes: HashMap<(Source, Greenlet), u64>,
}

/// What one greenlet did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Runs that have ended.
    pub(crate) runs: u64,
    /// How long these took together.
    pub(crate) ticks: u64,
}

impl Accounts {
    pub(super) fn add_run(&mut self, greenlet: Greenlet, ticks: u64) {
        let account = self.greenlets.entry(greenlet).or_default();
        account.runs += 1;
        account.ticks += ticks;
    }

    pub(super) fn add_wake(&mut self, by: Source, greenlet: Greenlet) {
        *self.wakes.entry((by, greenlet)).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (greenlet, account) in &other.greenlets {
            let sum = self.greenlets.entry(*greenlet).or_default();
            sum.runs += account.runs;
            sum.ticks += account.ticks;
        }
        for (edge, count) in &other.wakes {
            *self.wakes.entry(*edge).or_default() += count;
        }
    }
}
