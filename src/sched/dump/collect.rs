//! Looking at runtimes, hubs and greenlets.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use super::stack;
use super::{Dump, DumpOptions, GreenletDump, GreenletState, HubDump, HubState, RuntimeDump};
use crate::owner::Holder;
use crate::reason::Wait;
use crate::sched::blocked::BlockedActivity;
use crate::sched::cell::{CellRef, Id};
use crate::sched::circles::cycles;
use crate::sched::greenlet_cell::GreenletCell;
use crate::sched::ground;
use crate::sched::lock_owner::LockOwner;
use crate::sched::monitor;
use crate::sched::names::Names;
use crate::sched::sampler::Sample;
use crate::sched::shared::{Remote, Shared};
use crate::sched::thread_cell;
use crate::sys::clock;
use crate::sys::task::{self, Activity, TaskId};
use crate::waker::Still;

/// A hub that runs the same greenlet for so long is asked what it does.
const STAYS: Duration = Duration::from_millis(1);

/// How often a wait is looked at that is over when the look is.
const TRIES: usize = 3;

/// Takes a dump. `caller` waits for it.
pub(super) fn dump(options: &DumpOptions, caller: Option<Id>) -> Dump {
    let start = Instant::now();
    let runtimes = monitor::runtimes();
    let before: Vec<_> = runtimes.iter().map(|runtime| moves(runtime)).collect();
    let mut look = Look {
        caller,
        greenlets: options.max_greenlets,
        stacks: options.max_stacks,
        now: clock::now(),
    };
    let seen = runtimes.iter().map(|runtime| look.runtime(runtime));
    let mut seen: Vec<RuntimeSeen> = seen.collect();

    // Which hubs stay in one greenlet takes a while to see.
    let may_stay = runtimes.iter().zip(&before).any(|(runtime, before)| {
        let mut hubs = moves(runtime).into_iter().zip(before);
        hubs.any(|(now, before)| now == *before && now.running != 0)
    });
    if may_stay && start.elapsed() < STAYS {
        thread::sleep(STAYS);
    }
    for ((runtime, before), seen) in runtimes.iter().zip(&before).zip(&mut seen) {
        for (number, before) in before.iter().enumerate() {
            let (hub, frames) = look_at_hub(runtime, number, before, start, options);
            if let HubState::Running {
                greenlet: Some(id), ..
            } = hub.state
                && let Some(greenlet) = seen.greenlets.iter_mut().find(|seen| seen.dump.id == id)
                && matches!(greenlet.dump.state, GreenletState::Running { .. })
            {
                greenlet.frames = frames;
            }
            let is_listed = seen.listed[number];
            seen.hubs.push(HubDump { is_listed, ..hub });
        }
    }
    let (blocking_threads, blocking_idle, blocking_queued) = runtimes
        .first()
        .map_or((0, 0, 0), |runtime| (runtime.monitor.blocking_counts)());
    let took = start.elapsed();
    // The last owner of a runtime runs destructors of the user's; nothing is held here.
    drop(runtimes);

    let mut names = Names::default();
    let runtimes: Vec<_> = seen
        .into_iter()
        .map(|seen| seen.named(&mut names))
        .collect();
    let greenlets = runtimes.iter().flat_map(|runtime| &runtime.greenlets);
    let waits =
        greenlets.filter_map(|greenlet| Some((greenlet.id, greenlet.waits_for()?.greenlet()?)));
    Dump {
        cycles: cycles(waits),
        runtimes,
        blocking_threads,
        blocking_idle,
        blocking_queued,
        waiting_threads: thread_cell::blocked().0,
        took,
    }
}

/// What shows whether a hub stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moves {
    switches: u64,
    /// The address of the cell of the greenlet that runs, or 0. It may be gone.
    running: usize,
}

impl Moves {
    fn of(remote: &Remote) -> Self {
        Self {
            switches: remote.counters.switches.get(),
            running: remote.running.load(Relaxed).addr(),
        }
    }
}

