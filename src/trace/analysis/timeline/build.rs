//! Goes through the records of a trace once.

use std::collections::{BTreeMap, HashMap};

use super::super::{Record, Status, Trace};
use super::{
    CounterValue, Doing, Hub, HubSlice, Job, Life, LongRun, Mark, Ready, Slice, Span, Timeline,
    WakeEdge,
};
use crate::record::{Actor, Ended, Event, Greenlet, Source, State, Stop, Wait};

pub(super) fn build(trace: &Trace) -> Timeline {
    let mut builder = Builder::new(trace);
    for record in trace.records() {
        builder.add(record);
    }
    builder.finish()
}

struct Builder<'a> {
    trace: &'a Trace,
    lives: BTreeMap<Greenlet, Living>,
    hubs: Vec<HubTrack>,
    wakes: Vec<WakeEdge>,
    jobs: Vec<Job>,
    /// Jobs that are not done, by threads.
    open_jobs: HashMap<u32, usize>,
    thread_spans: Vec<Span>,
    /// Where in the list of an actor the spans are that have not ended.
    open_spans: HashMap<(Actor, u32), Vec<usize>>,
    /// Spans that may not have ended, by their numbers alone.
    maybe_open: HashMap<u32, Vec<(Actor, usize)>>,
    marks: Vec<Mark>,
    panics: Vec<(u64, Actor)>,
    counters: Vec<CounterValue>,
    long_runs: Vec<LongRun>,
}

/// A greenlet, and what it does at this point of the trace.
#[derive(Default)]
struct Living {
    life: Life,
    now: Option<Now>,
    /// The edge of its last wake.
    woken_by: Option<usize>,
}

#[derive(Clone, Copy)]
struct Now {
    since: u64,
    doing: Doing,
    run: u16,
    cut: bool,
}

impl Living {
    /// What it does ends at this moment, and with it the slice.
    fn close(&mut self, time: u64, open: bool) {
        if let Some(now) = self.now.take() {
            // Clocks of processors may differ a bit: no slice begins before the last one's end.
            let before = self.life.slices.last().map_or(0, |slice| slice.end);
            let begin = match now.doing {
                // Both ends are from one clock.
                Doing::Running { .. } => now.since,
                _ => now.since.max(before),
            };
            self.life.slices.push(Slice {
                begin,
                end: time.max(begin),
                doing: now.doing,
                run: now.run,
                open,
                cut: now.cut,
            });
        }
    }

    fn begin(&mut self, since: u64, doing: Doing, run: u16) {
        self.now = Some(Now {
            since,
            doing,
            run,
            cut: false,
        });
    }

    /// Forgets what it does if that cannot be followed by this run: events were lost.
    fn expect(&mut self, run: u16, fits: impl Fn(&Doing) -> bool) {
        self.now = self.now.filter(|now| now.run == run && fits(&now.doing));
    }

    fn run(&mut self, time: u64, ring: u16, run: u16) {
        self.expect(run.wrapping_sub(1), |doing| {
            !matches!(doing, Doing::Running { .. })
        });
        self.close(time, false);
        // And what came before a run is over when it begins.
        let slices = self.life.slices.iter_mut().rev();
        let waits = |slice: &&mut Slice| !matches!(slice.doing, Doing::Running { .. });
        for slice in slices
            .take_while(waits)
            .take_while(|slice| slice.end > time)
        {
            slice.begin = slice.begin.min(time);
            slice.end = time;
        }
        self.begin(
            time,
            Doing::Running {
                ring: Some(ring),
                stop: None,
            },
            run,
        );
    }

