//! A trace that is read while it is recorded.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::read::{file_header, words_of};
use super::{ReadError, Record, Ring};
use crate::record::block::{BlockHeader, Content, FileHeader, Owner};
use crate::record::{Context, Events, Text};

const SECOND: u64 = 1_000_000_000;

/// No block of a runtime's is larger.
const LONGEST_BLOCK: usize = 64 << 20;

/// So many bytes of blocks with events are kept for [`Stream::recent`].
const RECENT: usize = 16 << 20;

/// Reads a trace that comes piece by piece, as from the socket of [`serve`](crate::trace::serve()).
///
/// Nothing in it is trusted, and memory is bounded: texts take some megabytes, which is what a runtime has
/// room for, and so do the last blocks.
///
/// ```no_run
/// use std::io::{BufRead, BufReader, Read, Write};
/// use std::os::unix::net::UnixStream;
/// use greenlet::trace::{Event};
/// use greenlet::trace::analysis::{Stream};
///
/// let mut socket = UnixStream::connect("/tmp/server.sock")?;
/// socket.write_all(b"trace\n")?;
/// let mut socket = BufReader::new(socket);
/// socket.read_line(&mut String::new())?;
/// let mut stream = Stream::new();
/// let mut bytes = [0; 65536];
/// loop {
///     let length = socket.read(&mut bytes)?;
///     stream.feed(&bytes[..length])?;
///     for record in stream.take() {
///         if let Event::LongRun { greenlet, nanos, .. } = record.event {
///             println!("greenlet {greenlet} keeps its hub for {nanos} ns");
///         }
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Stream {
    /// What has come and is not a whole block yet.
    bytes: Vec<u8>,
    header: Option<FileHeader>,
    rings: Vec<Ring>,
    /// By the numbers of rings.
    places: HashMap<u16, Place>,
    texts: HashMap<Text, String>,
    facts: BTreeMap<String, String>,
    /// Not taken yet.
    records: Vec<Record>,
    /// The time of the newest, when some were taken last.
    newest: u64,
    lost: u64,
    rate: Rate,
    kept: Kept,
}

/// How fast the clock of events is: what the header says, and better the longer the trace goes on.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    /// In ticks and nanoseconds, by the block that has come first.
    first: Option<(u64, u64)>,
    ticks_per_second: u64,
}

/// How far a ring is read.
#[derive(Clone, Debug)]
struct Place {
    /// The index of the ring.
    index: u16,
    sequence: u64,
    /// Bytes of that block that were read.
    used: usize,
    /// Events before the next one.
    events: u64,
    /// What these have told of the next one.
    context: Context,
}

/// Blocks as they came, to be read as a file.
#[derive(Debug, Default)]
struct Kept {
    /// The header, and the blocks with texts and facts.
    base: Vec<u8>,
    /// Blocks with events, by ring and sequence: of one that comes again, the longer is kept.
    events: VecDeque<(u16, u64, Vec<u8>)>,
    /// Bytes in `events`.
    size: usize,
}