fn moves(runtime: &Shared) -> Vec<Moves> {
    runtime.hubs.iter().map(Moves::of).collect()
}

/// What was seen of a runtime, without names.
struct RuntimeSeen {
    greenlets: Vec<GreenletSeen>,
    hubs: Vec<HubDump>,
    /// Of each hub: whether its greenlets could be listed.
    listed: Vec<bool>,
    rest: RuntimeDump,
}

/// What was seen of a greenlet.
struct GreenletSeen {
    dump: GreenletDump,
    /// The program counters of its stack.
    frames: Vec<usize>,
}

impl RuntimeSeen {
    fn named(self, names: &mut Names) -> RuntimeDump {
        let mut greenlets = self.greenlets;
        greenlets.sort_by_key(|seen| seen.dump.id);
        let named = greenlets.into_iter().map(|seen| GreenletDump {
            stack: names.of_stack(seen.frames),
            ..seen.dump
        });
        RuntimeDump {
            greenlets: named.collect(),
            hubs: self.hubs,
            ..self.rest
        }
    }
}

/// A look at all runtimes, and what it may take still.
struct Look {
    caller: Option<Id>,
    greenlets: usize,
    stacks: usize,
    now: u64,
}

impl Look {
    fn runtime(&mut self, runtime: &Arc<Shared>) -> RuntimeSeen {
        let alive = runtime.alive();
        let mut started = 0;
        let mut left_out = 0;
        let mut listed = Vec::new();
        let mut cells: Vec<CellRef> = Vec::new();
        for remote in &runtime.hubs {
            let is_listed = remote.registry.look(|greenlet| {
                if greenlet.join.has_ended() {
                    return;
                }
                started += 1;
                if self.greenlets > 0 {
                    self.greenlets -= 1;
                    cells.push(greenlet.handle());
                } else {
                    left_out += 1;
                }
            });
            listed.push(is_listed);
        }
        let reserved = ground::reserved(runtime.support);
        let greenlets = cells.iter().filter_map(|cell| {
            // SAFETY: what is in a registry is a greenlet's, and it is alive by the reference.
            let greenlet = unsafe { cell.as_ptr().cast::<GreenletCell>().as_ref() };
            self.greenlet(runtime, greenlet, reserved)
        });
        RuntimeSeen {
            greenlets: greenlets.collect(),
            hubs: Vec::new(),
            listed,
            rest: RuntimeDump {
                hubs: Vec::new(),
                greenlets: Vec::new(),
                left_out,
                not_started: usize::try_from(alive)
                    .map_or(0, |alive| alive.saturating_sub(started)),
                queued: runtime.injector.len(),
                descriptors: runtime.reactor.registered(),
                is_ending: runtime.is_ending(),
            },
        }
    }

    /// `None` if it has ended.
    fn greenlet(
        &mut self,
        runtime: &Shared,
        greenlet: &GreenletCell,
        reserved: usize,
    ) -> Option<GreenletSeen> {
        let mut state = None;
        for _ in 0..TRIES {
            let before = greenlet.header().still();
            let seen = self.state(runtime, greenlet, before);
            // What a lock says of its owner counts while it is waited for.
            if greenlet.header().still() == before {
                state = Some(seen);
                break;
            }
        }
        if greenlet.join.has_ended() {
            return None;
        }
        // It goes from one wait to the next.
        let state = state.unwrap_or(GreenletState::Ready);
        let mut stack = None;
        if self.stacks > 0 && !matches!(state, GreenletState::Running { .. }) {
            self.stacks -= 1;
            stack = stack::copy(greenlet, reserved);
        }
        let cell = greenlet.cell();
        Some(GreenletSeen {
            dump: GreenletDump {
                id: cell.id(),
                name: cell.name().map(str::to_owned),
                parent: greenlet.parent(),
                spawned_at: cell.spawned_at(),
                pinned: greenlet.pinned(),
                state,
                stack: Vec::new(),
                stack_used: stack.as_ref().map(|stack| stack.used),
                stack_size: greenlet.slot_size(),
            },
            frames: stack.map_or_else(Vec::new, |stack| stack.walk()),
        })
    }

