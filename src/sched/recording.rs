//! What the scheduler records, while recording is on. While it is off a hook is one load and a branch.
//!
//! A hub records in its own ring, also for the greenlets that it runs; all other threads share one.
//!
//! A hook tries what takes no call, so it has no registers to save. Where that is not enough (a new block, a clock
//! that is the kernel's, a text that was not met before, recording that was switched, and so on) nothing was recorded,
//! and another function, which the hook ends with, does all of it.

use std::sync::atomic::Ordering::Relaxed;

use corosensei::CoroutineResult;

use super::blocked::{BlockedActivity, BlockedHub};
use super::cell::Id;
use super::current::{self, Current};
use super::greenlet_cell::{GreenletCell, hub_number};
use super::hub::Hub;
use super::monitor;
use super::park::Handoff;
use crate::reason::WaitCell;
use crate::record::{
    self, Actor, Ended, Event, Name, Recording, Session, Source, State, Stop, Text, Wait,
};
use crate::waker::Outcome;

/// When recording begins, a hub tells of as many greenlets as this part of its ring has room for.
const STATUS_PART: usize = 4;
/// About so many bytes each.
const STATUS_BYTES: usize = 48;

/// Instead of a greenlet's number: it may be any.
pub(super) const UNKNOWN: u64 = u64::MAX;

impl Hub {
    /// Takes part in recording, or ends doing so, if that was switched since.
    #[inline]
    pub(super) fn attend_recording(&self) {
        if self.recorder.is_behind() {
            self.catch_up();
        }
    }

    // Not inlined: it uses a thread-local, and some of its callers' callers change the thread pointer.
    #[cold]
    #[inline(never)]
    fn catch_up(&self) {
        // What was noted of an earlier recording.
        self.moment.set(0);
        self.run_began.set(0);
        self.stopped.set(UNKNOWN);
        let Some(ring_bytes) = self.recorder.catch_up() else {
            return;
        };
        let mut left = ring_bytes / STATUS_PART / STATUS_BYTES;
        self.recorder.with(|recording| {
            let tell = |greenlet: &GreenletCell| {
                if left > 0 && !greenlet.join.has_ended() {
                    left -= 1;
                    recording.record(status(greenlet, |text| recording.text(text)), None);
                }
            };
            // SAFETY: this is the hub's thread.
            unsafe { self.remote().registry.for_each(tell) };
        });
    }

    /// Records an event of this hub's: at the moment that goes on, or now. Answers when that was, in ticks.
    // Into its callers, which are cold: there it is known which event it is.
    #[inline(always)]
    pub(super) fn record(&self, event: impl FnOnce(&Recording) -> Event) -> Option<u64> {
        self.with_recording(|recording, at| recording.record(event(recording), at))
    }

    /// Calls `f` with what this hub records with and the moment that goes on, if recording is on.
    #[inline(always)]
    fn with_recording<T>(&self, f: impl FnOnce(&Recording, Option<u64>) -> T) -> Option<T> {
        self.attend_recording();
        let at = self.moment();
        self.recorder.with(|recording| f(recording, at))
    }

    #[inline(always)]
    fn moment(&self) -> Option<u64> {
        let at = self.moment.get();
        (at != 0).then_some(at)
    }

    /// The hub has slept; in the poll, if that has `woken` greenlets.
    #[cold]
    pub(super) fn record_awake(&self, woken: Option<usize>) {
        self.record(|_| Event::Awake);
        if let Some(woken) = woken {
            self.record_poll(woken);
        }
    }

    /// It has polled, and wakes so many, all at this moment.
    #[cold]
    pub(super) fn record_poll(&self, woken: usize) {
        let woken = woken as u32;
        let now = self.record(|_| Event::Poll { woken });
        self.stopped.set(0);
        self.moment.set(now.unwrap_or(0));
    }

    /// Deadlines have passed: it wakes so many, all at this moment.
    #[cold]
    pub(super) fn record_timers(&self, woken: usize) {
        let woken = woken as u32;
        let now = self.record(|_| Event::Timers { woken });
        self.stopped.set(0);
        self.moment.set(now.unwrap_or(0));
    }

    /// A greenlet has yielded, and the hub is about to run the next one, or the same: records both. Answers whether
    /// it did: not if the hub has to catch up, which may take long, so no greenlet is to be noted as running then.
    ///
    /// Called under the thread pointer of who has yielded.
    #[cold]
    pub(super) fn record_turn(&self, yielded: &GreenletCell, next: &GreenletCell) -> bool {
        if self.recorder.is_behind() {
            return false;
        }
        self.record_stop(yielded, Stop::Yield);
        self.record_run(next);
        true
    }

