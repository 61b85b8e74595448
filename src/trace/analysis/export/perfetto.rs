//! A timeline for Perfetto: tracks of slices.

use std::collections::HashMap;
use std::io::{self, Write};

use super::names::{self, Names};
use super::proto::{
    self, CounterDescriptor, Data, DebugAnnotation, InternedData, InternedName, Packets,
    TracePacket, TrackDescriptor, TrackEvent,
};
use crate::record::{Actor, Greenlet, Source, Text};
use crate::trace::analysis::{Doing, Life, Ready, Slice, Span, Timeline, Trace, WakeEdge};

/// Writes a timeline as Perfetto shows it (`.pftrace`).
///
/// | track | its slices |
/// |---|---|
/// | a hub | whom it runs, named as the greenlet; `sleep`. At moments: `steal`, `reactor`, `timer`, `long run` |
/// | a greenlet | `running`, `ready`, and `wait mutex` or what else it waits for; below it its spans |
/// | a thread | its spans, and jobs of the blocking pool |
/// | `ready greenlets` | how many greenlets are ready and do not run |
/// | a counter | the values that the program gave |
/// | `marks` | marks, panics, and gaps where events were lost |
///
/// A flow leads from a `wake` (which may be of several) on the track of who wakes, or from `reactor` or `timer` on a hub's, to the slice
/// `ready` of who is woken. Times are of the monotonic clock. What goes on when the trace ends has no end.
///
/// # Errors
///
/// Those of `out`.
pub fn perfetto(trace: &Trace, timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let mut export = Export {
        trace,
        timeline,
        names: Names::new(trace, timeline),
        packets: Packets::new(out),
        events: HashMap::new(),
        arguments: HashMap::new(),
        flows: 0,
    };
    export.descriptors()?;
    for hub in timeline.hubs() {
        export.hub(hub)?;
    }
    let wakes = wakes_by_greenlet(timeline);
    export.wakes(&wakes)?;
    for life in timeline.greenlets() {
        let wakes = wakes.get(&life.id).map_or(&[][..], Vec::as_slice);
        export.life(life, wakes)?;
        export.spans(&life.spans, Track::greenlet(life.id))?;
    }
    export.threads()?;
    export.counters()?;
    export.marks()
}

/// Which ends of waits were a greenlet's, in the order of its life.
pub(super) fn wakes_by_greenlet(timeline: &Timeline) -> HashMap<Greenlet, Vec<&WakeEdge>> {
    let mut wakes: HashMap<Greenlet, Vec<&WakeEdge>> = HashMap::new();
    for wake in timeline.wakes() {
        wakes.entry(wake.woken).or_default().push(wake);
    }
    wakes
}

/// The wake after which a slice began. They are in one order.
pub(super) fn wake_of<'a>(
    slice: &Slice,
    wakes: &mut impl Iterator<Item = &'a &'a WakeEdge>,
) -> Option<&'a WakeEdge> {
    match slice.doing {
        Doing::Ready(Ready::Woken(..)) => wakes.find(|wake| wake.run == slice.run).copied(),
        _ => None,
    }
}

/// The number of a track, which is unique in the trace.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Track(u64);

impl Track {
    const PROGRAM: Self = Self(1);
    const HUBS: Self = Self(2);
    const GREENLETS: Self = Self(3);
    const THREADS: Self = Self(4);
    const READY: Self = Self(5);
    const MARKS: Self = Self(6);

    // Greenlets have 48 bits, lanes of spans 8, and the kind of track 4.

    fn hub(ring: u16) -> Self {
        Self(1 << 60 | u64::from(ring))
    }

    fn greenlet(id: Greenlet) -> Self {
        Self(2 << 60 | id << 8 & KIND)
    }

    fn thread(number: u32) -> Self {
        Self(3 << 60 | u64::from(number) << 8)
    }

    fn counter(name: Text) -> Self {
        Self(4 << 60 | u64::from(name))
    }

    /// Below a greenlet's or a thread's track, for spans that do not fit into the lanes before.
    fn lane(self, lane: u8) -> Self {
        Self(self.0 | (u64::from(lane) + 1))
    }
}

const KIND: u64 = (1 << 60) - 1;
/// Names of those who are woken at one moment.
const MOST_WOKEN: usize = 10;
/// Lanes for the spans of one greenlet or thread; more that overlap are left out.
const LANES: usize = 200;