    fn stop(&mut self, time: u64, ring: u16, run: u16, why: Stop) {
        self.expect(run, |doing| {
            // A hub cannot tell whether a greenlet runs when recording begins.
            matches!(doing, Doing::Running { .. } | Doing::Ready(Ready::Unknown))
        });
        if let Some(now) = &mut self.now {
            now.doing = Doing::Running {
                ring: Some(ring),
                stop: Some(why),
            };
        }
        self.close(time, false);
        match why {
            Stop::End => self.life.ended = Some(time),
            Stop::Yield => self.begin(time, Doing::Ready(Ready::Yielded), run),
            Stop::Wait(wait) => self.begin(time, Doing::Waiting { wait, ended: None }, run),
        }
    }

    fn wake(&mut self, time: u64, run: u16, by: Source, outcome: Ended) -> Option<Wait> {
        self.expect(run, |doing| matches!(doing, Doing::Waiting { .. }));
        let mut waited = None;
        if let Some(Now {
            doing: Doing::Waiting { wait, ended },
            ..
        }) = &mut self.now
        {
            *ended = Some((by, outcome));
            waited = Some(*wait);
        }
        self.close(time, false);
        self.begin(time, Doing::Ready(Ready::Woken(by, outcome)), run);
        waited
    }

    /// What is known of it before its first event.
    fn know(&mut self, status: &Status) {
        let life = &mut self.life;
        life.site = if life.site == 0 {
            status.site
        } else {
            life.site
        };
        life.name = if status.name == 0 {
            life.name
        } else {
            status.name
        };
        life.parent = if life.parent == 0 {
            status.parent
        } else {
            life.parent
        };
    }

    fn assume(&mut self, status: &Status, begin: u64) {
        let (since, doing) = match status.state {
            State::Ready => (begin, Doing::Ready(Ready::Unknown)),
            State::Running => (
                begin,
                Doing::Running {
                    ring: None,
                    stop: None,
                },
            ),
            State::Waiting(wait) => (
                status.time.saturating_sub(status.since),
                Doing::Waiting { wait, ended: None },
            ),
        };
        self.now = Some(Now {
            since: since.max(begin),
            doing,
            run: status.run,
            cut: since <= begin,
        });
    }
}

/// A hub, and what it does at this point of the trace.
#[derive(Default)]
struct HubTrack {
    hub: Hub,
    is_hub: bool,
    seen: bool,
    /// What it does: since when, whom it runs (0 if it sleeps), and the number of the run.
    now: Option<(u64, Greenlet, u16)>,
    /// Nanoseconds whose events were lost.
    unknown: u64,
}

impl HubTrack {
    fn begin(&mut self, time: u64, greenlet: Greenlet, run: u16) {
        self.now = Some((time, greenlet, run));
    }

    fn end(&mut self, time: u64, greenlet: Greenlet) {
        if let Some((begin, who, run)) = self.now.take()
            && who == greenlet
        {
            self.push(begin, time, who, run);
        }
    }

    fn push(&mut self, begin: u64, end: u64, greenlet: Greenlet, run: u16) {
        let end = end.max(begin);
        match greenlet {
            0 => self.hub.sleeping = self.hub.sleeping.saturating_add(end - begin),
            _ => self.hub.running = self.hub.running.saturating_add(end - begin),
        }
        self.hub.slices.push(HubSlice {
            begin,
            end,
            greenlet,
            run,
        });
    }

    fn finish(mut self, end: u64) -> Hub {
        // What goes on when the trace ends.
        if let Some((begin, greenlet, run)) = self.now.take() {
            self.push(begin, end, greenlet, run);
            self.hub.end = self.hub.end.max(end);
        }
        let hub = &mut self.hub;
        let known = (hub.end - hub.begin).saturating_sub(self.unknown);
        let busy = hub.running.saturating_add(hub.sleeping);
        hub.scheduling = known.saturating_sub(busy);
        self.hub
    }
}

