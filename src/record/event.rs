//! Events: what a ring is made of.
//!
//! This file, `brief` and `decode` are the one place that knows how an event is written as words;
//! `docs/trace_format.md` tells the same in words.

mod brief;
#[cfg(any(test, feature = "analysis"))]
mod decode;

pub(crate) use brief::Context;
#[cfg(any(all(test, not(loom)), feature = "analysis"))]
pub(crate) use decode::Events;

/// A number of a greenlet, as [`Id`](crate::Id) has it; 0 where there is none.
pub type Greenlet = u64;

/// A text in the trace's table of texts; 0 where there is none.
pub type Text = u32;

/// Something that happened at one moment.
///
/// Every event of a greenlet's own life carries the number of its *run*: how often it had been switched
/// in while events were recorded, modulo 65,536. It goes RUN 1, STOP 1, WAKE 1, RUN 2 and so on, whatever the
/// clocks of processors say.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A greenlet was spawned, and is ready to run.
    Spawn {
        /// The new one.
        greenlet: Greenlet,
        /// Who spawned it; 0 for a plain thread.
        parent: Greenlet,
        /// Where: a file, line and column.
        site: Text,
    },
    /// A hub switches a greenlet in.
    Run {
        /// The greenlet.
        greenlet: Greenlet,
        /// The number of this run.
        run: u16,
    },
    /// The greenlet is off the CPU.
    Stop {
        /// The greenlet.
        greenlet: Greenlet,
        /// The number of the run that is over.
        run: u16,
        /// Why.
        why: Stop,
    },
    /// A park was ended: the greenlet is ready to run.
    Wake {
        /// Who was parked.
        greenlet: Greenlet,
        /// The number of its last run.
        run: u16,
        /// Who ended the park.
        by: Source,
        /// How it ended.
        outcome: Ended,
    },
    /// What a greenlet did when recording began, or when the trace was written.
    Status {
        /// The greenlet.
        greenlet: Greenlet,
        /// The number of its last run.
        run: u16,
        /// What it does.
        state: State,
        /// Who spawned it; 0 for a plain thread.
        parent: Greenlet,
        /// Where it was spawned.
        site: Text,
        /// Its name.
        name: Text,
        /// For how many nanoseconds it has been waiting, up to some milliseconds; 0 if it does not wait.
        since: u64,
    },
    /// A greenlet has a name.
    Name {
        /// The greenlet.
        greenlet: Greenlet,
        /// Its name.
        name: Text,
    },
    /// The hub took greenlets from another hub's queue.
    Steal {
        /// The other one.
        victim: u16,
    },
    /// The hub has nothing to do and sleeps.
    Sleep,
    /// The hub goes on.
    Awake,
    /// The hub asked the kernel which descriptors are ready.
    Poll {
        /// How many greenlets that woke.
        woken: u32,
    },
    /// Deadlines have passed.
    Timers {
        /// How many greenlets that woke.
        woken: u32,
    },
    /// A thread of the blocking pool begins a job.
    JobBegin {
        /// The kernel's number of the thread.
        thread: u32,
        /// Whose job; 0 for a plain thread's.
        greenlet: Greenlet,
    },
    /// The job is done.
    JobEnd {
        /// The kernel's number of the thread.
        thread: u32,
    },
    /// A greenlet keeps its hub from running others.
    LongRun {
        /// The greenlet; 0 if it is not known.
        greenlet: Greenlet,
        /// The hub.
        hub: u16,
        /// The runtime of the hub.
        runtime: u16,
        /// Whether it waits in the kernel; otherwise it computes.
        in_kernel: bool,
        /// For how many nanoseconds so far.
        nanos: u64,
        /// Its stack, innermost function first, one on a line; 0 while that is not known. The event comes once more,
        /// with the same hub and time, when it is.
        stack: Text,
    },
    /// A greenlet has ended, whose use of its stack was sampled.
    Stack {
        /// The greenlet.
        greenlet: Greenlet,
        /// Bytes that it has used.
        used: u64,
        /// Bytes that it had.
        size: u64,
    },
    /// A span of the program's begins.
    SpanBegin {
        /// In which greenlet or thread.
        who: Actor,
        /// The span's name.
        name: Text,
        /// Tells this span from others of the same actor that are open.
        span: u32,
    },
    /// A span of the program's ends.
    SpanEnd {
        /// In which greenlet or thread; not always where it began.
        who: Actor,
        /// As when it began.
        span: u32,
    },
    /// A counter of the program's has a new value.
    Counter {
        /// Who said so.
        who: Actor,
        /// The counter's name.
        name: Text,
        /// The value.
        value: f64,
    },
    /// Something happened, says the program, or the runtime: what made it write the trace.
    Mark {
        /// Who says so.
        who: Actor,
        /// What happened.
        name: Text,
    },
    /// A greenlet or a thread has panicked.
    Panic {
        /// Who.
        who: Actor,
    },
}

