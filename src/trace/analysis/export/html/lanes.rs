//! Slices of time, thinned out.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::names;
use super::figures;
use super::page::Index;
use crate::record::{Greenlet, Source};
use crate::trace::analysis::{Doing, HubSlice, Life, Ready, Slice, Span};

const GREENLETS: usize = 300;
const GREENLET_BLOCKS: usize = 60_000;
const HUB_BLOCKS: usize = 30_000;
const SPANS: usize = 5_000;
const SPAN_LANES: usize = 500;

// Kinds of blocks; `page.js` has the same.
const RUN: i64 = 0;
const READY: i64 = 1;
const WAIT: i64 = 2;
const SLEEP: i64 = 3;
const MIXED: i64 = 4;

/// What a greenlet did.
#[derive(Serialize)]
pub(super) struct GreenletLane {
    person: i64,
    run: u64,
    ready: u64,
    wait: u64,
    switches: usize,
    /// As those of hubs.
    blocks: Vec<i64>,
}

/// Spans that do not overlap, of a greenlet or (below -15) a thread.
#[derive(Serialize)]
pub(super) struct SpanLane {
    person: i64,
    /// Begin, duration and name in turn.
    blocks: Vec<i64>,
}

/// Something that took time.
trait Piece {
    fn begin(&self) -> u64;
    fn end(&self) -> u64;
    fn is_run(&self) -> bool;
}