impl<'a> Builder<'a> {
    fn new(trace: &'a Trace) -> Self {
        let hubs = trace.rings().iter().enumerate();
        let mut hubs: Vec<HubTrack> = hubs
            .map(|(ring, at)| HubTrack {
                hub: Hub {
                    ring: ring as u16,
                    ..Hub::default()
                },
                is_hub: at.hub.is_some(),
                ..HubTrack::default()
            })
            .collect();
        for lost in trace.lost() {
            if let Some(after) = lost.after {
                let unknown = &mut hubs[usize::from(lost.ring)].unknown;
                *unknown = unknown.saturating_add(lost.before.saturating_sub(after));
            }
        }
        let mut builder = Self {
            trace,
            lives: BTreeMap::new(),
            hubs,
            wakes: Vec::new(),
            jobs: Vec::new(),
            open_jobs: HashMap::new(),
            thread_spans: Vec::new(),
            open_spans: HashMap::new(),
            maybe_open: HashMap::new(),
            marks: Vec::new(),
            panics: Vec::new(),
            counters: Vec::new(),
            long_runs: Vec::new(),
        };
        builder.assume_statuses();
        builder
    }

    /// What greenlets did when recording began. Of those without any event it is what they did all the
    /// time.
    fn assume_statuses(&mut self) {
        let mut first_events = HashMap::new();
        for record in self.trace.records() {
            if let Some((greenlet, is_first)) = first_of(record.event) {
                first_events
                    .entry(greenlet)
                    .or_insert((record.time, is_first));
            }
        }
        for status in self.trace.statuses() {
            let living = self.lives.entry(status.greenlet).or_default();
            living.know(status);
            let is_before = match first_events.get(&status.greenlet) {
                None => true,
                Some(&(_, true)) => false,
                Some(&(time, false)) => status.time <= time,
            };
            if is_before && living.now.is_none() {
                living.assume(status, self.trace.begin());
            }
        }
    }

    fn life(&mut self, greenlet: Greenlet) -> &mut Living {
        self.lives.entry(greenlet).or_default()
    }

    fn add(&mut self, record: &Record) {
        let Record { time, ring, event } = *record;
        let track = &mut self.hubs[usize::from(ring)];
        if !track.seen {
            track.seen = true;
            track.hub.begin = time;
        }
        track.hub.end = track.hub.end.max(time).max(track.hub.begin);
        match event {
            Event::Spawn {
                greenlet,
                parent,
                site,
            } => {
                let living = self.life(greenlet);
                living.life.spawned = Some(time);
                living.life.parent = parent;
                living.life.site = site;
                living.begin(time, Doing::Ready(Ready::Spawned), 0);
            }
            Event::Run { greenlet, run } => {
                track.begin(time, greenlet, run);
                let living = self.life(greenlet);
                living.run(time, ring, run);
                if let Some(edge) = living.woken_by.take() {
                    let edge = &mut self.wakes[edge];
                    edge.ran = (edge.run.wrapping_add(1) == run).then_some(time);
                }
            }
            Event::Stop { greenlet, run, why } => {
                track.end(time, greenlet);
                self.life(greenlet).stop(time, ring, run, why);
            }
            Event::Wake {
                greenlet,
                run,
                by,
                outcome,
            } => {
                let edge = self.wakes.len();
                let living = self.life(greenlet);
                let wait = living.wake(time, run, by, outcome);
                living.woken_by = Some(edge);
                self.wakes.push(WakeEdge {
                    time,
                    ring,
                    by,
                    woken: greenlet,
                    run,
                    outcome,
                    wait,
                    ran: None,
                });
            }
            Event::Name { greenlet, name } => self.life(greenlet).life.name = name,
            Event::Stack {
                greenlet,
                used,
                size,
            } => self.life(greenlet).life.stack = Some((used, size)),
            Event::Steal { victim } => track.hub.steals.push((time, victim)),
            Event::Sleep => track.begin(time, 0, 0),
            Event::Awake => track.end(time, 0),
            Event::Poll { woken } => track.hub.polls.push((time, woken)),
            Event::Timers { woken } => track.hub.timers.push((time, woken)),
            Event::JobBegin { thread, greenlet } => self.job(time, thread, greenlet),
            Event::JobEnd { thread } => {
                if let Some(job) = self.open_jobs.remove(&thread) {
                    self.jobs[job].end = Some(time);
                }
            }
            Event::LongRun {
                greenlet,
                hub,
                runtime,
                in_kernel,
                nanos,
                stack,
            } => self.long_run(LongRun {
                time,
                greenlet,
                hub,
                runtime,
                in_kernel,
                nanos,
                stack,
            }),
            Event::SpanBegin { who, name, span } => self.begin_span(Span {
                who,
                name,
                span,
                begin: time,
                end: None,
            }),
            Event::SpanEnd { who, span } => self.end_span(time, who, span),
            Event::Counter { who, name, value } => self.counters.push(CounterValue {
                time,
                who,
                name,
                value,
            }),
            Event::Mark { who, name } => self.marks.push(Mark { time, who, name }),
            Event::Panic { who } => self.panics.push((time, who)),
            Event::Status { .. } => {}
        }
    }

