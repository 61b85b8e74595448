//! Writing a trace file: a header, and blocks one after the other.

use std::env;
use std::fs;
use std::io::{self, IoSlice, Write};
use std::process;
use std::slice;
use std::time::{SystemTime, UNIX_EPOCH};

use super::block::{BlockHeader, Content, FileHeader, MAJOR, MINOR, Owner};
use super::clock::{Clock, Pair};
use super::event::{Event, Head};
use super::texts::NO_RING;
use crate::sys::clock;

/// Writes blocks to `out`.
#[derive(Debug)]
pub(crate) struct FileWriter<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> FileWriter<W> {
    /// Writes the beginning of a file: the header and the facts.
    pub(crate) fn begin(out: W, start: &Start, facts: String) -> io::Result<Self> {
        let first_block = (FileHeader::WORDS * 8) as u64;
        let mut writer = Self {
            out,
            bytes: first_block,
        };
        let header = start.header(first_block).encode();
        writer.out.write_all(as_bytes(&header))?;
        writer.facts(facts)?;
        Ok(writer)
    }

    /// Says that only what was recorded up to a moment is to be read from this file: rings are written, one after
    /// the other, while hubs may still record, and of what comes later only parts would be in it.
    pub(crate) fn end_at(&mut self, ticks: u64) -> io::Result<()> {
        self.facts(moment("until", ticks))
    }

    /// Says that all rings are written up to a moment, and perhaps further.
    pub(crate) fn through(&mut self, ticks: u64) -> io::Result<()> {
        self.facts(moment("through", ticks))
    }

    fn facts(&mut self, facts: String) -> io::Result<()> {
        self.block(BlockHeader::of_no_ring(Content::Facts), &lines(facts))
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a block, as long as its content.
    pub(crate) fn block(&mut self, header: BlockHeader, content: &[u64]) -> io::Result<()> {
        let bytes = (content.len() * 8) as u32;
        let header = BlockHeader {
            length: BlockHeader::BYTES as u32 + bytes,
            used: bytes,
            ..header
        };
        let header = header.encode();
        self.bytes += (size_of_val(&header) + size_of_val(content)) as u64;
        let mut parts = [as_bytes(&header), as_bytes(content)].map(IoSlice::new);
        let mut parts = &mut parts[..];
        // Together, so that a buffer in `out` that is smaller than the block is passed by.
        while parts.iter().any(|part| !part.is_empty()) {
            match self.out.write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what greenlets did at a moment.
    pub(crate) fn statuses(&mut self, at: Pair, events: &[Event]) -> io::Result<()> {
        /// Of one block.
        const WORDS: usize = 1 << 16;
        let Pair {
            ticks: base_ticks,
            nanos: base_nanos,
        } = at;
        let header = BlockHeader {
            base_ticks,
            base_nanos,
            ..BlockHeader::of_no_ring(Content::Statuses)
        };
        let mut words = Vec::new();
        for event in events {
            let event = event.encode();
            words.push(Head::new(&event, 0).0);
            words.extend_from_slice(&event.words[..event.length]);
            if words.len() > WORDS {
                self.block(header, &words)?;
                words.clear();
            }
        }
        self.block(header, &words)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn as_bytes(words: &[u64]) -> &[u8] {
    // Of all architectures that this crate knows it is the order of bytes.
    const { assert!(cfg!(target_endian = "little")) };
    // SAFETY: words are bytes, all of which may be read.
    unsafe { slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

impl BlockHeader {
    /// Of a block that is of no ring.
    pub(crate) fn of_no_ring(content: Content) -> Self {
        Self {
            content,
            ring: NO_RING,
            length: 0,
            used: 0,
            sequence: 0,
            first_event: 0,
            base_ticks: 0,
            base_nanos: 0,
            owner: Owner::NOBODY,
            greenlets: 0,
        }
    }
}

/// When recording began, and with what clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) clock: Clock,
    nanos: u64,
    /// Nanoseconds since 1970.
    wall: u64,
}

impl Start {
    pub(crate) fn now() -> Self {
        let clock = Clock::choose();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            clock,
            nanos: clock::now(),
            wall: wall.map_or(0, |wall| wall.as_nanos() as u64),
        }
    }

    pub(crate) fn header(&self, first_block: u64) -> FileHeader {
        FileHeader {
            major: MAJOR,
            minor: MINOR,
            process: process::id(),
            first_block,
            ticks_per_second: self.clock.ticks_per_second(),
            wall_offset: self.wall.wrapping_sub(self.nanos),
        }
    }

    /// Lines about the program and the machine.
    pub(crate) fn facts(&self) -> String {
        let program = env::current_exe().unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        format!(
            "crate=greenlet {}\nprogram={}\nprocess={}\nkernel={}\nprocessors={processors}\nclock={}\nbegun={}\n",
            env!("CARGO_PKG_VERSION"),
            program.display().to_string().escape_debug(),
            process::id(),
            kernel.trim(),
            match self.clock {
                Clock::Cycles => "cycles",
                Clock::Kernel => "monotonic",
            },
            self.wall,
        )
    }
}

/// The line that names a moment of the clock of events.
pub(crate) fn moment(key: &str, ticks: u64) -> String {
    format!("{key}={ticks}\n")
}

/// Lines as words, filled up with newlines.
pub(crate) fn lines(text: String) -> Vec<u64> {
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(8), b'\n');
    let words = bytes.chunks_exact(8);
    words
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect()
}
