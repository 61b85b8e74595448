//! Deadlock: greenlets that nothing can ever wake.
//!
//! Looked for by the monitor when all hubs sleep. There is a deadlock only if nobody is left who
//! could wake anybody: no timer, no greenlet that waits for a descriptor, no job on the blocking
//! pool, no signal handler, and no OS thread in the process but hubs, the monitor, idle threads of the
//! blocking pool and threads that are blocked in this crate. `README.md` tells why no report is false.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::cell::Id;
use super::roll_call::Waiting;
use super::sampler;
use super::shared::Shared;
use super::signals;
use super::thread_cell;
use crate::record::{self, Trigger};
use crate::sys::task;

/// The first look for a deadlock is repeated after this, and then after twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many milliseconds the hubs may take to answer the roll call.
const ROLL_CALL: u32 = 1000;

/// Greenlets that wait, each for another one or for something that nobody is left to do.
///
/// Every greenlet of the process waits, and so does every thread that could wake one. Where anything
/// else might still happen there is no deadlock: a timer, a descriptor that a greenlet waits for, a
/// handler of a signal, or a thread that does something else than wait in this crate, as to sleep.
///
/// [`run`](crate::run) panics with it, and [`try_run`](crate::try_run) answers with it. Where neither
/// is under way, as when plain threads wait for greenlets of the default runtime, it is written to
/// standard error, and the waits go on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deadlock {
    /// All greenlets, those that were spawned first in front.
    pub greenlets: Vec<WaitingGreenlet>,
}

/// A greenlet that waits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaitingGreenlet {
    /// Its number.
    pub id: Id,
    /// Its name.
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// What it waits for, as a text.
    pub waits: String,
    /// The greenlet whose end it waits for, if it does that: its number.
    pub waits_for: Option<u64>,
    /// How long, up to some milliseconds.
    pub since: Duration,
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A report need not be longer.
        const SHOWN: usize = 100;
        let count = self.greenlets.len();
        write!(
            f,
            "deadlock: nothing can wake the {count} greenlets that are left"
        )?;
        for greenlet in self.greenlets.iter().take(SHOWN) {
            write!(f, "\n  {greenlet}")?;
        }
        if count > SHOWN {
            write!(f, "\n  and {} more", count - SHOWN)?;
        }
        Ok(())
    }
}

impl fmt::Display for WaitingGreenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("<unnamed>");
        write!(
            f,
            "greenlet '{name}' (number {}, spawned at {}) waits {}, for {} ms",
            self.id,
            self.spawned_at,
            self.waits,
            self.since.as_millis()
        )
    }
}

impl std::error::Error for Deadlock {}

/// Looks for deadlocks. The monitor's own.
#[derive(Debug)]
pub(super) struct Detector {
    pause: Duration,
    /// The state whose deadlock was told on standard error.
    told: Option<Snapshot>,
}

impl Detector {
    pub(super) fn new() -> Self {
        Self {
            pause: FIRST_PAUSE,
            told: None,
        }
    }

    /// Looks, when all hubs seem to sleep.
    pub(super) fn look(&mut self, runtimes: &[Arc<Shared>]) -> Found {
        // If anything may still come, a hub will wake.
        if !may_be_deadlocked(runtimes) {
            self.pause = FIRST_PAUSE;
            return Found::default();
        }
        let mut untold = None;
        if let Some((state, deadlock)) = find(runtimes, self.told.as_ref()) {
            let told = runtimes
                .iter()
                .filter(|runtime| runtime.mains.tell(&deadlock));
            record::pull(Trigger::Deadlock);
            if told.count() == 0 {
                self.told = Some(state);
                untold = Some(deadlock);
            }
        }
        // A thread that could have woken somebody may have ended.
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Found {
            deadlock: untold,
            again: Some(pause),
        }
    }
}

/// What [`Detector::look`] has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// A deadlock that no caller of `run` was told of.
    pub(super) deadlock: Option<Deadlock>,
    /// When to look again though no hub has woken.
    pub(super) again: Option<Duration>,
}

/// Whether greenlets are left that wait, and nothing that comes by itself.
fn may_be_deadlocked(runtimes: &[Arc<Shared>]) -> bool {
    if runtimes.iter().all(|runtime| runtime.alive() == 0) {
        return false;
    }
    let something_comes = || {
        runtimes.iter().any(|runtime| {
            let mut hubs = runtime.hubs.iter();
            runtime.is_ending()
                || hubs.any(|remote| !remote.timers.lock().is_empty())
                || runtime.reactor.has_waiters()
        })
    };
    !something_comes()
}

