//! What things are called in exports.

use std::borrow::Cow;

use crate::reason::WaitReason;
use crate::record::{Actor, Ended, Greenlet, Source, Stop, Text, Wait};
use crate::trace::analysis::{Life, Ready, Timeline, Trace};

/// Names of what is in a trace. They may have any characters but those that control terminals.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    trace: &'a Trace,
    timeline: &'a Timeline,
}

impl<'a> Names<'a> {
    pub(super) fn new(trace: &'a Trace, timeline: &'a Timeline) -> Self {
        Self { trace, timeline }
    }

    /// A text; empty if there is none.
    pub(super) fn text(&self, text: Text) -> Cow<'a, str> {
        printable(self.trace.text(text).unwrap_or_default())
    }

    /// As `greenlet 12`, or `fetcher (12)` if it has a name.
    pub(super) fn greenlet(&self, id: Greenlet) -> String {
        match self.timeline.greenlet(id) {
            Some(life) => self.life(life),
            None => format!("greenlet {id}"),
        }
    }

    pub(super) fn life(&self, life: &Life) -> String {
        match self.text(life.name) {
            name if name.is_empty() => format!("greenlet {}", life.id),
            name => format!("{name} ({})", life.id),
        }
    }

    /// As `hub 3`.
    pub(super) fn ring(&self, ring: u16) -> String {
        match self.trace.rings().get(usize::from(ring)) {
            Some(ring) => ring.to_string(),
            None => format!("ring {ring}"),
        }
    }

    pub(super) fn actor(&self, actor: Actor) -> String {
        match actor {
            Actor::Greenlet(id) => self.greenlet(id),
            Actor::Thread(number) => format!("thread {number}"),
        }
    }

    pub(super) fn source(&self, source: Source) -> String {
        match source {
            Source::Actor(actor) => self.actor(actor),
            Source::Reactor => "reactor".into(),
            Source::Timer => "timer".into(),
            Source::Unknown => "not known".into(),
        }
    }

    /// What the program is called, without the directories that it is in.
    pub(super) fn program(&self) -> Cow<'a, str> {
        let program = self.trace.fact("program").unwrap_or_default();
        match program.rsplit('/').next() {
            Some(name) if !name.is_empty() => printable(name),
            _ => format!("process {}", self.trace.process()).into(),
        }
    }
}

/// One word for what is waited for.
pub(super) fn reason(wait: Wait) -> Cow<'static, str> {
    match WaitReason::from_code(wait.reason) {
        Some(reason) => reason.name().into(),
        None => format!("reason-{}", wait.reason).into(),
    }
}

/// What kind of thing the object of a wait is.
pub(super) fn object_kind(wait: Wait) -> Option<&'static str> {
    if wait.object == Wait::NO_OBJECT {
        return None;
    }
    Some(match WaitReason::from_code(wait.reason) {
        Some(WaitReason::Join) => "greenlet",
        Some(reason) if reason.is_on_address() => "address",
        Some(_) => "descriptor",
        None => "object",
    })
}

/// What is waited for, as `descriptor 5` or `0x7f001000`.
pub(super) fn object(wait: Wait) -> Option<String> {
    Some(match object_kind(wait)? {
        "address" => format!("{:#x}", wait.object),
        kind => format!("{kind} {}", wait.object),
    })
}

/// As `wait mutex`.
pub(super) fn stop(stop: Stop) -> Cow<'static, str> {
    match stop {
        Stop::Yield => "yield".into(),
        Stop::End => "end".into(),
        Stop::Wait(wait) => format!("wait {}", reason(wait)).into(),
    }
}

pub(super) fn outcome(ended: Ended) -> &'static str {
    match ended {
        Ended::Woken => "woken",
        Ended::Deadline => "deadline",
        Ended::Cancelled => "cancelled",
    }
}

pub(super) fn ready(ready: Ready) -> &'static str {
    match ready {
        Ready::Spawned => "spawned",
        Ready::Yielded => "yielded",
        Ready::Woken(_, ended) => outcome(ended),
        Ready::Unknown => "not known",
    }
}

/// Without characters that viewers take for commands or show as nothing.
fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(is_control) {
        false => text.into(),
        true => text.replace(is_control, "\u{fffd}").into(),
    }
}

/// Control characters but a line's end, and those that turn the direction of what follows.
fn is_control(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
