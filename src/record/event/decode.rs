//! From words back to events.

use super::brief::{
    BRIEF, Context, GREENLET_AT, GREENLETS, NO_OBJECT, OBJECT_AT, RUN, RUN_AT, STOP, TICKS_AT,
    WAKE_REACTOR, WAKE_RUNNING, WAKE_TIMER,
};
use super::{Actor, Ended, Event, Greenlet, Head, Source, State, Stop, WAIT, Wait, kind};

/// The events of a block, one after the other: the ticks of each since the block began, and what it is, if this
/// version knows it.
pub(crate) struct Events<'a, I> {
    words: I,
    context: &'a Context,
}

/// The greatest number of a greenlet: it has 48 bits.
const LAST: Greenlet = (1 << 48) - 1;

/// The words end in the middle of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CutOff;

impl<'a, I: Iterator<Item = u64>> Events<'a, I> {
    /// Those of words that follow what `context` has seen of the block.
    pub(crate) fn new(words: I, context: &'a Context) -> Self {
        Self { words, context }
    }
}

impl<I: Iterator<Item = u64>> Iterator for Events<'_, I> {
    type Item = Result<(u64, Option<Event>), CutOff>;

    fn next(&mut self) -> Option<Self::Item> {
        let head = self.words.next()?;
        let (ticks, event) = if head & BRIEF == 0 {
            let head = Head(head);
            let mut given = [0; 15];
            let given = &mut given[..head.length()];
            for word in given.iter_mut() {
                let Some(next) = self.words.next() else {
                    return Some(Err(CutOff));
                };
                *word = next;
            }
            (head.ticks(), Event::decode(head, given))
        } else {
            let ticks = self.context.ticks.get().saturating_add(head >> TICKS_AT);
            (ticks, self.context.expand(head))
        };
        self.context.ticks.set(ticks);
        if let Some(event) = event {
            self.context.see(event, ticks);
        }
        Some(Ok((ticks, event)))
    }
}

impl Context {
    /// The event of a word. `None` if this version does not know it, or if it leaves out what was not told.
    fn expand(&self, word: u64) -> Option<Event> {
        let greenlets = self.greenlets.get();
        let greenlet = greenlets.wrapping_add(word >> GREENLET_AT & (GREENLETS - 1)) & LAST;
        let run = (word >> RUN_AT) as u16;
        let wake = |by, outcome| Event::Wake {
            greenlet,
            run,
            by,
            outcome,
        };
        match word & (BRIEF - 1) {
            RUN => Some(Event::Run { greenlet, run }),
            STOP => {
                let object = match word >> OBJECT_AT & NO_OBJECT {
                    NO_OBJECT => Wait::NO_OBJECT,
                    object => object,
                };
                let (greenlet, run) = self.running()?;
                Some(Event::Stop {
                    greenlet,
                    run,
                    why: Stop::decode((word >> GREENLET_AT) as u8, object)?,
                })
            }
            WAKE_REACTOR => Some(wake(Source::Reactor, Ended::Woken)),
            WAKE_TIMER => Some(wake(Source::Timer, Ended::Deadline)),
            WAKE_RUNNING => {
                let (running, _) = self.running()?;
                let by = Source::Actor(Actor::Greenlet(running));
                Some(wake(by, Ended::Woken))
            }
            _ => None,
        }
    }
}

impl Head {
    pub(crate) fn kind(self) -> u8 {
        self.0 as u8
    }

    pub(crate) fn aux(self) -> u8 {
        (self.0 >> 8) as u8
    }

    pub(crate) fn ticks(self) -> u64 {
        self.0 >> 20
    }
}

impl Stop {
    fn decode(aux: u8, object: u64) -> Option<Self> {
        match aux {
            0 => Some(Self::Yield),
            1 => Some(Self::End),
            _ => Wait::decode(aux, object).map(Self::Wait),
        }
    }
}

impl State {
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
    fn decode(word: u64) -> Self {
        match word & Self::THREAD {
            0 => Self::Greenlet(word),
            _ => Self::Thread(word as u32),
        }
    }
}

impl Source {
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

impl Event {
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
        assert_eq!(Event::decode(Head(127), &[1, 2, 3]), None);
        let context = Context::new(0);
        let words = [
            BRIEF | 77,
            BRIEF | STOP,
            BRIEF | WAKE_RUNNING,
            1 << 45 | BRIEF,
        ];
        let events: Vec<_> = Events::new(words.into_iter(), &context).collect();
        let unknown = |ticks| Ok((ticks, None));
        assert_eq!(events, [unknown(0), unknown(0), unknown(0), unknown(1)]);
    }

