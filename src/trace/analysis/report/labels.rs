//! How greenlets, places and objects are called.

use std::collections::HashMap;

use crate::record::{Actor, Greenlet, Source, Text};
use crate::trace::analysis::{Timeline, Trace};
use crate::trace::wait_reason;

/// What names things of a trace.
#[derive(Debug)]
pub(super) struct Labels<'a> {
    trace: &'a Trace,
    /// The name and the place of each.
    greenlets: HashMap<Greenlet, (Text, Text)>,
}

impl<'a> Labels<'a> {
    pub(super) fn new(trace: &'a Trace, timeline: &Timeline) -> Self {
        let lives = timeline.greenlets().iter();
        Self {
            trace,
            greenlets: lives
                .map(|life| (life.id, (life.name, life.site)))
                .collect(),
        }
    }

    fn known(&self, greenlet: Greenlet) -> (Text, Text) {
        self.greenlets.get(&greenlet).copied().unwrap_or((0, 0))
    }

    /// The number of the text with the place where it was spawned.
    pub(super) fn site_of(&self, greenlet: Greenlet) -> Text {
        self.known(greenlet).1
    }

    pub(super) fn text(&self, text: Text) -> String {
        self.trace.text(text).unwrap_or("?").to_owned()
    }

    pub(super) fn name(&self, greenlet: Greenlet) -> Option<String> {
        let (name, _) = self.known(greenlet);
        self.trace.text(name).map(str::to_owned)
    }

    /// As `greenlet 12`, or with its name.
    pub(super) fn greenlet(&self, greenlet: Greenlet) -> String {
        match (greenlet, self.name(greenlet)) {
            (0, _) => "unknown greenlet".into(),
            (_, None) => format!("greenlet {greenlet}"),
            (_, Some(name)) => format!("greenlet {greenlet} ({name})"),
        }
    }

    pub(super) fn actor(&self, actor: Actor) -> String {
        match actor {
            Actor::Greenlet(greenlet) => self.greenlet(greenlet),
            Actor::Thread(thread) => format!("thread {thread}"),
        }
    }

    pub(super) fn source(&self, source: Source) -> String {
        match source {
            Source::Actor(actor) => self.actor(actor),
            Source::Reactor => "a descriptor".into(),
            Source::Timer => "a deadline".into(),
            Source::Unknown => "unknown".into(),
        }
    }

    /// What kind of source it is.
    pub(super) fn kind(&self, source: Source) -> Kind {
        match source {
            Source::Actor(Actor::Greenlet(greenlet)) => Kind::Site(self.site_of(greenlet)),
            Source::Actor(Actor::Thread(_)) => Kind::Threads,
            Source::Reactor => Kind::Reactor,
            Source::Timer => Kind::Timer,
            Source::Unknown => Kind::Unknown,
        }
    }

    pub(super) fn kind_name(&self, kind: Kind) -> String {
        match kind {
            Kind::Site(site) => self.text(site),
            Kind::Threads => "threads".into(),
            Kind::Reactor => "a descriptor".into(),
            Kind::Timer => "a deadline".into(),
            Kind::Unknown => "unknown".into(),
        }
    }

    /// The lines of a stack.
    pub(super) fn stack(&self, stack: Text) -> Vec<String> {
        let stack = self.trace.text(stack).unwrap_or_default();
        stack.lines().map(str::to_owned).collect()
    }
}

/// A source, with the place where a greenlet was spawned instead of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Site(Text),
    Threads,
    Reactor,
    Timer,
    Unknown,
}

/// One word for a reason.
pub(super) fn reason(code: u8) -> String {
    wait_reason(code).map_or_else(|| format!("reason-{code}"), str::to_owned)
}
