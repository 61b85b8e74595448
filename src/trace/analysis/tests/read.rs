use super::builder::{BEGIN, TICKS, TraceBuilder, plain};
use crate::record::block::{BlockHeader, Content, Owner};
use crate::record::{Actor, Ended, Event, Source, State, Stop, Wait};
use crate::trace::analysis::{Lost, ReadError, Trace};

const PARK: Stop = Stop::Wait(Wait {
    reason: 0,
    object: Wait::NO_OBJECT,
});

fn wake(greenlet: u64, run: u16, by: u64) -> Event {
    Event::Wake {
        greenlet,
        run,
        by: Source::Actor(Actor::Greenlet(by)),
        outcome: Ended::Woken,
    }
}

/// Two greenlets on two hubs: the second wakes the first.
fn two() -> TraceBuilder {
    let mut trace = TraceBuilder::new(2);
    let site = trace.text("src/main.rs:7:5");
    for greenlet in [1, 2] {
        let parent = 0;
        let spawn = Event::Spawn {
            greenlet,
            parent,
            site,
        };
        trace.event(2, greenlet, spawn);
    }
    trace.run(0, 1, 1, [10, 20], PARK);
    trace.event(
        1,
        15,
        Event::Run {
            greenlet: 2,
            run: 1,
        },
    );
    trace.event(1, 30, wake(1, 1, 2));
    let (greenlet, run, why) = (2, 1, Stop::End);
    trace.event(1, 35, Event::Stop { greenlet, run, why });
    trace.run(0, 1, 2, [40, 50], Stop::End);
    trace
}

#[track_caller]
fn read(builder: &mut TraceBuilder) -> Trace {
    Trace::from_bytes(&builder.seal().bytes()).expect("a trace")
}

#[track_caller]
fn is_sound(trace: &Trace) {
    assert_eq!(trace.problems(), []);
    assert_eq!(trace.lost(), []);
}

/// Where these events are in the trace's order.
#[track_caller]
fn places<const N: usize>(trace: &Trace, events: [Event; N]) -> [usize; N] {
    events.map(|event| {
        let place = trace.records().iter().position(|r| r.event == event);
        place.unwrap_or_else(|| panic!("no {event:?}"))
    })
}

#[test]
fn what_was_written_is_read() {
    let trace = read(&mut two());
    is_sound(&trace);
    assert!(trace.is_whole());
    assert_eq!(trace.records().len(), 9);
    let rings: Vec<_> = trace.rings().iter().map(|r| (r.runtime, r.hub)).collect();
    assert_eq!(rings, [(1, Some(0)), (1, Some(1)), (0, None)]);
    let times = trace.records().iter().map(|record| record.time - BEGIN);
    assert_eq!(
        times.collect::<Vec<_>>(),
        [1, 2, 10, 15, 20, 30, 35, 40, 50]
    );
    assert_eq!(trace.text(1), Some("src/main.rs:7:5"));
    assert_eq!(trace.text(0), None);
    assert_eq!(trace.fact("program"), Some("test"));
    assert_eq!((trace.begin(), trace.end()), (BEGIN + 1, BEGIN + 50));
    assert_eq!(trace.process(), 42);
}

#[test]
fn what_is_no_trace_is_told() {
    let sealed = two().seal().bytes();
    let error = |bytes: &[u8]| Trace::from_bytes(bytes).expect_err("an error");
    assert!(matches!(error(b""), ReadError::Empty));
    assert!(matches!(error(b"GREEN"), ReadError::CutOff(5)));
    assert!(matches!(error(&sealed[..63]), ReadError::CutOff(63)));
    assert!(matches!(error(b"GREENHORN and some"), ReadError::NotATrace));
    assert!(matches!(error(&[0; 200]), ReadError::NotATrace));
    let mut newer = two();
    newer.header.major = 2;
    let error = error(&newer.seal().bytes());
    assert!(matches!(error, ReadError::TooNew(2)));
    assert!(error.to_string().contains("newer"), "{error}");
    let missing = Trace::open("/does/not/exist").expect_err("an error");
    assert!(matches!(missing, ReadError::Io(_)));
    newer.header.major = 1;
    newer.header.minor = 9;
    is_sound(&read(&mut newer));
}

