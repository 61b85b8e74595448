//! Events as text.

use std::fmt;

use super::Trace;
use crate::record::{Actor, Ended, Event, Greenlet, Source, State, Stop, Text, Wait};
use crate::trace::wait_reason;

impl Trace {
    /// An event as a line of text, with the texts it refers to.
    pub fn tell(&self, event: &Event) -> impl fmt::Display {
        Telling {
            trace: self,
            event: *event,
        }
    }
}

impl Event {
    /// The greenlets that it is about, and that have done it.
    pub fn greenlets(&self) -> [Option<Greenlet>; 2] {
        match *self {
            Self::Spawn {
                greenlet, parent, ..
            }
            | Self::Status {
                greenlet, parent, ..
            } => [Some(greenlet), Some(parent)],
            Self::Wake {
                greenlet,
                by: Source::Actor(Actor::Greenlet(by)),
                ..
            } => [Some(greenlet), Some(by)],
            Self::Run { greenlet, .. }
            | Self::Stop { greenlet, .. }
            | Self::Wake { greenlet, .. }
            | Self::Name { greenlet, .. }
            | Self::JobBegin { greenlet, .. }
            | Self::LongRun { greenlet, .. }
            | Self::Stack { greenlet, .. } => [Some(greenlet), None],
            Self::SpanBegin { who, .. }
            | Self::SpanEnd { who, .. }
            | Self::Counter { who, .. }
            | Self::Mark { who, .. }
            | Self::Panic { who } => [who.greenlet(), None],
            Self::Steal { .. }
            | Self::Sleep
            | Self::Awake
            | Self::Poll { .. }
            | Self::Timers { .. }
            | Self::JobEnd { .. } => [None, None],
        }
    }
}

/// As `mutex 0x7f0000001000`.
impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match wait_reason(self.reason) {
            Some(reason) => f.write_str(reason)?,
            None => write!(f, "reason-{}", self.reason)?,
        }
        match self.object {
            Self::NO_OBJECT => Ok(()),
            // Descriptors and numbers of greenlets are small.
            number if number < 1 << 20 => write!(f, " {number}"),
            address => write!(f, " {address:#x}"),
        }
    }
}

/// As `greenlet 12` or `thread 4711`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greenlet(greenlet) => write!(f, "greenlet {greenlet}"),
            Self::Thread(thread) => write!(f, "thread {thread}"),
        }
    }
}

struct Telling<'a> {
    trace: &'a Trace,
    event: Event,
}

impl Telling<'_> {
    fn text(&self, text: Text) -> &str {
        self.trace.text(text).unwrap_or("?")
    }
}

impl fmt::Display for Telling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::Spawn {
                greenlet,
                parent,
                site,
            } => {
                let site = self.text(site);
                write!(f, "SPAWN greenlet {greenlet} by {parent} at {site}")
            }
            Event::Run { greenlet, run } => write!(f, "RUN greenlet {greenlet} #{run}"),
            Event::Stop { greenlet, run, why } => {
                write!(f, "STOP greenlet {greenlet} #{run} ")?;
                match why {
                    Stop::Yield => f.write_str("yields"),
                    Stop::End => f.write_str("ends"),
                    Stop::Wait(wait) => write!(f, "waits: {wait}"),
                }
            }
            Event::Wake {
                greenlet,
                run,
                by,
                outcome,
            } => {
                write!(f, "WAKE greenlet {greenlet} #{run} by ")?;
                match by {
                    Source::Actor(actor) => write!(f, "{actor}")?,
                    Source::Reactor => f.write_str("a descriptor")?,
                    Source::Timer => f.write_str("a deadline")?,
                    Source::Unknown => f.write_str("unknown")?,
                }
                match outcome {
                    Ended::Woken => Ok(()),
                    Ended::Deadline => f.write_str(", deadline"),
                    Ended::Cancelled => f.write_str(", cancelled"),
                }
            }
            Event::Status {
                greenlet,
                run,
                state,
                parent,
                site,
                name,
                since,
            } => {
                write!(f, "STATUS greenlet {greenlet} #{run} ")?;
                match state {
                    State::Ready => f.write_str("ready")?,
                    State::Running => f.write_str("running")?,
                    State::Waiting(wait) => write!(f, "waits {since} ns: {wait}")?,
                }
                write!(f, ", spawned by {parent} at {}", self.text(site))?;
                match name {
                    0 => Ok(()),
                    name => write!(f, ", {}", self.text(name)),
                }
            }
            Event::Name { greenlet, name } => {
                write!(f, "NAME greenlet {greenlet} {}", self.text(name))
            }
            Event::Steal { victim } => write!(f, "STEAL from hub {victim}"),
            Event::Sleep => f.write_str("SLEEP"),
            Event::Awake => f.write_str("AWAKE"),
            Event::Poll { woken } => write!(f, "POLL wakes {woken}"),
            Event::Timers { woken } => write!(f, "TIMERS wake {woken}"),
            Event::JobBegin { thread, greenlet } => {
                write!(f, "JOB_BEGIN thread {thread} for greenlet {greenlet}")
            }
            Event::JobEnd { thread } => write!(f, "JOB_END thread {thread}"),
            Event::LongRun {
                greenlet,
                hub,
                runtime,
                in_kernel,
                nanos,
                stack,
            } => {
                let place = if in_kernel {
                    "in the kernel"
                } else {
                    "on the CPU"
                };
                write!(
                    f,
                    "LONG_RUN greenlet {greenlet} {nanos} ns {place} on hub {hub} of runtime {runtime}: {}",
                    self.text(stack).replace('\n', " < ")
                )
            }
            Event::Stack {
                greenlet,
                used,
                size,
            } => write!(f, "STACK greenlet {greenlet} used {used} of {size} bytes"),
            Event::SpanBegin { who, name, span } => {
                write!(f, "SPAN_BEGIN {who} {span} {}", self.text(name))
            }
            Event::SpanEnd { who, span } => write!(f, "SPAN_END {who} {span}"),
            Event::Counter { who, name, value } => {
                write!(f, "COUNTER {who} {} {value}", self.text(name))
            }
            Event::Mark { who, name } => write!(f, "MARK {who} {}", self.text(name)),
            Event::Panic { who } => write!(f, "PANIC {who}"),
        }
    }
}