fn find(runtimes: &[Arc<Shared>], told: Option<&Snapshot>) -> Option<(Snapshot, Deadlock)> {
    let state = quiet(runtimes)?;
    if told == Some(&state) {
        return None;
    }
    let greenlets = call_roll(runtimes)?;
    // Nobody has run since, so what the hubs have answered is so still.
    if quiet(runtimes)? != state {
        return None;
    }
    let mut greenlets = greenlets
        .into_iter()
        .map(WaitingGreenlet::new)
        .collect::<Option<Vec<_>>>()?;
    greenlets.sort_by_key(|greenlet| greenlet.id);
    Some((state, Deadlock { greenlets }))
}

impl WaitingGreenlet {
    /// `None` if it waits for something that comes by itself, or does not wait.
    fn new(waiting: Waiting) -> Option<Self> {
        let wait = waiting.waits?;
        if !wait.reason.is_for_others() {
            return None;
        }
        Some(Self {
            id: waiting.id,
            name: waiting.name.map(String::from),
            spawned_at: waiting.spawned_at,
            waits: wait.to_string(),
            waits_for: wait.greenlet(),
            since: waiting.since,
        })
    }
}

/// A state in which nobody runs. Two that are equal are one: nobody has run in between.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    /// Of every hub. A hub that runs a greenlet raises it.
    switches: Vec<u64>,
    /// Threads blocked in this crate, and how often that has changed.
    blocked: (usize, u32),
}

/// The state, if nobody runs who could wake anybody.
fn quiet(runtimes: &[Arc<Shared>]) -> Option<Snapshot> {
    let before = Snapshot::take(runtimes)?;
    if !all_threads_wait(runtimes, &before)? {
        return None;
    }
    let after = Snapshot::take(runtimes)?;
    (before == after && may_be_deadlocked(runtimes)).then_some(after)
}

impl Snapshot {
    /// `None` if a hub is awake or has something to run.
    fn take(runtimes: &[Arc<Shared>]) -> Option<Self> {
        let mut switches = Vec::new();
        for runtime in runtimes {
            if !runtime.injector.is_empty() {
                return None;
            }
            for remote in &runtime.hubs {
                let has_work = !remote.stealer.is_empty() || !remote.inbox.is_empty();
                if has_work || !remote.bed.is_asleep() {
                    return None;
                }
                switches.push(remote.counters.switches.get());
            }
        }
        Some(Self {
            switches,
            blocked: thread_cell::blocked(),
        })
    }
}

/// Whether all threads of the process are hubs, the monitor, idle threads of the blocking pool, or
/// blocked in this crate; and no signal handler could wake anybody. `None` if the kernel does not
/// tell.
fn all_threads_wait(runtimes: &[Arc<Shared>], state: &Snapshot) -> Option<bool> {
    let (threads, idle, queued) = (runtimes.first()?.monitor.blocking_counts)();
    if threads != idle || queued > 0 {
        return Some(false);
    }
    let status = task::process_status().ok()?;
    let ours = state.switches.len() + 1 + idle + state.blocked.0 + record::own_threads();
    // Who waits for a signal of `signals` waits for a descriptor, or is a thread that is not blocked.
    let own = signals::only_handlers() | sampler::only_handler();
    Some(status.threads == ours && !task::catches_foreign_signals(&status, own))
}

/// What every greenlet waits for, asked of the hubs. `None` if one does not answer in time.
fn call_roll(runtimes: &[Arc<Shared>]) -> Option<Vec<Waiting>> {
    let hubs = || {
        let numbered = runtimes.iter().map(|runtime| (runtime, &runtime.hubs));
        numbered.flat_map(|(runtime, hubs)| hubs.iter().map(move |remote| (runtime, remote)))
    };
    for (runtime, remote) in hubs() {
        remote.roll_call.ask();
        remote.bed.notify(&runtime.reactor);
    }
    let mut greenlets = Vec::new();
    for (_, remote) in hubs() {
        greenlets.extend(before_long(runtimes, || remote.roll_call.take_answer())?);
    }
    // They go back to sleep.
    let all_sleep = || hubs().all(|(_, remote)| remote.bed.is_asleep());
    before_long(runtimes, || all_sleep().then_some(()))?;
    Some(greenlets)
}

/// Asks until there is an answer. `None` if it takes too long, or a runtime ends.
fn before_long<T>(runtimes: &[Arc<Shared>], mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..ROLL_CALL {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if runtimes.iter().any(|runtime| runtime.is_ending()) {
            return None;
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}
