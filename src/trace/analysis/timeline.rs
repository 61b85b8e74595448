//! What greenlets and hubs did, as slices of time.
//!
//! | file | noun |
//! |---|---|
//! | `build` | goes through the records of a trace once |

mod build;

use crate::record::{Actor, Ended, Greenlet, Source, Stop, Text, Wait};

use super::Trace;

/// A trace as slices of time: for every greenlet when it was ready, ran and waited, and for every hub what
/// it ran and when it slept. All times are nanoseconds of the monotonic clock.
///
/// ```no_run
/// use greenlet::trace::analysis::{Doing, Timeline, Trace};
///
/// let trace = Trace::open("crawl.trace")?;
/// let timeline = Timeline::new(&trace);
/// for life in timeline.greenlets() {
///     let runs = life.slices.iter().filter(|slice| matches!(slice.doing, Doing::Running { .. }));
///     let nanos: u64 = runs.map(|slice| slice.nanos()).sum();
///     println!("greenlet {} ran for {nanos} ns", life.id);
/// }
/// # Ok::<(), greenlet::trace::analysis::ReadError>(())
/// ```
#[derive(Debug)]
pub struct Timeline {
    begin: u64,
    end: u64,
    greenlets: Vec<Life>,
    hubs: Vec<Hub>,
    wakes: Vec<WakeEdge>,
    jobs: Vec<Job>,
    thread_spans: Vec<Span>,
    marks: Vec<Mark>,
    panics: Vec<(u64, Actor)>,
    counters: Vec<CounterValue>,
    long_runs: Vec<LongRun>,
}

/// What is known of a greenlet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Life {
    /// Its number.
    pub id: Greenlet,
    /// Its name; 0 if it has none.
    pub name: Text,
    /// Where it was spawned; 0 if that is not known.
    pub site: Text,
    /// Who spawned it; 0 for a plain thread, or if it is not known.
    pub parent: Greenlet,
    /// When it was spawned. `None` if that was before the trace.
    pub spawned: Option<u64>,
    /// When it ended. `None` if it had not by the end of the trace.
    pub ended: Option<u64>,
    /// What it did, in the order of time, with gaps where events were lost. They do not overlap, but for the
    /// difference of two hubs' clocks.
    pub slices: Vec<Slice>,
    /// The spans that began in it, in the order in which they did.
    pub spans: Vec<Span>,
    /// How much of its stack it had used when it ended, and how much it had, in bytes.
    pub stack: Option<(u64, u64)>,
}

/// A time in which a greenlet did one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// When it began; the trace's beginning if that was before it.
    pub begin: u64,
    /// When it ended; the trace's end if it did not before.
    pub end: u64,
    /// What the greenlet did.
    pub doing: Doing,
    /// The number of the run: of this one, or of the last one if the greenlet did not run.
    pub run: u16,
    /// Whether it went on when the trace ended.
    pub open: bool,
    /// Whether it may have begun before what the trace tells.
    pub cut: bool,
}

/// What a greenlet does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doing {
    /// It waits for its turn.
    Ready(Ready),
    /// A hub runs it.
    Running {
        /// Which of [`Trace::rings`] is the hub's. `None` if the trace did not tell.
        ring: Option<u16>,
        /// Why it stopped. `None` if it did not within the trace.
        stop: Option<Stop>,
    },
    /// It is parked.
    Waiting {
        /// For what.
        wait: Wait,
        /// Who ended that, and how. `None` if it went on, or if the event was lost.
        ended: Option<(Source, Ended)>,
    },
}

/// Why a greenlet was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It had been spawned.
    Spawned,
    /// It had yielded.
    Yielded,
    /// Its park had been ended.
    Woken(Source, Ended),
    /// The trace does not tell.
    Unknown,
}

/// What a hub did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hub {
    /// Which of [`Trace::rings`] it is.
    pub ring: u16,
    /// When its first event was.
    pub begin: u64,
    /// When its last event was.
    pub end: u64,
    /// What it ran and when it slept, in the order of time. Between them it looked for something to run.
    pub slices: Vec<HubSlice>,
    /// Nanoseconds in which it ran greenlets.
    pub running: u64,
    /// Nanoseconds in which it slept.
    pub sleeping: u64,
    /// Nanoseconds in which it did neither, without those whose events were lost.
    pub scheduling: u64,
    /// When it took greenlets from the queue of another hub, and that hub's number.
    pub steals: Vec<(u64, u16)>,
    /// When it asked the kernel which descriptors are ready, and how many greenlets that woke.
    pub polls: Vec<(u64, u32)>,
    /// When deadlines had passed, and how many greenlets that woke.
    pub timers: Vec<(u64, u32)>,
}

