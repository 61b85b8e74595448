//! The jobs that wait for a thread: as many as there are places.

use std::collections::VecDeque;
use std::fmt;
use std::ptr::NonNull;

use super::pool::Job;
use crate::waker::{Header, WakeList, Waker};

/// Jobs in order, and those who wait for a place in their order.
///
/// Invariant, outside of the pool's lock: nobody waits while there is a place.
#[derive(Default)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    /// Places whose holders have not come with their jobs yet.
    reserved: usize,
    waiting: VecDeque<Waker>,
}

impl Queue {
    fn has_place(&self, limit: usize) -> bool {
        self.jobs.len() + self.reserved < limit
    }

    /// Takes a place, if there is one that nobody waits for.
    pub(super) fn reserve(&mut self, limit: usize) -> bool {
        let free = self.waiting.is_empty() && self.has_place(limit);
        if free {
            self.reserved += 1;
        }
        free
    }

    /// Queues up for a place; `grant` gives it.
    pub(super) fn wait(&mut self, waker: Waker) {
        self.waiting.push_back(waker);
    }

    /// Gives the places that are free to those who came first: they are taken already when the wakers
    /// are woken.
    pub(super) fn grant(&mut self, limit: usize, wakes: &mut WakeList) {
        while self.has_place(limit)
            && let Some(waker) = self.waiting.pop_front()
        {
            self.reserved += 1;
            wakes.push(waker);
        }
    }

    /// Takes back a waiter whose park has ended otherwise. If its waker is not here, it was given a
    /// place, and that is free again.
    pub(super) fn give_up(&mut self, cell: NonNull<Header>, generation: u32) {
        let mut waiting = self.waiting.iter();
        match waiting.position(|waker| waker.is_for(cell, generation)) {
            Some(index) => drop(self.waiting.remove(index)),
            None => self.return_place(),
        }
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
        self.waiting.len()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("jobs", &self.jobs.len())
            .field("reserved", &self.reserved)
            .field("waiting", &self.waiting.len())
            .finish()
    }
}
