//! A scheduler that only says what it does: traces with everything in them that exports must get right.

use std::collections::HashMap;

use crate::record::{Actor, Ended, Event, Source, State, Stop, Wait};
use crate::trace::analysis::tests::builder::TraceBuilder;

/// What names may be made of.
pub(super) const HOSTILE: &str =
    "\"</script><script>alert(1)</script>'\\ \u{1}\u{7f}\u{202e}\u{fffd}\n\t;&<!--{}é🦀";

/// What is simulated.
#[derive(Clone, Copy)]
pub(super) struct Simulation {
    pub(super) hubs: u16,
    pub(super) runs: usize,
    /// The numbers of greenlets begin here.
    pub(super) first: u64,
    /// How many nanoseconds the clocks of two hubs next to each other differ.
    pub(super) skew: u64,
    /// Whether events get lost in the middle.
    pub(super) loses: bool,
}

/// Someone who waits or is ready.
struct Idle {
    greenlet: u64,
    /// When it has begun to wait.
    since: u64,
    /// When it is ready at the earliest; never by itself if there is none.
    at: Option<u64>,
    wait: Wait,
}

struct Scheduler {
    builder: TraceBuilder,
    skew: u64,
    random: u64,
    hubs: Vec<u64>,
    ready: Vec<(u64, u64)>,
    waiting: Vec<Idle>,
    runs: HashMap<u64, u16>,
    next: u64,
    sites: Vec<u32>,
    spans: u32,
}

impl Simulation {
    /// The bytes of the trace.
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut builder = TraceBuilder::new(self.hubs);
        let sites = [
            "src/main.rs:10:5",
            "src/fetch.rs:80:9",
            "src/parse.rs:33:17",
            HOSTILE,
        ];
        let sites = sites.map(|site| builder.text(site)).to_vec();
        let mut state = Scheduler {
            builder,
            skew: self.skew,
            random: 0x9e37_79b9_7f4a_7c15,
            hubs: vec![1000; usize::from(self.hubs)],
            ready: Vec::new(),
            waiting: Vec::new(),
            runs: HashMap::new(),
            next: self.first,
            sites,
            spans: 0,
        };
        // Somebody who was there before.
        let old = Event::Status {
            greenlet: 3,
            run: 7,
            state: State::Waiting(Wait {
                reason: 17,
                object: 0x7f00_dead_beef,
            }),
            parent: 0,
            site: state.sites[2],
            name: 0,
            since: 5_000_000,
        };
        state.builder.statuses(0, &[old]);
        state.runs.insert(3, 7);
        state.waiting.push(Idle {
            greenlet: 3,
            since: 0,
            at: None,
            wait: Wait {
                reason: 17,
                object: 0x7f00_dead_beef,
            },
        });
        state.spawn(0, 500, 0);
        for step in 0..self.runs {
            if self.loses && step == self.runs / 2 {
                state.builder.lose(0, 7);
            }
            state.step();
        }
        let (time, outside) = (*state.hubs.iter().max().unwrap_or(&0), self.hubs);
        let name = state.builder.text(HOSTILE);
        let who = Actor::Thread(77);
        state
            .builder
            .event(outside, time + 10, Event::Mark { who, name });
        state.builder.seal().bytes()
    }
}