    /// Encodes each as it is recorded, and reads all of them. Answers how many words they were.
    #[track_caller]
    fn come_back(greenlets: u64, events: &[(u64, Event)]) -> usize {
        let (mut words, context) = (Vec::new(), Context::new(greenlets));
        for &(ticks, event) in events {
            match context.brief(event, ticks) {
                Some(word) => words.push(word),
                None => {
                    let encoded = event.encode();
                    words.push(Head::new(&encoded, ticks).0);
                    words.extend(&encoded.words[..encoded.length]);
                }
            }
            context.see(event, ticks);
        }
        let context = Context::new(greenlets);
        let read = Events::new(words.iter().copied(), &context);
        let expected = events
            .iter()
            .map(|&(ticks, event)| Ok((ticks, Some(event))));
        assert!(read.eq(expected));
        words.len()
    }

    /// Damage makes any base.
    #[test]
    fn a_stop_is_of_the_greenlet_of_its_run_whatever_the_base() {
        for base in [u64::MAX, LAST, 1 << 50] {
            let context = Context::new(base);
            let words = [RUN | BRIEF | 2 << GREENLET_AT, STOP | BRIEF];
            let events: Vec<_> = Events::new(words.into_iter(), &context).collect();
            let [
                Ok((_, Some(Event::Run { greenlet, .. }))),
                Ok((_, Some(Event::Stop { greenlet: its, .. }))),
            ] = events[..]
            else {
                panic!("{events:?}");
            };
            assert_eq!(greenlet, its);
        }
    }

    #[test]
    fn brief_events_are_read_as_they_were_written() {
        let run = |greenlet, run| Event::Run { greenlet, run };
        let stop = |greenlet, run, why| Event::Stop { greenlet, run, why };
        let wait = |object| Stop::Wait(Wait { reason: 20, object });
        let wake = |greenlet, by, outcome| Event::Wake {
            greenlet,
            run: 65_535,
            by,
            outcome,
        };
        let by = |greenlet| Source::Actor(Actor::Greenlet(greenlet));
        for base in [0, 1 << 40] {
            let last = base + GREENLETS - 1;
            let events = [
                run(base + 1, 65_535),
                wake(last, by(base + 1), Ended::Woken),
                stop(base + 1, 65_535, wait(NO_OBJECT - 1)),
                wake(base + 2, by(base + 1), Ended::Woken),
                wake(last, Source::Reactor, Ended::Woken),
                wake(base + 2, Source::Timer, Ended::Deadline),
                run(last, 0),
                stop(last, 0, wait(Wait::NO_OBJECT)),
                run(base + 2, 7),
                stop(base + 2, 7, Stop::Yield),
                run(base + 2, 8),
                stop(base + 2, 8, Stop::End),
            ];
            // Each comes as late as can be told.
            let longest = (1 << (64 - TICKS_AT)) - 1;
            let timed: Vec<_> = (1..).map(|number| number * longest).zip(events).collect();
            assert_eq!(come_back(base, &timed), events.len());
            // And with this none can be.
            for (number, event) in events.into_iter().enumerate() {
                let late = longest * (number as u64 + 1) + 1;
                let mut timed = timed[..number].to_vec();
                timed.push((late, event));
                assert!(come_back(base, &timed) > timed.len());
            }
        }
    }

    #[test]
    fn what_brief_events_cannot_tell_is_told_by_others() {
        let run = |greenlet| Event::Run { greenlet, run: 1 };
        let stop = |greenlet, object| Event::Stop {
            greenlet,
            run: 1,
            why: Stop::Wait(Wait { reason: 1, object }),
        };
        let wake = |by, outcome| Event::Wake {
            greenlet: 1 << 20,
            run: 1,
            by,
            outcome,
        };
        let by = |greenlet| Source::Actor(Actor::Greenlet(greenlet));
        let base = 1000;
        for (event, words) in [
            (run(base - 1), 2),
            (run(base + GREENLETS), 2),
            (stop(base, 0), 3),
            (wake(by(base), Ended::Woken), 3),
            (wake(Source::Unknown, Ended::Woken), 3),
            (wake(Source::Reactor, Ended::Cancelled), 3),
            (wake(Source::Timer, Ended::Woken), 3),
        ] {
            assert_eq!(come_back(base, &[(5, event)]), words, "{event:?}");
        }
        // Of another greenlet than that which runs here, or for what has too large a number.
        let ran = (5, run(base + 7));
        for event in [
            stop(base, 0),
            stop(base + 7, NO_OBJECT),
            wake(by(base), Ended::Woken),
        ] {
            assert_eq!(come_back(base, &[ran, (6, event)]), 4, "{event:?}");
        }
        // Of a moment before.
        assert_eq!(come_back(base, &[ran, (4, run(base + 8))]), 3);
    }
}
