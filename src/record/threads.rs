//! Threads of the crate's own that wake no greenlet: the search for deadlocks counts them as such.
//!
//! Hubs, the monitor and the blocking pool are counted elsewhere.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// How many there are, in the low half, and how often that has changed.
static COUNTED: AtomicU64 = AtomicU64::new(0);

/// While it lives, the thread that made it wakes no greenlet, and so hides no deadlock.
#[derive(Debug)]
pub(crate) struct OwnThread {
    /// It is of the thread that made it.
    not_send: PhantomData<*const ()>,
}

impl OwnThread {
    /// Of the calling thread, which is not counted before it runs nor when it has ended: so a thread of
    /// somebody else's is never taken for it.
    pub(crate) fn count() -> Self {
        change(1);
        Self {
            not_send: PhantomData,
        }
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        change(-1);
    }
}

/// How many threads are counted, and how often that has changed.
pub(crate) fn own_threads() -> (usize, u32) {
    // SeqCst: the deadlock detector's snapshots are in one order with the changes.
    let counted = COUNTED.load(SeqCst);
    (counted as u32 as usize, (counted >> 32) as u32)
}

fn change(by: i64) {
    let difference = by.wrapping_add(1 << 32) as u64;
    COUNTED.fetch_add(difference, SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_counts_while_it_says_so_and_every_change_is_seen() {
        let changes = || own_threads().1;
        let before = changes();
        thread::spawn(move || {
            let own = OwnThread::count();
            assert!(own_threads().0 > 0);
            drop(own);
        })
        .join()
        .unwrap();
        assert!(changes().wrapping_sub(before) >= 2);
    }
}
