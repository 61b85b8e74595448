//! Queues with crossbeam's names, for models; crossbeam has models of its own queues.
//!
//! They promise as little as they may: who looks whether one is empty, or tries to take something,
//! need not see what was pushed without a fence in between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub(crate) use crossbeam_deque::Steal;
use loom::sync::Mutex;
use loom::sync::atomic::AtomicUsize;

#[derive(Debug)]
pub(crate) struct Injector<T> {
    items: Mutex<VecDeque<T>>,
    /// Written under the lock, read without.
    length: AtomicUsize,
}

impl<T> Injector<T> {
    pub(crate) fn new() -> Self {
        Self {
            items: Mutex::new(VecDeque::new()),
            length: AtomicUsize::new(0),
        }
    }

    pub(crate) fn push(&self, item: T) {
        let mut items = self.items.lock().unwrap();
        items.push_back(item);
        self.length.store(items.len(), Relaxed);
    }

    pub(crate) fn steal(&self) -> Steal<T> {
        match self.take(|_| 1).pop_front() {
            Some(item) => Steal::Success(item),
            None => Steal::Empty,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.length.load(Relaxed)
    }

    fn take(&self, count: impl FnOnce(usize) -> usize) -> VecDeque<T> {
        if self.is_empty() {
            return VecDeque::new();
        }
        let mut items = self.items.lock().unwrap();
        let count = count(items.len()).min(items.len());
        let taken = items.drain(..count).collect();
        self.length.store(items.len(), Relaxed);
        taken
    }
}

#[derive(Debug)]
pub(crate) struct Worker<T>(Arc<Injector<T>>);

#[derive(Debug)]
pub(crate) struct Stealer<T>(Arc<Injector<T>>);

impl<T> Worker<T> {
    pub(crate) fn new_fifo() -> Self {
        Self(Arc::new(Injector::new()))
    }

    pub(crate) fn stealer(&self) -> Stealer<T> {
        Stealer(self.0.clone())
    }

    pub(crate) fn push(&self, item: T) {
        self.0.push(item);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.0.steal().success()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Stealer<T> {
    pub(crate) fn steal(&self) -> Steal<T> {
        self.0.steal()
    }

    pub(crate) fn steal_batch_and_pop(&self, into: &Worker<T>) -> Steal<T> {
        let mut taken = self.0.take(|length| length.div_ceil(2));
        let Some(first) = taken.pop_front() else {
            return Steal::Empty;
        };
        taken.into_iter().for_each(|item| into.push(item));
        Steal::Success(first)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
