//! A model of reading a ring beside its writer: what is read is one block's, or it is refused.

use loom::model::Builder;
use loom::thread;

use super::*;

const OWNER: Owner = Owner {
    runtime: 1,
    hub: 0,
    thread: 7,
};

/// An event of two words, of which two are in a block.
fn event(greenlet: u64) -> Event {
    Event::Run { greenlet, run: 1 }
}

#[test]
fn a_block_that_is_read_is_one_blocks() {
    let mut builder = Builder::new();
    // Each of the words that are copied may be an older or a newer one, in every order: that is what this
    // is about, and many orders already.
    builder.preemption_bound = Some(1);
    builder.check(|| {
        let memory = Mapping::private(FEWEST_BLOCKS * BLOCK_BYTES).unwrap();
        let ring = Arc::new(Ring::new(memory, 3, OWNER));
        let reader = ring.clone();
        let writer = Writer::new(ring, Clock::Kernel);
        writer.record(event(1), Some(0));
        writer.record(event(2), Some(0));
        let writing = thread::spawn(move || {
            // The second block takes the place of the first.
            writer.record(event(3), Some(0));
        });
        let mut words = Vec::new();
        if let Some(header) = reader.read(0, &mut words) {
            assert_eq!((header.sequence, header.first_event), (0, 0));
            let numbers: Vec<u64> = words.chunks(2).map(|event| event[1] >> 16).collect();
            assert_eq!(numbers, [1, 2]);
        }
        writing.join().unwrap();
    });
}
