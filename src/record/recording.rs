//! What a recorder has while recording is on.

use std::sync::Arc;

use super::accounts::Accounts;
use super::block::Owner;
use super::clock::Clock;
use super::event::{Event, Greenlet, Source, Text};
use super::name::{KnownNames, Name};
use super::ring::Writer;
use super::session::Session;
use crate::lock::StaticMutex;

/// A recorder's part in a session. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Recording {
    writer: Writer,
    session: Arc<Session>,
    /// As the session has them, which is far away.
    nanos_per_tick: u64,
    began: u64,
    known: KnownNames,
    accounts: Option<Arc<StaticMutex<Accounts>>>,
}

impl Recording {
    /// `None` if there is no memory for a ring.
    pub(super) fn join(session: Arc<Session>, owner: Owner) -> Option<Self> {
        Some(Self {
            writer: session.add_ring(owner)?,
            nanos_per_tick: session.nanos_per_tick(),
            began: session.began(),
            known: KnownNames::default(),
            accounts: session.add_accounts(),
            session,
        })
    }

    /// Records an event: now, or at a moment since the last one that was now. Answers when that was, in ticks.
    #[inline(always)]
    pub(crate) fn record(&self, event: Event, at: Option<u64>) -> u64 {
        self.writer.record(event, at)
    }

    /// The same, if that takes no call. `None` if nothing was recorded.
    #[inline(always)]
    pub(crate) fn try_record(&self, event: Event, at: Option<u64>) -> Option<u64> {
        self.writer.try_record(event, at)
    }

    /// Whether [`try_record`](Self::try_record) can be used.
    pub(super) fn can_try(&self) -> bool {
        self.writer.clock() == Clock::Cycles
    }

    /// How many bytes its ring has.
    pub(super) fn ring_bytes(&self) -> usize {
        self.session.ring_bytes()
    }

    /// When the session began, in ticks.
    #[inline(always)]
    pub(crate) fn session_began(&self) -> u64 {
        self.began
    }

    /// So many ticks, in nanoseconds.
    #[inline(always)]
    pub(crate) fn nanos(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.nanos_per_tick)) >> 32) as u64
    }

    /// Whether runs and wakes are counted.
    #[inline(always)]
    pub(crate) fn has_accounts(&self) -> bool {
        self.accounts.is_some()
    }

    /// Counts a run that has ended, if that is wanted.
    pub(crate) fn account_run(&self, greenlet: Greenlet, ticks: u64) {
        self.account(|accounts| accounts.add_run(greenlet, ticks));
    }

    /// Counts a wake, if that is wanted.
    pub(crate) fn account_wake(&self, by: Source, greenlet: Greenlet) {
        self.account(|accounts| accounts.add_wake(by, greenlet));
    }

    fn account(&self, add: impl FnOnce(&mut Accounts)) {
        if let Some(accounts) = &self.accounts {
            add(&mut accounts.lock());
        }
    }

    /// The number of a text.
    pub(crate) fn text(&self, text: &str) -> Text {
        self.session.texts().number(text)
    }

    /// The number of a name, if it has none or is known here.
    #[inline(always)]
    pub(crate) fn known(&self, name: Name<'_>) -> Option<Text> {
        self.known.get(name)
    }

    /// The number of a name.
    pub(crate) fn number(&self, name: Name<'_>) -> Text {
        if let Some(text) = self.known(name) {
            return text;
        }
        let text = match name {
            Name::None => 0,
            Name::Label(text) | Name::Text(text) => self.text(text),
            Name::Place(place) => self.text(&place.to_string()),
        };
        self.known.insert(name, text);
        text
    }
}
