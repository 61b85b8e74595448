//! Writes traces, event by event.

use std::collections::BTreeMap;

use crate::record::block::{BlockHeader, Content, FileHeader, MAJOR, MINOR, Owner};
use crate::record::{Context, Event, Greenlet, Head, Stop, Text};

/// A nanosecond is so many ticks.
pub(in crate::trace) const TICKS: u64 = 2;
/// When traces begin, in nanoseconds.
pub(in crate::trace) const BEGIN: u64 = 1_000_000_000;

/// The file to be.
#[derive(Clone, Debug)]
pub(in crate::trace) struct TraceBuilder {
    pub(in crate::trace) header: FileHeader,
    /// Encoded blocks behind the header.
    pub(in crate::trace) blocks: Vec<Vec<u8>>,
    rings: BTreeMap<u16, RingBuilder>,
    texts: Vec<String>,
    /// Events that a block has at the most.
    pub(in crate::trace) per_block: usize,
}

#[derive(Clone, Debug)]
struct RingBuilder {
    owner: Owner,
    sequence: u64,
    recorded: u64,
    /// Events that are not in a block yet, with their times.
    pending: Vec<(u64, Event)>,
}

impl TraceBuilder {
    /// With so many hubs of runtime 1, whose rings have their numbers, and the ring of threads behind
    /// them.
    pub(in crate::trace) fn new(hubs: u16) -> Self {
        let mut rings = BTreeMap::new();
        for ring in 0..=hubs {
            let owner = match ring == hubs {
                true => Owner {
                    runtime: 0,
                    hub: Owner::NO_HUB,
                    thread: 0,
                },
                false => Owner {
                    runtime: 1,
                    hub: ring,
                    thread: 100 + u32::from(ring),
                },
            };
            let ring_builder = RingBuilder {
                owner,
                sequence: 0,
                recorded: 0,
                pending: Vec::new(),
            };
            rings.insert(ring, ring_builder);
        }
        Self {
            header: FileHeader {
                major: MAJOR,
                minor: MINOR,
                process: 42,
                first_block: 64,
                ticks_per_second: TICKS * 1_000_000_000,
                wall_offset: 1_700_000_000_000_000_000,
            },
            blocks: Vec::new(),
            rings,
            texts: Vec::new(),
            per_block: 100,
        }
    }

    /// The number of a text.
    pub(in crate::trace) fn text(&mut self, text: &str) -> Text {
        let known = self.texts.iter().position(|known| known == text);
        let place = known.unwrap_or_else(|| {
            self.texts.push(text.into());
            self.texts.len() - 1
        });
        place as Text + 1
    }

    /// Records an event, `nanos` after [`BEGIN`].
    pub(in crate::trace) fn event(&mut self, ring: u16, nanos: u64, event: Event) -> &mut Self {
        let per_block = self.per_block;
        let builder = self.rings.get_mut(&ring).expect("a ring");
        builder.pending.push((BEGIN + nanos, event));
        if builder.pending.len() >= per_block {
            self.flush(ring);
        }
        self
    }

    /// A run of a greenlet from one moment to another.
    pub(in crate::trace) fn run(
        &mut self,
        ring: u16,
        greenlet: Greenlet,
        run: u16,
        times: [u64; 2],
        why: Stop,
    ) -> &mut Self {
        self.event(ring, times[0], Event::Run { greenlet, run });
        self.event(ring, times[1], Event::Stop { greenlet, run, why })
    }

    /// Loses so many events of a ring.
    pub(in crate::trace) fn lose(&mut self, ring: u16, events: u64) -> &mut Self {
        self.flush(ring);
        self.rings.get_mut(&ring).expect("a ring").recorded += events;
        self
    }

