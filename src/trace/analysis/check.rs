//! The trace as an oracle: what no correct scheduler records.

use std::collections::HashMap;
use std::fmt;

use super::{Record, Trace};
use crate::record::{Actor, Event, Greenlet, Source, Stop};

/// Clocks of two processors may differ by so many nanoseconds.
const SKEW: u64 = 10_000;

/// Something in a trace that no correct scheduler does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Violation {
    /// Which rule is broken.
    pub rule: Rule,
    /// When, in nanoseconds of the monotonic clock.
    pub time: u64,
    /// Which of [`Trace::rings`] recorded it.
    pub ring: Option<u16>,
    /// The greenlet concerned; 0 if it is about a hub.
    pub greenlet: Greenlet,
    /// What happened, in a sentence.
    pub what: String,
}

/// What holds in every trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// The time of a hub does not go back.
    Time,
    /// A greenlet is spawned, runs, stops, is woken if it waits, runs again, and after its end does nothing.
    Life,
    /// A greenlet stops before it runs again, and is woken before it runs, by the clock too.
    Order,
    /// A hub runs one greenlet at a time, from its run to its stop, and none while it sleeps.
    Hub,
    /// Who ends a park by itself is running at that time, where that is recorded.
    Waker,
    /// Of a whole trace: nothing is missing, and all that were spawned have ended.
    Whole,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} ns: {}", self.rule, self.time, self.what)
    }
}

/// Holds the rules that hold in every trace against this one. It may begin and end in the middle of
/// greenlets' lives; where events were lost, nothing is concluded.
///
/// ```no_run
/// let trace = greenlet::trace::analysis::Trace::open("stress.trace")?;
/// assert_eq!(greenlet::trace::analysis::check(&trace), []);
/// # Ok::<(), greenlet::trace::analysis::ReadError>(())
/// ```
pub fn check(trace: &Trace) -> Vec<Violation> {
    let mut checker = Checker::new(trace);
    checker.records();
    checker.violations
}

/// The same for a trace that was recorded from the first greenlet's spawn to the last one's end: nothing may
/// be missing, and all have ended.
pub fn check_whole(trace: &Trace) -> Vec<Violation> {
    let mut checker = Checker::new(trace);
    for lost in trace.lost() {
        let what = format!("{} events were lost", lost.events);
        checker.add(Rule::Whole, lost.before, Some(lost.ring), 0, what);
    }
    for problem in trace.problems() {
        checker.add(Rule::Whole, 0, None, 0, format!("damaged {problem}"));
    }
    if !trace.has_ended() {
        checker.add(
            Rule::Whole,
            trace.end(),
            None,
            0,
            "the end of the trace was not written".to_owned(),
        );
    }
    checker.records();
    checker.all_have_ended();
    checker.violations
}

struct Checker<'a> {
    trace: &'a Trace,
    violations: Vec<Violation>,
    rings: Vec<RingState>,
    lives: HashMap<Greenlet, Moment>,
    /// From when on events of any ring are missing, in the order of time, and until when at the most those
    /// of this and of the gaps before it are. The first ends when all hubs recorded.
    gaps: Vec<(u64, u64)>,
    /// When the losses of each ring are over, the last one first.
    ends: Vec<Vec<u64>>,
    /// When the present event has happened at the latest.
    latest: u64,
}

/// Of every record, when the next event of its ring is that has another time.
fn latest(trace: &Trace) -> Vec<u64> {
    // Of each ring, the time of the event that follows, and when the next one with another time is.
    let mut next = vec![(u64::MAX, u64::MAX); trace.rings().len()];
    let mut latest = vec![0; trace.records().len()];
    for (record, latest) in trace.records().iter().zip(&mut latest).rev() {
        let (following, other) = &mut next[usize::from(record.ring)];
        if *following != record.time {
            *other = *following;
            *following = record.time;
        }
        *latest = record.time.max(*other);
    }
    latest
}

/// The last event of a greenlet's life.
#[derive(Clone, Copy)]
struct Moment {
    time: u64,
    ring: u16,
    run: u16,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Spawned,
    Running,
    Yielded,
    Waiting,
    Woken,
    Ended,
}

/// What a ring's hub does.
#[derive(Clone, Copy)]
struct RingState {
    time: u64,
    doing: Doing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// It begins here, or events were lost.
    Unknown,
    /// It looks for work. Who stopped last, if anybody did.
    Nothing(Greenlet),
    Runs(Greenlet, u16),
    Sleeps(Greenlet),
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Spawned => "was spawned",
            Self::Running => "ran",
            Self::Yielded => "yielded",
            Self::Waiting => "parked",
            Self::Woken => "was woken",
            Self::Ended => "ended",
        }
    }

    /// Whether it may be followed by this, and by how much the number of the run then grows.
    fn leads_to(self, next: Self) -> Option<u16> {
        match (self, next) {
            (Self::Spawned | Self::Yielded | Self::Woken, Self::Running) => Some(1),
            (Self::Running, Self::Yielded | Self::Waiting | Self::Ended) => Some(0),
            (Self::Waiting, Self::Woken) => Some(0),
            _ => None,
        }
    }
}

