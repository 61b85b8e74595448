//! The events of which there are most, as one word each: most of what a longer one says is told by those before it
//! in the block.
//!
//! ```text
//!  63      45 44      29 28         8 7 6    0
//! +----------+----------+------------+-+------+
//! |  ticks   |   run    |  greenlet  |1| kind |    RUN and WAKE
//! +----------+----------+------------+-+------+
//!  63      45 44           16 15    8 7 6    0
//! +----------+---------------+-------+-+------+
//! |  ticks   |    object     |  why  |1| kind |    STOP
//! +----------+---------------+-------+-+------+
//! ```

use std::cell::Cell;

use super::{Actor, Encoded, Ended, Event, Greenlet, Source, Stop, WAIT, Wait, kind, life};

/// In the place of a head's kind.
pub(super) const BRIEF: u64 = 1 << 7;

pub(super) const RUN: u64 = 1;
pub(super) const STOP: u64 = 2;
/// By a descriptor that is ready.
pub(super) const WAKE_REACTOR: u64 = 3;
/// By its deadline.
pub(super) const WAKE_TIMER: u64 = 4;
/// By the greenlet that runs here, or was the last one.
pub(super) const WAKE_RUNNING: u64 = 5;

/// Ticks since the event before.
pub(super) const TICKS_AT: u32 = 45;
const TICKS: u64 = 1 << (64 - TICKS_AT);

pub(super) const GREENLET_AT: u32 = 8;
pub(super) const RUN_AT: u32 = 29;
/// So many greenlets have a number.
pub(super) const GREENLETS: u64 = 1 << (RUN_AT - GREENLET_AT);

pub(super) const OBJECT_AT: u32 = 16;
/// As an object: none that has a number. Numbers are less.
pub(super) const NO_OBJECT: u64 = (1 << (TICKS_AT - OBJECT_AT)) - 1;

/// What brief events leave out, because it was told before them in the block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    /// The number of the first greenlet that brief events can name.
    pub(super) greenlets: Cell<Greenlet>,
    /// Of the event before, since the block began.
    pub(super) ticks: Cell<u64>,
    /// Of the last RUN, with its run, in one word; 0 if there was none.
    running: Cell<u64>,
}

impl Context {
    #[cfg(any(test, feature = "analysis"))]
    pub(crate) fn new(greenlets: Greenlet) -> Self {
        let context = Self::default();
        context.begin(greenlets);
        context
    }

    /// A block begins.
    pub(crate) fn begin(&self, greenlets: Greenlet) {
        self.greenlets.set(greenlets);
        self.ticks.set(0);
        self.running.set(0);
    }

    /// The first greenlet that the next block's brief events should be able to name: those that run here now are in
    /// the middle.
    pub(crate) fn next_greenlets(&self) -> Greenlet {
        match self.running() {
            None => self.greenlets.get(),
            Some((running, _)) => running.saturating_sub(GREENLETS / 2),
        }
    }

    /// Has seen an event, so many ticks after the block began.
    #[inline(always)]
    pub(crate) fn see(&self, event: Event, ticks: u64) {
        self.ticks.set(ticks);
        if let Event::Run { greenlet, run } = event {
            self.running.set(life(greenlet, run));
        }
    }

    /// The same of an event as it is written.
    #[inline(always)]
    pub(crate) fn see_encoded(&self, event: &Encoded, ticks: u64) {
        self.ticks.set(ticks);
        if event.kind == kind::RUN {
            self.running.set(event.words[0]);
        }
    }

    /// Of the last RUN, with its run.
    #[inline(always)]
    pub(super) fn running(&self) -> Option<(Greenlet, u16)> {
        let running = self.running.get();
        (running != 0).then_some((running >> 16, running as u16))
    }

    /// The event as one word, if that can be.
    #[inline(always)]
    pub(crate) fn brief(&self, event: Event, ticks: u64) -> Option<u64> {
        let what = match event {
            Event::Run { greenlet, run } => RUN | self.life(greenlet, run)?,
            Event::Stop { greenlet, run, why } => {
                if self.running.get() != life(greenlet, run) {
                    return None;
                }
                STOP | stop(why)?
            }
            Event::Wake {
                greenlet,
                run,
                by,
                outcome,
            } => {
                let is_running = |by| self.running().is_some_and(|(running, _)| running == by);
                let kind = match (outcome, by) {
                    (Ended::Woken, Source::Reactor) => WAKE_REACTOR,
                    (Ended::Deadline, Source::Timer) => WAKE_TIMER,
                    (Ended::Woken, Source::Actor(Actor::Greenlet(by))) if is_running(by) => {
                        WAKE_RUNNING
                    }
                    _ => return None,
                };
                kind | self.life(greenlet, run)?
            }
            _ => return None,
        };
        let ticks = ticks.wrapping_sub(self.ticks.get());
        (ticks < TICKS).then_some(ticks << TICKS_AT | what | BRIEF)
    }

    #[inline(always)]
    fn life(&self, greenlet: Greenlet, run: u16) -> Option<u64> {
        let greenlet = greenlet.wrapping_sub(self.greenlets.get());
        (greenlet < GREENLETS).then_some(u64::from(run) << RUN_AT | greenlet << GREENLET_AT)
    }
}

#[inline(always)]
fn stop(why: Stop) -> Option<u64> {
    let (why, object) = match why {
        Stop::Yield => (0, 0),
        Stop::End => (1, 0),
        Stop::Wait(Wait { reason, object }) => (WAIT + reason, object),
    };
    let object = match object {
        Wait::NO_OBJECT => NO_OBJECT,
        object if object < NO_OBJECT => object,
        _ => return None,
    };
    Some(object << OBJECT_AT | u64::from(why) << GREENLET_AT)
}
