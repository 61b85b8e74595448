//! Chrome's JSON.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::names::{self, Names};
use super::perfetto::{ready_greenlets, wake_of, wakes_by_greenlet};
use super::thread_ids::ThreadIds;
use crate::record::{Actor, Source};
use crate::trace::analysis::{Doing, Ready, Slice, Span, Timeline, Trace, WakeEdge};

/// Writes the trace in Chrome's format: an object with `traceEvents`, an event on each line.
///
/// There are three processes: 1 has a thread for each hub, 2 one for each greenlet, 3 one for each other thread.
/// Slices, flows, counters and spans are those of [`perfetto`](super::perfetto); what goes on when the trace
/// ends, ends there. Times are microseconds since the trace's beginning, which is in `otherData` as
/// nanoseconds of the monotonic clock.
///
/// # Errors
///
/// Those of `out`.
pub fn chrome(trace: &Trace, timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let mut export = Export {
        timeline,
        names: Names::new(trace, timeline),
        ids: ThreadIds::new(trace, timeline),
        out,
        first: true,
        flows: 0,
        woken: HashSet::new(),
        spans: 0,
    };
    export
        .out
        .write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    export.hubs()?;
    export.greenlets()?;
    export.threads()?;
    export.counters()?;
    export.marks(trace)?;
    let facts: serde_json::Map<String, Value> = trace
        .facts()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let other = json!({
        "begin_ns": trace.begin(),
        "process": trace.process(),
        "facts": facts,
    });
    write!(export.out, "\n],\"otherData\":{other}}}\n")
}

const HUBS: u32 = 1;
const GREENLETS: u32 = 2;
const THREADS: u32 = 3;

/// One event. The names of fields are the format's.
#[derive(Serialize)]
struct ChromeEvent<'a> {
    ph: &'static str,
    pid: u32,
    tid: i32,
    /// Microseconds.
    ts: f64,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// Of a flow's end: that it belongs to the slice around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    /// Of a moment: how tall it is drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

/// Where something is shown.
#[derive(Clone, Copy)]
struct Place {
    pid: u32,
    tid: i32,
}

struct Export<'a> {
    timeline: &'a Timeline,
    names: Names<'a>,
    ids: ThreadIds,
    out: &'a mut dyn Write,
    first: bool,
    flows: u64,
    /// Where and when flows begin.
    woken: HashSet<(u32, i32, u64)>,
    spans: u64,
}

impl<'a> Export<'a> {
    fn hub(&self, ring: u16) -> Place {
        let tid = self.ids.hub(ring);
        Place { pid: HUBS, tid }
    }

    fn greenlet(&self, id: u64) -> Place {
        let tid = self.ids.greenlet(id);
        Place {
            pid: GREENLETS,
            tid,
        }
    }

    fn thread(&self, number: u32) -> Place {
        let tid = self.ids.thread(number);
        Place { pid: THREADS, tid }
    }

    fn hubs(&mut self) -> io::Result<()> {
        self.process(HUBS, &format!("{}: hubs", self.names.program()))?;
        for hub in self.timeline.hubs() {
            let place = self.hub(hub.ring);
            self.thread_name(place, &self.names.ring(hub.ring))?;
            for slice in &hub.slices {
                let (name, args) = match slice.is_sleep() {
                    true => ("sleep".into(), Value::Null),
                    false => {
                        let name = self.names.greenlet(slice.greenlet);
                        (name, json!({"greenlet": slice.greenlet, "run": slice.run}))
                    }
                };
                self.slice(place, &name, "hub", slice.begin, slice.end, args)?;
            }
            for &(time, victim) in &hub.steals {
                self.moment(place, "steal", time, json!({ "from hub": victim }))?;
            }
        }
        Ok(())
    }

