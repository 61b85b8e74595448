//! What hubs and greenlets do, from the events of a trace as they come.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use greenlet::trace::analysis::{Record, Stream};
use greenlet::trace::{Event, Greenlet as Number, State, Stop, Text, Wait};

/// A hub: the number of its runtime, and its own.
pub(crate) type HubKey = (u16, u16);

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) greenlets: HashMap<Number, Greenlet>,
    pub(crate) hubs: BTreeMap<HubKey, Hub>,
    /// Greenlets that have ended since it began.
    pub(crate) ended: u64,
    /// When it was how late by the clock of the trace, as far as that can be told.
    clock: Option<(Instant, u64)>,
    /// The time of the newest event.
    newest: u64,
    /// When the present window began.
    window_begun: u64,
    /// How long the last one was.
    pub(crate) window: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Hub {
    running: Option<Number>,
    counted: u64,
    present: HubUsage,
    /// In the last window.
    pub(crate) last: HubUsage,
    pub(crate) is_asleep: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HubUsage {
    /// Nanoseconds in greenlets.
    pub(crate) busy: u64,
    pub(crate) switches: u64,
    pub(crate) steals: u64,
}

#[derive(Debug)]
pub(crate) struct Greenlet {
    pub(crate) number: Number,
    pub(crate) parent: Number,
    pub(crate) name: Text,
    pub(crate) site: Text,
    pub(crate) state: Doing,
    /// When that state began.
    pub(crate) since: u64,
    /// Up to when time is accounted for.
    counted: u64,
    present: Usage,
    /// In the last window.
    pub(crate) last: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Ready,
    Running(HubKey),
    Waiting(Wait),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Nanoseconds in each state.
    pub(crate) running: u64,
    pub(crate) ready: u64,
    pub(crate) waiting: u64,
    pub(crate) runs: u64,
    /// The longest run, and the longest time from ready to running.
    pub(crate) longest_run: u64,
    pub(crate) latest: u64,
    /// Of how many runs `ready` is the latency, together with `latency`.
    latencies: u64,
    latency: u64,
}

/// Events are kept back until those of all rings have come: so late they are at the most, in nanoseconds.
const LATE: u64 = 300_000_000;

impl Usage {
    /// The mean time from ready to running.
    pub(crate) fn mean_latency(&self) -> Option<u64> {
        self.latency.checked_div(self.latencies)
    }
}

impl Greenlet {
    fn new(number: Number, time: u64) -> Self {
        Self {
            number,
            parent: 0,
            name: 0,
            site: 0,
            state: Doing::Ready,
            since: time,
            counted: time,
            present: Usage::default(),
            last: Usage::default(),
        }
    }

    /// Accounts for the time up to a moment.
    fn count(&mut self, until: u64) {
        let passed = until.saturating_sub(self.counted);
        match self.state {
            Doing::Ready => self.present.ready += passed,
            Doing::Running(_) => self.present.running += passed,
            Doing::Waiting(_) => self.present.waiting += passed,
        }
        self.counted = self.counted.max(until);
    }

    fn change(&mut self, state: Doing, time: u64) {
        self.count(time);
        let passed = time.saturating_sub(self.since);
        match (self.state, state) {
            (Doing::Ready, Doing::Running(_)) => {
                self.present.latest = self.present.latest.max(passed);
                self.present.latency += passed;
                self.present.latencies += 1;
            }
            (Doing::Running(_), _) => {
                self.present.longest_run = self.present.longest_run.max(passed);
            }
            _ => {}
        }
        if matches!(state, Doing::Running(_)) {
            self.present.runs += 1;
        }
        self.state = state;
        self.since = time;
    }
}

impl Hub {
    fn count(&mut self, until: u64) {
        if self.running.is_some() {
            self.present.busy += until.saturating_sub(self.counted);
        }
        self.counted = self.counted.max(until);
    }
}

impl Model {
    /// What has come since.
    pub(crate) fn apply(&mut self, records: &[Record], stream: &Stream) {
        if let Some(first) = records.first()
            && self.window_begun == 0
        {
            self.window_begun = first.time;
        }
        for record in records {
            let ring = stream.rings().get(usize::from(record.ring));
            let hub = ring.and_then(|ring| Some((ring.runtime, ring.hub?)));
            self.apply_one(record, hub);
        }
        if let Some(last) = records.last() {
            self.set_clock(last.time);
        }
    }

    fn apply_one(&mut self, record: &Record, hub: Option<HubKey>) {
        let time = record.time;
        match record.event {
            Event::Spawn {
                greenlet,
                parent,
                site,
            } => {
                let greenlet = self.greenlet(greenlet, time);
                (greenlet.parent, greenlet.site) = (parent, site);
            }
            Event::Run { greenlet, .. } => {
                let hub = hub.unwrap_or_default();
                self.greenlet(greenlet, time)
                    .change(Doing::Running(hub), time);
                let hub = self.hubs.entry(hub).or_default();
                hub.count(time);
                hub.running = Some(greenlet);
                hub.is_asleep = false;
                hub.present.switches += 1;
            }
            Event::Stop { greenlet, why, .. } => {
                let hub = self.hubs.entry(hub.unwrap_or_default()).or_default();
                hub.count(time);
                hub.running = None;
                match why {
                    Stop::Yield => self.greenlet(greenlet, time).change(Doing::Ready, time),
                    Stop::Wait(wait) => {
                        self.greenlet(greenlet, time)
                            .change(Doing::Waiting(wait), time);
                    }
                    Stop::End => {
                        self.greenlets.remove(&greenlet);
                        self.ended += 1;
                    }
                }
            }
            Event::Wake { greenlet, .. } => {
                self.greenlet(greenlet, time).change(Doing::Ready, time)
            }
            Event::Status {
                greenlet,
                state,
                parent,
                site,
                name,
                since,
                ..
            } => {
                let is_known = self.greenlets.contains_key(&greenlet);
                let greenlet = self.greenlet(greenlet, time);
                (greenlet.site, greenlet.name) = (site, name);
                greenlet.parent = greenlet.parent.max(parent);
                // Since it was told of, it may have gone on.
                if !is_known && let State::Waiting(wait) = state {
                    greenlet.state = Doing::Waiting(wait);
                    greenlet.since = time.saturating_sub(since);
                }
            }
            Event::Name { greenlet, name } => self.greenlet(greenlet, time).name = name,
            Event::Steal { .. } => self.hub(hub).present.steals += 1,
            Event::Sleep => self.hub(hub).is_asleep = true,
            Event::Awake => self.hub(hub).is_asleep = false,
            _ => {}
        }
    }

    fn greenlet(&mut self, number: Number, time: u64) -> &mut Greenlet {
        let known = self.greenlets.entry(number);
        known.or_insert_with(|| Greenlet::new(number, time))
    }

    fn hub(&mut self, hub: Option<HubKey>) -> &mut Hub {
        self.hubs.entry(hub.unwrap_or_default()).or_default()
    }

    /// An event of this time has come: it is at least as late.
    fn set_clock(&mut self, time: u64) {
        self.newest = self.newest.max(time);
        if self.now().is_none_or(|now| now < time) {
            self.clock = Some((Instant::now(), time));
        }
    }

    /// How late it is by the clock of the trace. `None` before anything has happened.
    pub(crate) fn now(&self) -> Option<u64> {
        let (then, time) = self.clock?;
        Some(time + then.elapsed().as_nanos() as u64)
    }

    /// Up to when all events have come, and were applied.
    pub(crate) fn settled(&self) -> Option<u64> {
        self.now().map(|now| now.saturating_sub(LATE))
    }

    /// The moment that is shown: when what is known of greenlets was so.
    pub(crate) fn shown(&self) -> u64 {
        self.settled().unwrap_or(0).max(self.newest)
    }

    /// Ends a window at a moment up to which all events were applied: what was counted in it is what is shown.
    pub(crate) fn end_window(&mut self, now: u64) {
        if now <= self.window_begun || self.window_begun == 0 {
            return;
        }
        for greenlet in self.greenlets.values_mut() {
            greenlet.count(now);
            greenlet.last = std::mem::take(&mut greenlet.present);
        }
        for hub in self.hubs.values_mut() {
            hub.count(now);
            hub.last = std::mem::take(&mut hub.present);
        }
        self.window = Duration::from_nanos(now.saturating_sub(self.window_begun));
        self.window_begun = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: Text = 1;
    const HUB: HubKey = (1, 0);

    fn model(events: &[(u64, Event)]) -> Model {
        let mut model = Model::default();
        for &(time, event) in events {
            let record = Record {
                time,
                ring: 0,
                event,
            };
            if model.window_begun == 0 {
                model.window_begun = time;
            }
            model.apply_one(&record, Some(HUB));
            model.set_clock(time);
        }
        model
    }

    fn spawn(greenlet: Number) -> Event {
        Event::Spawn {
            greenlet,
            parent: 0,
            site: SITE,
        }
    }

    fn run(greenlet: Number) -> Event {
        Event::Run { greenlet, run: 1 }
    }

    fn stop(greenlet: Number, why: Stop) -> Event {
        Event::Stop {
            greenlet,
            run: 1,
            why,
        }
    }

    const MUTEX: Wait = Wait {
        reason: 5,
        object: 7,
    };

    #[test]
    fn times_are_accounted_by_states() {
        let mut model = model(&[
            (1_000, spawn(1)),
            (1_300, run(1)),
            (2_000, stop(1, Stop::Wait(MUTEX))),
            (
                5_000,
                Event::Wake {
                    greenlet: 1,
                    run: 1,
                    by: greenlet::trace::Source::Timer,
                    outcome: greenlet::trace::Ended::Deadline,
                },
            ),
            (5_100, run(1)),
            (5_150, stop(1, Stop::Yield)),
        ]);
        model.end_window(5_550);
        let greenlet = &model.greenlets[&1];
        assert_eq!(greenlet.last.running, 750);
        assert_eq!(greenlet.last.waiting, 3_000);
        // And since it has yielded it is ready.
        assert_eq!(greenlet.last.ready, 300 + 100 + 400);
        assert_eq!(greenlet.last.runs, 2);
        assert_eq!(greenlet.last.longest_run, 700);
        assert_eq!(greenlet.last.latest, 300);
        assert_eq!(greenlet.last.mean_latency(), Some(200));
        assert_eq!(greenlet.state, Doing::Ready);
        let hub = &model.hubs[&HUB];
        assert_eq!((hub.last.busy, hub.last.switches), (750, 2));
    }

    #[test]
    fn who_runs_through_a_window_has_run_all_the_time() {
        let mut model = model(&[(1_000, spawn(1)), (1_000, run(1))]);
        model.end_window(6_000);
        assert_eq!(model.greenlets[&1].last.running, 5_000);
        assert_eq!(model.hubs[&HUB].last.busy, 5_000);
        model.end_window(8_000);
        assert_eq!(model.greenlets[&1].last.running, 2_000);
        assert_eq!(model.window, Duration::from_nanos(2_000));
    }

    #[test]
    fn who_has_ended_is_gone() {
        let model = model(&[
            (1, spawn(1)),
            (2, spawn(2)),
            (3, run(1)),
            (4, stop(1, Stop::End)),
        ]);
        assert_eq!((model.greenlets.len(), model.ended), (1, 1));
    }

    #[test]
    fn a_status_tells_of_who_is_not_known_yet() {
        let status = |greenlet| Event::Status {
            greenlet,
            run: 9,
            state: State::Waiting(MUTEX),
            parent: 3,
            site: SITE,
            name: 4,
            since: 500,
        };
        let model = model(&[(1_000, spawn(2)), (2_000, status(1)), (2_000, status(2))]);
        let first = &model.greenlets[&1];
        assert_eq!((first.since, first.state), (1_500, Doing::Waiting(MUTEX)));
        assert_eq!((first.parent, first.name), (3, 4));
        assert_eq!(model.greenlets[&2].state, Doing::Ready);
    }
}
