//! Texts that events refer to by number: places in the source, names, stacks.
//!
//! They lie one behind the other in memory of a fixed size. When it is full, further texts are lost, and
//! counted; their number is 0.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::block::{BlockHeader, Content};
use super::event::Text;
use crate::lock::StaticMutex;
use crate::sys::mapping::Mapping;

/// The ring number of what is of no ring.
pub(crate) const NO_RING: u16 = u16::MAX;

#[derive(Debug)]
pub(crate) struct Texts {
    /// One block.
    memory: Mapping,
    known: StaticMutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<Box<str>, Text>,
    /// Words that are used, behind the header.
    used: usize,
    lost: u64,
}

impl Texts {
    pub(crate) fn new(memory: Mapping) -> Self {
        let header = BlockHeader {
            length: (memory.words().len() * 8) as u32,
            ..BlockHeader::of_no_ring(Content::Texts)
        };
        for (place, word) in memory.words().iter().zip(header.encode()) {
            place.store(word, Relaxed);
        }
        Self {
            memory,
            known: StaticMutex::default(),
        }
    }

    /// The number of a text, a new one if need be; 0 if there is no room.
    pub(crate) fn number(&self, text: &str) -> Text {
        let mut known = self.known.lock();
        if let Some(number) = known.numbers.get(text) {
            return *number;
        }
        let words = self.memory.words();
        let at = BlockHeader::WORDS + known.used;
        let end = at + 1 + text.len().div_ceil(8);
        if end > words.len() {
            known.lost += 1;
            return 0;
        }
        let number = known.numbers.len() as Text + 1;
        words[at].store((text.len() as u64) << 32 | u64::from(number), Relaxed);
        for (place, bytes) in words[at + 1..end].iter().zip(text.as_bytes().chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            place.store(u64::from_le_bytes(word), Relaxed);
        }
        known.used = end - BlockHeader::WORDS;
        let used = (known.used * 8) as u32;
        let extent = BlockHeader::extent((words.len() * 8) as u32, used);
        // Release: pairs with the Acquire in `after`.
        words[BlockHeader::EXTENT].store(extent, Release);
        known.numbers.insert(text.into(), number);
        number
    }

    /// Texts that were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.known.lock().lost
    }

    /// What has come behind the first `seen` words.
    pub(crate) fn after(&self, seen: usize) -> Vec<u64> {
        let words = self.memory.words();
        // Acquire: pairs with the Release in `number`.
        let used = (words[BlockHeader::EXTENT].load(Acquire) >> 32) as usize / 8;
        let new = &words[BlockHeader::WORDS + seen..BlockHeader::WORDS + used];
        new.iter().map(|word| word.load(Relaxed)).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number_and_is_written_once() {
        let texts = Texts::new(Mapping::private(4096).unwrap());
        let numbers: Vec<Text> = ["one", "", "longer than a word", "one"]
            .map(|text| texts.number(text))
            .into();
        assert_eq!(numbers, [1, 2, 3, 1]);
        let words = texts.after(0);
        assert_eq!(words.len(), 2 + 1 + 4);
        assert_eq!(words[0], 3 << 32 | 1);
        assert_eq!(&words[1].to_le_bytes(), b"one\0\0\0\0\0");
        assert_eq!(texts.after(3).len(), 4);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let texts = Texts::new(Mapping::private(4096).unwrap());
        assert_ne!(texts.number("fits"), 0);
        assert_eq!(texts.number(&"x".repeat(4096)), 0);
        assert_ne!(texts.number("fits too"), 0);
        assert_eq!(texts.lost(), 1);
    }
}
