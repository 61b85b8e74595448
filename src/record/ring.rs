//! The ring: blocks of events of one writer, the oldest of which is written over.
//!
//! The writer never waits. A reader copies a block and then looks whether the block was still the same:
//!
//! ```text
//!   the writer, for a new block           a reader
//!   1. sequence = UNWRITTEN               a. sequence (Acquire)
//!   2. a fence (Release)                  b. extent (Acquire), which tells how many words
//!   3. the other words of the header      c. the words
//!   4. sequence = n (Release)             d. a fence (Acquire)
//!      and for an event                   e. sequence: if it is that of (a), all is one block's
//!   5. its words
//!   6. extent (Release)
//! ```
//!
//! If (c) has read a word of a later block, then by the fences (e) sees (1) of that block, or what came
//! after. What (c) reads of its own block was written before the extent that (b) has read.

#[cfg(all(test, loom))]
mod models;

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::block::{BlockHeader, Content, Owner};
use super::clock::{Clock, Pair};
use super::event::{self, Context, Encoded, Event, Head, MOST_WORDS};
use super::order;
use crate::arch;
use crate::atomic::{AtomicU64, fence};
use crate::sys::mapping::Mapping;

/// The size of a block: so much of a ring is lost at a time.
// A model's has room for two events of one word each.
pub(crate) const BLOCK_BYTES: usize = if cfg!(loom) { 80 } else { 16 << 10 };
const BLOCK_WORDS: usize = BLOCK_BYTES / 8;
const _: () = assert!(cfg!(loom) || BlockHeader::WORDS + 1 + MOST_WORDS <= BLOCK_WORDS);

/// A ring has at least so many blocks: one that is written, and one to be read.
pub(crate) const FEWEST_BLOCKS: usize = if cfg!(loom) { 1 } else { 4 };

/// Whoever writes rings to a file is told each time that another of so many parts of one is full.
const PARTS: u64 = 4;

/// So many words before they are written they are fetched.
const AHEAD: usize = 16;

/// The part of a ring that readers use.
#[derive(Debug)]
pub(crate) struct Ring {
    /// A whole number of blocks.
    memory: Mapping,
    number: u16,
    owner: Owner,
    /// The sequence of the block that is being written, and one; 0 before there is any. Written by the
    /// writer.
    begun: AtomicU64,
}