    fn greenlets(&mut self) -> io::Result<()> {
        self.process(GREENLETS, &format!("{}: greenlets", self.names.program()))?;
        let wakes = wakes_by_greenlet(self.timeline);
        for life in self.timeline.greenlets() {
            let place = self.greenlet(life.id);
            self.thread_name(place, &self.names.life(life))?;
            let mut wakes = wakes.get(&life.id).map_or(&[][..], Vec::as_slice).iter();
            for slice in &life.slices {
                let wake = wake_of(slice, &mut wakes);
                let (name, args) = self.describe(slice);
                self.slice(place, &name, "greenlet", slice.begin, slice.end, args)?;
                if let Some(wake) = wake {
                    self.flow(wake, slice.begin, place)?;
                }
            }
            for span in &life.spans {
                self.span(place, span)?;
            }
        }
        Ok(())
    }

    fn threads(&mut self) -> io::Result<()> {
        self.process(THREADS, &format!("{}: other threads", self.names.program()))?;
        for job in self.timeline.jobs() {
            let args = match job.greenlet {
                0 => Value::Null,
                id => json!({"greenlet": self.names.greenlet(id)}),
            };
            let end = job.end.unwrap_or(self.timeline.end());
            self.slice(
                self.thread(job.thread),
                "job",
                "thread",
                job.begin,
                end,
                args,
            )?;
        }
        for span in self.timeline.thread_spans() {
            if let Actor::Thread(number) = span.who {
                self.span(self.thread(number), span)?;
            }
        }
        Ok(())
    }

    fn counters(&mut self) -> io::Result<()> {
        let place = Place { pid: HUBS, tid: 0 };
        for (time, ready) in ready_greenlets(self.timeline) {
            self.value(place, "ready greenlets", time, ready as f64)?;
        }
        for counter in self.timeline.counters() {
            let name = self.names.text(counter.name);
            self.value(place, &name, counter.time, counter.value)?;
        }
        Ok(())
    }

    fn marks(&mut self, trace: &Trace) -> io::Result<()> {
        for mark in self.timeline.marks() {
            let name = self.names.text(mark.name);
            self.global(&name, mark.time, json!({"who": self.names.actor(mark.who)}))?;
        }
        for &(time, who) in self.timeline.panics() {
            self.global("panic", time, json!({"who": self.names.actor(who)}))?;
        }
        for lost in trace.lost() {
            let args = json!({"events": lost.events, "of": self.names.ring(lost.ring)});
            self.global("lost", lost.before, args)?;
        }
        for long in self.timeline.long_runs() {
            let args = json!({
                "greenlet": self.names.greenlet(long.greenlet),
                "in": if long.in_kernel { "the kernel" } else { "the program" },
                "nanos": long.nanos,
                "stack": self.names.text(long.stack),
            });
            self.global("long run", long.time, args)?;
        }
        Ok(())
    }

    fn describe(&self, slice: &Slice) -> (Cow<'static, str>, Value) {
        match slice.doing {
            Doing::Running { ring, stop } => {
                let args = json!({
                    "hub": ring.map(|ring| self.names.ring(ring)),
                    "run": slice.run,
                    "then": stop.map(names::stop),
                });
                ("running".into(), args)
            }
            Doing::Ready(ready) => {
                let by = match ready {
                    Ready::Woken(by, _) => Some(self.names.source(by)),
                    _ => None,
                };
                (
                    "ready".into(),
                    json!({"why": names::ready(ready), "woken by": by}),
                )
            }
            Doing::Waiting { wait, ended } => {
                let args = json!({
                    "object": names::object(wait),
                    "ended by": ended.map(|(by, _)| self.names.source(by)),
                    "outcome": ended.map(|(_, outcome)| names::outcome(outcome)),
                });
                (format!("wait {}", names::reason(wait)).into(), args)
            }
        }
    }

