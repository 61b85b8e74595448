//! The jobs that wait for a thread: as many as there are places.

use std::collections::VecDeque;
use std::fmt;

use super::pool::Job;
use crate::sched::wait_list::{Claimed, Enlist, WaitList};

/// Jobs in order, and those who wait for a place in their order.
///
/// Invariant, outside of the pool's lock: nobody waits while there is a place.
#[derive(Default)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    /// Places whose holders have not come with their jobs yet.
    reserved: usize,
    waiters: WaitList<()>,
    /// How many those are.
    waiting: usize,
}

impl Queue {
    fn has_place(&self, limit: usize) -> bool {
        self.jobs.len() + self.reserved < limit
    }

    /// Takes a place, if there is one that nobody waits for.
    pub(super) fn reserve(&mut self, limit: usize) -> bool {
        let free = self.waiters.is_empty() && self.has_place(limit);
        if free {
            self.reserved += 1;
        }
        free
    }

    /// Takes a place, or queues up for one, which `grant` gives.
    pub(super) fn enlist(&mut self, limit: usize) -> Enlist {
        let must_wait = !self.reserve(limit);
        self.waiting += usize::from(must_wait);
        Enlist::last_if(must_wait)
    }

    /// Gives the places that are free to those who came first: they are taken already when the waiters
    /// go on.
    pub(super) fn grant(&mut self, limit: usize, claimed: &mut Claimed<()>) {
        while self.has_place(limit) && self.waiters.claim_first(claimed).is_some() {
            self.reserved += 1;
            self.waiting -= 1;
        }
    }

    /// Where those wait who queue up.
    pub(super) fn waiters(&mut self) -> &mut WaitList<()> {
        &mut self.waiters
    }

    /// One that had queued up waits no more.
    pub(super) fn leave(&mut self) {
        self.waiting -= 1;
    }

    /// A place that was taken is used for no job.
    pub(super) fn return_place(&mut self) {
        self.reserved -= 1;
    }

    /// Puts a job into a place that was taken.
    pub(super) fn push(&mut self, job: Job) {
        self.return_place();
        self.jobs.push_back(job);
    }

    pub(super) fn pop(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    /// How many jobs there are.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// How many wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("jobs", &self.jobs.len())
            .field("reserved", &self.reserved)
            .field("waiting", &self.waiting)
            .finish()
    }
}
