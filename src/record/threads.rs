//! How many threads of the process do nothing but record, so that they are not taken for the program's.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// One that counts as long as this lives.
#[derive(Debug)]
pub(crate) struct OwnThread(());

/// Counts a thread that is about to start: it never wakes anybody.
pub(crate) fn own_thread() -> OwnThread {
    COUNT.fetch_add(1, SeqCst);
    OwnThread(())
}

/// How many there are; one may be counted for a moment longer or shorter than it runs.
pub(crate) fn own_threads() -> usize {
    COUNT.load(SeqCst)
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, SeqCst);
    }
}