/// Why a greenlet has left the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It yielded, and is ready to run.
    Yield,
    /// It has ended.
    End,
    /// It has parked.
    Wait(Wait),
}

/// What a greenlet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for its turn.
    Ready,
    /// A hub runs it.
    Running,
    /// It is parked.
    Waiting(Wait),
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The reason, a code of [`wait_reason`](crate::trace::wait_reason).
    pub reason: u8,
    /// The descriptor, greenlet or address that is waited for; [`NO_OBJECT`](Self::NO_OBJECT) if
    /// there is none.
    pub object: u64,
}

impl Wait {
    /// Of a wait for nothing that has a number.
    pub const NO_OBJECT: u64 = (1 << 56) - 1;
}

/// Who ended a park.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A greenlet or a thread that is no hub.
    Actor(Actor),
    /// A hub, because a descriptor was ready.
    Reactor,
    /// A hub, because a deadline had passed.
    Timer,
    /// It is not known.
    Unknown,
}

/// A greenlet or a plain thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Actor {
    /// A greenlet.
    Greenlet(Greenlet),
    /// A thread, by the kernel's number.
    Thread(u32),
}

/// How a park has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By a wake.
    Woken,
    /// Its deadline has passed.
    Deadline,
    /// The greenlet was cancelled.
    Cancelled,
}

/// An event as it is written: a head and up to [`MOST_WORDS`] words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    pub(crate) kind: u8,
    /// Eight bits whose meaning depends on the kind.
    pub(crate) aux: u8,
    pub(crate) length: usize,
    pub(crate) words: [u64; MOST_WORDS],
}

/// As many words follow a head at the most, of the events there are.
pub(crate) const MOST_WORDS: usize = 5;

/// The head of an event: one word. Some events are no more than a word, see [`Context::brief`].
///
/// ```text
///  63                    20 19    16 15     8 7      0
/// +------------------------+--------+--------+--------+
/// | ticks since the block  | length |  aux   |  kind  |    length: words that follow
/// +------------------------+--------+--------+--------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head(pub(crate) u64);

impl Head {
    /// Ticks since the block began must be less than this.
    pub(crate) const TICKS: u64 = 1 << 44;

    #[inline]
    pub(crate) fn new(event: &Encoded, ticks: u64) -> Self {
        Self(
            ticks << 20
                | (event.length as u64) << 16
                | u64::from(event.aux) << 8
                | u64::from(event.kind),
        )
    }

    /// Words that follow.
    pub(crate) fn length(self) -> usize {
        match self.0 & brief::BRIEF {
            0 => (self.0 >> 16) as usize & 0xf,
            _ => 0,
        }
    }
}

/// How many events these words are.
pub(crate) fn count(words: &[u64]) -> u64 {
    let (mut at, mut count) = (0, 0);
    while let Some(head) = words.get(at) {
        at += 1 + Head(*head).length();
        count += 1;
    }
    count
}

mod kind {
    pub(super) const SPAWN: u8 = 1;
    pub(super) const RUN: u8 = 2;
    pub(super) const STOP: u8 = 3;
    pub(super) const WAKE: u8 = 4;
    pub(super) const STATUS: u8 = 5;
    pub(super) const NAME: u8 = 6;
    pub(super) const STEAL: u8 = 7;
    pub(super) const SLEEP: u8 = 8;
    pub(super) const AWAKE: u8 = 9;
    pub(super) const POLL: u8 = 10;
    pub(super) const TIMERS: u8 = 11;
    pub(super) const JOB_BEGIN: u8 = 12;
    pub(super) const JOB_END: u8 = 13;
    pub(super) const LONG_RUN: u8 = 14;
    pub(super) const STACK: u8 = 15;
    pub(super) const SPAN_BEGIN: u8 = 16;
    pub(super) const SPAN_END: u8 = 17;
    pub(super) const COUNTER: u8 = 18;
    pub(super) const MARK: u8 = 19;
    pub(super) const PANIC: u8 = 20;
}

/// In `aux`: this and the code of a reason are a wait.
const WAIT: u8 = 16;

impl Stop {
    #[inline]
    fn encode(self) -> (u8, u64) {
        match self {
            Self::Yield => (0, 0),
            Self::End => (1, 0),
            Self::Wait(wait) => (WAIT + wait.reason, wait.object),
        }
    }
}