impl Piece for Slice {
    fn begin(&self) -> u64 {
        self.begin
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn is_run(&self) -> bool {
        matches!(self.doing, Doing::Running { .. })
    }
}

impl Piece for HubSlice {
    fn begin(&self) -> u64 {
        self.begin
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn is_run(&self) -> bool {
        !self.is_sleep()
    }
}

/// Neighbours that become one block. Those that are not short are alone; short ones are together if they begin
/// in the same multiple of `least`.
fn groups<P: Piece>(pieces: &[P], least: u64) -> impl Iterator<Item = &[P]> {
    pieces.chunk_by(move |one, other| {
        let short = |piece: &P| piece.end() - piece.begin() < least;
        short(one) && short(other) && one.begin() / least == other.begin() / least
    })
}

/// The shortest duration with which there are few enough groups.
fn least_for<P: Piece>(lanes: &[&[P]], most: usize, duration: u64) -> u64 {
    let count = |least| -> usize { lanes.iter().map(|lane| groups(lane, least).count()).sum() };
    let mut least = 1;
    while count(least) > most && least < duration {
        least *= 2;
    }
    least
}

/// A group as a block: begin, duration, kind, and two numbers that depend on it.
fn block<P: Piece>(
    group: &[P],
    index: &mut Index<'_>,
    one: impl FnOnce(&P, &mut Index<'_>) -> [i64; 3],
) -> [i64; 5] {
    let begin = index.since_begin(group[0].begin());
    let end = group.iter().map(Piece::end).max().unwrap_or(0);
    let duration = index.since_begin(end).saturating_sub(begin);
    let [kind, first, second] = match group {
        [piece] => one(piece, index),
        many => {
            let runs = many.iter().filter(|piece| piece.is_run());
            let running = runs.map(|piece| piece.end() - piece.begin());
            let running = running.fold(0, u64::saturating_add);
            let share = running
                .saturating_mul(1000)
                .checked_div(duration)
                .unwrap_or(0);
            [MIXED, many.len() as i64, share as i64]
        }
    };
    [begin as i64, duration as i64, kind, first, second]
}

/// What hubs ran and when they slept.
pub(super) fn hubs(index: &mut Index<'_>, thinning: &mut Vec<String>) -> Vec<Vec<i64>> {
    let timeline = index.timeline;
    let lanes: Vec<&[HubSlice]> = timeline.hubs().iter().map(|hub| &hub.slices[..]).collect();
    let least = least_for(&lanes, HUB_BLOCKS, timeline.end() - timeline.begin());
    if least > 1 {
        thinning.push(format!(
            "In hubs, what is shorter than {} is joined.",
            figures::duration(least)
        ));
    }
    let mut shown = Vec::new();
    for lane in lanes {
        let mut blocks = Vec::new();
        for group in groups(lane, least) {
            blocks.extend(block(group, index, |slice, index| {
                if slice.is_sleep() {
                    return [SLEEP, 0, 0];
                }
                let then = stop_of(slice, index);
                [RUN, index.person(slice.greenlet), then]
            }));
        }
        shown.push(blocks);
    }
    shown
}

/// The text of why a run ended.
fn stop_of(run: &HubSlice, index: &mut Index<'_>) -> i64 {
    let life = index.timeline.greenlet(run.greenlet);
    let slices = life.map_or(&[][..], |life| &life.slices);
    let place = slices.partition_point(|slice| slice.begin < run.begin);
    let stop = slices[place..]
        .iter()
        .take_while(|slice| slice.begin == run.begin)
        .find_map(|slice| match slice.doing {
            Doing::Running { stop, .. } => stop,
            _ => None,
        });
    match stop {
        Some(stop) => index.text(&names::stop(stop)).into(),
        None => 0,
    }
}

/// What greenlets did; the `important` ones are among them.
pub(super) fn greenlets(
    index: &mut Index<'_>,
    important: &BTreeSet<Greenlet>,
    thinning: &mut Vec<String>,
) -> Vec<GreenletLane> {
    let timeline = index.timeline;
    let all = timeline.greenlets();
    let mut chosen = important.clone();
    for life in all {
        if chosen.len() >= GREENLETS {
            break;
        }
        chosen.insert(life.id);
    }
    if chosen.len() < all.len() {
        thinning.push(format!(
            "{} of {} greenlets are shown.",
            figures::thousands(chosen.len() as u64),
            figures::thousands(all.len() as u64)
        ));
    }
    let lives: Vec<&Life> = chosen
        .iter()
        .filter_map(|&id| timeline.greenlet(id))
        .collect();
    let lanes: Vec<&[Slice]> = lives.iter().map(|life| &life.slices[..]).collect();
    let least = least_for(&lanes, GREENLET_BLOCKS, timeline.end() - timeline.begin());
    if least > 1 {
        thinning.push(format!(
            "In greenlets, what is shorter than {} is joined.",
            figures::duration(least)
        ));
    }
    let mut shown = Vec::new();
    for life in lives {
        let mut blocks = Vec::new();
        for group in groups(&life.slices, least) {
            blocks.extend(block(group, index, greenlet_block));
        }
        let sum = |wanted: fn(&Doing) -> bool| -> u64 {
            let slices = life.slices.iter().filter(|slice| wanted(&slice.doing));
            slices.map(Slice::nanos).fold(0, u64::saturating_add)
        };
        shown.push(GreenletLane {
            person: index.person(life.id),
            run: sum(|doing| matches!(doing, Doing::Running { .. })),
            ready: sum(|doing| matches!(doing, Doing::Ready(_))),
            wait: sum(|doing| matches!(doing, Doing::Waiting { .. })),
            switches: figures::runs(life).count(),
            blocks,
        });
    }
    shown
}

fn greenlet_block(slice: &Slice, index: &mut Index<'_>) -> [i64; 3] {
    match slice.doing {
        Doing::Running { ring, stop } => {
            let mut hubs = index.timeline.hubs().iter();
            let hub = hubs.position(|hub| Some(hub.ring) == ring);
            let then = stop.map_or(0, |stop| index.text(&names::stop(stop)));
            [RUN, hub.map_or(-1, |hub| hub as i64), then.into()]
        }
        Doing::Ready(ready) => {
            let waker = match ready {
                Ready::Woken(Source::Actor(actor), _) => index.actor(actor),
                Ready::Woken(Source::Reactor, _) => -2,
                Ready::Woken(Source::Timer, _) => -3,
                Ready::Woken(Source::Unknown, _) => -4,
                Ready::Spawned | Ready::Yielded | Ready::Unknown => -1,
            };
            let why = index.text(names::ready(ready));
            [READY, waker, why.into()]
        }
        Doing::Waiting { wait, .. } => {
            let object = names::object(wait);
            let object = object.map_or(0, |object| index.text(&object));
            [WAIT, wait.reason.into(), object.into()]
        }
    }
}

/// Spans, those of an actor in as few lanes as it takes.
pub(super) fn spans(index: &mut Index<'_>, thinning: &mut Vec<String>) -> Vec<SpanLane> {
    let timeline = index.timeline;
    let of_greenlets = timeline.greenlets().iter().flat_map(|life| &life.spans);
    let all: Vec<&Span> = of_greenlets.chain(timeline.thread_spans()).collect();
    let mut left_out = 0;
    let mut shown = 0;
    let mut lanes: Vec<SpanLane> = Vec::new();
    for same in all.chunk_by(|one, other| one.who == other.who) {
        let mut same = same.to_vec();
        same.sort_by_key(|span| span.begin);
        let first = lanes.len();
        for span in same {
            let begin = index.since_begin(span.begin) as i64;
            let end = index.since_begin(span.end.unwrap_or(timeline.end())) as i64;
            let ends_before = |lane: &SpanLane| match lane.blocks[..] {
                [.., last, duration, _] => last + duration <= begin,
                _ => true,
            };
            let free = lanes[first..].iter().position(ends_before);
            let lane = match free {
                Some(lane) => Some(first + lane),
                None if lanes.len() < SPAN_LANES => {
                    let person = index.actor(span.who);
                    lanes.push(SpanLane {
                        person,
                        blocks: Vec::new(),
                    });
                    Some(lanes.len() - 1)
                }
                None => None,
            };
            match lane {
                Some(lane) if shown < SPANS => {
                    shown += 1;
                    let name = index.known(span.name);
                    lanes[lane].blocks.extend([
                        begin,
                        end.saturating_sub(begin).max(0),
                        name.into(),
                    ]);
                }
                _ => left_out += 1,
            }
        }
    }
    if left_out > 0 {
        thinning.push(format!(
            "{} spans are left out.",
            figures::thousands(left_out)
        ));
    }
    lanes
}
