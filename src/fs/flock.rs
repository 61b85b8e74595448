//! Waiting for a file's lock, which the kernel knows only how to block a thread for.
//!
//! A thread of the blocking pool for each greenlet that waits would be the end of the pool: 512 of
//! them, and the one that is to unlock finds no thread for what it does first. So nobody blocks.
//! Greenlets that want the lock of one file stand in a line; the first one tries again and again, at
//! growing intervals up to [`LONGEST`], and at once when a file is unlocked or closed in this process.
//! That costs as much for ten thousand greenlets as for one, serves them in order, and can be cancelled.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::line::Line;
use crate::lock::StaticMutex;
use crate::reason::{Wait, WaitReason};
use crate::sched;
use crate::sys::{clock, file};
use crate::waker::{Outcome, Waker};

/// How long the first in line sleeps after its first attempt. Doubled each time.
const SHORTEST: Duration = Duration::from_micros(500);
/// How long it takes at most to see that another process has unlocked the file.
const LONGEST: Duration = Duration::from_millis(20);

type Identity = (u32, u32, u64);

/// The lines of the files whose locks greenlets wait for. An entry goes with the last of them.
static LINES: StaticMutex<BTreeMap<Identity, Arc<Line>>> = StaticMutex::new(BTreeMap::new());

/// Those that are first in their line and sleep.
static FIRSTS: StaticMutex<Vec<Waker>> = StaticMutex::new(Vec::new());

/// The length of `FIRSTS`, written under its lock.
static SLEEPING: AtomicUsize = AtomicUsize::new(0);

/// Takes a lock by `attempt`, which does not block, and parks until that has worked.
pub(super) fn acquire(
    fd: BorrowedFd<'_>,
    attempt: impl Fn() -> Result<(), TryLockError>,
) -> io::Result<()> {
    if let Some(answer) = answer_of(attempt()) {
        return answer;
    }
    let wait = WaitReason::FileLock.on(fd.as_raw_fd() as u64);
    let place = InLine::join(file::identity(fd)?);
    let _turn = place.line.enter(wait);
    let mut pause = SHORTEST;
    loop {
        if let Some(answer) = answer_of(attempt()) {
            return answer;
        }
        sleep(wait, pause);
        pause = (pause * 2).min(LONGEST);
    }
}

/// A file was unlocked or closed: those that wait for a lock look again.
pub(super) fn released() {
    // Relaxed: one that is missed here looks again by itself.
    if SLEEPING.load(Relaxed) == 0 {
        return;
    }
    // Nor does it matter if another thread has them at the moment, or had them when it was forked.
    let Some(mut firsts) = FIRSTS.try_lock() else {
        return;
    };
    let woken = std::mem::take(&mut *firsts);
    SLEEPING.store(0, Relaxed);
    drop(firsts);
    woken.into_iter().for_each(Waker::wake);
}

/// `None` if the lock is somebody else's.
fn answer_of(attempt: Result<(), TryLockError>) -> Option<io::Result<()>> {
    match attempt {
        Ok(()) => Some(Ok(())),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => None,
        Err(TryLockError::Error(error)) => Some(Err(error)),
    }
}

fn sleep(wait: Wait, pause: Duration) {
    let deadline = clock::now().saturating_add(pause.as_nanos() as u64);
    let outcome = sched::park(wait, Some(deadline), |waker| {
        let mut firsts = FIRSTS.lock();
        firsts.push(waker);
        SLEEPING.store(firsts.len(), Relaxed);
    });
    if outcome == Outcome::Woken {
        return;
    }
    if let Some((cell, generation)) = sched::last_park() {
        let mut firsts = FIRSTS.lock();
        firsts.retain(|waker| !waker.is_for(cell, generation));
        SLEEPING.store(firsts.len(), Relaxed);
    }
    if outcome == Outcome::Cancelled {
        sched::unwind_cancelled();
    }
}

/// Somebody who waits for the lock of a file.
struct InLine {
    file: Identity,
    line: Arc<Line>,
}

impl InLine {
    fn join(file: Identity) -> Self {
        let line = LINES.lock().entry(file).or_default().clone();
        Self { file, line }
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut lines = LINES.lock();
        // Only this one and the map's are left, and under its lock nobody gets another.
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(&self.file);
        }
    }
}
