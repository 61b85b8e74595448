//! From words back to events.

use super::{Actor, Ended, Event, Head, Source, State, Stop, WAIT, Wait, kind};

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
        assert_eq!(Event::decode(Head(255), &[1, 2, 3]), None);
    }
}
