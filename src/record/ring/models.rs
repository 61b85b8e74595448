//! A model of reading a ring beside its writer: what is read is one block's, or it is refused.

use std::sync::atomic::AtomicUsize as Count;

use loom::model::Builder;
use loom::thread;

use super::*;

const OWNER: Owner = Owner {
    runtime: 1,
    hub: 0,
    thread: 7,
};

/// An event of one word, of which two are in a block.
fn event(greenlet: u64) -> Event {
    Event::Run { greenlet, run: 1 }
}

#[test]
fn a_block_that_is_read_is_one_blocks() {
    let mut builder = Builder::new();
    // Each of the words that are copied may be an older or a newer one, in every order: that is what this
    // is about, and many orders already.
    builder.preemption_bound = Some(1);
    let (read, refused) = (Arc::new(Count::new(0)), Arc::new(Count::new(0)));
    let counts = (read.clone(), refused.clone());
    builder.check(move || {
        let memory = Mapping::private(FEWEST_BLOCKS * BLOCK_BYTES).unwrap();
        let ring = Arc::new(Ring::new(memory, 3, OWNER));
        let reader = ring.clone();
        let writer = Writer::new(ring, Clock::Kernel);
        // All at one moment, so that each is one word.
        let now = writer.base_ticks.get();
        writer.record(event(1), Some(now));
        writer.record(event(2), Some(now));
        assert_eq!(reader.sequences(), 0..1);
        let writing = thread::spawn(move || {
            // The second block takes the place of the first.
            writer.record(event(3), Some(now));
            writer.record(event(4), Some(now));
        });
        let mut words = Vec::new();
        if let Some(header) = reader.read(0, &mut words) {
            assert_eq!((header.sequence, header.first_event), (0, 0));
            let numbers: Vec<u64> = words.iter().map(|word| word >> 8 & 0xff).collect();
            assert_eq!(numbers, [1, 2]);
            counts.0.fetch_add(1, Relaxed);
        } else {
            counts.1.fetch_add(1, Relaxed);
        }
        writing.join().unwrap();
        assert_eq!(reader.sequences(), 1..2);
    });
    // Otherwise the model shows nothing.
    assert!(read.load(Relaxed) > 0 && refused.load(Relaxed) > 0);
}

#[test]
fn what_is_read_of_a_block_that_is_written_was_written() {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(1);
    let seen = Arc::new(Count::new(0));
    let most = seen.clone();
    builder.check(move || {
        let memory = Mapping::private(FEWEST_BLOCKS * BLOCK_BYTES).unwrap();
        let ring = Arc::new(Ring::new(memory, 3, OWNER));
        let reader = ring.clone();
        let writing = thread::spawn(move || {
            let writer = Writer::new(ring, Clock::Kernel);
            let now = writer.base_ticks.get();
            writer.record(event(1), Some(now));
            writer.record(event(2), Some(now));
        });
        let mut words = Vec::new();
        for sequence in reader.sequences() {
            let header = reader.read(sequence, &mut words).expect("it stays");
            assert_eq!((header.sequence, header.owner), (0, OWNER));
            let numbers: Vec<u64> = words.iter().map(|word| word >> 8 & 0xff).collect();
            assert!([1, 2].starts_with(&numbers), "{numbers:?}");
            most.fetch_max(numbers.len(), Relaxed);
        }
        writing.join().unwrap();
    });
    // Otherwise the model shows nothing.
    assert_eq!(seen.load(Relaxed), 2);
}