impl Stream {
    /// One of which nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what has come since, which may end anywhere.
    ///
    /// # Errors
    ///
    /// If it is no trace of a version that is known, or not one as a runtime sends it. Nothing that comes
    /// later can be read then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        if self.header.is_none() {
            at = match self.begin()? {
                Some(first_block) => first_block,
                None => return Ok(()),
            };
        }
        while let Some(length) = self.block_at(at)? {
            let block = self.bytes[at..at + length].to_vec();
            self.read_block(&block);
            at += length;
        }
        self.bytes.drain(..at);
        Ok(())
    }

    /// Takes the events that have come, those of all rings in the order of time.
    ///
    /// Rings do not come at the same moment. So that the order is the same from one call to the next, the
    /// newest are kept back until the next call. Callers leave a tenth of a second or more between two.
    pub fn take(&mut self) -> Vec<Record> {
        let mut records = std::mem::take(&mut self.records);
        records.sort_by_key(|record| record.time);
        let end = records.partition_point(|record| record.time <= self.newest);
        self.newest = records.last().map_or(self.newest, |last| last.time);
        self.records = records.split_off(end);
        records
    }

    /// Whose events these are, so far: [`Record::ring`] is an index of it.
    pub fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// A text of the trace's table. `None` if it has not come, or is 0.
    pub fn text(&self, text: Text) -> Option<&str> {
        self.texts.get(&text).map(String::as_str)
    }

    /// One of the facts that the trace says about itself.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts.get(key).map(String::as_str)
    }

    /// Events that were recorded and did not come: the reader was too slow.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The last events, and all texts, as a trace file: for [`Trace`](super::Trace). Some 16 MiB.
    pub fn recent(&self) -> Vec<u8> {
        let mut bytes = self.kept.base.clone();
        for (_, _, block) in &self.kept.events {
            bytes.extend_from_slice(block);
        }
        bytes
    }

    /// Reads the header, if it is there. Answers where the first block begins.
    fn begin(&mut self) -> Result<Option<usize>, ReadError> {
        const HEADER: usize = FileHeader::WORDS * 8;
        if self.bytes.len() < HEADER {
            return Ok(None);
        }
        let header = file_header(&self.bytes)?;
        let first_block = usize::try_from(header.first_block).unwrap_or(usize::MAX);
        if !(HEADER..=LONGEST_BLOCK).contains(&first_block) {
            return Err(ReadError::NotATrace);
        }
        if self.bytes.len() < first_block {
            return Ok(None);
        }
        self.kept.base = self.bytes[..first_block].to_vec();
        self.rate.ticks_per_second = match header.ticks_per_second {
            0 => SECOND,
            rate => rate,
        };
        self.header = Some(header);
        Ok(Some(first_block))
    }

    /// The length of the block at a place. `None` if it has not come yet.
    fn block_at(&self, at: usize) -> Result<Option<usize>, ReadError> {
        let Some(words) = words_at(&self.bytes, at) else {
            return Ok(None);
        };
        let header = BlockHeader::decode(words).ok_or(ReadError::NotATrace)?;
        let (length, used) = (header.length as usize, header.used as usize);
        if !(BlockHeader::BYTES..=LONGEST_BLOCK).contains(&length)
            || length % 8 != 0
            || used > length - BlockHeader::BYTES
        {
            return Err(ReadError::NotATrace);
        }
        Ok((self.bytes.len() >= at + length).then_some(length))
    }

    fn read_block(&mut self, block: &[u8]) {
        let Some(header) = words_at(block, 0).and_then(BlockHeader::decode) else {
            return;
        };
        let payload = &block[BlockHeader::BYTES..][..header.used as usize];
        match header.content {
            Content::Texts if self.kept.has_room() => {
                self.read_texts(payload);
                self.kept.base.extend_from_slice(block);
            }
            Content::Facts if self.kept.has_room() => {
                let text = String::from_utf8_lossy(payload);
                let facts = text.lines().filter_map(|line| line.split_once('='));
                let facts = facts.map(|(key, value)| (key.to_owned(), value.to_owned()));
                self.facts.extend(facts);
                self.kept.base.extend_from_slice(block);
            }
            Content::Events if header.sequence != BlockHeader::UNWRITTEN => {
                self.rate.refine(header);
                self.read_ring(header, payload);
                self.kept.keep(header, block);
            }
            Content::Statuses => {
                self.read_events(0, header, payload, &Context::default());
            }
            Content::Events | Content::Texts | Content::Facts | Content::Unknown(_) => {}
        }
    }

    fn read_texts(&mut self, payload: &[u8]) {
        let mut rest = payload;
        while let Some((word, behind)) = rest.split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            let (text, length) = (word as u32, (word >> 32) as usize);
            let Some(bytes) = behind.get(..length) else {
                return;
            };
            let text = self.texts.entry(text);
            text.or_insert_with(|| String::from_utf8_lossy(bytes).into_owned());
            rest = behind.get(length.next_multiple_of(8)..).unwrap_or(&[]);
        }
    }

    /// Reads what of a ring's block was not read before: blocks come again when they are longer.
    fn read_ring(&mut self, header: BlockHeader, payload: &[u8]) {
        let known = self.places.get(&header.ring).cloned();
        let mut place = known.unwrap_or_else(|| {
            self.rings.push(ring_of(header));
            Place {
                index: (self.rings.len() - 1) as u16,
                sequence: header.sequence,
                used: 0,
                events: header.first_event,
                context: Context::new(header.greenlets),
            }
        });
        if header.sequence < place.sequence {
            return;
        }
        if header.sequence > place.sequence {
            let lost = header.first_event.saturating_sub(place.events);
            self.lost = self.lost.saturating_add(lost);
            place = Place {
                sequence: header.sequence,
                used: 0,
                events: header.first_event,
                context: Context::new(header.greenlets),
                ..place
            };
        }
        let fresh = payload.get(place.used..).unwrap_or(&[]);
        let count = self.read_events(place.index, header, fresh, &place.context);
        place.events = place.events.saturating_add(count);
        place.used = place.used.max(payload.len());
        self.places.insert(header.ring, place);
    }

    /// Answers how many there are, with those that are not known.
    fn read_events(
        &mut self,
        ring: u16,
        header: BlockHeader,
        payload: &[u8],
        context: &Context,
    ) -> u64 {
        let mut count = 0;
        for (ticks, event) in Events::new(words_of(payload), context).flatten() {
            count += 1;
            if let Some(event) = event {
                self.records.push(Record {
                    time: self.time(header, ticks),
                    ring,
                    event,
                });
            }
        }
        count
    }

    /// So many ticks after a block's beginning, in nanoseconds of the monotonic clock.
    fn time(&self, block: BlockHeader, ticks: u64) -> u64 {
        let rate = self.rate.ticks_per_second.max(1);
        let nanos = u128::from(ticks) * u128::from(SECOND) / u128::from(rate);
        block.base_nanos.saturating_add(nanos as u64)
    }
}

