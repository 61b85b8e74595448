//! What a recorder has while recording is on.

use std::cell::Cell;
use std::panic::Location;
use std::sync::Arc;

use super::accounts::Accounts;
use super::block::Owner;
use super::event::{Event, Greenlet, Source, Text};
use super::ring::Writer;
use super::session::Session;
use super::texts::Texts;
use crate::lock::StaticMutex;

/// A recorder's part in a session. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Recording {
    writer: Writer,
    session: Arc<Session>,
    /// As the session has them, which is far away.
    nanos_per_tick: u64,
    began: u64,
    /// Texts of `'static` strings and places whose numbers are known, by address and length.
    texts: Box<[Cell<Known>]>,
    accounts: Option<Arc<StaticMutex<Accounts>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    address: usize,
    length: usize,
    text: Text,
}

/// How many texts are remembered.
const KNOWN: usize = 256;

impl Known {
    const NONE: Self = Self {
        address: 0,
        length: 0,
        text: 0,
    };
}

impl Recording {
    /// `None` if there is no memory for a ring.
    pub(super) fn join(session: Arc<Session>, owner: Owner) -> Option<Self> {
        Some(Self {
            writer: session.add_ring(owner)?,
            nanos_per_tick: session.nanos_per_tick(),
            began: session.began(),
            // Not by way of the stack, which may be a small greenlet's.
            texts: vec![Cell::new(Known::NONE); KNOWN].into_boxed_slice(),
            accounts: session.add_accounts(),
            session,
        })
    }

    /// Records an event: now, or at a moment since the last event. Answers when that was, in ticks.
    #[inline(always)]
    pub(crate) fn record(&self, event: Event, at: Option<u64>) -> u64 {
        self.writer.record(event, at)
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

    /// Counts a run that has ended, if that is wanted.
    #[inline]
    pub(crate) fn account_run(&self, greenlet: Greenlet, ticks: u64) {
        self.account(|accounts| accounts.add_run(greenlet, ticks));
    }

    /// Counts a wake, if that is wanted.
    #[inline]
    pub(crate) fn account_wake(&self, by: Source, greenlet: Greenlet) {
        self.account(|accounts| accounts.add_wake(by, greenlet));
    }

    #[inline]
    fn account(&self, add: impl FnOnce(&mut Accounts)) {
        #[cold]
        fn locked(accounts: &StaticMutex<Accounts>, add: impl FnOnce(&mut Accounts)) {
            add(&mut accounts.lock());
        }
        if let Some(accounts) = &self.accounts {
            locked(accounts, add);
        }
    }

    /// The number of a text.
    pub(crate) fn text(&self, text: &str) -> Text {
        self.session.texts().number(text)
    }

    /// The number of a text that stays where it is.
    #[inline]
    pub(crate) fn label(&self, label: &'static str) -> Text {
        self.known(label.as_ptr().addr(), label.len(), |texts| {
            texts.number(label)
        })
    }

    /// The number of a place in the source: its file, line and column.
    #[inline]
    pub(crate) fn place(&self, place: &'static Location<'static>) -> Text {
        let address = std::ptr::from_ref(place).addr();
        self.known(address, usize::MAX, |texts| {
            texts.number(&place.to_string())
        })
    }

    #[inline]
    fn known(&self, address: usize, length: usize, number: impl FnOnce(&Texts) -> Text) -> Text {
        // Places and texts lie at multiples of eight, or close together.
        let slot = &self.texts[(address ^ address >> 8) / 8 % KNOWN];
        let known = slot.get();
        if (known.address, known.length) == (address, length) {
            return known.text;
        }
        let text = number(self.session.texts());
        slot.set(Known {
            address,
            length,
            text,
        });
        text
    }
}