impl State {
    fn encode(self) -> (u8, u64) {
        match self {
            Self::Ready => (0, 0),
            Self::Running => (1, 0),
            Self::Waiting(wait) => (WAIT + wait.reason, wait.object),
        }
    }
}

impl Actor {
    const THREAD: u64 = 1 << 63;

    /// The greenlet, if it is one.
    pub fn greenlet(self) -> Option<Greenlet> {
        match self {
            Self::Greenlet(number) => Some(number),
            Self::Thread(_) => None,
        }
    }

    #[inline]
    fn encode(self) -> u64 {
        match self {
            Self::Greenlet(number) => number,
            Self::Thread(number) => Self::THREAD | u64::from(number),
        }
    }
}

impl Source {
    #[inline]
    fn encode(self) -> (u8, u64) {
        match self {
            Self::Unknown => (0, 0),
            Self::Actor(actor) => (1, actor.encode()),
            Self::Reactor => (2, 0),
            Self::Timer => (3, 0),
        }
    }
}

/// A greenlet and the number of a run, in one word.
#[inline]
fn life(greenlet: Greenlet, run: u16) -> u64 {
    greenlet << 16 | u64::from(run)
}

fn halves(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

impl Encoded {
    #[inline(always)]
    fn new<const N: usize>(kind: u8, aux: u8, given: [u64; N]) -> Self {
        let mut words = [0; MOST_WORDS];
        words[..N].copy_from_slice(&given);
        Self {
            kind,
            aux,
            length: N,
            words,
        }
    }
}

impl Event {
    /// As words.
    #[inline(always)]
    pub(crate) fn encode(self) -> Encoded {
        match self {
            Self::Spawn {
                greenlet,
                parent,
                site,
            } => Encoded::new(kind::SPAWN, 0, [greenlet, parent, site.into()]),
            Self::Run { greenlet, run } => Encoded::new(kind::RUN, 0, [life(greenlet, run)]),
            Self::Stop { greenlet, run, why } => {
                let (aux, object) = why.encode();
                Encoded::new(kind::STOP, aux, [life(greenlet, run), object])
            }
            Self::Wake {
                greenlet,
                run,
                by,
                outcome,
            } => {
                let (source, word) = by.encode();
                let aux = source | (outcome as u8) << 4;
                Encoded::new(kind::WAKE, aux, [life(greenlet, run), word])
            }
            Self::Status {
                greenlet,
                run,
                state,
                parent,
                site,
                name,
                since,
            } => {
                let (aux, object) = state.encode();
                let words = [
                    life(greenlet, run),
                    parent,
                    halves(site, name),
                    object,
                    since,
                ];
                Encoded::new(kind::STATUS, aux, words)
            }
            Self::Name { greenlet, name } => Encoded::new(kind::NAME, 0, [greenlet, name.into()]),
            Self::Steal { victim } => Encoded::new(kind::STEAL, 0, [victim.into()]),
            Self::Sleep => Encoded::new(kind::SLEEP, 0, []),
            Self::Awake => Encoded::new(kind::AWAKE, 0, []),
            Self::Poll { woken } => Encoded::new(kind::POLL, 0, [woken.into()]),
            Self::Timers { woken } => Encoded::new(kind::TIMERS, 0, [woken.into()]),
            Self::JobBegin { thread, greenlet } => {
                Encoded::new(kind::JOB_BEGIN, 0, [thread.into(), greenlet])
            }
            Self::JobEnd { thread } => Encoded::new(kind::JOB_END, 0, [thread.into()]),
            Self::LongRun {
                greenlet,
                hub,
                runtime,
                in_kernel,
                nanos,
                stack,
            } => {
                let place = halves(hub.into(), runtime.into());
                let words = [greenlet, place, nanos, stack.into()];
                Encoded::new(kind::LONG_RUN, in_kernel.into(), words)
            }
            Self::Stack {
                greenlet,
                used,
                size,
            } => Encoded::new(kind::STACK, 0, [greenlet, used, size]),
            Self::SpanBegin { who, name, span } => {
                Encoded::new(kind::SPAN_BEGIN, 0, [who.encode(), halves(name, span)])
            }
            Self::SpanEnd { who, span } => {
                Encoded::new(kind::SPAN_END, 0, [who.encode(), span.into()])
            }
            Self::Counter { who, name, value } => {
                let words = [who.encode(), name.into(), value.to_bits()];
                Encoded::new(kind::COUNTER, 0, words)
            }
            Self::Mark { who, name } => Encoded::new(kind::MARK, 0, [who.encode(), name.into()]),
            Self::Panic { who } => Encoded::new(kind::PANIC, 0, [who.encode()]),
        }
    }
}