#[test]
fn a_wake_comes_before_the_run_whatever_clocks_say() {
    let mut trace = two();
    trace.event(
        2,
        41,
        Event::Mark {
            who: Actor::Thread(1),
            name: 0,
        },
    );
    // Greenlet 4 is woken by a hub whose clock is 5 ns ahead.
    trace.event(
        1,
        60,
        Event::Run {
            greenlet: 3,
            run: 1,
        },
    );
    trace.run(0, 4, 1, [58, 59], PARK);
    trace.event(1, 70, wake(4, 1, 3));
    trace.run(0, 4, 2, [65, 66], Stop::Yield);
    trace.run(0, 4, 3, [67, 68], Stop::Yield);
    let trace = read(&mut trace);
    is_sound(&trace);
    let [wake, run] = places(
        &trace,
        [
            wake(4, 1, 3),
            Event::Run {
                greenlet: 4,
                run: 2,
            },
        ],
    );
    assert!(wake < run);
    for ring in 0..3 {
        let mut of_ring = trace.records().iter().filter(|r| r.ring == ring);
        assert!(of_ring.by_ref().is_sorted_by_key(|record| record.time));
    }
}

#[test]
fn runs_are_counted_on_beyond_16_bits() {
    let mut trace = TraceBuilder::new(2);
    for run in 1..=70_000_u64 {
        // From hub to hub; each stop has the same time as the next run, on the other.
        let times = [run * 10, run * 10 + 10];
        trace.run((run % 2) as u16, 9, run as u16, times, Stop::Yield);
    }
    let trace = read(&mut trace);
    is_sound(&trace);
    let mut runs = trace
        .records()
        .iter()
        .filter_map(|record| match record.event {
            Event::Run { run, .. } => Some(run),
            _ => None,
        });
    assert!((1..=70_000_u64).all(|run| runs.next() == Some(run as u16)));
}

#[test]
fn events_that_wait_for_each_other_are_all_there() {
    let mut trace = TraceBuilder::new(2);
    // Each ring has the later run first.
    trace.run(0, 1, 2, [1, 2], Stop::Yield);
    trace.run(0, 2, 1, [3, 4], Stop::Yield);
    trace.run(1, 2, 2, [1, 2], Stop::Yield);
    trace.run(1, 1, 1, [3, 4], Stop::Yield);
    assert_eq!(read(&mut trace).records().len(), 8);
}

#[test]
fn losses_are_accounted() {
    let mut trace = TraceBuilder::new(1);
    trace.lose(0, 1000).event(0, 10, Event::Sleep);
    trace.lose(0, 7).event(0, 90, Event::Awake);
    let trace = read(&mut trace);
    let lost = |events, after, before| Lost {
        ring: 0,
        events,
        after,
        before,
    };
    let expected = [
        lost(1000, None, BEGIN + 10),
        lost(7, Some(BEGIN + 10), BEGIN + 90),
    ];
    assert_eq!(trace.lost(), expected);
    assert_eq!(trace.problems(), []);
}

#[test]
fn the_order_of_blocks_does_not_matter_nor_a_block_that_comes_twice() {
    let mut builder = two();
    builder.per_block = 1;
    builder.event(0, 55, Event::Sleep);
    builder.seal();
    let expected = Trace::from_bytes(&builder.bytes()).expect("a trace");
    // The first time there is less in it.
    let mut early = builder.blocks[0].clone();
    early[12..16].copy_from_slice(&0_u32.to_le_bytes());
    builder.blocks.reverse();
    builder.blocks.insert(0, early.clone());
    builder.blocks.push(early);
    let trace = Trace::from_bytes(&builder.bytes()).expect("a trace");
    is_sound(&trace);
    assert_eq!(trace.records(), expected.records());
}