impl<'a> Checker<'a> {
    fn new(trace: &'a Trace) -> Self {
        let state = RingState {
            time: 0,
            doing: Doing::Unknown,
        };
        let gaps = trace.lost().iter();
        let mut gaps: Vec<_> = gaps
            .map(|lost| (lost.after.unwrap_or(0), lost.before))
            .chain((trace.since() != 0).then_some((0, trace.since())))
            .collect();
        gaps.sort_unstable();
        let mut last = 0;
        for (_, until) in &mut gaps {
            last = last.max(*until);
            *until = last;
        }
        let mut ends = vec![Vec::new(); trace.rings().len()];
        for lost in trace.lost().iter().rev() {
            ends[usize::from(lost.ring)].push(lost.before);
        }
        Self {
            trace,
            violations: Vec::new(),
            rings: vec![state; trace.rings().len()],
            lives: HashMap::new(),
            gaps,
            ends,
            latest: 0,
        }
    }

    fn add(
        &mut self,
        rule: Rule,
        time: u64,
        ring: Option<u16>,
        greenlet: Greenlet,
        what: impl Into<String>,
    ) {
        self.violations.push(Violation {
            rule,
            time,
            ring,
            greenlet,
            what: what.into(),
        });
    }

    fn records(&mut self) {
        let latest = latest(self.trace);
        for (record, latest) in self.trace.records().iter().zip(latest) {
            self.record(record, latest);
        }
    }

    fn record(&mut self, record: &Record, latest: u64) {
        let Record { time, ring, event } = *record;
        // What a hub does in one go may have the time of the first event of that.
        let is_exact = self.state(ring).time != time;
        self.latest = if is_exact { time } else { latest };
        self.time(time, ring);
        match event {
            Event::Spawn { greenlet, .. } => self.life(record, greenlet, 0, Phase::Spawned),
            Event::Run { greenlet, run } => {
                self.hub_runs(record, greenlet, run);
                self.life(record, greenlet, run, Phase::Running);
            }
            Event::Stop { greenlet, run, why } => {
                self.hub_stops(record, greenlet, run);
                let phase = match why {
                    Stop::Yield => Phase::Yielded,
                    Stop::End => Phase::Ended,
                    Stop::Wait(_) => Phase::Waiting,
                };
                self.life(record, greenlet, run, phase);
            }
            Event::Wake {
                greenlet, run, by, ..
            } => {
                self.waker(record, by);
                self.life(record, greenlet, run, Phase::Woken);
            }
            Event::Sleep => self.hub_sleeps(record),
            Event::Awake => self.hub_wakes(record),
            Event::Steal { victim } if self.hub(ring) == Some(victim) => {
                let what = format!("hub {victim} stole from itself");
                self.add(Rule::Hub, time, Some(ring), 0, what);
            }
            _ => {}
        }
    }

    fn hub(&self, ring: u16) -> Option<u16> {
        self.trace.rings()[usize::from(ring)].hub
    }

    fn name(&self, ring: u16) -> String {
        self.trace.rings()[usize::from(ring)].to_string()
    }

    fn state(&mut self, ring: u16) -> &mut RingState {
        &mut self.rings[usize::from(ring)]
    }

    /// Comes first for every record.
    fn time(&mut self, time: u64, ring: u16) {
        let is_hub = self.hub(ring).is_some();
        let before = self.state(ring).time;
        if is_hub && time < before {
            let what = format!(
                "the time of {} went back by {} ns",
                self.name(ring),
                before - time
            );
            self.add(Rule::Time, time, Some(ring), 0, what);
        }
        // Behind a loss nothing is known.
        let ends = &mut self.ends[usize::from(ring)];
        let mut is_behind = false;
        while ends.last().is_some_and(|&end| end <= time) {
            ends.pop();
            is_behind = true;
        }
        let state = self.state(ring);
        state.time = time;
        if is_behind {
            state.doing = Doing::Unknown;
        }
    }

    fn hub_runs(&mut self, record: &Record, greenlet: Greenlet, run: u16) {
        let state = self.state(record.ring);
        let before = std::mem::replace(&mut state.doing, Doing::Runs(greenlet, run));
        let what = match before {
            Doing::Unknown | Doing::Nothing(_) => return,
            Doing::Runs(other, _) => format!("while it ran greenlet {other}"),
            Doing::Sleeps(_) => "while it slept".into(),
        };
        let what = format!("{} ran greenlet {greenlet} {what}", self.name(record.ring));
        self.add(Rule::Hub, record.time, Some(record.ring), greenlet, what);
    }