/// A time in which a hub did one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubSlice {
    /// When it began.
    pub begin: u64,
    /// When it ended.
    pub end: u64,
    /// Whom it ran; 0 if it slept.
    pub greenlet: Greenlet,
    /// The number of the run; 0 if it slept.
    pub run: u16,
}

/// The end of a park.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WakeEdge {
    /// When.
    pub time: u64,
    /// Which of [`Trace::rings`] recorded it.
    pub ring: u16,
    /// Who ended it.
    pub by: Source,
    /// Who was parked.
    pub woken: Greenlet,
    /// The number of the run before.
    pub run: u16,
    /// How it ended.
    pub outcome: Ended,
    /// What was waited for, if the trace tells.
    pub wait: Option<Wait>,
    /// When the greenlet ran again, if it did.
    pub ran: Option<u64>,
}

/// A job of the blocking pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The kernel's number of the thread that did it.
    pub thread: u32,
    /// Whose it was; 0 for a plain thread's.
    pub greenlet: Greenlet,
    /// When it began.
    pub begin: u64,
    /// When it was done. `None` if it was not within the trace.
    pub end: Option<u64>,
}

/// A span of the program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// In whom it began.
    pub who: Actor,
    /// Its name.
    pub name: Text,
    /// Its number, which tells it from others of the same actor that are open.
    pub span: u32,
    /// When it began.
    pub begin: u64,
    /// When it ended. `None` if it did not within the trace.
    pub end: Option<u64>,
}

/// Something that happened, says the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub time: u64,
    /// Who says so.
    pub who: Actor,
    /// What.
    pub name: Text,
}

/// A new value of a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CounterValue {
    /// When.
    pub time: u64,
    /// Who said so.
    pub who: Actor,
    /// The counter's name.
    pub name: Text,
    /// The value.
    pub value: f64,
}

/// A greenlet kept its hub from running others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongRun {
    /// When this was noticed.
    pub time: u64,
    /// The greenlet; 0 if it is not known.
    pub greenlet: Greenlet,
    /// The hub.
    pub hub: u16,
    /// The runtime of the hub.
    pub runtime: u16,
    /// Whether it waited in the kernel; otherwise it computed.
    pub in_kernel: bool,
    /// For how many nanoseconds until then.
    pub nanos: u64,
    /// Its stack, innermost function first, one on a line.
    pub stack: Text,
}

impl Slice {
    /// How long it was.
    pub fn nanos(&self) -> u64 {
        self.end.saturating_sub(self.begin)
    }
}

impl HubSlice {
    /// How long it was.
    pub fn nanos(&self) -> u64 {
        self.end.saturating_sub(self.begin)
    }

    /// Whether the hub slept.
    pub fn is_sleep(&self) -> bool {
        self.greenlet == 0
    }
}

impl Timeline {
    /// Goes through all records.
    pub fn new(trace: &Trace) -> Self {
        build::build(trace)
    }

    /// When the trace begins.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// When the trace ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// All greenlets, in the order of their numbers.
    pub fn greenlets(&self) -> &[Life] {
        &self.greenlets
    }

    /// One greenlet.
    pub fn greenlet(&self, id: Greenlet) -> Option<&Life> {
        let place = self.greenlets.binary_search_by_key(&id, |life| life.id);
        place.ok().map(|place| &self.greenlets[place])
    }

    /// All hubs, in the order of their rings.
    pub fn hubs(&self) -> &[Hub] {
        &self.hubs
    }

    /// Who has ended whose park, in the order of the records.
    pub fn wakes(&self) -> &[WakeEdge] {
        &self.wakes
    }

    /// Jobs of the blocking pool, in the order in which they began.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// The spans that began in plain threads, in the order in which they did.
    pub fn thread_spans(&self) -> &[Span] {
        &self.thread_spans
    }

    /// What happened, says the program.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Who has panicked, and when.
    pub fn panics(&self) -> &[(u64, Actor)] {
        &self.panics
    }

    /// The values of all counters.
    pub fn counters(&self) -> &[CounterValue] {
        &self.counters
    }

    /// Greenlets that kept their hubs. One that goes on is there several times, with more nanoseconds.
    pub fn long_runs(&self) -> &[LongRun] {
        &self.long_runs
    }
}
