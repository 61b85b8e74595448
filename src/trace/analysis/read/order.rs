//! One order of the events of all rings.
//!
//! Rings are merged by time, but an event of a greenlet's life waits for those that come before it in that
//! life, by the numbers of runs, if the trace has them. Clocks of processors may differ a bit.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{Record, RingEvents};
use crate::record::{Event, Greenlet};

/// An event of a greenlet's life.
struct Moment {
    greenlet: Greenlet,
    time: u64,
    run: u16,
    phase: u8,
    /// The place in that life, when it is known.
    rank: u64,
    ring: u16,
    index: u32,
}

const SPAWN: u8 = 0;
const RUN: u8 = 1;
const STOP: u8 = 2;
const WAKE: u8 = 3;

/// The place of an event in the life of a greenlet.
#[derive(Clone, Copy)]
struct Turn {
    life: u32,
    position: u32,
}

impl Turn {
    const NONE: Self = Self {
        life: u32::MAX,
        position: 0,
    };
}

/// Clocks that differ put an event behind so many runs that came after it, at the most.
const FARTHEST: u16 = 256;

/// A file in which the numbers of runs contradict each other more often than this is damaged.
const MOST_FORCED: usize = 1000;

pub(super) fn merge(rings: &[RingEvents]) -> Vec<Record> {
    let (turns, lives) = turns(rings);
    let total = rings.iter().map(|ring| ring.events.len()).sum();
    let mut merge = Merge {
        rings,
        turns,
        next: vec![0; rings.len()],
        reached: vec![0; lives],
        ready: BinaryHeap::new(),
        held: HashMap::new(),
        forced: 0,
        records: Vec::with_capacity(total),
    };
    (0..rings.len()).for_each(|ring| merge.offer(ring));
    while merge.records.len() < total {
        match merge.ready.pop() {
            Some(Reverse((_, ring))) => merge.take(ring),
            None => merge.force(),
        }
    }
    merge.records
}

struct Merge<'a> {
    rings: &'a [RingEvents],
    turns: Vec<Vec<Turn>>,
    /// The first event of each ring that is not in the order yet.
    next: Vec<usize>,
    /// How much of each life is in the order.
    reached: Vec<u32>,
    /// Rings by the time of that event.
    ready: BinaryHeap<Reverse<(u64, usize)>>,
    /// Rings whose event waits for its turn in a life, by that.
    held: HashMap<u32, BinaryHeap<Reverse<(u32, usize)>>>,
    /// How often nothing was left but to force it.
    forced: usize,
    records: Vec<Record>,
}

impl Merge<'_> {
    fn time(&self, ring: usize) -> Option<u64> {
        let event = self.rings[ring].events.get(self.next[ring]);
        event.map(|&(time, _)| time)
    }

    fn turn(&self, ring: usize) -> Turn {
        self.turns[ring][self.next[ring]]
    }

    fn offer(&mut self, ring: usize) {
        if let Some(time) = self.time(ring) {
            self.ready.push(Reverse((time, ring)));
        }
    }

    /// Takes the next event of a ring if it is its turn.
    fn take(&mut self, ring: usize) {
        let turn = self.turn(ring);
        if turn.life == Turn::NONE.life {
            return self.append(ring);
        }
        let reached = &mut self.reached[turn.life as usize];
        if *reached < turn.position && self.forced < MOST_FORCED {
            let held = self.held.entry(turn.life).or_default();
            return held.push(Reverse((turn.position, ring)));
        }
        *reached = (*reached).max(turn.position + 1);
        let reached = *reached;
        self.append(ring);
        // Those that waited for it.
        while let Some(held) = self.held.get_mut(&turn.life) {
            match held.pop() {
                Some(Reverse((position, ring))) if position <= reached => self.offer(ring),
                Some(later) => return held.push(later),
                None => {
                    self.held.remove(&turn.life);
                }
            }
        }
    }

    fn append(&mut self, ring: usize) {
        let (time, event) = self.rings[ring].events[self.next[ring]];
        self.records.push(Record {
            time,
            ring: ring as u16,
            event,
        });
        self.next[ring] += 1;
        self.offer(ring);
    }

    /// All wait for each other, which no runtime records: takes the first by time. Where that is so again and
    /// again, time alone counts from then on.
    #[cold]
    fn force(&mut self) {
        self.forced += 1;
        let held = self.held.values().flatten();
        let rings: Vec<usize> = held.map(|&Reverse((_, ring))| ring).collect();
        if self.forced == MOST_FORCED {
            self.held.clear();
            return rings.into_iter().for_each(|ring| self.offer(ring));
        }
        let ring = rings
            .into_iter()
            .min_by_key(|&ring| (self.time(ring), ring));
        let ring = ring.expect("every event that is left is some ring's next one");
        let turn = self.turn(ring);
        if let Some(held) = self.held.get_mut(&turn.life) {
            held.retain(|&Reverse((_, other))| other != ring);
        }
        self.reached[turn.life as usize] = turn.position;
        self.take(ring);
    }
}

/// The turn of every event, and the number of lives.
fn turns(rings: &[RingEvents]) -> (Vec<Vec<Turn>>, usize) {
    let mut turns: Vec<Vec<Turn>> = rings
        .iter()
        .map(|ring| vec![Turn::NONE; ring.events.len()])
        .collect();
    let mut moments = Vec::new();
    for (ring, events) in rings.iter().enumerate() {
        for (index, &(time, event)) in events.events.iter().enumerate() {
            if let Some((greenlet, run, phase)) = life(event) {
                moments.push(Moment {
                    greenlet,
                    time,
                    run,
                    phase,
                    rank: 0,
                    ring: ring as u16,
                    index: index as u32,
                });
            }
        }
    }
    moments.sort_unstable_by_key(|moment| {
        let place = (moment.ring, moment.index);
        (moment.greenlet, moment.time, place)
    });
    let mut lives = 0;
    for life in moments.chunk_by_mut(|a, b| a.greenlet == b.greenlet) {
        rank(life);
        life.sort_unstable_by_key(|moment| (moment.rank, moment.time, moment.ring, moment.index));
        for (position, moment) in life.iter().enumerate() {
            turns[usize::from(moment.ring)][moment.index as usize] = Turn {
                life: lives,
                position: position as u32,
            };
        }
        lives += 1;
    }
    (turns, lives as usize)
}

/// The greenlet, number of run and phase of an event of a greenlet's life.
fn life(event: Event) -> Option<(Greenlet, u16, u8)> {
    match event {
        Event::Spawn { greenlet, .. } => Some((greenlet, 0, SPAWN)),
        Event::Run { greenlet, run } => Some((greenlet, run, RUN)),
        Event::Stop { greenlet, run, .. } => Some((greenlet, run, STOP)),
        Event::Wake { greenlet, run, .. } => Some((greenlet, run, WAKE)),
        _ => None,
    }
}

/// Counts the runs of a life on beyond 65,536, along the time.
fn rank(life: &mut [Moment]) {
    let mut last: Option<u64> = None;
    for moment in life {
        if moment.phase == SPAWN {
            continue;
        }
        let run = match last {
            // So that none is below zero.
            None => u64::from(moment.run) + (1 << 16),
            Some(last) => match moment.run.wrapping_sub(last as u16) {
                ahead if ahead < u16::MAX - FARTHEST => last + u64::from(ahead),
                back => last - u64::from(back.wrapping_neg()),
            },
        };
        last = Some(last.map_or(run, |last| last.max(run)));
        moment.rank = run << 2 | u64::from(moment.phase);
    }
}
