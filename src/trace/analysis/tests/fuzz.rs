//! Files that are damaged in any way are read, with no panic, in little time and memory.

use std::io;
use std::time::{Duration, Instant};

use super::builder::TraceBuilder;
use crate::record::{Actor, Ended, Event, Source, State, Stop, Wait};
use crate::sys::task::{self, TaskId};
use crate::trace::analysis::{Report, Timeline, Trace, check, check_whole, export};

/// Xorshift: the same numbers each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Two hubs, some greenlets, and every kind of event.
fn valid(random: &mut Random) -> TraceBuilder {
    let mut trace = TraceBuilder::new(2);
    trace.per_block = 1 + random.below(40);
    let texts = ["src/main.rs:7:5", "worker", "a\nb\nc"].map(|text| trace.text(text));
    let mut runs = [0_u16; 8];
    for greenlet in 1..8 {
        let (parent, site) = (greenlet - 1, texts[0]);
        let spawn = Event::Spawn {
            greenlet,
            parent,
            site,
        };
        trace.event(2, greenlet, spawn);
    }
    for step in 0..100 {
        let time = 1000 + step * 100;
        let greenlet = 1 + random.below(7) as u64;
        let ring = random.below(2) as u16;
        runs[greenlet as usize] += 1;
        let run = runs[greenlet as usize];
        let wait = Wait {
            reason: random.below(25) as u8,
            object: random.below(3) as u64,
        };
        trace.run(ring, greenlet, run, [time, time + 50], Stop::Wait(wait));
        trace.event(ring, time + 60, any(random, greenlet, texts));
        let by = match random.below(4) {
            0 => Source::Reactor,
            1 => Source::Timer,
            2 => Source::Unknown,
            _ => Source::Actor(Actor::Greenlet(1 + random.below(7) as u64)),
        };
        let outcome = Ended::Woken;
        let wake = Event::Wake {
            greenlet,
            run,
            by,
            outcome,
        };
        trace.event(random.below(3) as u16, time + 70, wake);
    }
    let status = Event::Status {
        greenlet: 9,
        run: 1,
        state: State::Ready,
        parent: 1,
        site: texts[0],
        name: texts[1],
        since: 10,
    };
    trace.statuses(0, &[status, status]);
    trace.seal();
    trace
}

fn any(random: &mut Random, greenlet: u64, texts: [u32; 3]) -> Event {
    let who = Actor::Greenlet(greenlet);
    let span = random.below(3) as u32;
    let name = texts[1];
    match random.below(14) {
        0 => Event::Name { greenlet, name },
        1 => Event::Steal { victim: 1 },
        2 => Event::Sleep,
        3 => Event::Awake,
        4 => Event::Poll { woken: 2 },
        5 => Event::Timers { woken: 2 },
        6 => Event::JobBegin {
            thread: 7,
            greenlet,
        },
        7 => Event::JobEnd { thread: 7 },
        8 => Event::LongRun {
            greenlet,
            hub: 1,
            runtime: 1,
            in_kernel: true,
            nanos: 10_000_000,
            stack: texts[2],
        },
        9 => Event::Stack {
            greenlet,
            used: 80,
            size: 100,
        },
        10 => Event::SpanBegin { who, name, span },
        11 => Event::SpanEnd { who, span },
        12 => Event::Counter {
            who,
            name,
            value: f64::from(span),
        },
        _ => Event::Mark { who, name },
    }
}