    /// An arrow from who wakes. The viewer wants slices at both of its ends.
    fn flow(&mut self, wake: &WakeEdge, ready: u64, woken: Place) -> io::Result<()> {
        let (place, name) = match wake.by {
            Source::Actor(Actor::Greenlet(id)) => (self.greenlet(id), "wake"),
            Source::Actor(Actor::Thread(number)) => (self.thread(number), "wake"),
            Source::Reactor => (self.hub(wake.ring), "reactor"),
            Source::Timer => (self.hub(wake.ring), "timer"),
            Source::Unknown => return Ok(()),
        };
        self.flows += 1;
        let id = Some(self.flows);
        let time = wake.time.min(ready);
        // Of those who are woken at one moment, the first one is told.
        if self.woken.insert((place.pid, place.tid, time)) {
            let args = json!({"woken": self.names.greenlet(wake.woken)});
            self.slice(place, name, "wake", time, time, args)?;
        }
        let begin = self.at("s", place, "wake", time);
        self.event(ChromeEvent {
            cat: Some("wake"),
            id,
            ..begin
        })?;
        let end = self.at("f", woken, "wake", ready);
        self.event(ChromeEvent {
            cat: Some("wake"),
            id,
            bp: Some("e"),
            ..end
        })
    }

    /// Spans may overlap, so they are not slices of the thread.
    fn span(&mut self, place: Place, span: &Span) -> io::Result<()> {
        self.spans += 1;
        let name = self.names.text(span.name);
        let end = span.end.unwrap_or(self.timeline.end());
        for (ph, time) in [("b", span.begin), ("e", end.max(span.begin))] {
            let event = self.at(ph, place, &name, time);
            self.event(ChromeEvent {
                cat: Some("span"),
                id: Some(self.spans),
                ..event
            })?;
        }
        Ok(())
    }

    fn slice(
        &mut self,
        place: Place,
        name: &str,
        cat: &'static str,
        begin: u64,
        end: u64,
        args: Value,
    ) -> io::Result<()> {
        let event = self.at("X", place, name, begin);
        self.event(ChromeEvent {
            cat: Some(cat),
            dur: Some(end.saturating_sub(begin) as f64 / 1000.0),
            args,
            ..event
        })
    }

    fn moment(&mut self, place: Place, name: &str, time: u64, args: Value) -> io::Result<()> {
        let event = self.at("i", place, name, time);
        self.event(ChromeEvent {
            s: Some("t"),
            args,
            ..event
        })
    }

    fn global(&mut self, name: &str, time: u64, args: Value) -> io::Result<()> {
        let event = self.at("i", Place { pid: HUBS, tid: 0 }, name, time);
        self.event(ChromeEvent {
            s: Some("g"),
            args,
            ..event
        })
    }

    fn value(&mut self, place: Place, name: &str, time: u64, value: f64) -> io::Result<()> {
        let event = self.at("C", place, name, time);
        // JSON has no numbers that are none.
        let value = if value.is_finite() { value } else { 0.0 };
        self.event(ChromeEvent {
            args: json!({ "value": value }),
            ..event
        })
    }

    fn process(&mut self, pid: u32, name: &str) -> io::Result<()> {
        let place = Place { pid, tid: 0 };
        for (kind, args) in [
            ("process_name", json!({ "name": name })),
            ("process_sort_index", json!({ "sort_index": pid })),
        ] {
            let event = self.at("M", place, kind, self.timeline.begin());
            self.event(ChromeEvent { args, ..event })?;
        }
        Ok(())
    }

    fn thread_name(&mut self, place: Place, name: &str) -> io::Result<()> {
        let event = self.at("M", place, "thread_name", self.timeline.begin());
        let args = json!({ "name": name });
        self.event(ChromeEvent { args, ..event })
    }

    fn at<'n>(&self, ph: &'static str, place: Place, name: &'n str, time: u64) -> ChromeEvent<'n> {
        ChromeEvent {
            ph,
            pid: place.pid,
            tid: place.tid,
            ts: time.saturating_sub(self.timeline.begin()) as f64 / 1000.0,
            name,
            cat: None,
            dur: None,
            id: None,
            bp: None,
            s: None,
            args: Value::Null,
        }
    }

    fn event(&mut self, event: ChromeEvent<'_>) -> io::Result<()> {
        let between: &[u8] = if self.first { b"\n" } else { b",\n" };
        self.first = false;
        self.out.write_all(between)?;
        serde_json::to_writer(&mut *self.out, &event)?;
        Ok(())
    }
}