    fn state(&self, runtime: &Shared, greenlet: &GreenletCell, still: Still) -> GreenletState {
        let cell = greenlet.cell();
        if Some(cell.id()) == self.caller {
            return GreenletState::Dumping;
        }
        let runs_on = || {
            let mut hubs = runtime.hubs.iter();
            hubs.position(|remote| ptr::eq(remote.running.load(Relaxed), greenlet))
        };
        match (still, cell.waits_for().get()) {
            (Still::Parked(_), Some(wait)) => self.waiting(greenlet, wait),
            _ => match runs_on() {
                Some(hub) => GreenletState::Running { hub },
                None => GreenletState::Ready,
            },
        }
    }

    fn waiting(&self, greenlet: &GreenletCell, wait: Wait) -> GreenletState {
        GreenletState::Waiting {
            reason: wait.reason.name(),
            what: wait.to_string(),
            object: wait.object(),
            owner: Holder::of(wait).map(LockOwner::from),
            since: greenlet.cell().waits_for().age(self.now),
        }
    }
}

/// A hub, and the stack of the greenlet that it runs if it has not moved since `before`.
fn look_at_hub(
    runtime: &Shared,
    number: usize,
    before: &Moves,
    start: Instant,
    options: &DumpOptions,
) -> (HubDump, Vec<usize>) {
    let remote = &runtime.hubs[number];
    let mut frames = Vec::new();
    let task = remote.task();
    let now = Moves::of(remote);
    let state = if task.is_none() {
        HubState::Absent
    } else if remote.bed.is_asleep() {
        HubState::Asleep
    } else if now.running == 0 {
        HubState::Busy
    } else {
        let mut since = None;
        let mut activity = None;
        if let Some(task) = task.filter(|_| now == *before) {
            let found = activity_of(task, options.max_stacks > 0);
            // What was seen is another one's if it has gone on.
            if Moves::of(remote) == now
                && let Some((doing, stack)) = found
            {
                let stopped = remote.watch.lock().stopped();
                since = Some(stopped.max(start.elapsed()));
                activity = Some(doing);
                frames = stack;
            }
        }
        HubState::Running {
            greenlet: running_id(remote),
            since,
            activity,
        }
    };
    let hub = HubDump {
        number,
        thread: task.map(TaskId::as_raw),
        state,
        queued: remote.stealer.len() + remote.inbox.len(),
        timers: remote.timers.lock().len(),
        switches: now.switches,
        is_listed: true,
    };
    (hub, frames)
}

/// The number of the greenlet that runs on the hub.
fn running_id(remote: &Remote) -> Option<Id> {
    crate::sched::inspect::inspect(remote, |greenlet| greenlet.cell().id())
}

/// What a thread does that runs a greenlet, and its stack if that is wanted.
fn activity_of(task: TaskId, stack: bool) -> Option<(BlockedActivity, Vec<usize>)> {
    // The caller's own hub runs the caller.
    if task == TaskId::current() {
        return None;
    }
    match task::activity(task).ok()? {
        Activity::Waiting {
            syscall,
            stack_pointer,
            program_counter,
        } => {
            let sample = stack.then(|| Sample::of_waiting(stack_pointer, program_counter));
            let frames = sample.map_or_else(Vec::new, |sample| sample.walk());
            Some((BlockedActivity::Waiting { syscall }, frames))
        }
        Activity::Running => {
            let sample = stack.then(|| Sample::of_computing(task)).flatten();
            let frames = sample.map_or_else(Vec::new, |sample| sample.walk());
            Some((BlockedActivity::Computing, frames))
        }
    }
}