#[test]
fn what_a_newer_version_has_to_say_is_skipped() {
    let mut builder = two();
    let header = BlockHeader {
        content: Content::Unknown(99),
        ring: 0,
        length: 0,
        used: 0,
        sequence: 0,
        first_event: 0,
        base_ticks: 0,
        base_nanos: 0,
        owner: Owner {
            runtime: 0,
            hub: 0,
            thread: 0,
        },
        greenlets: 0,
    };
    builder.block(header, &[7; 100]);
    // An event of kind 100 with two words, a brief one of kind 100, and one that is known.
    let words = [2 << 16 | 100_u64, 1, 2, 1 << 7 | 100, 8];
    let payload: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let header = BlockHeader {
        content: Content::Events,
        ring: 7,
        ..header
    };
    builder.block(header, &payload);
    let trace = read(&mut builder);
    is_sound(&trace);
    assert_eq!(trace.unknown_events(), 2);
    assert_eq!(trace.records().len(), 10);
}

#[test]
fn areas_that_were_never_written_are_skipped() {
    let mut builder = two();
    builder.header.first_block = 4096;
    builder.flush(0);
    builder.blocks.push(vec![0; 3 * 4096]);
    // Being made ready: what is in it is old.
    let mut unwritten = builder.blocks[0].clone();
    unwritten[16..24].fill(0xff);
    builder.blocks.push(unwritten);
    builder.blocks.push(vec![0; 4096]);
    let mut trace = builder;
    let trace = read(&mut trace);
    is_sound(&trace);
    assert_eq!(trace.records().len(), 9);
}

#[test]
fn what_comes_after_the_end_of_a_snapshot_is_left_out() {
    let mut builder = two();
    let until = format!("until={}\n", (BEGIN + 30) * TICKS);
    builder.block(plain(Content::Facts, 0), until.as_bytes());
    let trace = read(&mut builder);
    is_sound(&trace);
    assert_eq!(trace.records().len(), 6);
    assert_eq!(trace.end(), BEGIN + 30);
}

#[test]
fn a_file_that_is_cut_off_gives_what_is_there() {
    let mut builder = two();
    builder.per_block = 1;
    builder.event(0, 60, Event::Sleep);
    let bytes = builder.seal().bytes();
    let mut last = 0;
    for length in 64..bytes.len() {
        let trace = Trace::from_bytes(&bytes[..length]).expect("a trace");
        assert!(trace.records().len() >= last);
        last = trace.records().len();
    }
    assert_eq!(last, 10);
}

#[test]
fn behind_damage_the_next_block_is_found() {
    let mut builder = two();
    builder.flush(0);
    let first = builder.blocks.len();
    builder.blocks.push(vec![0xab; 1000]);
    let trace = read(&mut builder.clone());
    assert_eq!(trace.records().len(), 9);
    assert_eq!(trace.problems().len(), 1, "{:?}", trace.problems());

    // A length that is too large hides no block behind it.
    for length in [u32::MAX, 9, 0, 4096 + 8] {
        builder.blocks.truncate(first);
        builder.blocks[0][8..12].copy_from_slice(&length.to_le_bytes());
        let trace = read(&mut builder.clone());
        assert_eq!(trace.records().len(), 9, "length {length}");
        assert!(!trace.problems().is_empty());
    }
}

#[test]
fn statuses_are_read_from_their_blocks() {
    let mut builder = two();
    let status = Event::Status {
        greenlet: 77,
        run: 3,
        state: State::Ready,
        parent: 1,
        site: 1,
        name: 0,
        since: 0,
    };
    builder.statuses(5, &[status]);
    let trace = read(&mut builder);
    is_sound(&trace);
    let statuses = trace.statuses();
    assert_eq!(statuses.len(), 1);
    assert_eq!((statuses[0].greenlet, statuses[0].time), (77, BEGIN + 5));
}
