//! SIGQUIT (Ctrl-\): writes a dump to standard error, and the program goes on.
//!
//! Only where nothing was done about the signal before, and while nobody waits for it. The handler notes that it
//! has come and wakes the monitor, which has a thread take the dump. A second signal within two seconds does what
//! the first would have done without this, and so does one in a child that was forked and has not called
//! `exec`: there is no monitor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::thread;
use std::time::Duration;

use super::dump::dump;
use super::monitor;
use super::signals::{self, HandlerUse};
use crate::lock::StaticMutex;
use crate::sys::{clock, fault};

pub(super) const SIGNAL: libc::c_int = libc::SIGQUIT;

/// A second signal within this time ends the process.
const AGAIN: Duration = Duration::from_secs(2);

/// The process that dumps; 0 if none does. Written under [`USERS`], read by the handler.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// When the last signal came, or 0. The handler's.
static LAST: AtomicU64 = AtomicU64::new(0);
/// A dump is wanted. Set by the handler, taken back by the monitor, or when nobody dumps any more.
static WANTED: AtomicBool = AtomicBool::new(false);
/// How many want this, and the handler while there is anybody.
static USERS: StaticMutex<(usize, Option<HandlerUse>)> = StaticMutex::new((0, None));

/// While it lives, the signal dumps.
#[derive(Debug)]
pub(crate) struct DumpsOnQuit(());

impl DumpsOnQuit {
    /// `None` where something else is done about the signal, or nothing can be.
    pub(crate) fn enter() -> Option<Self> {
        // There is no monitor.
        if monitor::is_a_parents() {
            return None;
        }
        let mut users = USERS.lock();
        if users.0 == 0 {
            // What somebody else does about it is not touched, not even for a moment.
            if !signals::is_default_or_ours(SIGNAL) {
                return None;
            }
            let handler = HandlerUse::of(SIGNAL).ok();
            let handler = handler.filter(HandlerUse::was_default)?;
            users.1 = Some(handler);
            PROCESS.store(process::id(), Relaxed);
        }
        users.0 += 1;
        Some(Self(()))
    }
}

impl Drop for DumpsOnQuit {
    fn drop(&mut self) {
        let mut users = USERS.lock();
        users.0 -= 1;
        if users.0 == 0 {
            // The handler goes first: a signal that it were to ignore would be lost.
            users.1 = None;
            PROCESS.store(0, Relaxed);
            // One that came while the last runtime ended is not the next one's.
            WANTED.store(false, Relaxed);
        }
    }
}

/// In the handler, when nobody waits for the signal.
pub(super) fn come() {
    let process = PROCESS.load(Relaxed);
    if process == 0 {
        return;
    }
    let now = clock::now();
    let last = LAST.swap(now, Relaxed);
    let is_again = last != 0 && Duration::from_nanos(now.saturating_sub(last)) < AGAIN;
    if is_again || process != process::id() {
        return fault::die_of(SIGNAL);
    }
    WANTED.store(true, Relaxed);
    monitor::notify();
}

/// For the monitor: whether a signal has come that it has not been told of.
pub(super) fn has_come() -> bool {
    WANTED.load(Relaxed) && WANTED.swap(false, Relaxed)
}

/// Has a thread write a dump, which takes longer than a hub's timers can wait.
pub(super) fn write_dump() {
    let thread = thread::Builder::new().name("greenlet-dump".into());
    if let Err(error) = thread.spawn(|| write(&format!("greenlet: {}\n\n", dump()))) {
        write(&format!("greenlet: there is no thread to dump: {error}\n"));
    }
}

/// Not by `io::stderr` itself, whose lock may be held by one that is stuck. What cannot be written is lost:
/// there is nobody to tell.
fn write(text: &str) {
    if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
        let _ = File::from(stderr).write_all(text.as_bytes());
    }
}
