//! Events: what a ring is made of.
//!
//! This file is the one place that knows how an event is written as words; `docs/trace_format.md` tells
//! the same in words.

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
        /// Its stack, innermost function first, one on a line.
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

/// The head of an event: one word.
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

    pub(crate) fn kind(self) -> u8 {
        self.0 as u8
    }

    pub(crate) fn aux(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Words that follow.
    pub(crate) fn length(self) -> usize {
        (self.0 >> 16) as usize & 0xf
    }

    pub(crate) fn ticks(self) -> u64 {
        self.0 >> 20
    }
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

    fn decode(aux: u8, object: u64) -> Option<Self> {
        match aux {
            0 => Some(Self::Yield),
            1 => Some(Self::End),
            _ => Wait::decode(aux, object).map(Self::Wait),
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

    fn decode(aux: u8, object: u64) -> Option<Self> {
        match aux {
            0 => Some(Self::Ready),
            1 => Some(Self::Running),
            _ => Wait::decode(aux, object).map(Self::Waiting),
        }
    }
}

impl Wait {
    fn decode(aux: u8, object: u64) -> Option<Self> {
        let reason = aux.checked_sub(WAIT)?;
        Some(Self { reason, object })
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

    fn decode(word: u64) -> Self {
        match word & Self::THREAD {
            0 => Self::Greenlet(word),
            _ => Self::Thread(word as u32),
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

    fn decode(code: u8, word: u64) -> Self {
        match code {
            1 => Self::Actor(Actor::decode(word)),
            2 => Self::Reactor,
            3 => Self::Timer,
            _ => Self::Unknown,
        }
    }
}

impl Ended {
    const ALL: [Self; 3] = [Self::Woken, Self::Deadline, Self::Cancelled];
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

    /// The event behind a head. `None` if this version does not know it, or if it has fewer words than it
    /// should; more are left alone.
    pub(crate) fn decode(head: Head, words: &[u64]) -> Option<Self> {
        let word = |index: usize| words.get(index).copied();
        let low = |index: usize| word(index).map(|word| word as u32);
        let high = |index: usize| word(index).map(|word| (word >> 32) as u32);
        let greenlet = || word(0).map(|word| word >> 16);
        let run = || word(0).map(|word| word as u16);
        let who = || word(0).map(Actor::decode);
        Some(match head.kind() {
            kind::SPAWN => Self::Spawn {
                greenlet: word(0)?,
                parent: word(1)?,
                site: low(2)?,
            },
            kind::RUN => Self::Run {
                greenlet: greenlet()?,
                run: run()?,
            },
            kind::STOP => Self::Stop {
                greenlet: greenlet()?,
                run: run()?,
                why: Stop::decode(head.aux(), word(1)?)?,
            },
            kind::WAKE => Self::Wake {
                greenlet: greenlet()?,
                run: run()?,
                by: Source::decode(head.aux() & 0xf, word(1)?),
                outcome: *Ended::ALL.get(usize::from(head.aux() >> 4))?,
            },
            kind::STATUS => Self::Status {
                greenlet: greenlet()?,
                run: run()?,
                state: State::decode(head.aux(), word(3)?)?,
                parent: word(1)?,
                site: low(2)?,
                name: high(2)?,
                since: word(4)?,
            },
            kind::NAME => Self::Name {
                greenlet: word(0)?,
                name: low(1)?,
            },
            kind::STEAL => Self::Steal {
                victim: word(0)? as u16,
            },
            kind::SLEEP => Self::Sleep,
            kind::AWAKE => Self::Awake,
            kind::POLL => Self::Poll { woken: low(0)? },
            kind::TIMERS => Self::Timers { woken: low(0)? },
            kind::JOB_BEGIN => Self::JobBegin {
                thread: low(0)?,
                greenlet: word(1)?,
            },
            kind::JOB_END => Self::JobEnd { thread: low(0)? },
            kind::LONG_RUN => Self::LongRun {
                greenlet: word(0)?,
                hub: low(1)? as u16,
                runtime: high(1)? as u16,
                in_kernel: head.aux() != 0,
                nanos: word(2)?,
                stack: low(3)?,
            },
            kind::STACK => Self::Stack {
                greenlet: word(0)?,
                used: word(1)?,
                size: word(2)?,
            },
            kind::SPAN_BEGIN => Self::SpanBegin {
                who: who()?,
                name: low(1)?,
                span: high(1)?,
            },
            kind::SPAN_END => Self::SpanEnd {
                who: who()?,
                span: low(1)?,
            },
            kind::COUNTER => Self::Counter {
                who: who()?,
                name: low(1)?,
                value: f64::from_bits(word(2)?),
            },
            kind::MARK => Self::Mark {
                who: who()?,
                name: low(1)?,
            },
            kind::PANIC => Self::Panic { who: who()? },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn comes_back(event: Event) {
        let encoded = event.encode();
        let head = Head::new(&encoded, Head::TICKS - 1);
        assert_eq!(head.length(), encoded.length);
        assert_eq!(head.ticks(), Head::TICKS - 1);
        let words = &encoded.words[..encoded.length];
        assert_eq!(Event::decode(head, words), Some(event));
        // A newer version may have more to say, and a damaged file less.
        let longer = [words, &[7]].concat();
        assert_eq!(Event::decode(head, &longer), Some(event));
        if let Some((_, shorter)) = words.split_last() {
            assert_eq!(Event::decode(head, shorter), None);
        }
    }

    #[test]
    fn every_event_is_read_as_it_was_written() {
        let (greenlet, parent, run) = ((1 << 48) - 1, 3, u16::MAX);
        let wait = Wait {
            reason: 20,
            object: 0x7f00_1234_5678,
        };
        let actors = [Actor::Greenlet(greenlet), Actor::Thread(u32::MAX)];
        comes_back(Event::Spawn {
            greenlet,
            parent,
            site: 9,
        });
        comes_back(Event::Run { greenlet, run });
        for why in [Stop::Yield, Stop::End, Stop::Wait(wait)] {
            comes_back(Event::Stop { greenlet, run, why });
        }
        let sources = [Source::Reactor, Source::Timer, Source::Unknown];
        for by in actors.map(Source::Actor).into_iter().chain(sources) {
            for outcome in Ended::ALL {
                comes_back(Event::Wake {
                    greenlet,
                    run,
                    by,
                    outcome,
                });
            }
        }
        for state in [State::Ready, State::Running, State::Waiting(wait)] {
            comes_back(Event::Status {
                greenlet,
                run,
                state,
                parent,
                site: u32::MAX,
                name: 1,
                since: 5,
            });
        }
        comes_back(Event::Name { greenlet, name: 4 });
        comes_back(Event::Steal { victim: 1023 });
        comes_back(Event::Sleep);
        comes_back(Event::Awake);
        comes_back(Event::Poll { woken: 12 });
        comes_back(Event::Timers { woken: 12 });
        comes_back(Event::JobBegin {
            thread: 77,
            greenlet,
        });
        comes_back(Event::JobEnd { thread: 77 });
        comes_back(Event::LongRun {
            greenlet,
            hub: 7,
            runtime: 2,
            in_kernel: true,
            nanos: 10_000_000,
            stack: 3,
        });
        comes_back(Event::Stack {
            greenlet,
            used: 100,
            size: 1 << 18,
        });
        for who in actors {
            comes_back(Event::SpanBegin {
                who,
                name: 8,
                span: u32::MAX,
            });
            comes_back(Event::SpanEnd { who, span: 1 });
            comes_back(Event::Counter {
                who,
                name: 8,
                value: -1.5,
            });
            comes_back(Event::Mark { who, name: 8 });
            comes_back(Event::Panic { who });
        }
    }

    #[test]
    fn an_event_that_is_not_known_is_told_from_one_that_is() {
        assert_eq!(Event::decode(Head(0), &[]), None);
        assert_eq!(Event::decode(Head(255), &[1, 2, 3]), None);
    }
}