    /// One that is told again has its stack now.
    fn long_run(&mut self, told: LongRun) {
        let is_same = |run: &&mut LongRun| {
            run.stack == 0
                && (run.runtime, run.hub, run.greenlet) == (told.runtime, told.hub, told.greenlet)
                && run.nanos == told.nanos
        };
        match self.long_runs.iter_mut().find(is_same) {
            Some(run) => run.stack = told.stack,
            None => self.long_runs.push(told),
        }
    }

    fn job(&mut self, begin: u64, thread: u32, greenlet: Greenlet) {
        self.open_jobs.insert(thread, self.jobs.len());
        self.jobs.push(Job {
            thread,
            greenlet,
            begin,
            end: None,
        });
    }

    fn spans(&mut self, who: Actor) -> &mut Vec<Span> {
        match who {
            Actor::Greenlet(greenlet) => &mut self.life(greenlet).life.spans,
            Actor::Thread(_) => &mut self.thread_spans,
        }
    }

    fn begin_span(&mut self, span: Span) {
        let spans = self.spans(span.who);
        spans.push(span);
        let place = spans.len() - 1;
        let of_number = self.maybe_open.entry(span.span).or_default();
        of_number.push((span.who, place));
        let open = self.open_spans.entry((span.who, span.span)).or_default();
        open.push(place);
    }

    /// The last one of that number which began in the same actor, or else in any.
    fn end_span(&mut self, time: u64, who: Actor, span: u32) {
        let own = self.open_spans.get_mut(&(who, span)).and_then(Vec::pop);
        if let Some(place) = own {
            self.spans(who)[place].end = Some(time);
            return;
        }
        while let Some((actor, place)) = self.maybe_open.get_mut(&span).and_then(Vec::pop) {
            let span = &mut self.spans(actor)[place];
            if span.end.is_none() {
                span.end = Some(time);
                return;
            }
        }
    }

    fn finish(self) -> Timeline {
        let (begin, end) = (self.trace.begin(), self.trace.end());
        let lives = self.lives.into_iter().map(|(id, mut living)| {
            living.close(end, true);
            living.life.id = id;
            living.life
        });
        let hubs = self.hubs.into_iter().filter(|track| track.is_hub);
        Timeline {
            begin,
            end,
            greenlets: lives.collect(),
            hubs: hubs.map(|track| track.finish(end)).collect(),
            wakes: self.wakes,
            jobs: self.jobs,
            thread_spans: self.thread_spans,
            marks: self.marks,
            panics: self.panics,
            counters: self.counters,
            long_runs: self.long_runs,
        }
    }
}

/// The greenlet of an event of a greenlet's life, and whether that life begins with it.
fn first_of(event: Event) -> Option<(Greenlet, bool)> {
    match event {
        Event::Spawn { greenlet, .. } => Some((greenlet, true)),
        Event::Run { greenlet, .. }
        | Event::Stop { greenlet, .. }
        | Event::Wake { greenlet, .. } => Some((greenlet, false)),
        _ => None,
    }
}