    /// Ends the block of a ring.
    pub(in crate::trace) fn flush(&mut self, ring: u16) {
        let builder = self.rings.get_mut(&ring).expect("a ring");
        let events = std::mem::take(&mut builder.pending);
        let Some(&(base, _)) = events.first() else {
            return;
        };
        let header = BlockHeader {
            content: Content::Events,
            ring,
            length: 0,
            used: 0,
            sequence: builder.sequence,
            first_event: builder.recorded,
            base_ticks: base * TICKS,
            base_nanos: base,
            owner: builder.owner,
            greenlets: 0,
        };
        builder.sequence += 1;
        builder.recorded += events.len() as u64;
        self.block(header, &encode(base, &events));
    }

    /// What greenlets did, `nanos` after [`BEGIN`].
    pub(in crate::trace) fn statuses(&mut self, nanos: u64, statuses: &[Event]) -> &mut Self {
        let base = BEGIN + nanos;
        let events: Vec<(u64, Event)> = statuses.iter().map(|&event| (base, event)).collect();
        self.block(plain(Content::Statuses, base), &encode(base, &events));
        self
    }

    /// Says when the trace ends, in nanoseconds.
    pub(in crate::trace) fn end_at(&mut self, nanos: u64) -> &mut Self {
        let fact = format!("until={}\n", nanos * TICKS);
        self.block(plain(Content::Facts, 0), fact.as_bytes());
        self
    }

    /// Appends a block; its lengths are those of the payload.
    pub(in crate::trace) fn block(&mut self, header: BlockHeader, payload: &[u8]) {
        let length = payload.len().next_multiple_of(8) + BlockHeader::BYTES;
        let header = BlockHeader {
            length: length as u32,
            used: payload.len() as u32,
            ..header
        };
        let mut block = bytes_of(&header.encode());
        block.extend(payload);
        block.resize(length, 0);
        self.blocks.push(block);
    }

    /// Ends all blocks, with the texts and some facts behind them.
    pub(in crate::trace) fn seal(&mut self) -> &mut Self {
        let rings: Vec<u16> = self.rings.keys().copied().collect();
        rings.into_iter().for_each(|ring| self.flush(ring));
        let mut texts = Vec::new();
        for (index, text) in self.texts.iter().enumerate() {
            let word = (text.len() as u64) << 32 | (index as u64 + 1);
            texts.extend(word.to_le_bytes());
            texts.extend(text.as_bytes());
            texts.resize(texts.len().next_multiple_of(8), 0);
        }
        self.block(plain(Content::Texts, 0), &texts);
        self.block(plain(Content::Facts, 0), b"program=test\nhubs=2\n");
        self
    }

    /// The file as it is so far.
    pub(in crate::trace) fn bytes(&self) -> Vec<u8> {
        let mut bytes = bytes_of(&self.header.encode());
        bytes.resize(self.header.first_block as usize, 0);
        bytes.extend(self.blocks.concat());
        bytes
    }
}

/// The header of a block that is of no ring.
pub(in crate::trace) fn plain(content: Content, base: u64) -> BlockHeader {
    BlockHeader {
        content,
        ring: 0,
        length: 0,
        used: 0,
        sequence: 0,
        first_event: 0,
        base_ticks: base * TICKS,
        base_nanos: base,
        owner: Owner {
            runtime: 0,
            hub: Owner::NO_HUB,
            thread: 0,
        },
        greenlets: 0,
    }
}

/// Every second one that can be is brief.
fn encode(base: u64, events: &[(u64, Event)]) -> Vec<u8> {
    let (mut words, context) = (Vec::new(), Context::default());
    for (number, &(time, event)) in events.iter().enumerate() {
        let ticks = (time - base) * TICKS;
        match context.brief(event, ticks) {
            Some(word) if number % 2 == 0 => words.push(word),
            _ => {
                let encoded = event.encode();
                words.push(Head::new(&encoded, ticks).0);
                words.extend(&encoded.words[..encoded.length]);
            }
        }
        context.see(event, ticks);
    }
    bytes_of(&words)
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