impl Rate {
    /// A block has begun at a moment that it tells in both clocks.
    fn refine(&mut self, block: BlockHeader) {
        let (ticks, nanos) = (block.base_ticks, block.base_nanos);
        let first = *self.first.get_or_insert((ticks, nanos));
        let (ticks, nanos) = (ticks.saturating_sub(first.0), nanos.saturating_sub(first.1));
        if nanos < SECOND {
            return;
        }
        let rate = u128::from(ticks) * u128::from(SECOND) / u128::from(nanos);
        let rate = u64::try_from(rate).unwrap_or(0);
        // Where it differs a lot, the block is damaged.
        if rate.abs_diff(self.ticks_per_second) <= self.ticks_per_second / 100 {
            self.ticks_per_second = rate;
        }
    }
}

impl Kept {
    /// Whether there is room for more texts: no runtime has as many.
    fn has_room(&self) -> bool {
        self.base.len() < LONGEST_BLOCK
    }

    fn keep(&mut self, header: BlockHeader, block: &[u8]) {
        let (ring, sequence) = (header.ring, header.sequence);
        // It is among the last ones, if it came before.
        let before = (self.events.iter_mut().rev())
            .take(1024)
            .find(|(other, of, _)| (*other, *of) == (ring, sequence));
        self.size += block.len();
        match before {
            Some((_, _, shorter)) => {
                self.size -= shorter.len();
                *shorter = block.to_vec();
            }
            None => self.events.push_back((ring, sequence, block.to_vec())),
        }
        while self.size > RECENT
            && let Some((_, _, oldest)) = self.events.pop_front()
        {
            self.size -= oldest.len();
        }
    }
}

fn ring_of(header: BlockHeader) -> Ring {
    let owner = header.owner;
    Ring {
        number: header.ring,
        runtime: owner.runtime,
        hub: (owner.hub != Owner::NO_HUB).then_some(owner.hub),
        thread: owner.thread,
    }
}

fn words_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u64; N]> {
    let bytes = bytes.get(at..)?.get(..N * 8)?;
    let mut words = [0; N];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
    }
    Some(words)
}