    fn hub_stops(&mut self, record: &Record, greenlet: Greenlet, run: u16) {
        let state = self.state(record.ring);
        let before = std::mem::replace(&mut state.doing, Doing::Nothing(greenlet));
        if before == Doing::Unknown || before == Doing::Runs(greenlet, run) {
            return;
        }
        let what = format!(
            "greenlet {greenlet} stopped after run {run} on {}, which did not run it",
            self.name(record.ring)
        );
        self.add(Rule::Hub, record.time, Some(record.ring), greenlet, what);
    }

    fn hub_sleeps(&mut self, record: &Record) {
        let state = self.state(record.ring);
        let last = match state.doing {
            Doing::Nothing(last) => last,
            _ => 0,
        };
        let before = std::mem::replace(&mut state.doing, Doing::Sleeps(last));
        let what = match before {
            Doing::Unknown | Doing::Nothing(_) => return,
            Doing::Runs(greenlet, _) => format!("while it ran greenlet {greenlet}"),
            Doing::Sleeps(_) => "twice".into(),
        };
        let what = format!("{} fell asleep {what}", self.name(record.ring));
        self.add(Rule::Hub, record.time, Some(record.ring), 0, what);
    }

    fn hub_wakes(&mut self, record: &Record) {
        let state = self.state(record.ring);
        match state.doing {
            Doing::Sleeps(last) => state.doing = Doing::Nothing(last),
            Doing::Unknown => state.doing = Doing::Nothing(0),
            Doing::Nothing(_) | Doing::Runs(..) => {
                let what = format!("{} went on and had not slept", self.name(record.ring));
                self.add(Rule::Hub, record.time, Some(record.ring), 0, what);
            }
        }
    }

    /// Whoever wakes others on a hub runs there, or has just stopped there.
    fn waker(&mut self, record: &Record, by: Source) {
        let Source::Actor(Actor::Greenlet(waker)) = by else {
            return;
        };
        if self.hub(record.ring).is_none() {
            return;
        }
        let is_there = match self.state(record.ring).doing {
            Doing::Unknown => true,
            Doing::Runs(greenlet, _) | Doing::Nothing(greenlet) => {
                greenlet == waker || greenlet == 0
            }
            Doing::Sleeps(_) => false,
        };
        if !is_there {
            let what = format!(
                "greenlet {waker} ended a park on {}, where it did not run",
                self.name(record.ring)
            );
            self.add(Rule::Waker, record.time, Some(record.ring), waker, what);
        }
    }

    fn life(&mut self, record: &Record, greenlet: Greenlet, run: u16, phase: Phase) {
        let Record { time, ring, .. } = *record;
        let now = Moment {
            time,
            ring,
            run,
            phase,
        };
        // A trace may begin anywhere.
        let Some(before) = self.lives.insert(greenlet, now) else {
            return;
        };
        let follows = before.phase.leads_to(phase);
        if follows.is_none_or(|runs| before.run.wrapping_add(runs) != run) {
            if !self.is_lost_between(before.time, time) {
                let what = format!(
                    "greenlet {greenlet} {} (run {}, {}) and then {} (run {run}, {})",
                    before.phase.name(),
                    before.run,
                    self.name(before.ring),
                    phase.name(),
                    self.name(ring)
                );
                self.add(Rule::Life, time, Some(ring), greenlet, what);
            }
        } else if self.latest.saturating_add(SKEW) < before.time {
            let what = format!(
                "greenlet {greenlet} {} on {} {} ns before it {} on {}",
                phase.name(),
                self.name(ring),
                before.time.saturating_sub(time),
                before.phase.name(),
                self.name(before.ring)
            );
            self.add(Rule::Order, time, Some(ring), greenlet, what);
        }
    }

    /// Whether any ring misses events of this time, or near to it.
    fn is_lost_between(&self, from: u64, to: u64) -> bool {
        let (from, to) = (from.min(to), from.max(to));
        let gaps = self
            .gaps
            .partition_point(|gap| gap.0 <= to.saturating_add(SKEW));
        let last = gaps.checked_sub(1).map(|place| self.gaps[place].1);
        last.is_some_and(|until| until.saturating_add(SKEW) >= from)
    }

    fn all_have_ended(&mut self) {
        let mut left: Vec<_> = self
            .lives
            .iter()
            .filter(|(_, moment)| moment.phase != Phase::Ended)
            .map(|(greenlet, moment)| (*greenlet, *moment))
            .collect();
        left.sort_unstable_by_key(|(greenlet, _)| *greenlet);
        for (greenlet, moment) in left {
            let what = format!(
                "greenlet {greenlet} {} and never ended",
                moment.phase.name()
            );
            self.add(Rule::Whole, moment.time, Some(moment.ring), greenlet, what);
        }
        for ring in 0..self.rings.len() as u16 {
            if let Doing::Runs(greenlet, run) = self.state(ring).doing {
                let time = self.state(ring).time;
                let what = format!("run {run} of greenlet {greenlet} has no stop");
                self.add(Rule::Whole, time, Some(ring), greenlet, what);
            }
        }
    }
}
