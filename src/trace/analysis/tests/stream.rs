//! Streams are read as files are.

use super::builder::TraceBuilder;
use crate::record::block::BlockHeader;
use crate::record::{Event, Stop};
use crate::trace::analysis::{ReadError, Record, Stream, Trace};

fn two_hubs() -> TraceBuilder {
    let mut builder = TraceBuilder::new(2);
    builder.per_block = 7;
    let site = builder.text("src/main.rs:1:2");
    for number in 1..40 {
        let greenlet = number;
        builder.event(
            0,
            number * 100,
            Event::Spawn {
                greenlet,
                parent: 0,
                site,
            },
        );
        let times = [number * 100 + 10, number * 100 + 20];
        builder.run(1, greenlet, 1, times, Stop::End);
    }
    builder.seal();
    builder
}

/// All that a stream tells of these bytes, which come in pieces.
fn fed(bytes: &[u8], piece: usize) -> (Stream, Vec<Record>) {
    let mut stream = Stream::new();
    let mut records = Vec::new();
    for piece in bytes.chunks(piece) {
        stream.feed(piece).unwrap();
    }
    records.extend(stream.take());
    records.extend(stream.take());
    (stream, records)
}

#[test]
fn pieces_of_any_size_tell_what_the_file_does() {
    let bytes = two_hubs().bytes();
    let trace = Trace::from_bytes(&bytes).unwrap();
    let expected: Vec<_> = trace
        .records()
        .iter()
        .map(|it| (it.time, it.event))
        .collect();
    for piece in [1, 7, 8, 64, 1000, bytes.len()] {
        let (stream, records) = fed(&bytes, piece);
        let found: Vec<_> = records.iter().map(|it| (it.time, it.event)).collect();
        assert_eq!(found, expected, "pieces of {piece}");
        for record in records {
            let ring = stream.rings()[usize::from(record.ring)];
            let is_spawn = matches!(record.event, Event::Spawn { .. });
            assert_eq!(ring.hub, Some(if is_spawn { 0 } else { 1 }));
        }
        assert_eq!(stream.text(1), Some("src/main.rs:1:2"));
        assert_eq!(stream.fact("program"), Some("test"));
        assert_eq!(stream.lost(), 0);
    }
}

#[test]
fn the_newest_are_kept_back_until_the_next_time() {
    let bytes = two_hubs().bytes();
    let mut stream = Stream::new();
    let half = bytes.len() / 2;
    stream.feed(&bytes[..half]).unwrap();
    assert_eq!(stream.take(), []);
    stream.feed(&bytes[half..]).unwrap();
    let first = stream.take();
    let second = stream.take();
    assert!(!first.is_empty() && !second.is_empty());
    assert!(first.last().unwrap().time <= second[0].time);
    assert_eq!(stream.take(), []);
    assert_eq!(first.len() + second.len(), 39 * 3);
}

#[test]
fn a_block_that_comes_again_is_read_on() {
    let mut builder = TraceBuilder::new(1);
    let event = Event::Steal { victim: 3 };
    for number in 0..10 {
        builder.event(0, number, event);
    }
    builder.flush(0);
    let bytes = builder.bytes();
    let (head, block) = bytes.split_at(64);
    // Each event of this kind takes two words.
    let cut = |events: usize| {
        let used = events * 16;
        let mut part = block[..BlockHeader::BYTES + used].to_vec();
        let extent = BlockHeader::extent((BlockHeader::BYTES + used) as u32, used as u32);
        part[8..16].copy_from_slice(&extent.to_le_bytes());
        part
    };
    let mut stream = Stream::new();
    stream.feed(head).unwrap();
    for events in [3, 3, 7, 5, 10] {
        stream.feed(&cut(events)).unwrap();
    }
    let count = stream.take().len() + stream.take().len();
    assert_eq!((count, stream.lost()), (10, 0));
    // What is kept has it once.
    let trace = Trace::from_bytes(&stream.recent()).unwrap();
    assert_eq!((trace.records().len(), trace.is_whole()), (10, true));
}

#[test]
fn what_is_missing_is_counted() {
    let mut builder = TraceBuilder::new(1);
    builder.event(0, 1, Event::Sleep);
    builder.lose(0, 1234);
    builder.event(0, 5, Event::Awake);
    builder.flush(0);
    let (stream, records) = fed(&builder.bytes(), 9);
    assert_eq!((records.len(), stream.lost()), (2, 1234));
}

#[test]
fn what_is_kept_is_a_file_of_the_last_events() {
    let bytes = two_hubs().bytes();
    let (stream, records) = fed(&bytes, 100);
    let trace = Trace::from_bytes(&stream.recent()).unwrap();
    assert_eq!(trace.records().len(), records.len());
    assert_eq!(trace.text(1), Some("src/main.rs:1:2"));
    assert!(trace.is_whole());
}

#[test]
fn what_is_no_trace_is_refused() {
    let feed = |bytes: &[u8]| Stream::new().feed(bytes);
    let other = [b'x'; 64];
    assert!(matches!(feed(&other), Err(ReadError::NotATrace)));
    let mut newer = two_hubs();
    newer.header.major = 99;
    let error = feed(&newer.bytes()).unwrap_err();
    assert!(matches!(error, ReadError::TooNew(99)));
    let mut bytes = two_hubs().bytes();
    bytes[64] = b'x';
    assert!(matches!(feed(&bytes), Err(ReadError::NotATrace)));
}

#[test]
fn damage_is_never_a_panic() {
    let bytes = two_hubs().bytes();
    let mut random = 1_u64;
    for _ in 0..2_000 {
        let mut damaged = bytes.clone();
        for _ in 0..3 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = (random >> 33) as usize % damaged.len();
            damaged[at] = (random >> 20) as u8;
        }
        let mut stream = Stream::new();
        if stream.feed(&damaged).is_ok() {
            stream.take();
            let _ = Trace::from_bytes(&stream.recent());
        }
    }
}
