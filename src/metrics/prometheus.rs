//! Metrics as a text: Prometheus' exposition format, version 0.0.4.

use std::fmt::{self, Display, Write};

use super::{Histogram, HubDurations, HubMetrics, Metrics, RuntimeMetrics};

/// The classes of a histogram that are written: of 256 ns and of 69 s, and between them. What is shorter is
/// in the first one; what is longer is in `+Inf` only.
const WRITTEN: std::ops::RangeInclusive<usize> = 8..=36;

/// A number of every hub: name, kind, help, and where it is.
type OfHub = (&'static str, Kind, &'static str, fn(&HubMetrics) -> u64);

const OF_HUBS: [OfHub; 12] = [
    (
        "greenlet_hub_switches_total",
        Kind::Counter,
        "Switches from the hub to a greenlet.",
        |hub| hub.switches,
    ),
    (
        "greenlet_hub_parks_total",
        Kind::Counter,
        "Parks of greenlets, of every kind.",
        |hub| hub.parks,
    ),
    (
        "greenlet_hub_steals_total",
        Kind::Counter,
        "Times that the hub took greenlets from another hub's queue.",
        |hub| hub.steals,
    ),
    (
        "greenlet_hub_sleeps_total",
        Kind::Counter,
        "Times that the hub slept because there was nothing to do.",
        |hub| hub.sleeps,
    ),
    (
        "greenlet_hub_spawned_total",
        Kind::Counter,
        "Greenlets spawned by greenlets on the hub.",
        |hub| hub.spawned,
    ),
    (
        "greenlet_hub_ended_total",
        Kind::Counter,
        "Greenlets that have ended on the hub.",
        |hub| hub.ended,
    ),
    (
        "greenlet_hub_reads_inline_total",
        Kind::Counter,
        "Reads of files that were done on the hub.",
        |hub| hub.reads_inline,
    ),
    (
        "greenlet_hub_reads_offloaded_total",
        Kind::Counter,
        "Reads of files that went to the blocking pool.",
        |hub| hub.reads_offloaded,
    ),
    (
        "greenlet_hub_queued",
        Kind::Gauge,
        "Greenlets that are ready to run and queued at the hub.",
        |hub| hub.queued + hub.inbox,
    ),
    (
        "greenlet_hub_timers",
        Kind::Gauge,
        "Deadlines of greenlets that parked on the hub.",
        |hub| hub.timers,
    ),
    (
        "greenlet_hub_warm_stacks",
        Kind::Gauge,
        "Stacks that the hub keeps for greenlets to come.",
        |hub| hub.warm_stacks,
    ),
    (
        "greenlet_hub_asleep",
        Kind::Gauge,
        "1 while the hub sleeps, 0 while it works.",
        |hub| u64::from(hub.asleep),
    ),
];

/// A number of every runtime, as above.
type OfRuntime = (&'static str, Kind, &'static str, fn(&RuntimeMetrics) -> u64);

const OF_RUNTIMES: [OfRuntime; 8] = [
    (
        "greenlet_greenlets",
        Kind::Gauge,
        "Greenlets that were spawned and have not ended.",
        |runtime| runtime.stats.greenlets,
    ),
    (
        "greenlet_greenlets_peak",
        Kind::Gauge,
        "The most greenlets there have been at a time.",
        |runtime| runtime.stats.greenlets_peak,
    ),
    (
        "greenlet_spawned_total",
        Kind::Counter,
        "Greenlets spawned, by greenlets and from outside.",
        |runtime| runtime.stats.spawned,
    ),
    (
        "greenlet_blocked_hubs_total",
        Kind::Counter,
        "Times that a greenlet kept its hub from running others for too long.",
        |runtime| runtime.stats.blocked,
    ),
    (
        "greenlet_descriptors",
        Kind::Gauge,
        "Descriptors that the reactor watches.",
        |runtime| runtime.stats.descriptors,
    ),
    (
        "greenlet_injector_queued",
        Kind::Gauge,
        "Greenlets that are ready to run and not queued at a hub yet.",
        |runtime| runtime.injector,
    ),
    (
        "greenlet_warm_stacks",
        Kind::Gauge,
        "Stacks kept for greenlets to come that no hub holds.",
        |runtime| runtime.warm_stacks,
    ),
    (
        "greenlet_hubs",
        Kind::Gauge,
        "Hubs of the runtime.",
        |runtime| runtime.hubs.len() as u64,
    ),
];

/// A histogram of every hub, as above.
type OfRecording = (&'static str, &'static str, fn(&HubDurations) -> &Histogram);

const OF_RECORDINGS: [OfRecording; 2] = [
    (
        "greenlet_hub_run_duration_seconds",
        "How long greenlets ran at a stretch, while recording was on.",
        |durations| &durations.runs,
    ),
    (
        "greenlet_hub_wake_latency_seconds",
        "How long greenlets had been ready when they were switched in, while recording was on.",
        |durations| &durations.latencies,
    ),
];

