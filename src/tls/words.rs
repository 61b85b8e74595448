//! The words that a greenlet shares with its worker.
//!
//! malloc keeps two words per thread: its cache and its arena. A greenlet that had its own
//! would start with a cold cache, and take it along when it moves. So a greenlet uses its
//! worker's: they are copied in when the worker switches to it, and *back*, or on to the next greenlet, when
//! it switches away, because malloc may change them at any call (when the arena is exhausted).
//!
//! glibc 2.41 has a third, the state of the vDSO's `getrandom`. It must never be in two
//! blocks: after a `fork` the child's glibc collects it from every thread on its lists, and
//! would collect it twice. So this one is moved, and leaves 0, the value of a thread that has none.

use super::place;

/// Words of malloc's; where only one is found it is there twice.
const MALLOC_WORDS: usize = 2;

/// Offsets from the thread pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    malloc: [isize; MALLOC_WORDS],
    random: Option<isize>,
}

impl Words {
    /// `None` if malloc has no such words, or more than were ever seen.
    pub(super) fn new(malloc: &[isize], random: Option<isize>) -> Option<Self> {
        if malloc.is_empty() || malloc.len() > MALLOC_WORDS {
            return None;
        }
        Some(Self {
            malloc: std::array::from_fn(|i| *malloc.get(i).unwrap_or(&malloc[0])),
            random,
        })
    }

    /// Where malloc's words are.
    pub(super) fn malloc(&self) -> &[isize] {
        &self.malloc
    }

    /// Gives the block at `to` the words of the block at `from`, whose thread is then to run on
    /// the former: on every switch, from the worker, to it, or to the next greenlet.
    ///
    /// # Safety
    ///
    /// Both are thread pointers of this process, of threads or of blocks of `Block`, and nobody
    /// allocates on either meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn copy(&self, from: usize, to: usize) {
        // SAFETY: every block has these words at these offsets, and nobody else uses them (caller).
        unsafe {
            for offset in self.malloc {
                *place::<usize>(to, offset) = *place::<usize>(from, offset);
            }
            if let Some(offset) = self.random {
                *place::<usize>(to, offset) = place::<usize>(from, offset).replace(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of four words, and its thread pointer.
    fn block(words: &mut [usize; 4]) -> usize {
        words.as_mut_ptr().expose_provenance()
    }

    #[test]
    fn mallocs_words_are_copied_and_the_random_one_is_moved() {
        let words = Words::new(&[0, 8], Some(24)).unwrap();
        let (mut worker, mut greenlet) = ([1, 2, 3, 4], [0; 4]);
        let (from, to) = (block(&mut worker), block(&mut greenlet));
        // SAFETY: both have the words.
        unsafe { words.copy(from, to) };
        assert_eq!((worker, greenlet), ([1, 2, 3, 0], [1, 2, 0, 4]));
        greenlet[0] = 9;
        // SAFETY: as above.
        unsafe { words.copy(to, from) };
        assert_eq!((worker, greenlet), ([9, 2, 3, 4], [9, 2, 0, 0]));
    }

    #[test]
    fn one_word_is_enough_and_three_are_too_many() {
        assert_eq!(Words::new(&[8], None).unwrap().malloc(), [8, 8]);
        assert_eq!(Words::new(&[], None), None);
        assert_eq!(Words::new(&[0, 8, 16], None), None);
    }
}