impl Ring {
    pub(crate) fn new(memory: Mapping, number: u16, owner: Owner) -> Self {
        assert!(memory.words().len() >= FEWEST_BLOCKS * BLOCK_WORDS);
        Self {
            memory,
            number,
            owner,
            begun: AtomicU64::new(0),
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Events recorded so far.
    pub(crate) fn events(&self) -> u64 {
        let mut words = Vec::new();
        loop {
            let Some(last) = self.sequences().next_back() else {
                return 0;
            };
            // Otherwise the writer was through with all blocks meanwhile.
            if let Some(header) = self.read(last, &mut words) {
                return header.first_event + event::count(&words);
            }
        }
    }

    /// Those of them that are there still.
    pub(crate) fn kept_events(&self) -> u64 {
        let mut sequences = self.sequences();
        let oldest = sequences.find_map(|sequence| self.events_before(sequence));
        oldest.map_or(0, |before| self.events() - before)
    }

    fn blocks(&self) -> u64 {
        (self.memory.words().len() / BLOCK_WORDS) as u64
    }

    /// The word at which a block begins.
    fn start(&self, sequence: u64) -> usize {
        (sequence % self.blocks()) as usize * BLOCK_WORDS
    }

    #[inline]
    fn block(&self, start: usize) -> &[AtomicU64; BLOCK_WORDS] {
        let words = &self.memory.words()[start..start + BLOCK_WORDS];
        words.try_into().expect("a block")
    }

    /// The sequences of the blocks that may be there still. The last one is being written.
    pub(crate) fn sequences(&self) -> std::ops::Range<u64> {
        // Acquire: pairs with the Release in `begin_block`.
        let end = self.begun.load(Acquire);
        end.saturating_sub(self.blocks())..end
    }

    /// The events recorded before a block, if it is there.
    pub(crate) fn events_before(&self, sequence: u64) -> Option<u64> {
        self.header(sequence).map(|header| header.first_event)
    }

    /// When a block was begun, in nanoseconds of the monotonic clock, if it is there.
    pub(crate) fn begin_of(&self, sequence: u64) -> Option<u64> {
        self.header(sequence).map(|header| header.base_nanos)
    }

    fn header(&self, sequence: u64) -> Option<BlockHeader> {
        self.copy(sequence, 0, &mut Vec::new())
    }

    /// Copies the events of a block to `words`, as far as it is written. `None` if it was written over.
    pub(crate) fn read(&self, sequence: u64, words: &mut Vec<u64>) -> Option<BlockHeader> {
        self.copy(sequence, usize::MAX, words)
    }

    /// The same of `most` words at the most.
    fn copy(&self, sequence: u64, most: usize, words: &mut Vec<u64>) -> Option<BlockHeader> {
        let block = self.block(self.start(sequence));
        // Acquire, twice: (a) and (b) above.
        let is_there = block[BlockHeader::SEQUENCE].load(Acquire) == sequence;
        let used = (block[BlockHeader::EXTENT].load(Acquire) >> 32) as usize / 8;
        let used = used.min(most).min(BLOCK_WORDS - BlockHeader::WORDS);
        let (head, events) = block.split_at(BlockHeader::WORDS);
        let head: [u64; BlockHeader::WORDS] = std::array::from_fn(|at| head[at].load(Relaxed));
        words.clear();
        words.extend(events[..used].iter().map(|word| word.load(Relaxed)));
        fence(Acquire);
        let is_same = block[BlockHeader::SEQUENCE].load(Relaxed) == sequence;
        if !is_there || !is_same {
            return None;
        }
        let header = BlockHeader::decode(head)?;
        // The extent was read once more, and may have grown.
        let used = (used * 8) as u32;
        Some(BlockHeader { used, ..header })
    }
}

/// The part of a ring that records. There is one for each ring.
#[derive(Debug)]
pub(crate) struct Writer {
    ring: Arc<Ring>,
    clock: Clock,
    /// The block that is being written.
    sequence: Cell<u64>,
    /// Its words: in the memory of `ring`, which stays as long as this does.
    block: Cell<NonNull<[AtomicU64; BLOCK_WORDS]>>,
    /// The word in it where the next event goes.
    next: Cell<usize>,
    /// When it began.
    base_ticks: Cell<u64>,
    /// What was told in it.
    context: Context,
    /// Events so far.
    events: Cell<u64>,
}

// SAFETY: what `block` points to is used as atomics only, and stays.
unsafe impl Send for Writer {}

impl Writer {
    /// The only one of a new ring.
    pub(crate) fn new(ring: Arc<Ring>, clock: Clock) -> Self {
        let writer = Self {
            clock,
            sequence: Cell::new(u64::MAX),
            block: Cell::new(NonNull::from(ring.block(0))),
            next: Cell::new(0),
            base_ticks: Cell::new(0),
            context: Context::default(),
            events: Cell::new(0),
            ring,
        };
        writer.begin_block();
        writer
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Records an event: now, or at a moment since the last one that was now. Answers when that is, in ticks.
    // Where it is known which event it is, little is left of this.
    #[inline(always)]
    pub(crate) fn record(&self, event: Event, at: Option<u64>) -> u64 {
        let ticks = at.unwrap_or_else(|| self.clock.now());
        match self.write(event, ticks) {
            Some(()) => ticks,
            None => self.record_anyway(event, at),
        }
    }

    /// The same if the clock is [`Clock::Cycles`] and there is room: that takes no call, and even a call that is never
    /// made has registers saved. `None` if nothing was recorded.
    #[inline(always)]
    pub(crate) fn try_record(&self, event: Event, at: Option<u64>) -> Option<u64> {
        debug_assert_eq!(self.clock, Clock::Cycles);
        let ticks = at.unwrap_or_else(arch::cycles);
        self.write(event, ticks)?;
        Some(ticks)
    }

    /// In a new block if need be. That has room for any event, which is now then, because the block begins now.
    #[cold]
    #[inline(never)]
    fn record_anyway(&self, event: Event, at: Option<u64>) -> u64 {
        let base = self.base_ticks.get();
        let mut ticks = match at {
            // A moment before the block began: one block for each event that has it would be too many.
            Some(at) if at.wrapping_sub(base).cast_signed() < 0 => base,
            Some(at) => at,
            None => self.clock.now(),
        };
        if self.write(event, ticks).is_none() {
            ticks = self.begin_block();
            self.write(event, ticks).expect("there is room");
        }
        ticks
    }

    /// `None` if the block has no room.
    #[inline(always)]
    fn write(&self, event: Event, ticks: u64) -> Option<()> {
        match self.write_brief(event, ticks) {
            Some(()) => Some(()),
            None => self.write_whole(event.encode(), ticks),
        }
    }

    /// `None` if the block has no room, or the event is not brief.
    #[inline(always)]
    fn write_brief(&self, event: Event, ticks: u64) -> Option<()> {
        let since = ticks.wrapping_sub(self.base_ticks.get());
        let word = self.context.brief(event, since)?;
        let (block, next) = (self.block(), self.next.get());
        block.get(next)?.store(word, Relaxed);
        self.context.see(event, since);
        self.recorded(block, next + 1);
        Some(())
    }

    /// `None` if the block has no room.
    // By value: a reference would have the event written to the stack first.
    #[inline(always)]
    fn write_whole(&self, event: Encoded, ticks: u64) -> Option<()> {
        // Far off if it is before the block: a clock may be a little behind, on another processor.
        let since = ticks.wrapping_sub(self.base_ticks.get());
        let (block, next) = (self.block(), self.next.get());
        let end = next + 1 + event.length;
        let place = block.get(next..end)?;
        if since >= Head::TICKS {
            return None;
        }
        place[0].store(Head::new(&event, since).0, Relaxed);
        for (word, place) in event.words[..event.length].iter().zip(&place[1..]) {
            place.store(*word, Relaxed);
        }
        self.context.see_encoded(&event, since);
        self.recorded(block, end);
        Some(())
    }

    #[inline(always)]
    fn block(&self) -> &[AtomicU64; BLOCK_WORDS] {
        // SAFETY: `ring`, which this has, keeps it.
        unsafe { self.block.get().as_ref() }
    }

    /// The words of an event are there in the block that is being written, up to `end`.
    // As an argument: it would be loaded again after the words, as far as the compiler can tell.
    #[inline(always)]
    fn recorded(&self, block: &[AtomicU64; BLOCK_WORDS], end: usize) {
        self.next.set(end);
        self.events.set(self.events.get() + 1);
        let used = (end * 8 - BlockHeader::BYTES) as u32;
        let extent = BlockHeader::extent(BLOCK_BYTES as u32, used);
        // Release: (6) above.
        block[BlockHeader::EXTENT].store(extent, Release);
        // A ring is larger than caches. It does not matter what is behind its end.
        arch::prefetch_for_write(block.as_ptr().wrapping_add(end + AHEAD));
    }

    /// Answers when that is, in ticks.
    #[cold]
    fn begin_block(&self) -> u64 {
        let Pair { ticks, nanos } = self.clock.pair();
        let sequence = self.sequence.get().wrapping_add(1);
        let greenlets = self.context.next_greenlets();
        let header = BlockHeader {
            content: Content::Events,
            ring: self.ring.number,
            length: BLOCK_BYTES as u32,
            used: 0,
            sequence,
            first_event: self.events.get(),
            base_ticks: ticks,
            base_nanos: nanos,
            owner: self.ring.owner,
            greenlets,
        };
        let block = self.ring.block(self.ring.start(sequence));
        block[BlockHeader::SEQUENCE].store(BlockHeader::UNWRITTEN, Relaxed);
        fence(Release);
        for (index, word) in header.encode().into_iter().enumerate() {
            if index != BlockHeader::SEQUENCE {
                block[index].store(word, Relaxed);
            }
        }
        // Release: (4) above.
        block[BlockHeader::SEQUENCE].store(sequence, Release);
        self.sequence.set(sequence);
        self.block.set(NonNull::from(block));
        self.next.set(BlockHeader::WORDS);
        self.base_ticks.set(ticks);
        self.context.begin(greenlets);
        // Release: pairs with the Acquire in `sequences`.
        self.ring.begun.store(sequence + 1, Release);
        let part = (self.ring.blocks() / PARTS).max(1);
        if sequence.is_multiple_of(part) && sequence > 0 {
            order::ring_has_filled();
        }
        ticks
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;
    use crate::record::event::Events;

    const OWNER: Owner = Owner {
        runtime: 1,
        hub: 0,
        thread: 7,
    };

    fn ring(blocks: usize) -> Arc<Ring> {
        let memory = Mapping::private(blocks * BLOCK_BYTES).unwrap();
        Arc::new(Ring::new(memory, 3, OWNER))
    }

    /// The events of a block.
    fn decode(header: BlockHeader, words: &[u64]) -> Vec<Event> {
        let context = Context::new(header.greenlets);
        let events = Events::new(words.iter().copied(), &context);
        let event = |event: Result<(u64, Option<Event>), _>| event.expect("whole").1;
        events.map(|e| event(e).expect("an event")).collect()
    }

    fn read(ring: &Ring, sequence: u64) -> Option<(BlockHeader, Vec<u64>)> {
        let mut words = Vec::new();
        let header = ring.read(sequence, &mut words)?;
        Some((header, words))
    }

    fn numbers(header: BlockHeader, words: &[u64]) -> Vec<u64> {
        let number = |event: Event| match event {
            Event::Run { greenlet, .. } => greenlet,
            other => panic!("{other:?}"),
        };
        decode(header, words).into_iter().map(number).collect()
    }

    fn run(greenlet: u64) -> Event {
        Event::Run { greenlet, run: 1 }
    }

    #[test]
    fn what_was_recorded_is_read_in_order() {
        for clock in [Clock::Cycles, Clock::Kernel] {
            let ring = ring(FEWEST_BLOCKS);
            let writer = Writer::new(ring.clone(), clock);
            for number in 0..10 {
                writer.record(run(number), None);
            }
            assert_eq!((ring.sequences(), ring.events()), (0..1, 10));
            let (header, words) = read(&ring, 0).unwrap();
            assert_eq!(numbers(header, &words), (0..10).collect::<Vec<_>>());
            assert_eq!(
                (header.ring, header.owner, header.first_event),
                (3, OWNER, 0)
            );
            assert_eq!(header.used as usize, words.len() * 8);
        }
    }

    #[test]
    fn the_oldest_block_is_written_over_and_the_others_tell_what_is_missing() {
        let ring = ring(FEWEST_BLOCKS);
        let writer = Writer::new(ring.clone(), Clock::Kernel);
        let all = 10_000;
        for number in 0..all {
            writer.record(run(number), None);
        }
        let sequences = ring.sequences();
        assert!(sequences.start > 0);
        assert_eq!(read(&ring, sequences.start - 1), None);
        let mut next = None;
        for sequence in sequences {
            let (header, words) = read(&ring, sequence).unwrap();
            let found = numbers(header, &words);
            assert_eq!(header.first_event, found[0]);
            assert_eq!(next.unwrap_or(found[0]), found[0]);
            next = found.last().map(|last| last + 1);
        }
        assert_eq!(next, Some(all));
    }

    #[test]
    fn a_moment_goes_for_events_of_two_blocks() {
        let ring = ring(FEWEST_BLOCKS);
        let writer = Writer::new(ring.clone(), Clock::Cycles);
        let now = writer.record(run(0), None);
        let all = BLOCK_WORDS as u64 * 3 / 2;
        let told = (1..all).map(|number| writer.record(run(number), Some(now)));
        let last = told.last();
        assert_eq!((ring.sequences(), ring.events()), (0..2, all));
        let (header, words) = read(&ring, 1).unwrap();
        assert_eq!(last, Some(header.base_ticks));
        assert_eq!(numbers(header, &words).last(), Some(&(all - 1)));
    }

    #[test]
    fn a_long_silence_begins_a_block() {
        let ring = ring(FEWEST_BLOCKS);
        let writer = Writer::new(ring.clone(), Clock::Kernel);
        writer.record(run(0), None);
        // The clock may be that of a machine that was started a minute ago.
        let before = writer.base_ticks.get().wrapping_sub(Head::TICKS);
        writer.base_ticks.set(before);
        writer.record(run(1), None);
        assert_eq!(ring.sequences(), 0..2);
        let (header, words) = read(&ring, 1).unwrap();
        assert_eq!((header.first_event, numbers(header, &words)), (1, vec![1]));
    }

    #[test]
    fn a_reader_beside_the_writer_sees_whole_blocks_or_none() {
        let ring = ring(FEWEST_BLOCKS);
        let reader = ring.clone();
        let end = if cfg!(miri) { 5_000 } else { 2_000_000 };
        let (mut whole, mut seen) = (0, 0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let writer = Writer::new(ring.clone(), Clock::Cycles);
                for number in 1..end {
                    writer.record(run(number), None);
                }
            });
            while seen + 1 < end {
                for sequence in reader.sequences() {
                    let Some((header, words)) = read(&reader, sequence) else {
                        continue;
                    };
                    let found = numbers(header, &words);
                    let first = header.first_event + 1;
                    let expected: Vec<u64> = (first..first + found.len() as u64).collect();
                    assert_eq!(found, expected);
                    whole += 1;
                    seen = seen.max(found.last().copied().unwrap_or(0));
                }
            }
        });
        assert!(whole > 0);
    }
}