struct Export<'a> {
    trace: &'a Trace,
    timeline: &'a Timeline,
    names: Names<'a>,
    packets: Packets<'a>,
    /// Names that were told, and their numbers.
    events: HashMap<String, u64>,
    arguments: HashMap<&'static str, u64>,
    /// Ends of flows so far.
    flows: u64,
}

/// What a slice or moment says about itself.
enum Argument {
    Number(u64),
    Text(String),
}

impl From<u64> for Argument {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

type Arguments = Vec<(&'static str, Argument)>;

impl Export<'_> {
    /// What tracks there are, but those of spans.
    fn descriptors(&mut self) -> io::Result<()> {
        let wall = self.trace.wall_time(self.trace.begin());
        let wall = wall.and_then(|wall| wall.duration_since(std::time::UNIX_EPOCH).ok());
        let wall = wall.map(|wall| wall.as_nanos() as u64);
        self.packets.clocks(self.trace.begin(), wall)?;
        let program = format!("{} ({})", self.names.program(), self.trace.process());
        self.track(Track::PROGRAM, None, program, 0)?;
        let program = Some(Track::PROGRAM);
        self.track(Track::HUBS, program, "hubs".into(), 1)?;
        for (index, hub) in self.timeline.hubs().iter().enumerate() {
            let name = self.names.ring(hub.ring);
            self.track(Track::hub(hub.ring), Some(Track::HUBS), name, index)?;
        }
        self.counter(Track::READY, "ready greenlets".into(), 2)?;
        self.track(Track::MARKS, program, "marks".into(), 3)?;
        self.track(Track::THREADS, program, "threads".into(), 8)?;
        self.track(Track::GREENLETS, program, "greenlets".into(), 9)?;
        for (index, life) in self.timeline.greenlets().iter().enumerate() {
            let track = Track::greenlet(life.id);
            let descriptor = TrackDescriptor {
                description: Some(format!("spawned at {}", self.names.text(life.site))),
                ..described(track, Some(Track::GREENLETS), self.names.life(life), index)
            };
            self.packets.data(None, Data::TrackDescriptor(descriptor))?;
        }
        Ok(())
    }

    fn track(
        &mut self,
        track: Track,
        parent: Option<Track>,
        name: String,
        rank: usize,
    ) -> io::Result<()> {
        let descriptor = described(track, parent, name, rank);
        self.packets.data(None, Data::TrackDescriptor(descriptor))
    }

    fn counter(&mut self, track: Track, name: String, rank: usize) -> io::Result<()> {
        let descriptor = TrackDescriptor {
            counter: Some(CounterDescriptor {
                unit: Some(proto::COUNT),
            }),
            ..described(track, Some(Track::PROGRAM), name, rank)
        };
        self.packets.data(None, Data::TrackDescriptor(descriptor))
    }

    fn hub(&mut self, hub: &crate::trace::analysis::Hub) -> io::Result<()> {
        let track = Track::hub(hub.ring);
        for slice in &hub.slices {
            let (name, arguments) = match slice.is_sleep() {
                true => ("sleep".into(), vec![]),
                false => {
                    let run = u64::from(slice.run);
                    let arguments = vec![("greenlet", slice.greenlet.into()), ("run", run.into())];
                    (self.names.greenlet(slice.greenlet), arguments)
                }
            };
            self.begin(slice.begin, track, name, arguments, None)?;
            self.end(slice.end, track)?;
        }
        for &(time, victim) in &hub.steals {
            let arguments = vec![("from hub", u64::from(victim).into())];
            self.moment(time, track, "steal".into(), arguments, vec![])?;
        }
        Ok(())
    }

    fn life(&mut self, life: &Life, wakes: &[&WakeEdge]) -> io::Result<()> {
        let track = Track::greenlet(life.id);
        let mut wakes = wakes.iter();
        for slice in &life.slices {
            let wake = wake_of(slice, &mut wakes).and_then(|wake| self.waker(wake));
            // They are numbered in this order.
            let flow = wake.map(|_| {
                self.flows += 1;
                self.flows
            });
            let (name, arguments) = self.describe(slice);
            self.begin(slice.begin, track, name, arguments, flow)?;
            if !slice.open {
                self.end(slice.end, track)?;
            }
        }
        Ok(())
    }

    /// Where flows begin, on the tracks of who wakes. Whom somebody wakes at one moment is told at once.
    fn wakes(&mut self, wakes: &HashMap<Greenlet, Vec<&WakeEdge>>) -> io::Result<()> {
        // Track, time, name, number of the flow, and who is woken.
        type Beginning = (u64, u64, &'static str, u64, Greenlet);
        let mut beginnings: Vec<Beginning> = Vec::new();
        for life in self.timeline.greenlets() {
            let mut wakes = wakes.get(&life.id).map_or(&[][..], Vec::as_slice).iter();
            for slice in &life.slices {
                let Some(wake) = wake_of(slice, &mut wakes) else {
                    continue;
                };
                let Some((track, name)) = self.waker(wake) else {
                    continue;
                };
                let flow = beginnings.len() as u64 + 1;
                // The clocks of two processors may differ a bit: a flow leads forwards.
                let time = wake.time.min(slice.begin);
                beginnings.push((track.0, time, name, flow, life.id));
            }
        }
        beginnings.sort_unstable();
        let is_same = |one: &Beginning, other: &Beginning| {
            (one.0, one.1, one.2) == (other.0, other.1, other.2)
        };
        for same in beginnings.chunk_by(is_same) {
            let (track, time, name, ..) = same[0];
            let woken = same
                .iter()
                .take(MOST_WOKEN)
                .map(|&(.., id)| self.names.greenlet(id));
            let woken: Vec<String> = woken.collect();
            let arguments = vec![
                ("woken", woken.join(", ").into()),
                ("count", (same.len() as u64).into()),
            ];
            let flows = same.iter().map(|&(.., flow, _)| flow).collect();
            self.moment(time, Track(track), name.into(), arguments, flows)?;
        }
        Ok(())
    }

    /// The track of who wakes, and what that is called there.
    fn waker(&self, wake: &WakeEdge) -> Option<(Track, &'static str)> {
        Some(match wake.by {
            Source::Actor(Actor::Greenlet(id)) => (Track::greenlet(id), "wake"),
            Source::Actor(Actor::Thread(number)) => (Track::thread(number), "wake"),
            Source::Reactor => (self.ring(wake.ring), "reactor"),
            Source::Timer => (self.ring(wake.ring), "timer"),
            Source::Unknown => return None,
        })
    }

    /// The track of who has recorded something: a hub, or other threads, which share a ring.
    fn ring(&self, ring: u16) -> Track {
        match self.timeline.hubs().iter().any(|hub| hub.ring == ring) {
            true => Track::hub(ring),
            false => Track::THREADS,
        }
    }

    fn describe(&self, slice: &Slice) -> (String, Arguments) {
        let mut arguments: Arguments = Vec::new();
        if slice.cut {
            arguments.push(("begin", "may have been before the trace".into()));
        }
        let name = match slice.doing {
            Doing::Running { ring, stop } => {
                arguments.push(("run", u64::from(slice.run).into()));
                if let Some(ring) = ring {
                    arguments.push(("hub", self.names.ring(ring).into()));
                }
                if let Some(stop) = stop {
                    arguments.push(("then", names::stop(stop).as_ref().into()));
                }
                "running".into()
            }
            Doing::Ready(ready) => {
                arguments.push(("why", names::ready(ready).into()));
                if let Ready::Woken(by, _) = ready {
                    arguments.push(("woken by", self.names.source(by).into()));
                }
                "ready".into()
            }
            Doing::Waiting { wait, ended } => {
                if let Some(object) = names::object(wait) {
                    arguments.push(("object", object.into()));
                }
                if let Some((by, ended)) = ended {
                    arguments.push(("ended by", self.names.source(by).into()));
                    arguments.push(("outcome", names::outcome(ended).into()));
                }
                format!("wait {}", names::reason(wait))
            }
        };
        (name, arguments)
    }

    /// Spans may overlap, slices of a track may not: each gets into the first lane where it is inside of, or
    /// behind, all others.
    fn spans(&mut self, spans: &[Span], parent: Track) -> io::Result<()> {
        let end = self.timeline.end();
        let mut order: Vec<&Span> = spans.iter().collect();
        let end_of = |span: &Span| span.end.unwrap_or(end).max(span.begin);
        order.sort_by_key(|span| (span.begin, std::cmp::Reverse(end_of(span))));
        // The ends of the spans of a lane that are open, and those that are in it.
        let mut lanes: Vec<(Vec<u64>, Vec<&Span>)> = Vec::new();
        for span in order {
            let fits = |(open, _): &mut (Vec<u64>, Vec<&Span>)| {
                open.retain(|&end| end > span.begin);
                open.last().is_none_or(|&end| end >= end_of(span))
            };
            let lane = lanes.iter_mut().position(fits);
            let lane = lane.unwrap_or_else(|| {
                lanes.push(<_>::default());
                lanes.len() - 1
            });
            lanes[lane].0.push(end_of(span));
            lanes[lane].1.push(span);
        }
        for (index, (_, spans)) in lanes.into_iter().take(LANES).enumerate() {
            let track = parent.lane(index as u8);
            self.track(track, Some(parent), "spans".into(), index)?;
            let mut open: Vec<Option<u64>> = Vec::new();
            for span in spans {
                // What has ended before this one begins, inner ones first.
                while let Some(&Some(end)) = open.last()
                    && end <= span.begin
                {
                    self.end(end, track)?;
                    open.pop();
                }
                let name = self.names.text(span.name).into_owned();
                self.begin(span.begin, track, name, vec![], None)?;
                open.push(span.end);
            }
            for end in open.into_iter().rev().flatten() {
                self.end(end, track)?;
            }
        }
        Ok(())
    }

    /// Threads that do something which the trace tells of.
    fn threads(&mut self) -> io::Result<()> {
        let mut spans: HashMap<u32, Vec<Span>> = HashMap::new();
        for span in self.timeline.thread_spans() {
            if let Actor::Thread(number) = span.who {
                spans.entry(number).or_default().push(*span);
            }
        }
        let jobs = self.timeline.jobs().iter().map(|job| job.thread);
        let wakers = self
            .timeline
            .wakes()
            .iter()
            .filter_map(|wake| match wake.by {
                Source::Actor(Actor::Thread(number)) => Some(number),
                _ => None,
            });
        let mut numbers: Vec<u32> = jobs.chain(wakers).chain(spans.keys().copied()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for (index, &number) in numbers.iter().enumerate() {
            let (track, name) = (Track::thread(number), format!("thread {number}"));
            self.track(track, Some(Track::THREADS), name, index)?;
            if let Some(spans) = spans.get(&number) {
                self.spans(spans, track)?;
            }
        }
        for job in self.timeline.jobs() {
            let track = Track::thread(job.thread);
            let arguments = match job.greenlet {
                0 => vec![],
                id => vec![("greenlet", self.names.greenlet(id).into())],
            };
            self.begin(job.begin, track, "job".into(), arguments, None)?;
            if let Some(end) = job.end {
                self.end(end, track)?;
            }
        }
        Ok(())
    }

    fn counters(&mut self) -> io::Result<()> {
        for (time, ready) in ready_greenlets(self.timeline) {
            self.value(time, Track::READY, ready as f64)?;
        }
        let mut told = Vec::new();
        for value in self.timeline.counters() {
            let track = Track::counter(value.name);
            if !told.contains(&value.name) {
                told.push(value.name);
                self.counter(track, self.names.text(value.name).into_owned(), 4)?;
            }
            self.value(value.time, track, value.value)?;
        }
        Ok(())
    }

    fn marks(&mut self) -> io::Result<()> {
        let timeline = self.timeline;
        for mark in timeline.marks() {
            let arguments = vec![("who", self.names.actor(mark.who).into())];
            let name = self.names.text(mark.name).into_owned();
            self.moment(mark.time, Track::MARKS, name, arguments, vec![])?;
        }
        for &(time, who) in timeline.panics() {
            let arguments = vec![("who", self.names.actor(who).into())];
            self.moment(time, Track::MARKS, "panic".into(), arguments, vec![])?;
        }
        for lost in self.trace.lost() {
            let arguments = vec![
                ("events", lost.events.into()),
                ("of", self.names.ring(lost.ring).into()),
            ];
            self.moment(lost.before, Track::MARKS, "lost".into(), arguments, vec![])?;
        }
        for long in timeline.long_runs() {
            let rings = self.trace.rings().iter();
            let mut rings = rings.map(|ring| (ring.runtime, ring.hub));
            let ring = rings.position(|ring| ring == (long.runtime, Some(long.hub)));
            let track = ring.map_or(Track::MARKS, |ring| Track::hub(ring as u16));
            let arguments = vec![
                ("greenlet", self.names.greenlet(long.greenlet).into()),
                ("nanos", long.nanos.into()),
                (
                    "in",
                    if long.in_kernel {
                        "the kernel"
                    } else {
                        "the program"
                    }
                    .into(),
                ),
                ("stack", self.names.text(long.stack).into_owned().into()),
            ];
            self.moment(long.time, track, "long run".into(), arguments, vec![])?;
        }
        Ok(())
    }

    // Packets.

    fn begin(
        &mut self,
        time: u64,
        track: Track,
        name: String,
        arguments: Arguments,
        flow: Option<u64>,
    ) -> io::Result<()> {
        self.event(time, name, arguments, |event| TrackEvent {
            r#type: Some(proto::SLICE_BEGIN),
            track_uuid: Some(track.0),
            terminating_flow_ids: flow.into_iter().collect(),
            ..event
        })
    }

    fn end(&mut self, time: u64, track: Track) -> io::Result<()> {
        let event = TrackEvent {
            r#type: Some(proto::SLICE_END),
            track_uuid: Some(track.0),
            ..TrackEvent::default()
        };
        self.packets.data(Some(time), Data::TrackEvent(event))
    }

    fn moment(
        &mut self,
        time: u64,
        track: Track,
        name: String,
        arguments: Arguments,
        flow_ids: Vec<u64>,
    ) -> io::Result<()> {
        self.event(time, name, arguments, |event| TrackEvent {
            r#type: Some(proto::INSTANT),
            track_uuid: Some(track.0),
            flow_ids,
            ..event
        })
    }

    fn value(&mut self, time: u64, track: Track, value: f64) -> io::Result<()> {
        let event = TrackEvent {
            r#type: Some(proto::COUNTER),
            track_uuid: Some(track.0),
            double_counter_value: Some(value),
            ..TrackEvent::default()
        };
        self.packets.data(Some(time), Data::TrackEvent(event))
    }

    /// Names are told once, in the packet that is the first to have them.
    fn event(
        &mut self,
        time: u64,
        name: String,
        arguments: Arguments,
        complete: impl FnOnce(TrackEvent) -> TrackEvent,
    ) -> io::Result<()> {
        let mut new = InternedData::default();
        let next = self.events.len() as u64 + 1;
        let name_iid = *self.events.entry(name).or_insert_with_key(|name| {
            new.event_names.push(InternedName {
                iid: Some(next),
                name: Some(name.clone()),
            });
            next
        });
        let mut debug_annotations = Vec::new();
        for (key, value) in arguments {
            let next = self.arguments.len() as u64 + 1;
            let iid = *self.arguments.entry(key).or_insert_with(|| {
                new.debug_annotation_names.push(InternedName {
                    iid: Some(next),
                    name: Some(key.into()),
                });
                next
            });
            let mut annotation = DebugAnnotation {
                name_iid: Some(iid),
                ..DebugAnnotation::default()
            };
            match value {
                Argument::Number(number) => annotation.uint_value = Some(number),
                Argument::Text(text) => annotation.string_value = Some(text),
            }
            debug_annotations.push(annotation);
        }
        let event = complete(TrackEvent {
            name_iid: Some(name_iid),
            debug_annotations,
            ..TrackEvent::default()
        });
        let told = new != InternedData::default();
        self.packets.write(TracePacket {
            timestamp: Some(time),
            interned_data: told.then_some(new),
            data: Some(Data::TrackEvent(event)),
            ..TracePacket::default()
        })
    }
}

fn described(track: Track, parent: Option<Track>, name: String, rank: usize) -> TrackDescriptor {
    TrackDescriptor {
        uuid: Some(track.0),
        parent_uuid: parent.map(|parent| parent.0),
        name: Some(name),
        child_ordering: Some(proto::EXPLICIT),
        sibling_order_rank: i32::try_from(rank).ok(),
        sibling_merge_behavior: Some(proto::NONE),
        ..TrackDescriptor::default()
    }
}

/// When the number of greenlets that are ready and do not run changed, and to what.
pub(super) fn ready_greenlets(timeline: &Timeline) -> Vec<(u64, i64)> {
    let slices = timeline.greenlets().iter().flat_map(|life| &life.slices);
    let ready = slices.filter(|slice| matches!(slice.doing, Doing::Ready(_)));
    let mut changes: Vec<(u64, i64)> = Vec::new();
    for slice in ready {
        changes.push((slice.begin, 1));
        if !slice.open {
            changes.push((slice.end, -1));
        }
    }
    changes.sort_unstable();
    let mut values = vec![(timeline.begin(), 0)];
    let mut ready = 0;
    for (time, change) in changes {
        ready += change;
        match values.last_mut() {
            Some(last) if last.0 == time => last.1 = ready,
            _ => values.push((time, ready)),
        }
    }
    values.dedup_by_key(|&mut (_, ready)| ready);
    if timeline.end() > timeline.begin() {
        values.push((timeline.end(), ready));
    }
    values
}
