//! A scheduler for Perfetto: what a kernel would have told, had it done what the hubs did.

use std::io::{self, Write};

use super::names::Names;
use super::perfetto::{wake_of, wakes_by_greenlet};
use super::proto::{
    Data, Ftrace, FtraceEvent, FtraceEventBundle, NewTask, Packets, Process, ProcessTree,
    SchedSwitch, SchedWaking, Thread,
};
use super::thread_ids::ThreadIds;
use crate::record::{Actor, Event, Source, Stop};
use crate::trace::analysis::{Doing, Slice, Timeline, Trace};

/// Writes the trace as if hubs were processors and greenlets threads (`.pftrace`), so that Perfetto's tables
/// `sched` and `thread_state`, and what it makes of them, tell of greenlets: who is runnable for how long, who
/// was woken by whom, what a critical path is made of.
///
/// Processor *n* is the *n*-th hub of the trace. It runs a thread for each greenlet; between two of them the
/// hub's own thread, which is also the one that wakes on behalf of the reactor and of timers; and nobody
/// while the hub sleeps. A greenlet that waits is `S`, one that is ready `R`, one that has ended `X`. Behind the
/// hubs comes one processor, for what plain threads do: wake and spawn.
///
/// The numbers of threads are those of the greenlets plus 10,000,000, as far as 31 bits allow; their names have
/// the true numbers. Hubs and other threads have the kernel's.
///
/// # Errors
///
/// Those of `out`.
pub fn perfetto_sched(trace: &Trace, timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let export = Export {
        trace,
        timeline,
        names: Names::new(trace, timeline),
        ids: ThreadIds::new(trace, timeline),
    };
    let mut packets = Packets::new(out);
    let wall = trace.wall_time(trace.begin());
    let wall = wall.and_then(|wall| wall.duration_since(std::time::UNIX_EPOCH).ok());
    packets.clocks(trace.begin(), wall.map(|wall| wall.as_nanos() as u64))?;
    packets.data(Some(trace.begin()), export.threads())?;
    for (cpu, events) in export.events().into_iter().enumerate() {
        for events in events.chunks(PER_BUNDLE) {
            let bundle = FtraceEventBundle {
                cpu: Some(cpu as u32),
                event: events.iter().map(|event| export.ftrace(event)).collect(),
            };
            packets.data(None, Data::FtraceEvents(bundle))?;
        }
    }
    Ok(())
}

/// Events that a packet has at the most.
const PER_BUNDLE: usize = 1000;

/// The kernel's usual one.
const PRIORITY: i32 = 120;

/// Says of a new task that it is a thread of the process of who made it (`CLONE_THREAD`).
const THREAD: u64 = 0x0001_0000;

/// What happened on a processor, with numbers of threads instead of the events' many texts.
#[derive(Clone, Copy)]
struct Happened {
    time: u64,
    /// Who was running there.
    thread: i32,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// The other one runs from here on; this one is in that state.
    Switch { state: State, to: Who },
    /// Whose wait is over.
    Wake(Who),
    /// Whom it has spawned.
    Spawn(Who),
}

/// Somebody with a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Hub(u16),
    Greenlet(u64),
}

/// As the kernel writes them into `sched_switch`.
#[derive(Clone, Copy)]
enum State {
    Runnable = 0,
    Waiting = 1,
    Ended = 16,
}

/// A time in which a hub did not do its own work.
struct Busy {
    begin: u64,
    /// `None` if it went on when the trace ended.
    end: Option<u64>,
    who: Who,
    /// Of `who`, at the end.
    state: State,
}

struct Export<'a> {
    trace: &'a Trace,
    timeline: &'a Timeline,
    names: Names<'a>,
    ids: ThreadIds,
}

