//! Deadlock: greenlets that nothing can ever wake.
//!
//! Looked for by the monitor when all hubs sleep. There is a deadlock only if nobody is left who
//! could wake anybody: no timer, no greenlet that waits for a descriptor, no job on the blocking
//! pool, no signal handler, and no OS thread in the process but hubs, the monitor, idle threads of the
//! blocking pool and threads that are blocked in this crate. `README.md` tells why no report is false.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::cell::Id;
use super::circles::{Circle, cycles};
use super::greenlet_cell::GreenletCell;
use super::lock_owner::LockOwner;
use super::sampler;
use super::shared::Shared;
use super::signals;
use super::thread_cell;
use crate::owner::Holder;
use crate::record::{self, Trigger};
use crate::sys::{clock, task};

/// The first look for a deadlock is repeated after this, and then after twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Greenlets that wait, each for another one or for something that nobody is left to do.
///
/// Every greenlet of the process waits, and so does every thread that could wake one. Where anything
/// else might still happen there is no deadlock: a timer, a descriptor that a greenlet waits for, a
/// handler of a signal, or a thread that does something else than wait in this crate, as to sleep.
///
/// [`run`](crate::run) panics with it, and [`try_run`](crate::try_run) answers with it. Where neither
/// is under way, as when plain threads wait for greenlets of the default runtime, it is written to
/// standard error, and the waits go on.
///
/// Before `run` panics the greenlets are cancelled, as at the end of a runtime. One that has a lock poisons it then, and
/// another that unwraps what it gets for its own `lock` panics of that: those messages come first and are not the
/// cause.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deadlock {
    /// All greenlets, those that were spawned first in front.
    pub greenlets: Vec<WaitingGreenlet>,
    /// Greenlets that wait in a circle, each for the next one and the last for the first.
    pub cycles: Vec<Vec<Id>>,
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
    /// Who has what it waits for, or is to end, where that is known.
    pub owner: Option<LockOwner>,
    /// How long, up to some milliseconds.
    pub since: Duration,
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A report need not be longer.
        const SHOWN: usize = 100;
        let count = self.greenlets.len();
        match count {
            1 => write!(f, "deadlock: nothing can wake the greenlet that is left")?,
            _ => write!(
                f,
                "deadlock: nothing can wake the {count} greenlets that are left"
            )?,
        }
        for greenlet in self.greenlets.iter().take(SHOWN) {
            write!(f, "\n  {greenlet}")?;
        }
        if count > SHOWN {
            write!(f, "\n  and {} more", count - SHOWN)?;
        }
        for cycle in self.cycles.iter().take(SHOWN) {
            write!(f, "\n  in a circle: {}", Circle(cycle))?;
        }
        Ok(())
    }
}

impl fmt::Display for WaitingGreenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("<unnamed>");
        write!(
            f,
            "greenlet '{name}' (number {}, spawned at {}) waits {}",
            self.id, self.spawned_at, self.waits,
        )?;
        if let Some(owner) = self.owner.filter(|_| self.waits_for.is_none()) {
            write!(f, ", which {owner} has")?;
        }
        write!(f, ", for {} ms", self.since.as_millis())
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
    if told.is_some_and(|told| told.is_same_but_for_own_threads(&state)) {
        return None;
    }
    let greenlets = call_roll(runtimes)?;
    // Nobody has run since, so what was seen is so still.
    if quiet(runtimes)? != state {
        return None;
    }
    let mut greenlets = greenlets.into_iter().collect::<Option<Vec<_>>>()?;
    greenlets.sort_by_key(|greenlet| greenlet.id);
    let waits = greenlets.iter().filter_map(|greenlet| {
        let owner = greenlet.owner.and_then(LockOwner::greenlet)?;
        Some((greenlet.id, owner))
    });
    let cycles = cycles(waits);
    Some((state, Deadlock { greenlets, cycles }))
}

impl WaitingGreenlet {
    /// `None` if it waits for something that comes by itself, or does not wait.
    fn new(greenlet: &GreenletCell, now: u64) -> Option<Self> {
        let cell = greenlet.cell();
        let wait = cell.waits_for().get()?;
        if !wait.reason.is_for_others() {
            return None;
        }
        Some(Self {
            id: cell.id(),
            name: cell.name().map(str::to_owned),
            spawned_at: cell.spawned_at(),
            waits: wait.to_string(),
            waits_for: wait.greenlet(),
            owner: Holder::of(wait).map(LockOwner::from),
            since: cell.waits_for().age(now),
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
    /// Threads of the crate's own that wake nobody, and how often that has changed.
    own: (usize, u32),
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
            own: record::own_threads(),
        })
    }

    /// Whether nobody has run in between who could have woken anybody.
    fn is_same_but_for_own_threads(&self, other: &Self) -> bool {
        (&self.switches, self.blocked) == (&other.switches, other.blocked)
    }
}

/// Whether all threads of the process are hubs, the monitor, idle threads of the blocking pool, others of
/// the crate's own that wake nobody, or blocked in this crate; and no signal handler could wake anybody. `None` if the kernel does not
/// tell.
fn all_threads_wait(runtimes: &[Arc<Shared>], state: &Snapshot) -> Option<bool> {
    let (threads, idle, queued) = (runtimes.first()?.monitor.blocking_counts)();
    if threads != idle || queued > 0 {
        return Some(false);
    }
    let status = task::process_status().ok()?;
    let ours = state.switches.len() + 1 + idle + state.blocked.0 + state.own.0;
    // Who waits for a signal of `signals` waits for a descriptor, or is a thread that is not blocked.
    let own = signals::only_handlers() | sampler::only_handler();
    Some(status.threads == ours && !task::catches_foreign_signals(&status, own))
}

/// What every greenlet waits for; `None` for those of which nothing, or that comes by itself. `None` if
/// the hubs' lists cannot be read.
fn call_roll(runtimes: &[Arc<Shared>]) -> Option<Vec<Option<WaitingGreenlet>>> {
    let now = clock::now();
    let mut greenlets = Vec::new();
    for remote in runtimes.iter().flat_map(|runtime| &runtime.hubs) {
        let note = |greenlet: &GreenletCell| {
            // One that has ended elsewhere is in the list until its hub wakes.
            if !greenlet.join.has_ended() {
                greenlets.push(WaitingGreenlet::new(greenlet, now));
            }
        };
        remote.registry.look(note).then_some(())?;
    }
    Some(greenlets)
}