impl Scheduler {
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below
    }

    fn event(&mut self, hub: usize, time: u64, event: Event) {
        let time = time + self.skew * hub as u64;
        self.builder.event(hub as u16, time, event);
    }

    fn spawn(&mut self, hub: usize, time: u64, parent: u64) {
        let greenlet = self.next;
        self.next += 1;
        let site = self.sites[self.next as usize % self.sites.len()];
        self.event(
            hub,
            time,
            Event::Spawn {
                greenlet,
                parent,
                site,
            },
        );
        if greenlet.is_multiple_of(3) {
            let name = match greenlet % 2 {
                0 => self.builder.text(HOSTILE),
                _ => self.builder.text("fetcher"),
            };
            self.event(hub, time, Event::Name { greenlet, name });
        }
        self.ready.push((time, greenlet));
    }

    fn wake(&mut self, hub: usize, time: u64, place: usize, by: Source) {
        let idle = self.waiting.remove(place);
        let outcome = match by {
            Source::Timer if idle.wait.reason != 1 => Ended::Deadline,
            _ => Ended::Woken,
        };
        let run = self.runs[&idle.greenlet];
        self.event(
            hub,
            time,
            Event::Wake {
                greenlet: idle.greenlet,
                run,
                by,
                outcome,
            },
        );
        self.ready.push((time, idle.greenlet));
    }

    /// The hub that is behind all others does something.
    fn step(&mut self) {
        let hub = (0..self.hubs.len())
            .min_by_key(|&hub| self.hubs[hub])
            .expect("a hub");
        let now = self.hubs[hub];
        // Timers and descriptors.
        while let Some(place) = self
            .waiting
            .iter()
            .position(|idle| idle.at.is_some_and(|at| at <= now))
        {
            let by = match self.waiting[place].wait.reason {
                3 | 4 => Source::Reactor,
                _ => Source::Timer,
            };
            self.wake(hub, now, place, by);
        }
        let Some(place) = self.ready.iter().position(|&(since, _)| since <= now) else {
            // Sleep until there is something.
            let times = self.waiting.iter().filter_map(|idle| idle.at);
            let times = times.chain(self.ready.iter().map(|&(since, _)| since));
            let Some(next) = times.min() else {
                // All wait for others: a thread wakes one.
                self.event(hub, now + 100, Event::Sleep);
                let outside = self.hubs.len() as u16;
                if !self.waiting.is_empty() {
                    let idle = self.waiting.remove(0);
                    // Or a timer of nobody knows which thread.
                    let by = match self.random(2) {
                        0 => Source::Actor(Actor::Thread(77)),
                        _ => Source::Timer,
                    };
                    let (greenlet, run) = (idle.greenlet, self.runs[&idle.greenlet]);
                    let outcome = Ended::Cancelled;
                    let wake = Event::Wake {
                        greenlet,
                        run,
                        by,
                        outcome,
                    };
                    let time = now.max(idle.since) + 5_000 + self.skew * 9;
                    self.builder.event(outside, time, wake);
                    self.ready.push((time, greenlet));
                } else {
                    self.spawn(hub, now + 5_000, 0);
                }
                self.event(hub, now + 6_000, Event::Awake);
                self.hubs[hub] = now + 6_100;
                return;
            };
            self.event(hub, now + 50, Event::Sleep);
            let until = next.max(now + 60) + 200;
            self.event(hub, until, Event::Awake);
            self.hubs[hub] = until + 40;
            return;
        };
        let (_, greenlet) = self.ready.remove(place);
        self.run(hub, now + 80, greenlet);
    }

    fn run(&mut self, hub: usize, begin: u64, greenlet: u64) {
        let run = self
            .runs
            .get(&greenlet)
            .map_or(1, |run| run.wrapping_add(1));
        self.runs.insert(greenlet, run);
        self.event(hub, begin, Event::Run { greenlet, run });
        let long = self.random(50) == 0;
        let end = begin + 300 + self.random(if long { 2_000_000 } else { 30_000 });
        let who = Actor::Greenlet(greenlet);
        let middle = (begin + end) / 2;
        if self.random(8) == 0 {
            self.spans += 1;
            let (span, name) = (self.spans, self.builder.text("parse"));
            self.event(hub, begin + 20, Event::SpanBegin { who, name, span });
            let inner = self.builder.text(HOSTILE);
            let span = span + 1_000_000;
            self.event(
                hub,
                begin + 40,
                Event::SpanBegin {
                    who,
                    name: inner,
                    span,
                },
            );
            // They end the wrong way round.
            self.event(
                hub,
                middle,
                Event::SpanEnd {
                    who,
                    span: self.spans,
                },
            );
            self.event(hub, middle + 10, Event::SpanEnd { who, span });
        }
        if self.random(6) == 0 {
            let name = self.builder.text("queue");
            let value = self.random(40) as f64 - 5.0;
            self.event(hub, middle + 20, Event::Counter { who, name, value });
        }
        let waits = |idle: &Idle| idle.at.is_none() && idle.since <= middle;
        let others = self.waiting.iter().position(waits);
        if let Some(place) = others
            && self.random(2) == 0
        {
            self.wake(hub, middle + 30, place, Source::Actor(who));
        }
        if self.runs.len() < 40 && self.random(3) == 0 {
            self.spawn(hub, middle + 40, greenlet);
        }
        let ways = self.random(10);
        let why = match ways {
            0 if self.runs.len() > 20 => Stop::End,
            1 => Stop::Yield,
            _ => {
                let (reason, object, at) = match ways {
                    2..5 => (3, 5 + self.random(4), Some(end + self.random(300_000))),
                    5 => (1, Wait::NO_OBJECT, Some(end + self.random(500_000))),
                    6 => (4, 5, Some(end + self.random(90_000))),
                    7 => (10, 0x7f00_0000_1000 + 64 * self.random(3), None),
                    8 => (200, 9, None),
                    _ => (17, 0x7f00_dead_beef, None),
                };
                let wait = Wait { reason, object };
                self.waiting.push(Idle {
                    greenlet,
                    since: end,
                    at,
                    wait,
                });
                Stop::Wait(wait)
            }
        };
        self.event(hub, end, Event::Stop { greenlet, run, why });
        if why == Stop::Yield {
            self.ready.push((end, greenlet));
        }
        self.hubs[hub] = end + 30;
    }
}
