//! Greenlets as threads of an operating system.

use std::collections::{HashMap, HashSet};

use crate::record::Greenlet;
use crate::trace::analysis::{Timeline, Trace};

/// Linux numbers its threads from below this.
const BASE: i32 = 10_000_000;

/// Numbers for viewers that take 31 bits. The number of a greenlet is at its end in decimal, unless it has
/// too many digits.
pub(super) struct ThreadIds {
    process: i32,
    hubs: Vec<i32>,
    /// Those that do not fit.
    large: HashMap<Greenlet, i32>,
}

impl ThreadIds {
    pub(super) fn new(trace: &Trace, timeline: &Timeline) -> Self {
        let mut taken = HashSet::new();
        let process = i32::try_from(trace.process())
            .ok()
            .filter(|&process| (1..BASE).contains(&process))
            .unwrap_or(BASE - 1);
        let hubs = trace.rings().iter().enumerate().map(|(index, ring)| {
            // Below the numbers of greenlets too, and no thread has one of these.
            let other = BASE / 2 + index as i32;
            let thread = i32::try_from(ring.thread).unwrap_or(0);
            let free = (1..BASE / 2).contains(&thread) && taken.insert(thread);
            if free { thread } else { other }
        });
        let hubs = hubs.collect();
        let large = timeline.greenlets().iter().map(|life| life.id);
        let large = large.filter(|&id| fitting(id).is_none());
        // Greenlets are numbered from one up: if there are large numbers, there are none near the end.
        let large = large.zip((LAST + 1..=i32::MAX).rev()).collect();
        Self {
            process,
            hubs,
            large,
        }
    }

    pub(super) fn process(&self) -> i32 {
        self.process
    }

    /// The thread of a ring.
    pub(super) fn hub(&self, ring: u16) -> i32 {
        let hub = self.hubs.get(usize::from(ring)).copied();
        hub.unwrap_or(BASE / 2 + i32::from(ring))
    }

    pub(super) fn greenlet(&self, id: Greenlet) -> i32 {
        let large = || self.large.get(&id).copied();
        fitting(id).or_else(large).unwrap_or(i32::MAX)
    }

    /// A thread that is no hub.
    pub(super) fn thread(&self, number: u32) -> i32 {
        i32::try_from(number).unwrap_or(BASE - 2)
    }
}

/// The largest number that is a greenlet's own.
const LAST: i32 = i32::MAX / 2;

fn fitting(id: Greenlet) -> Option<i32> {
    let number = i32::try_from(id).ok()?.checked_add(BASE)?;
    (number <= LAST).then_some(number)
}