impl Metrics {
    /// The metrics as a text in Prometheus' exposition format, version 0.0.4: what an HTTP server
    /// answers with the content type `text/plain; version=0.0.4; charset=utf-8`.
    ///
    /// Times are in seconds, sizes in bytes. Every name is in
    /// [`_documentation::metrics`](crate::_documentation::metrics).
    pub fn prometheus(&self) -> String {
        let mut text = Exposition::default();
        text.family(
            "greenlet_build_info",
            Kind::Gauge,
            "1, for each version of the crate.",
        );
        text.sample("", &[("version", &env!("CARGO_PKG_VERSION"))], 1);
        for (name, kind, help, value) in OF_RUNTIMES {
            text.family(name, kind, help);
            for runtime in &self.runtimes {
                text.sample("", &[("runtime", &runtime.runtime)], value(runtime));
            }
        }
        for (name, kind, help, value) in OF_HUBS {
            text.family(name, kind, help);
            for (runtime, hub) in self.hubs() {
                let labels: [Label<'_>; 2] = [("runtime", &runtime.runtime), ("hub", &hub.hub)];
                text.sample("", &labels, value(hub));
            }
        }
        text.family(
            "greenlet_hub_cpu_seconds_total",
            Kind::Counter,
            "Processor time that the hub's thread has used.",
        );
        for (runtime, hub) in self.hubs() {
            if let Some(time) = hub.cpu_time {
                let labels: [Label<'_>; 2] = [("runtime", &runtime.runtime), ("hub", &hub.hub)];
                text.sample("", &labels, time.as_secs_f64());
            }
        }
        self.write_durations(&mut text);
        self.write_process(&mut text);
        text.text
    }

    /// What hubs measure while recording is on.
    fn write_durations(&self, text: &mut Exposition) {
        for (name, help, histogram) in OF_RECORDINGS {
            text.family(name, Kind::Histogram, help);
            for runtime in &self.runtimes {
                for (hub, durations) in runtime.durations.iter().enumerate() {
                    let labels: [Label<'_>; 2] = [("runtime", &runtime.runtime), ("hub", &hub)];
                    text.histogram(&labels, histogram(durations));
                }
            }
        }
    }

    fn hubs(&self) -> impl Iterator<Item = (&RuntimeMetrics, &HubMetrics)> {
        let runtimes = self.runtimes.iter();
        runtimes.flat_map(|runtime| runtime.hubs.iter().map(move |hub| (runtime, hub)))
    }

    /// What is the process's.
    fn write_process(&self, text: &mut Exposition) {
        let pool = &self.blocking;
        for (name, kind, help, value) in [
            (
                "greenlet_blocking_threads",
                Kind::Gauge,
                "Threads of the blocking pool.",
                pool.threads,
            ),
            (
                "greenlet_blocking_threads_idle",
                Kind::Gauge,
                "Threads of the blocking pool that have nothing to do.",
                pool.idle,
            ),
            (
                "greenlet_blocking_threads_max",
                Kind::Gauge,
                "How many threads the blocking pool may have.",
                pool.threads_max,
            ),
            (
                "greenlet_blocking_queued",
                Kind::Gauge,
                "Jobs that wait for a thread of the blocking pool.",
                pool.queued,
            ),
            (
                "greenlet_blocking_queue_max",
                Kind::Gauge,
                "How many jobs may wait for a thread of the blocking pool.",
                pool.queue_max,
            ),
            (
                "greenlet_blocking_waiting",
                Kind::Gauge,
                "Greenlets that wait for a place in the queue of the blocking pool.",
                pool.waiting,
            ),
            (
                "greenlet_blocking_jobs_total",
                Kind::Counter,
                "Jobs that threads of the blocking pool have begun.",
                pool.jobs,
            ),
        ] {
            text.family(name, kind, help);
            text.sample("", &[], value);
        }
        text.family(
            "greenlet_blocking_job_duration_seconds",
            Kind::Histogram,
            "How long jobs took that threads of the blocking pool have done.",
        );
        text.histogram(&[], &pool.durations);
        text.family(
            "greenlet_stacks",
            Kind::Gauge,
            "Stacks in use or kept warm, by the bytes of address space that each takes.",
        );
        for stacks in &self.stacks {
            text.sample("", &[("size", &stacks.size)], stacks.count);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A label: its name and its value, which needs no escapes.
type Label<'a> = (&'a str, &'a dyn Display);

/// The text, as far as it was written: families of samples.
#[derive(Debug, Default)]
struct Exposition {
    text: String,
    /// Of the family that is being written.
    name: &'static str,
}

impl Exposition {
    /// Begins a family: the samples that follow are of it.
    fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        let name = self.name;
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        if labels.is_empty() {
            self.line(format_args!("{name}{suffix} {value}"));
        } else {
            let labels = labels.join(",");
            self.line(format_args!("{name}{suffix}{{{labels}}} {value}"));
        }
    }

    /// All samples of a histogram with these labels. Each bucket counts what is in those before, too.
    fn histogram(&mut self, labels: &[Label<'_>], histogram: &Histogram) {
        let mut count = 0;
        for (class, (end, here)) in histogram.classes().enumerate() {
            count += here;
            if WRITTEN.contains(&class) {
                let end = end.as_secs_f64();
                self.sample("_bucket", &[labels, &[("le", &end)]].concat(), count);
            }
        }
        self.sample("_bucket", &[labels, &[("le", &"+Inf")]].concat(), count);
        self.sample("_sum", labels, histogram.sum().as_secs_f64());
        self.sample("_count", labels, count);
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes everything");
    }
}