/// Damages a file in one way.
fn damage(random: &mut Random, trace: &TraceBuilder) -> Vec<u8> {
    let mut blocks = trace.clone();
    match random.below(9) {
        0 => {
            let mut bytes = trace.bytes();
            bytes.truncate(random.below(bytes.len()));
            bytes
        }
        1 => {
            let mut bytes = trace.bytes();
            for _ in 0..=random.below(20) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            bytes
        }
        2 => {
            // Words that are anything.
            let mut bytes = trace.bytes();
            for _ in 0..=random.below(20) {
                let at = random.below(bytes.len() / 8) * 8;
                bytes[at..at + 8].copy_from_slice(&extreme(random).to_le_bytes());
            }
            bytes
        }
        3 => {
            // Blocks that come again.
            for _ in 0..=random.below(20) {
                let block = blocks.blocks[random.below(blocks.blocks.len())].clone();
                let place = random.below(blocks.blocks.len());
                blocks.blocks.insert(place, block);
            }
            blocks.bytes()
        }
        4 => {
            for place in 0..blocks.blocks.len() {
                let other = random.below(blocks.blocks.len());
                blocks.blocks.swap(place, other);
            }
            blocks.bytes()
        }
        5 => {
            // Words of the headers of blocks.
            for block in &mut blocks.blocks {
                if random.below(3) == 0 {
                    let at = random.below(8) * 8;
                    block[at..at + 8].copy_from_slice(&extreme(random).to_le_bytes());
                }
            }
            blocks.bytes()
        }
        6 => {
            // Lengths that are too large.
            for block in &mut blocks.blocks {
                if random.below(3) == 0 {
                    let at = 8 + random.below(2) * 4;
                    let length = extreme(random) as u32;
                    block[at..at + 4].copy_from_slice(&length.to_le_bytes());
                }
            }
            blocks.bytes()
        }
        7 => {
            // Pieces cut out, or put in.
            let mut bytes = trace.bytes();
            for _ in 0..=random.below(5) {
                let at = random.below(bytes.len());
                let end = (at + random.below(100)).min(bytes.len());
                if random.below(2) == 0 {
                    bytes.drain(at..end);
                } else {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
            bytes
        }
        _ => {
            // A header, and noise.
            let mut bytes = trace.bytes()[..64].to_vec();
            bytes.extend((0..random.below(2000)).map(|_| random.next() as u8));
            bytes
        }
    }
}

/// A word of the kind that is most likely to be mistaken.
fn extreme(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => u64::MAX,
        1 => 0,
        2 => 1 << random.below(64),
        3 => (1 << random.below(64)) - 1,
        4 => random.below(1000) as u64,
        _ => random.next(),
    }
}

/// Reads it, and does all there is to do with a trace but export it.
fn use_all(bytes: &[u8]) -> Option<Trace> {
    let trace = Trace::from_bytes(bytes).ok()?;
    let timeline = Timeline::new(&trace);
    let report = Report::new(&trace, &timeline, 5);
    assert!(!report.to_string().is_empty());
    assert!(serde_json::to_string(&report).is_ok());
    check(&trace);
    check_whole(&trace);
    for record in trace.records() {
        assert!(!trace.tell(&record.event).to_string().is_empty());
    }
    // No event is as small as what it takes: what was read is no larger than the file.
    assert!(trace.records().len() <= bytes.len() / 8);
    let texts: usize = (0..10)
        .filter_map(|text| trace.text(text))
        .map(str::len)
        .sum();
    assert!(texts <= bytes.len() * 3);
    assert!(trace.problems().len() <= bytes.len() / 8);
    Some(trace)
}

fn export_all(bytes: &[u8]) {
    let Ok(trace) = Trace::from_bytes(bytes) else {
        return;
    };
    let timeline = Timeline::new(&trace);
    for write in [
        export::perfetto,
        export::perfetto_sched,
        export::chrome,
        export::json_lines,
        export::folded,
        export::html,
    ] {
        assert!(write(&trace, &timeline, &mut io::sink()).is_ok());
    }
}

#[test]
fn a_damaged_file_is_read_as_far_as_it_goes() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let rounds = if cfg!(miri) { 5 } else { 100 };
    let mut read = 0;
    for _ in 0..rounds {
        let trace = valid(&mut random);
        let whole = use_all(&trace.bytes()).expect("it is valid");
        assert_eq!(whole.problems(), []);
        for number in 0..20 {
            let bytes = damage(&mut random, &trace);
            let start = Instant::now();
            if number % 10 == 0 {
                export_all(&bytes);
            }
            read += usize::from(use_all(&bytes).is_some());
            let took = start.elapsed();
            assert!(
                took < Duration::from_secs(10),
                "{took:?} for {} bytes",
                bytes.len()
            );
        }
    }
    // Most are traces still.
    assert!(read > rounds * 10, "{read}");
}

/// Files that are as bad as can be for a reader that is not careful: it takes time in proportion to the size.
#[test]
fn large_files_of_little_sense_take_little_time() {
    let header = TraceBuilder::new(0).bytes();
    let block = |ring: u64, sequence: u64, length: u64, used: u64, first: u64| {
        let magic = u64::from(crate::record::block::BLOCK_MAGIC);
        let words = [
            ring << 48 | 1 << 32 | magic,
            used << 32 | length,
            sequence,
            first,
            1,
            1,
            ring << 16 | 1,
            0,
        ];
        words.map(u64::to_le_bytes).concat()
    };
    let word = |word: u64| word.to_le_bytes().to_vec();
    let bytes = |parts: &mut dyn Iterator<Item = Vec<u8>>| {
        let mut bytes = header.clone();
        parts.for_each(|part| bytes.extend(part));
        bytes
    };
    let count = 30_000;
    // Blocks within blocks, each of which would reach to the end.
    let nested =
        bytes(&mut (0..count).map(|number| block(1, number, 1 << 30, u64::from(u32::MAX), 0)));
    // As many rings as there can be, in each of which the events of a life are in a wrong order.
    let crossed = bytes(&mut (0..count).flat_map(|ring| {
        let life = |number: u64, run: u64| number << 16 | run;
        let run = |life: u64| [word(1 << 16 | 2), word(life)].concat();
        let events = [run(life(1, count - ring)), run(life(2, ring))].concat();
        [block(ring, 0, 64 + 32, 32, 0), events]
    }));
    // A loss before every event.
    let holes = bytes(&mut (0..count).flat_map(|number| {
        let sleep = 8;
        [block(1, number, 64 + 8, 8, number * 10), word(sleep)]
    }));
    // Spans that begin and end in others.
    let spans = bytes(&mut (0..2 * count).flat_map(|number| {
        let kind = if number < count { 16 } else { 17 };
        let span = if number < count { 7 << 32 } else { 7 };
        let actor = if number < count { number } else { 1 << 40 };
        let event = [word(2 << 16 | kind), word(actor), word(span)].concat();
        [block(1, number, 64 + 24, 24, number), event]
    }));
    // Wakes of one greenlet, and runs of it, with any numbers.
    let mut random = Random(7);
    let lives = bytes(&mut (0..count).flat_map(|number| {
        let kind = 2 + random.next() % 3;
        let event = [
            word(2 << 16 | kind),
            word((1 << 16) | (random.next() % 65536)),
            word(0),
        ]
        .concat();
        [block(number % 50, number, 64 + 24, 24, number), event]
    }));
    let zeros = bytes(&mut (0..50).map(|_| vec![0; 1 << 20]));
    for (name, file) in [
        ("nested", nested),
        ("crossed", crossed),
        ("holes", holes),
        ("spans", spans),
        ("lives", lives),
        ("zeros", zeros),
    ] {
        let so_far = || task::cpu_time(TaskId::current()).unwrap();
        let before = so_far();
        assert!(use_all(&file).is_some(), "{name}");
        let took = so_far() - before;
        // A build that is not optimised.
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
}
