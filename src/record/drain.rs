//! Draining: from rings to a file, as often as one likes, each time what has come since.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::block::{BlockHeader, Content};
use super::clock::Pair;
use super::event::{self, Event};
use super::file::FileWriter;
use super::ring::Ring;
use super::session::Session;

/// Writes what a session records to `W`.
#[derive(Debug)]
pub(crate) struct Drain<W> {
    session: Arc<Session>,
    file: FileWriter<W>,
    /// Words of texts that are written.
    texts: usize,
    /// How far each ring is written.
    seen: HashMap<u16, Seen>,
    /// Events that were written over before they were drained.
    lost: u64,
    /// The block that is being written.
    words: Vec<u64>,
    /// Blocks that ended before this moment of the monotonic clock are left out.
    since: u64,
    /// How long the file was at the last checkpoint.
    checkpoint: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The first block that is not written to its end.
    sequence: u64,
    /// What of it is written.
    used: u32,
    /// The event behind the last that was seen.
    event: u64,
}

impl<W: Write> Drain<W> {
    /// Begins a file.
    pub(crate) fn begin(session: Arc<Session>, out: W, since: u64) -> io::Result<Self> {
        let file = FileWriter::begin(out, session.start(), session.facts())?;
        Ok(Self {
            session,
            file,
            texts: 0,
            seen: HashMap::new(),
            lost: 0,
            words: Vec::new(),
            since,
            checkpoint: 0,
        })
    }

    pub(crate) fn file(&mut self) -> &mut FileWriter<W> {
        &mut self.file
    }

    /// Events that were written over before they were drained.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes what greenlets did at a moment.
    pub(crate) fn statuses(&mut self, at: Pair, events: &[Event]) -> io::Result<()> {
        self.drain_texts()?;
        self.file.statuses(at, events)
    }

    /// Writes all that is left; what comes after this moment, or the end of recording, does not belong to it.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let until = self.drain_until_now()?;
        // Last: a file that could not be written to here has not ended.
        self.file.end_at(until)?;
        self.file.flush()
    }

    /// Writes all that has come, and says up to when it goes together: what of the file is read if the process is
    /// killed after this.
    pub(crate) fn checkpoint(&mut self) -> io::Result<()> {
        let until = self.drain_until_now()?;
        // If nothing has come since the last one, that still holds.
        if self.file.bytes() > self.checkpoint {
            self.file.through(until)?;
            self.checkpoint = self.file.bytes();
        }
        Ok(())
    }

    /// Answers up to which moment all rings are written: what one lacks when it is read has no consequences up to
    /// then in any other.
    fn drain_until_now(&mut self) -> io::Result<u64> {
        // In this order: recording may end in between.
        let now = self.session.clock().now();
        let until = self.session.until().map_or(now, |until| until.min(now));
        self.drain(true)?;
        Ok(until)
    }

    /// Writes the blocks that are complete; with `all`, the others as far as they go.
    pub(crate) fn drain(&mut self, all: bool) -> io::Result<()> {
        for ring in self.session.rings() {
            self.drain_ring(&ring, all)?;
        }
        Ok(())
    }

    /// The texts that have come since, which are those of all events that were read before this.
    fn drain_texts(&mut self) -> io::Result<()> {
        let words = self.session.texts().after(self.texts);
        if words.is_empty() {
            return Ok(());
        }
        self.texts += words.len();
        let header = BlockHeader::of_no_ring(Content::Texts);
        self.file.block(header, &words)
    }

    fn drain_ring(&mut self, ring: &Ring, all: bool) -> io::Result<()> {
        let mut seen = self.seen.get(&ring.number()).copied().unwrap_or_default();
        let sequences = ring.sequences();
        for sequence in sequences.start.max(seen.sequence)..sequences.end {
            let is_complete = sequence + 1 < sequences.end;
            if !is_complete && !all {
                break;
            }
            // Written over: the next one tells how many events were lost.
            let Some(header) = ring.read(sequence, &mut self.words) else {
                continue;
            };
            let is_new = sequence > seen.sequence || header.used > seen.used;
            if sequence != seen.sequence || seen.used == 0 {
                self.lost += header.first_event.saturating_sub(seen.event);
            }
            if is_new && !self.is_old(ring, sequence, is_complete) {
                // First, so that who reads along knows them.
                self.drain_texts()?;
                self.file.block(header, &self.words)?;
            }
            // The next block may be written over by now.
            let next = ring.events_before(sequence + 1).filter(|_| is_complete);
            let event = next.unwrap_or_else(|| header.first_event + event::count(&self.words));
            seen = Seen {
                sequence: sequence + u64::from(is_complete),
                used: if is_complete { 0 } else { header.used },
                event,
            };
        }
        self.seen.insert(ring.number(), seen);
        Ok(())
    }

    fn is_old(&self, ring: &Ring, sequence: u64, is_complete: bool) -> bool {
        self.since > 0
            && is_complete
            && ring
                .begin_of(sequence + 1)
                .is_some_and(|nanos| nanos < self.since)
    }
}
