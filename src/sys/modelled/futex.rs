//! Futexes of a model. They never answer spuriously.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use loom::sync::Condvar;
use loom::sync::atomic::AtomicU32;

use super::KERNEL;

/// Who waits: on which word, in the order in which they came.
#[derive(Default)]
pub(super) struct Waiting(Vec<(usize, Arc<Condvar>)>);

pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    if super::is_over(timeout) {
        // Who looks again sees something new.
        return loom::thread::yield_now();
    }
    let mut waiting = KERNEL.lock.lock().unwrap();
    // Relaxed: who wakes has changed the word before it takes the lock.
    if word.load(Relaxed) != expected {
        return;
    }
    let woken = Arc::new(Condvar::new());
    waiting
        .0
        .push((std::ptr::from_ref(word).addr(), woken.clone()));
    while waiting
        .0
        .iter()
        .any(|(_, other)| Arc::ptr_eq(other, &woken))
    {
        waiting = woken.wait(waiting).unwrap();
    }
}

pub(crate) fn wake_one(word: *const AtomicU32) {
    let mut waiting = KERNEL.lock.lock().unwrap();
    let first = waiting.0.iter().position(|(at, _)| *at == word.addr());
    if let Some(first) = first {
        waiting.0.remove(first).1.notify_one();
    }
}
