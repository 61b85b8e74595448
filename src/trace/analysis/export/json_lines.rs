//! JSON, an event on a line.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::names::{self, Names};
use crate::record::{Actor, Event, Source, State, Stop, Wait};
use crate::trace::analysis::{Timeline, Trace};

/// Writes a JSON object on each line: first the trace itself, then all its events in their order, then what
/// is missing.
///
/// | `event` | other keys |
/// |---|---|
/// | `trace` | `version` (two numbers), `process`, `begin`, `end`, `facts` (an object) |
/// | `spawn` | `greenlet`, `parent` (not of a plain thread), `site` |
/// | `run` | `greenlet`, `run` (the number of the run) |
/// | `stop` | `greenlet`, `run`, `why`: `yield`, `end` or `wait`; then `reason`, `object_kind`, `object` |
/// | `wake` | `greenlet`, `run`, `outcome`: `woken`, `deadline` or `cancelled`; `by`: `greenlet`, `thread`, `reactor`, `timer` or `unknown`; of the first two `waker` |
/// | `status` | `greenlet`, `run`, `state`: `ready`, `running` or `waiting`; then as `stop`, and `since` (how long); `parent` (not of a plain thread), `site`, and `name` if it has one |
/// | `name` | `greenlet`, `name` |
/// | `steal` | `victim` (a hub) |
/// | `sleep`, `awake` | |
/// | `poll`, `timers` | `woken` (how many) |
/// | `job_begin`, `job_end` | `os_thread`, `greenlet` (not of a plain thread, nor at the end) |
/// | `long_run` | `greenlet`, `runtime`, `hub`, `in_kernel`, `nanos`, `stack` (an array, innermost first) |
/// | `stack` | `greenlet`, `used`, `size` (bytes) |
/// | `span_begin`, `span_end` | `greenlet` or `os_thread`, `span`, `name` (at the begin) |
/// | `counter` | `greenlet` or `os_thread`, `name`, `value` |
/// | `mark` | `greenlet` or `os_thread`, `name` |
/// | `panic` | `greenlet` or `os_thread` |
/// | `lost` | `events` (how many), `after` (the time of the last one before; not of the first ones) |
///
/// Every line but the first has `time`, in nanoseconds of the monotonic clock, and `ring`: which hub recorded
/// it, as `hub 3`, or `threads`. An `object` that is an address is a text in hexadecimal, others are numbers.
/// Events of a newer version are left out.
///
/// ```text
/// {"event":"stop","greenlet":7,"object":5,"object_kind":"descriptor","reason":"io-read","ring":"hub 0","run":3,"time":81302201,"why":"wait"}
/// ```
///
/// # Errors
///
/// Those of `out`.
pub fn json_lines(trace: &Trace, timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let names = Names::new(trace, timeline);
    let facts: Map<String, Value> = trace
        .facts()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let (major, minor) = trace.version();
    let head = json!({
        "event": "trace",
        "version": [major, minor],
        "process": trace.process(),
        "begin": trace.begin(),
        "end": trace.end(),
        "facts": facts,
    });
    writeln!(out, "{head}")?;
    let rings: Vec<String> = (0..trace.rings().len())
        .map(|ring| names.ring(ring as u16))
        .collect();
    for record in trace.records() {
        let mut line = line(&names, record.event);
        line.insert("time".into(), record.time.into());
        line.insert(
            "ring".into(),
            rings[usize::from(record.ring)].as_str().into(),
        );
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    for lost in trace.lost() {
        let mut line = json!({
            "event": "lost",
            "time": lost.before,
            "ring": names.ring(lost.ring),
            "events": lost.events,
        });
        if let Some(after) = lost.after {
            line["after"] = after.into();
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn line(names: &Names<'_>, event: Event) -> Map<String, Value> {
    let text = |text| names.text(text).into_owned();
    let mut line = Line(Map::new());
    match event {
        Event::Spawn {
            greenlet,
            parent,
            site,
        } => {
            line.event("spawn").put("greenlet", greenlet);
            if parent != 0 {
                line.put("parent", parent);
            }
            line.put("site", text(site));
        }
        Event::Run { greenlet, run } => {
            line.event("run").put("greenlet", greenlet).put("run", run);
        }
        Event::Stop { greenlet, run, why } => {
            line.event("stop").put("greenlet", greenlet).put("run", run);
            match why {
                Stop::Yield => line.put("why", "yield"),
                Stop::End => line.put("why", "end"),
                Stop::Wait(wait) => line.put("why", "wait").wait(wait),
            };
        }
        Event::Wake {
            greenlet,
            run,
            by,
            outcome,
        } => {
            line.event("wake").put("greenlet", greenlet).put("run", run);
            line.put("outcome", names::outcome(outcome));
            match by {
                Source::Actor(Actor::Greenlet(id)) => line.put("by", "greenlet").put("waker", id),
                Source::Actor(Actor::Thread(id)) => line.put("by", "thread").put("waker", id),
                Source::Reactor => line.put("by", "reactor"),
                Source::Timer => line.put("by", "timer"),
                Source::Unknown => line.put("by", "unknown"),
            };
        }
        Event::Status {
            greenlet,
            run,
            state,
            parent,
            site,
            name,
            since,
        } => {
            line.event("status")
                .put("greenlet", greenlet)
                .put("run", run);
            match state {
                State::Ready => line.put("state", "ready"),
                State::Running => line.put("state", "running"),
                State::Waiting(wait) => line.put("state", "waiting").wait(wait).put("since", since),
            };
            if parent != 0 {
                line.put("parent", parent);
            }
            line.put("site", text(site));
            if name != 0 {
                line.put("name", text(name));
            }
        }
        Event::Name { greenlet, name } => {
            line.event("name").put("greenlet", greenlet);
            line.put("name", text(name));
        }
        Event::Steal { victim } => {
            line.event("steal").put("victim", victim);
        }
        Event::Sleep => {
            line.event("sleep");
        }
        Event::Awake => {
            line.event("awake");
        }
        Event::Poll { woken } => {
            line.event("poll").put("woken", woken);
        }
        Event::Timers { woken } => {
            line.event("timers").put("woken", woken);
        }
        Event::JobBegin { thread, greenlet } => {
            line.event("job_begin").put("os_thread", thread);
            if greenlet != 0 {
                line.put("greenlet", greenlet);
            }
        }
        Event::JobEnd { thread } => {
            line.event("job_end").put("os_thread", thread);
        }
        Event::LongRun {
            greenlet,
            hub,
            runtime,
            in_kernel,
            nanos,
            stack,
        } => {
            line.event("long_run")
                .put("greenlet", greenlet)
                .put("hub", hub);
            line.put("runtime", runtime).put("in_kernel", in_kernel);
            let stack = text(stack);
            let frames: Vec<&str> = stack.lines().collect();
            line.put("nanos", nanos).put("stack", frames);
        }
        Event::Stack {
            greenlet,
            used,
            size,
        } => {
            line.event("stack").put("greenlet", greenlet);
            line.put("used", used).put("size", size);
        }
        Event::SpanBegin { who, name, span } => {
            line.event("span_begin").who(who).put("span", span);
            line.put("name", text(name));
        }
        Event::SpanEnd { who, span } => {
            line.event("span_end").who(who).put("span", span);
        }
        Event::Counter { who, name, value } => {
            line.event("counter").who(who);
            line.put("name", text(name)).put("value", value);
        }
        Event::Mark { who, name } => {
            line.event("mark").who(who).put("name", text(name));
        }
        Event::Panic { who } => {
            line.event("panic").who(who);
        }
    }
    line.0
}

struct Line(Map<String, Value>);

impl Line {
    fn event(&mut self, event: &str) -> &mut Self {
        self.put("event", event)
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(key.into(), value.into());
        self
    }

    fn wait(&mut self, wait: Wait) -> &mut Self {
        self.put("reason", names::reason(wait).as_ref());
        match names::object_kind(wait) {
            None => self,
            Some("address") => self
                .put("object_kind", "address")
                .put("object", format!("{:#x}", wait.object)),
            Some(kind) => self.put("object_kind", kind).put("object", wait.object),
        }
    }

    fn who(&mut self, who: Actor) -> &mut Self {
        match who {
            Actor::Greenlet(id) => self.put("greenlet", id),
            Actor::Thread(number) => self.put("os_thread", number),
        }
    }
}
