//! Ctrl-C: SIGINT ends `run` by cancelling its greenlet.
//!
//! Only where nothing was done about the signal before, and while nobody waits for it. The handler
//! sets a state and wakes the monitor, which cancels. A second signal ends the process, as does one
//! in a child that was forked and has not called `exec`: there is no monitor.

use std::process;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicUsize};

use super::monitor;
use super::signals::{self, HandlerUse};
use crate::lock::StaticMutex;
use crate::sys::fault;

pub(super) const SIGNAL: libc::c_int = libc::SIGINT;

/// Nobody is to be interrupted.
const IDLE: u32 = 0;
/// The first signal interrupts.
const ARMED: u32 = 1;
/// It has come, and the monitor is to look.
const COME: u32 = 2;
/// The monitor has looked. As in `COME`, the next signal ends the process.
const TOLD: u32 = 3;

/// `IDLE` and `ARMED` are written under [`RUNS`], `COME` by the handler, `TOLD` by the monitor.
static STATE: AtomicU32 = AtomicU32::new(IDLE);
/// The process whose runs these are. Written under `RUNS`, before `ARMED`.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// Who may be interrupted, and the handler while there is anybody.
static RUNS: StaticMutex<(usize, Option<HandlerUse>)> = StaticMutex::new((0, None));

/// How often a signal has interrupted. Raised by the handler before the monitor is told.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// While it lives, the first SIGINT interrupts.
#[derive(Debug)]
pub(crate) struct Interruptible {
    /// [`COUNT`], when it began.
    since: usize,
}

impl Interruptible {
    /// `None` where something else is done about the signal, or nothing can be.
    pub(crate) fn enter() -> Option<Self> {
        // Nothing can unwind, or there is no monitor.
        if cfg!(panic = "abort") || monitor::is_a_parents() {
            return None;
        }
        let mut runs = RUNS.lock();
        if runs.0 == 0 {
            // What somebody else does about it is not touched, not even for a moment.
            if !signals::is_default_or_ours(SIGNAL) {
                return None;
            }
            let handler = HandlerUse::of(SIGNAL).ok();
            let handler = handler.filter(HandlerUse::was_default)?;
            runs.1 = Some(handler);
            PROCESS.store(process::id(), Relaxed);
            STATE.store(ARMED, Relaxed);
        }
        runs.0 += 1;
        let since = COUNT.load(Relaxed);
        Some(Self { since })
    }

    /// Whether a signal has come since.
    pub(super) fn is_interrupted(&self) -> bool {
        COUNT.load(Relaxed) != self.since
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        let mut runs = RUNS.lock();
        runs.0 -= 1;
        if runs.0 == 0 {
            // The handler goes first: a signal that it were to ignore would be lost.
            runs.1 = None;
            STATE.store(IDLE, Relaxed);
        }
    }
}

/// In the handler, when nobody waits for the signal.
pub(super) fn come() {
    let is_here = PROCESS.load(Relaxed) == process::id();
    match STATE.compare_exchange(ARMED, COME, Relaxed, Relaxed) {
        Ok(_) if is_here => {
            COUNT.fetch_add(1, Relaxed);
            monitor::notify();
        }
        Err(IDLE) => {}
        _ => fault::die_of(SIGNAL),
    }
}

/// For the monitor: whether a signal has come that it has not been told of.
pub(super) fn has_come() -> bool {
    STATE.load(Relaxed) == COME && STATE.compare_exchange(COME, TOLD, Relaxed, Relaxed).is_ok()
}
