//! Those who wait for one direction of a descriptor, first come, first served.

use std::collections::VecDeque;
use std::ptr::NonNull;

use crate::waker::{Header, WakeList, Waker};

/// Wakers in order. Nearly always there is one at most, so the first has a place of its own: no memory is
/// allocated for it, and none touched but the registration.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// `None` only if there are no others.
    first: Option<Waker>,
    others: VecDeque<Waker>,
}

impl Waiters {
    #[inline]
    pub(super) fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.others.push_back(waker);
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Waker> {
        let next = if self.others.is_empty() {
            None
        } else {
            self.others.pop_front()
        };
        std::mem::replace(&mut self.first, next)
    }

    /// Takes the waker of park `generation` of `cell` out, if it is here.
    pub(super) fn remove(&mut self, cell: NonNull<Header>, generation: u32) -> Option<Waker> {
        let is_it = |waker: &Waker| waker.is_for(cell, generation);
        if self.first.as_ref().is_some_and(is_it) {
            return self.pop();
        }
        let index = self.others.iter().position(is_it)?;
        self.others.remove(index)
    }

    pub(super) fn take_all(&mut self, wakes: &mut WakeList) {
        let others = self.others.drain(..);
        (self.first.take().into_iter().chain(others)).for_each(|waker| wakes.push(waker));
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }
}