    /// The hub is about to run it.
    #[cold]
    pub(super) fn record_run(&self, greenlet: &GreenletCell) {
        // SAFETY: nothing has it catch up, up to where this is used last.
        if let Some(recording) = unsafe { self.recorder.at_hand() }
            && !is_untold(greenlet)
            && let Some(began) = recording.try_record(run(greenlet), self.moment())
        {
            self.has_begun(greenlet, recording, began);
        } else {
            self.record_run_anyway(greenlet);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_run_anyway(&self, greenlet: &GreenletCell) {
        if is_untold(greenlet) {
            self.record(|recording| status(greenlet, |text| recording.text(text)));
        }
        let begun = self.with_recording(|recording, at| {
            let began = recording.record(run(greenlet), at);
            self.has_begun(greenlet, recording, began);
        });
        // Recording has ended, or there is no memory for a ring: other rings are to show that a run is missing, and
        // what it had waited before that does not count.
        if begun.is_none() {
            greenlet.begin_run();
            greenlet.set_ready_at(0);
        }
    }

    #[inline(always)]
    fn has_begun(&self, greenlet: &GreenletCell, recording: &Recording, began: u64) {
        greenlet.begin_run();
        self.run_began.set(began);
        self.moment.set(0);
        if let Some(ready) = greenlet.take_ready(began)
            // It may be of an earlier recording.
            && ready <= began.saturating_sub(recording.session_began())
        {
            let latencies = &self.remote().durations.latencies;
            latencies.count_alone(recording.nanos(ready));
        }
    }

    /// It has left the CPU.
    #[cold]
    pub(super) fn record_stop(&self, greenlet: &GreenletCell, why: Stop) {
        // SAFETY: nothing has it catch up, up to where this is used last.
        if let Some(recording) = unsafe { self.recorder.at_hand() }
            && let Some(ended) = recording.try_record(stop(greenlet, why), self.moment())
        {
            let has_accounts = recording.has_accounts();
            let ran = self.has_stopped(greenlet, why, recording, ended);
            if has_accounts {
                self.account(|recording| account_run(greenlet, ran, recording));
            }
        } else {
            self.record_stop_anyway(greenlet, why);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_stop_anyway(&self, greenlet: &GreenletCell, why: Stop) {
        self.with_recording(|recording, at| {
            let ended = recording.record(stop(greenlet, why), at);
            let ran = self.has_stopped(greenlet, why, recording, ended);
            account_run(greenlet, ran, recording);
        });
    }

    /// Answers how many ticks its run has taken, if that is known.
    #[inline(always)]
    fn has_stopped(
        &self,
        greenlet: &GreenletCell,
        why: Stop,
        recording: &Recording,
        ended: u64,
    ) -> Option<u64> {
        if why == Stop::Yield {
            greenlet.set_ready_at(ended);
        }
        self.stopped.set(greenlet.cell().id().number());
        // What the hub does for its park, and the next run, if the hub need not look for it.
        self.moment.set(ended);
        let began = self.run_began.replace(0);
        if began == 0 {
            return None;
        }
        let ran = ended.saturating_sub(began);
        let runs = &self.remote().durations.runs;
        runs.count_alone(recording.nanos(ran));
        Some(ran)
    }

    /// Counts a run or a wake. It may allocate, by an allocator that records: what was at hand is not used any more.
    #[cold]
    #[inline(never)]
    fn account(&self, add: impl FnOnce(&Recording)) {
        self.recorder.with(add);
    }

    /// Whoever ends a park at this moment, on this hub.
    fn waker(&self, current: Current, outcome: Outcome) -> Source {
        if let Some(greenlet) = current.greenlet() {
            return Source::Actor(Actor::Greenlet(greenlet.cell().id().number()));
        }
        // What a greenlet does when it parks or ends is done by the hub.
        let stopped = self.stopped.get();
        let by = match stopped {
            UNKNOWN => Source::Unknown,
            stopped => Source::Actor(Actor::Greenlet(stopped)),
        };
        let commits = !self.remote().committing.load(Relaxed).is_null();
        match outcome {
            Outcome::Deadline => Source::Timer,
            Outcome::Woken if stopped == 0 => Source::Reactor,
            Outcome::Cancelled if !commits => Source::Unknown,
            Outcome::Woken | Outcome::Cancelled => by,
        }
    }
}

fn account_run(greenlet: &GreenletCell, ran: Option<u64>, recording: &Recording) {
    if let Some(ticks) = ran {
        recording.account_run(greenlet.cell().id().number(), ticks);
    }
}

/// Whether it was spawned before that was recorded, and perhaps had not started when recording began.
#[inline(always)]
fn is_untold(greenlet: &GreenletCell) -> bool {
    greenlet.runs() == 0 && !greenlet.has_ready_at()
}

/// Its next run begins.
#[inline(always)]
fn run(greenlet: &GreenletCell) -> Event {
    Event::Run {
        greenlet: greenlet.cell().id().number(),
        run: greenlet.runs().wrapping_add(1),
    }
}

/// Its run ends.
#[inline(always)]
fn stop(greenlet: &GreenletCell, why: Stop) -> Event {
    Event::Stop {
        greenlet: greenlet.cell().id().number(),
        run: greenlet.runs(),
        why,
    }
}

/// Why a greenlet has left the CPU.
pub(super) fn why(greenlet: &GreenletCell, result: &CoroutineResult<Handoff, ()>) -> Stop {
    match result {
        CoroutineResult::Yield(Handoff::Yield) => Stop::Yield,
        CoroutineResult::Yield(Handoff::Park(_)) => Stop::Wait(wait(greenlet.cell().waits_for())),
        CoroutineResult::Return(()) => Stop::End,
    }
}

/// Whether what this hub does, or a thread that is none, is recorded.
#[inline]
pub(super) fn is_on(hub: Option<&Hub>) -> bool {
    hub.map_or_else(record::is_on, |hub| hub.recorder.takes_part())
}

/// A greenlet's park was ended, by the caller, who has the right to run it.
#[cold]
pub(super) fn record_wake(greenlet: &GreenletCell, current: Current) {
    if let Some(hub) = current.hub()
        // SAFETY: nothing has it catch up, up to where this is used last.
        && let Some(recording) = unsafe { hub.recorder.at_hand() }
        && let by = hub.waker(current, greenlet.header().outcome())
        && let Some(woken) = recording.try_record(wake(greenlet, by), hub.moment())
    {
        greenlet.set_ready_at(woken);
        if recording.has_accounts() {
            hub.account(|recording| recording.account_wake(by, greenlet.cell().id().number()));
        }
    } else {
        record_wake_anyway(greenlet, current);
    }
}

#[cold]
#[inline(never)]
fn record_wake_anyway(greenlet: &GreenletCell, current: Current) {
    let outcome = greenlet.header().outcome();
    let number = greenlet.cell().id().number();
    let woken = match current.hub() {
        Some(hub) => {
            hub.attend_recording();
            let by = hub.waker(current, outcome);
            hub.record(|recording| {
                recording.account_wake(by, number);
                wake(greenlet, by)
            })
        }
        None => record::record_outside(|recording| {
            let by = match outcome {
                // The monitor does it for a hub that is stuck.
                Outcome::Deadline => Source::Timer,
                _ => Source::Actor(record::this_thread()),
            };
            recording.account_wake(by, number);
            wake(greenlet, by)
        }),
    };
    greenlet.set_ready_at(woken.unwrap_or(0));
}

/// A park was ended.
#[inline(always)]
fn wake(greenlet: &GreenletCell, by: Source) -> Event {
    Event::Wake {
        greenlet: greenlet.cell().id().number(),
        run: greenlet.runs(),
        by,
        outcome: match greenlet.header().outcome() {
            Outcome::Woken => Ended::Woken,
            Outcome::Deadline => Ended::Deadline,
            Outcome::Cancelled => Ended::Cancelled,
        },
    }
}

/// A greenlet was cancelled before it parked on this hub.
// Its caller changes the thread pointer, and this uses a thread-local.
#[cold]
#[inline(never)]
pub(super) fn record_cancelled_park(greenlet: &GreenletCell) {
    record_wake(greenlet, current::get());
}

/// A hub of the runtime is blocked.
pub(super) fn record_long_run(runtime: u16, blocked: &BlockedHub) {
    record::record_outside(|recording| Event::LongRun {
        greenlet: blocked
            .greenlet
            .as_ref()
            .map_or(0, |greenlet| greenlet.id.number()),
        hub: hub_number(blocked.hub),
        runtime,
        in_kernel: matches!(blocked.activity, BlockedActivity::Waiting { .. }),
        nanos: u64::try_from(blocked.since.as_nanos()).unwrap_or(u64::MAX),
        stack: match &*blocked.stack {
            [] => 0,
            stack => recording.text(&stack.join("\n")),
        },
    });
}

/// A greenlet was spawned, and is not queued yet.
#[cold]
pub(super) fn record_spawn(greenlet: &GreenletCell) {
    let cell = greenlet.cell();
    let number = cell.id().number();
    let site = Name::Place(cell.spawned_at());
    let ready_at = record_named(site, |who, site| Event::Spawn {
        greenlet: number,
        parent: match who {
            Actor::Greenlet(parent) => parent,
            Actor::Thread(_) => 0,
        },
        site,
    });
    greenlet.set_ready_at(ready_at.unwrap_or(0));
    if let Some(name) = cell.name() {
        record_named(Name::Text(name), |_, name| Event::Name {
            greenlet: number,
            name,
        });
    }
}

/// The calling greenlet or thread panics.
#[cold]
pub(super) fn record_panic() {
    record(|who| Event::Panic { who });
}

/// Records an event of the calling greenlet's or thread's. Answers when that was, in ticks.
// Into its callers: there it is known which event it is.
#[inline(always)]
pub(crate) fn record(event: impl Fn(Actor) -> Event) -> Option<u64> {
    record_named(Name::None, |who, _| event(who))
}

/// The same of an event that has a text.
#[inline(always)]
pub(crate) fn record_named(name: Name<'_>, event: impl Fn(Actor, Text) -> Event) -> Option<u64> {
    try_record(name, &event).or_else(|| record_anyway(name, event))
}

/// The same of a greenlet's event, if that takes no call. `None` if nothing was recorded.
#[inline(always)]
fn try_record(name: Name<'_>, event: impl Fn(Actor, Text) -> Event) -> Option<u64> {
    let current = current::get();
    let (hub, greenlet) = (current.hub()?, current.greenlet()?);
    let who = Actor::Greenlet(greenlet.cell().id().number());
    // SAFETY: this looks at a table.
    let name = unsafe { hub.recorder.at_hand() }?.known(name)?;
    let event = event(who, name);
    // SAFETY: this writes some words.
    unsafe { hub.recorder.at_hand() }?.try_record(event, None)
}

#[cold]
#[inline(never)]
fn record_anyway(name: Name<'_>, event: impl Fn(Actor, Text) -> Event) -> Option<u64> {
    let who = who();
    let event = |recording: &Recording| event(who, recording.number(name));
    match current::get().hub() {
        Some(hub) => hub.record(event),
        None => record::record_outside(event),
    }
}

/// The calling greenlet, or this thread.
pub(crate) fn who() -> Actor {
    match current::get().greenlet() {
        Some(greenlet) => Actor::Greenlet(greenlet.cell().id().number()),
        None => record::this_thread(),
    }
}

/// What all greenlets of the process do that have started, with texts of the session's.
pub(crate) fn statuses(session: &Session) -> Vec<Event> {
    let mut statuses = Vec::new();
    for runtime in monitor::runtimes() {
        for remote in &runtime.hubs {
            // What cannot be looked at is not told.
            let _ = remote.registry.look(|greenlet| {
                if !greenlet.join.has_ended() {
                    statuses.push(status(greenlet, |text| session.texts().number(text)));
                }
            });
        }
    }
    statuses
}

/// What a greenlet does, as far as can be told from outside.
fn status(greenlet: &GreenletCell, text: impl Fn(&str) -> Text) -> Event {
    let cell = greenlet.cell();
    let waits_for = cell.waits_for();
    let state = match waits_for.get() {
        Some(_) => State::Waiting(wait(waits_for)),
        None => State::Ready,
    };
    Event::Status {
        greenlet: cell.id().number(),
        run: greenlet.runs(),
        state,
        parent: greenlet.parent().map_or(0, Id::number),
        site: text(&cell.spawned_at().to_string()),
        name: cell.name().map_or(0, &text),
        since: waits_for.age(super::coarse_clock::now()).as_nanos() as u64,
    }
}

/// What is waited for. Nothing is known of a wait that has just ended.
fn wait(cell: &WaitCell) -> Wait {
    let (reason, object) = cell.code().unwrap_or((u8::MAX >> 1, Wait::NO_OBJECT));
    Wait { reason, object }
}
