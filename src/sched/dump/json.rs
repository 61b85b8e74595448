//! A dump as JSON.

use super::{Dump, GreenletDump, GreenletState, HubDump, HubState, RuntimeDump};
use crate::json::JsonWriter;
use crate::sched::blocked::BlockedActivity;
use crate::sched::cell::Id;
use crate::sched::lock_owner::LockOwner;

impl Dump {
    /// The dump as one JSON object on one line, with the names of the fields of the structs. Beside that:
    ///
    /// - `version` is 1. Fields may be added to it without a change of that number.
    /// - Durations are whole nanoseconds, and their names end with `_ns`.
    /// - Numbers of greenlets are numbers, places are `file:line:column`, what is not there is null.
    /// - The state of a hub is `absent`, `asleep`, `busy` or `running`, then with `greenlet`, `since_ns` and
    ///   `activity` beside it; that of a greenlet is `running`, with `hub`; `ready`; `dumping`; or `waiting`, with
    ///   `reason`, `what`, `object`, `owner` and `since_ns`.
    /// - An owner is an object with one field: `greenlet`, `thread` (true) or `readers`.
    ///
    /// ```
    /// # greenlet::run(|| {
    /// let json = greenlet::dump().to_json();
    /// assert!(json.starts_with(r#"{"version":1,"#));
    /// # });
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = JsonWriter::new();
        json.object(|json| {
            json.key("version").number(1);
            json.key("took_ns").number(nanos(self.took));
            json.key("blocking_threads").count(self.blocking_threads);
            json.key("blocking_idle").count(self.blocking_idle);
            json.key("blocking_queued").count(self.blocking_queued);
            json.key("waiting_threads").count(self.waiting_threads);
            json.key("cycles").array(&self.cycles, |json, cycle| {
                json.array(cycle, |json, &id| json.id(id));
            });
            json.key("runtimes").array(&self.runtimes, write_runtime);
        });
        json.finish()
    }
}

/// Values of a dump.
impl JsonWriter {
    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    fn id(&mut self, id: Id) {
        self.number(id.number());
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn write_runtime(json: &mut JsonWriter, runtime: &RuntimeDump) {
    json.object(|json| {
        json.key("is_ending").boolean(runtime.is_ending);
        json.key("not_started").count(runtime.not_started);
        json.key("left_out").count(runtime.left_out);
        json.key("queued").count(runtime.queued);
        json.key("descriptors").count(runtime.descriptors);
        json.key("hubs").array(&runtime.hubs, write_hub);
        json.key("greenlets")
            .array(&runtime.greenlets, write_greenlet);
    });
}

fn write_hub(json: &mut JsonWriter, hub: &HubDump) {
    json.object(|json| {
        json.key("number").count(hub.number);
        json.key("thread").option(hub.thread, |json, thread| {
            json.number(thread.unsigned_abs().into())
        });
        json.key("queued").count(hub.queued);
        json.key("timers").count(hub.timers);
        json.key("switches").number(hub.switches);
        json.key("is_listed").boolean(hub.is_listed);
        let state = match &hub.state {
            HubState::Absent => "absent",
            HubState::Asleep => "asleep",
            HubState::Busy => "busy",
            HubState::Running { .. } => "running",
        };
        json.key("state").string(state);
        if let HubState::Running {
            greenlet,
            since,
            activity,
        } = &hub.state
        {
            json.key("greenlet").option(*greenlet, JsonWriter::id);
            json.key("since_ns")
                .option(since.map(nanos), JsonWriter::number);
            json.key("activity").option(*activity, write_activity);
        }
    });
}

fn write_activity(json: &mut JsonWriter, activity: BlockedActivity) {
    json.object(|json| match activity {
        BlockedActivity::Computing => json.key("computing").boolean(true),
        BlockedActivity::Waiting { syscall } => json
            .key("syscall")
            .option(syscall, |json, number| json.number(number.into())),
    });
}

fn write_greenlet(json: &mut JsonWriter, greenlet: &GreenletDump) {
    json.object(|json| {
        json.key("id").id(greenlet.id);
        json.key("name")
            .option(greenlet.name.as_deref(), JsonWriter::string);
        json.key("parent").option(greenlet.parent, JsonWriter::id);
        json.key("spawned_at").text(greenlet.spawned_at);
        json.key("pinned")
            .option(greenlet.pinned, JsonWriter::count);
        write_state(json, &greenlet.state);
        json.key("stack_used")
            .option(greenlet.stack_used, JsonWriter::count);
        json.key("stack_size").count(greenlet.stack_size);
        json.key("stack")
            .array(&greenlet.stack, |json, frame| json.string(frame));
    });
}

fn write_state(json: &mut JsonWriter, state: &GreenletState) {
    json.key("state");
    match state {
        GreenletState::Running { hub } => {
            json.string("running");
            json.key("hub").count(*hub);
        }
        GreenletState::Ready => json.string("ready"),
        GreenletState::Dumping => json.string("dumping"),
        GreenletState::Waiting {
            reason,
            what,
            object,
            owner,
            since,
        } => {
            json.string("waiting");
            json.key("reason").string(reason);
            json.key("what").string(what);
            json.key("object").option(*object, JsonWriter::number);
            json.key("owner").option(*owner, write_owner);
            json.key("since_ns").number(nanos(*since));
        }
    }
}

fn write_owner(json: &mut JsonWriter, owner: LockOwner) {
    json.object(|json| match owner {
        LockOwner::Greenlet(id) => json.key("greenlet").id(id),
        LockOwner::Thread => json.key("thread").boolean(true),
        LockOwner::Readers(count) => json.key("readers").number(count.into()),
    });
}
