//! Where blocks are in a file. They follow each other by their lengths; where that leads to nothing, the
//! next one is found by its first bytes. No two of those found overlap, so all together are no larger
//! than the file.

use super::Problem;
use crate::record::block::{BLOCK_MAGIC, BlockHeader};

/// A block of a file.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// Where it begins, in bytes.
    pub(super) offset: u64,
    pub(super) header: BlockHeader,
    /// What means something of the bytes behind the header.
    pub(super) payload: &'a [u8],
}

/// All blocks of a file.
pub(super) struct Blocks<'a> {
    pub(super) blocks: Vec<Block<'a>>,
    pub(super) problems: Vec<Problem>,
}

/// What is at a place where a block should begin.
enum Found {
    Block(BlockHeader),
    /// A mapped file has areas that were never written.
    Zeros,
    Garbage,
    End,
}

impl<'a> Blocks<'a> {
    pub(super) fn find(bytes: &'a [u8], first_block: u64) -> Self {
        let mut found = Self {
            blocks: Vec::new(),
            problems: Vec::new(),
        };
        let header = BlockHeader::BYTES;
        let mut at = match usize::try_from(first_block) {
            Ok(first) if first >= header && first % 8 == 0 && first <= bytes.len() => first,
            _ => {
                found.problem(
                    16,
                    "no block can begin where the first one should: searched",
                );
                header
            }
        };
        loop {
            match look(bytes, at) {
                Found::End => break,
                Found::Zeros => at = next_magic(bytes, at + 8),
                Found::Garbage => {
                    found.problem(at, "no block begins here: searched for the next one");
                    at = next_magic(bytes, at + 8);
                }
                Found::Block(header) => at = found.take(bytes, at, header),
            }
        }
        found
    }

    /// Takes the block that begins at `at`, and returns where the next one does.
    fn take(&mut self, bytes: &'a [u8], at: usize, header: BlockHeader) -> usize {
        let (length, used) = (header.length as usize, header.used as usize);
        let behind = at + BlockHeader::BYTES;
        let wanted = at.saturating_add(length);
        let end = if length < BlockHeader::BYTES || length % 8 != 0 {
            let end = next_magic(bytes, behind);
            self.problem(
                at,
                format!("a block cannot have {length} bytes: cut where the next begins"),
            );
            end
        } else if wanted > bytes.len() {
            let end = next_magic(bytes, behind);
            let missing = wanted - bytes.len();
            self.problem(
                at,
                format!("{missing} bytes of this block are behind the file's end"),
            );
            end
        } else if matches!(look(bytes, wanted), Found::Garbage) {
            let end = next_magic(bytes, behind);
            self.problem(
                at,
                "no block begins where this one ends: cut where the next begins",
            );
            end
        } else {
            wanted
        };
        if header.sequence == BlockHeader::UNWRITTEN {
            return end;
        }
        let room = end - behind;
        if used > room {
            self.problem(
                at,
                format!("{used} bytes are used of a block that has room for {room}"),
            );
        }
        self.blocks.push(Block {
            offset: at as u64,
            header,
            payload: &bytes[behind..behind + used.min(room)],
        });
        end
    }

    fn problem(&mut self, at: usize, what: impl Into<String>) {
        self.problems.push(Problem {
            offset: at as u64,
            what: what.into(),
        });
    }
}

fn look(bytes: &[u8], at: usize) -> Found {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else {
        return Found::End;
    };
    if let Some(header) = words_at(bytes, at).and_then(BlockHeader::decode) {
        return Found::Block(header);
    }
    match rest.iter().take(8).all(|&byte| byte == 0) {
        true => Found::Zeros,
        false => Found::Garbage,
    }
}

/// Where the next block begins, at `from` or behind it; the end of the file if there is none.
fn next_magic(bytes: &[u8], from: usize) -> usize {
    let magic = BLOCK_MAGIC.to_le_bytes();
    let last = bytes.len().saturating_sub(BlockHeader::BYTES);
    (from.next_multiple_of(8)..=last)
        .step_by(8)
        .find(|&at| bytes[at..].starts_with(&magic))
        .unwrap_or(bytes.len())
}

pub(super) fn words_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u64; N]> {
    let mut words = [0; N];
    let bytes = bytes.get(at..)?.get(..N * 8)?;
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
    }
    Some(words)
}