impl Export<'_> {
    /// All threads there are. Plain ones have no names, unless it is not known which one it was.
    fn threads(&self) -> Data {
        let process = self.ids.process();
        let thread = |tid, name| Thread {
            tid: Some(tid),
            name: Some(name),
            tgid: Some(process),
        };
        let rings = 0..self.trace.rings().len() as u16;
        let rings = rings.map(|ring| thread(self.ids.hub(ring), self.names.ring(ring)));
        let greenlets = self.timeline.greenlets().iter();
        let greenlets =
            greenlets.map(|life| thread(self.ids.greenlet(life.id), self.names.life(life)));
        Data::ProcessTree(ProcessTree {
            processes: vec![Process {
                pid: Some(process),
                cmdline: vec![self.names.program().into_owned()],
            }],
            threads: rings.chain(greenlets).collect(),
        })
    }

    /// What happened on each processor, in the order of time.
    fn events(&self) -> Vec<Vec<Happened>> {
        let rings = self.trace.rings().len();
        let mut busy: Vec<Vec<Busy>> = Vec::new();
        busy.resize_with(rings, Vec::new);
        let mut events: Vec<Vec<Happened>> = vec![Vec::new(); self.outside() + 1];
        self.add_lives(&mut busy, &mut events);
        for hub in self.timeline.hubs() {
            let sleeps = hub.slices.iter().filter(|slice| slice.is_sleep());
            let busy = &mut busy[usize::from(hub.ring)];
            busy.extend(sleeps.map(|sleep| Busy {
                begin: sleep.begin,
                end: Some(sleep.end),
                who: Who::Nobody,
                state: State::Runnable,
            }));
            // A slice without any length comes before what begins where it ends.
            busy.sort_by_key(|busy| (busy.begin, busy.end.unwrap_or(u64::MAX)));
            self.add_switches(hub.ring, busy, &mut events[self.processor(hub.ring)]);
        }
        for record in self.trace.records() {
            if let Event::Spawn {
                greenlet, parent, ..
            } = record.event
            {
                let thread = match parent {
                    0 => self.ids.process(),
                    parent => self.ids.greenlet(parent),
                };
                events[self.processor(record.ring)].push(Happened {
                    time: record.time,
                    thread,
                    what: What::Spawn(Who::Greenlet(greenlet)),
                });
            }
        }
        for events in &mut events {
            events.sort_by_key(|event| (event.time, matches!(event.what, What::Wake(_))));
        }
        events
    }

    /// The processor of a hub.
    fn processor(&self, ring: u16) -> usize {
        let mut hubs = self.timeline.hubs().iter();
        let hub = hubs.position(|hub| hub.ring == ring);
        hub.unwrap_or_else(|| self.outside())
    }

    /// That of plain threads.
    fn outside(&self) -> usize {
        self.timeline.hubs().len()
    }

    /// When greenlets ran, and when they were woken.
    fn add_lives(&self, busy: &mut [Vec<Busy>], events: &mut [Vec<Happened>]) {
        let wakes = wakes_by_greenlet(self.timeline);
        for life in self.timeline.greenlets() {
            let who = Who::Greenlet(life.id);
            let mut wakes = wakes.get(&life.id).map_or(&[][..], Vec::as_slice).iter();
            let mut ran_on = None;
            let mut before: Option<&Slice> = None;
            for slice in &life.slices {
                let waited = before.replace(slice);
                if let Doing::Running {
                    ring: Some(ring),
                    stop,
                } = slice.doing
                {
                    ran_on = Some(ring);
                    busy[usize::from(ring)].push(Busy {
                        begin: slice.begin,
                        end: (!slice.open).then_some(slice.end),
                        who,
                        state: match stop {
                            Some(Stop::Wait(_)) => State::Waiting,
                            Some(Stop::End) => State::Ended,
                            Some(Stop::Yield) | None => State::Runnable,
                        },
                    });
                }
                let Some(wake) = wake_of(slice, &mut wakes) else {
                    continue;
                };
                let thread = match wake.by {
                    Source::Actor(Actor::Greenlet(id)) => self.ids.greenlet(id),
                    Source::Actor(Actor::Thread(number)) => self.ids.thread(number),
                    Source::Reactor | Source::Timer => self.ids.hub(wake.ring),
                    Source::Unknown => 0,
                };
                // Processors are in no order at one moment: what comes right after the stop is on its.
                let at_once = waited.is_some_and(|wait| wait.nanos() == 0);
                let ring = ran_on.filter(|_| at_once).unwrap_or(wake.ring);
                events[self.processor(ring)].push(Happened {
                    // The clocks of two processors may differ a bit: not before the wait, nor after it.
                    time: slice.begin,
                    thread,
                    what: What::Wake(who),
                });
            }
        }
    }

    /// From the hub to others and back.
    fn add_switches(&self, ring: u16, busy: &[Busy], events: &mut Vec<Happened>) {
        let hub = Who::Hub(ring);
        let mut now = (hub, State::Waiting);
        let mut switch = |time, to: Who, state, now: &mut (Who, State)| {
            if now.0 == to {
                return;
            }
            events.push(Happened {
                time,
                thread: self.id(now.0),
                what: What::Switch { state: now.1, to },
            });
            *now = (to, state);
        };
        for (index, slice) in busy.iter().enumerate() {
            switch(slice.begin, slice.who, slice.state, &mut now);
            let Some(end) = slice.end else { break };
            // Right after it the next one: the hub had nothing to do in between.
            let next = busy.get(index + 1);
            if next.is_none_or(|next| next.begin > end || next.who == slice.who) {
                switch(end, hub, State::Waiting, &mut now);
            }
        }
    }

    fn id(&self, who: Who) -> i32 {
        match who {
            Who::Nobody => 0,
            Who::Hub(ring) => self.ids.hub(ring),
            Who::Greenlet(id) => self.ids.greenlet(id),
        }
    }

    fn name(&self, who: Who) -> String {
        match who {
            Who::Nobody => "swapper".into(),
            Who::Hub(ring) => self.names.ring(ring),
            Who::Greenlet(id) => self.names.greenlet(id),
        }
    }

    fn ftrace(&self, event: &Happened) -> FtraceEvent {
        FtraceEvent {
            timestamp: Some(event.time),
            pid: Some(event.thread as u32),
            event: Some(match event.what {
                What::Switch { state, to } => Ftrace::SchedSwitch(SchedSwitch {
                    prev_comm: None,
                    prev_pid: Some(event.thread),
                    prev_prio: Some(PRIORITY),
                    prev_state: Some(state as i64),
                    next_comm: Some(self.name(to)),
                    next_pid: Some(self.id(to)),
                    next_prio: Some(PRIORITY),
                }),
                What::Wake(who) => Ftrace::SchedWaking(SchedWaking {
                    comm: Some(self.name(who)),
                    pid: Some(self.id(who)),
                    prio: Some(PRIORITY),
                    success: Some(1),
                    target_cpu: None,
                }),
                What::Spawn(who) => Ftrace::TaskNewtask(NewTask {
                    pid: Some(self.id(who)),
                    comm: Some(self.name(who)),
                    clone_flags: Some(THREAD),
                }),
            }),
        }
    }
}
