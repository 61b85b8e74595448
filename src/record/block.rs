//! Blocks: what a trace file is made of.
//!
//! A file is a [`FileHeader`] and then blocks, one after the other, in any order. A block says what it is,
//! how long it is, and of what ring it is the how-manieth, so a reader can begin at any of them.

/// The first bytes of a file.
pub(crate) const FILE_MAGIC: u64 = u64::from_le_bytes(*b"GREENLET");
/// The first bytes of a block.
pub(crate) const BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"GBLK");

/// A reader refuses files with a newer one; one that is older it reads.
pub(crate) const MAJOR: u16 = 1;
/// Raised for what older readers can leave out.
pub(crate) const MINOR: u16 = 0;

/// How a file begins: eight words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) major: u16,
    pub(crate) minor: u16,
    /// The process.
    pub(crate) process: u32,
    /// Where the first block begins, in bytes.
    pub(crate) first_block: u64,
    /// Ticks in a second, to four digits or so: what the blocks say over a longer time is more exact. A
    /// nanosecond each if the clock is the kernel's.
    pub(crate) ticks_per_second: u64,
    /// Nanoseconds from the monotonic clock's zero to the beginning of 1970.
    pub(crate) wall_offset: u64,
}

impl FileHeader {
    pub(crate) const WORDS: usize = 8;

    pub(crate) fn encode(self) -> [u64; Self::WORDS] {
        let version = u64::from(self.minor) << 16 | u64::from(self.major);
        [
            FILE_MAGIC,
            u64::from(self.process) << 32 | version,
            self.first_block,
            self.ticks_per_second,
            self.wall_offset,
            0,
            0,
            0,
        ]
    }

    /// `None` if it is something else's.
    #[cfg(any(test, feature = "analysis"))]
    pub(crate) fn decode(words: [u64; Self::WORDS]) -> Option<Self> {
        (words[0] == FILE_MAGIC).then_some(Self {
            major: words[1] as u16,
            minor: (words[1] >> 16) as u16,
            process: (words[1] >> 32) as u32,
            first_block: words[2],
            ticks_per_second: words[3],
            wall_offset: words[4],
        })
    }
}

/// What is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Events of a ring, in the order in which they were recorded.
    Events,
    /// Texts: a word with the number in the low and the length in bytes in the high half, and then the
    /// bytes, filled up to whole words.
    Texts,
    /// Lines of the form `key=value`.
    Facts,
    /// Events that say what greenlets do at the moment of `base_ticks`, of no ring.
    Statuses,
    /// Something that this version does not know.
    Unknown(u8),
}

/// How a block begins: eight words.
///
/// In a file that is mapped into a running process, `sequence` is [`BlockHeader::UNWRITTEN`] while the block
/// is being made ready, and `used` grows with every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) content: Content,
    /// The number of the ring.
    pub(crate) ring: u16,
    /// Bytes from this block's beginning to the next one's: a multiple of eight.
    pub(crate) length: u32,
    /// Bytes behind the header that mean something: a multiple of eight for events.
    pub(crate) used: u32,
    /// Blocks of that ring before this one.
    pub(crate) sequence: u64,
    /// Events recorded in that ring before this block.
    pub(crate) first_event: u64,
    /// The clock of events, when the block began.
    pub(crate) base_ticks: u64,
    /// The monotonic clock in nanoseconds, at the same moment.
    pub(crate) base_nanos: u64,
    /// Whose ring it is.
    pub(crate) owner: Owner,
    /// The first greenlet that brief events of this block can name.
    pub(crate) greenlets: u64,
}

/// Whose ring it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The number of the runtime; 0 of the ring for all threads that are not hubs.
    pub(crate) runtime: u16,
    /// The number of the hub; [`Owner::NO_HUB`] of the ring for all other threads.
    pub(crate) hub: u16,
    /// The kernel's number of the worker.
    pub(crate) thread: u32,
}

impl Owner {
    pub(crate) const NO_HUB: u16 = u16::MAX;
    /// Of what is of no ring, and of the ring for all other threads.
    pub(crate) const NOBODY: Self = Self {
        runtime: 0,
        hub: Self::NO_HUB,
        thread: 0,
    };
}

impl BlockHeader {
    pub(crate) const WORDS: usize = 8;
    pub(crate) const BYTES: usize = Self::WORDS * 8;
    pub(crate) const UNWRITTEN: u64 = u64::MAX;
    /// Which of the words is which, for who writes them one by one.
    pub(crate) const EXTENT: usize = 1;
    pub(crate) const SEQUENCE: usize = 2;

    /// The word with `length` and `used`.
    #[inline]
    pub(crate) fn extent(length: u32, used: u32) -> u64 {
        u64::from(used) << 32 | u64::from(length)
    }

    pub(crate) fn encode(self) -> [u64; Self::WORDS] {
        let content = match self.content {
            Content::Events => 1,
            Content::Texts => 2,
            Content::Facts => 3,
            Content::Statuses => 4,
            Content::Unknown(code) => code,
        };
        let owner = self.owner;
        [
            u64::from(self.ring) << 48 | u64::from(content) << 32 | u64::from(BLOCK_MAGIC),
            Self::extent(self.length, self.used),
            self.sequence,
            self.first_event,
            self.base_ticks,
            self.base_nanos,
            u64::from(owner.thread) << 32 | u64::from(owner.hub) << 16 | u64::from(owner.runtime),
            self.greenlets,
        ]
    }

    /// `None` if no block begins here.
    pub(crate) fn decode(words: [u64; Self::WORDS]) -> Option<Self> {
        if words[0] as u32 != BLOCK_MAGIC {
            return None;
        }
        Some(Self {
            content: match (words[0] >> 32) as u8 {
                1 => Content::Events,
                2 => Content::Texts,
                3 => Content::Facts,
                4 => Content::Statuses,
                code => Content::Unknown(code),
            },
            ring: (words[0] >> 48) as u16,
            length: words[1] as u32,
            used: (words[1] >> 32) as u32,
            sequence: words[2],
            first_event: words[3],
            base_ticks: words[4],
            base_nanos: words[5],
            owner: Owner {
                runtime: words[6] as u16,
                hub: (words[6] >> 16) as u16,
                thread: (words[6] >> 32) as u32,
            },
            greenlets: words[7],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_were_written() {
        let file = FileHeader {
            major: MAJOR,
            minor: 7,
            process: 4_000_000_000,
            first_block: 4096,
            ticks_per_second: 2_500_000_000,
            wall_offset: 1_700_000_000_000_000_000,
        };
        assert_eq!(FileHeader::decode(file.encode()), Some(file));
        assert_eq!(&file.encode()[0].to_le_bytes(), b"GREENLET");
        for content in [
            Content::Events,
            Content::Texts,
            Content::Facts,
            Content::Statuses,
            Content::Unknown(200),
        ] {
            let block = BlockHeader {
                content,
                ring: 1025,
                length: 16384,
                used: 16320,
                sequence: 12,
                first_event: 3456,
                base_ticks: u64::MAX - 1,
                base_nanos: 5,
                owner: Owner {
                    runtime: 3,
                    hub: Owner::NO_HUB,
                    thread: 77,
                },
                greenlets: 1 << 47,
            };
            let words = block.encode();
            assert_eq!(BlockHeader::decode(words), Some(block));
            let extent = BlockHeader::extent(16384, 16320);
            assert_eq!(words[BlockHeader::EXTENT], extent);
            assert_eq!(words[BlockHeader::SEQUENCE], 12);
        }
        assert_eq!(BlockHeader::decode([0; 8]), None);
        assert_eq!(FileHeader::decode([0; 8]), None);
    }
}
