//! Runtime code does not unwind: a panic in it leaves queues half changed, so it ends the process.

use std::io::Write;

/// Aborts the process when dropped; [`forget`](Self::disarm) it when the code is through.
#[derive(Debug)]
pub(crate) struct AbortOnUnwind(&'static str);

impl AbortOnUnwind {
    /// `place` tells what was going on.
    #[inline]
    pub(crate) fn arm(place: &'static str) -> Self {
        Self(place)
    }

    #[inline]
    pub(crate) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbortOnUnwind {
    #[cold]
    fn drop(&mut self) {
        // Not `eprintln`, which panics when standard error cannot be written.
        let mut stderr = std::io::stderr();
        let _ = writeln!(
            stderr,
            "greenlet: a panic in {}; the runtime cannot go on",
            self.0
        );
        std::process::abort();
    }
}
