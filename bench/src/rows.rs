//! What is measured: the rows, their cases, and what greenlet has to reach.

use crate::params::Params;

/// A kind of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Switch,
    Yield,
    SpawnSeq,
    SpawnBatch,
    Timers,
    Idle,
    Pingpong,
    Mpsc,
    Mutex,
    Echo,
    Conns,
    Pread4k,
    Trace,
    EchoTraced,
    Dump,
}

impl Row {
    pub(crate) const ALL: [Self; 15] = [
        Self::Switch,
        Self::Yield,
        Self::SpawnSeq,
        Self::SpawnBatch,
        Self::Timers,
        Self::Idle,
        Self::Pingpong,
        Self::Mpsc,
        Self::Mutex,
        Self::Echo,
        Self::Conns,
        Self::Pread4k,
        Self::Trace,
        Self::EchoTraced,
        Self::Dump,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Yield => "yield",
            Self::SpawnSeq => "spawn_seq",
            Self::SpawnBatch => "spawn_batch",
            Self::Timers => "timers",
            Self::Idle => "idle",
            Self::Pingpong => "pingpong",
            Self::Mpsc => "mpsc",
            Self::Mutex => "mutex",
            Self::Echo => "echo",
            Self::Conns => "conns",
            Self::Pread4k => "pread4k",
            Self::Trace => "trace",
            Self::EchoTraced => "echo_traced",
            Self::Dump => "dump",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.name() == name)
    }

    /// Whether it takes a server and a load generator, each in a process of its own.
    pub(crate) fn is_served(self) -> bool {
        matches!(self, Self::Echo | Self::Conns | Self::EchoTraced)
    }

    /// The values of the parameters in the comparison.
    fn params(self) -> &'static [&'static str] {
        match self {
            Self::Switch => &["w=1"],
            Self::Yield => &["w=1,t=2", "w=1,t=1000", "w=2,t=1000"],
            Self::SpawnSeq => &["w=1", "w=2"],
            Self::SpawnBatch => &["w=1,n=100000", "w=2,n=100000"],
            Self::Timers => &["w=1,n=100000"],
            Self::Idle => &["w=1,n=100000", "w=1,n=1000000"],
            Self::Pingpong => &["w=1", "w=2"],
            Self::Mpsc => &["w=1,cap=128", "w=2,cap=128"],
            Self::Mutex => &["w=1,t=1", "w=2,t=8"],
            Self::Echo => &["w=1,c=1", "w=1,c=64", "w=1,c=512", "w=2,c=512"],
            Self::Conns => &["w=1,n=10000"],
            Self::Pread4k | Self::Trace => &["w=1"],
            Self::EchoTraced => &["w=1,c=1", "w=1,c=64", "w=1,c=512"],
            Self::Dump => &["w=2,n=100000"],
        }
    }

    pub(crate) fn cases(self) -> Vec<Case> {
        self.params()
            .iter()
            .map(|params| Case::new(self, params))
            .collect()
    }

    pub(crate) fn metrics(self) -> impl Iterator<Item = &'static Metric> {
        METRICS.iter().filter(move |metric| metric.row == self)
    }
}

/// A row with its parameters: one measurement of each peer, in each run.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) row: Row,
    pub(crate) params: Params,
}

impl Case {
    fn new(row: Row, params: &str) -> Self {
        let params = params.parse().expect("the table's parameters are right");
        Self { row, params }
    }

    /// Whether it takes gigabytes.
    pub(crate) fn is_large(&self) -> bool {
        self.row == Row::Idle && self.params.get("n") > 200_000
    }
}

/// A yield, from few tasks to very many: the cost ought to stay the same.
pub(crate) fn scale() -> Vec<Case> {
    let counts = [10, 1000, 100_000, 1_000_000];
    let case = |w, t| Case::new(Row::Yield, &format!("w={w},t={t}"));
    [1, 2]
        .into_iter()
        .flat_map(|w| counts.map(|t| case(w, t)))
        .collect()
}

/// One number that a row gives.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) row: Row,
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) more_is_better: bool,
    /// What is counted or timed.
    pub(crate) what: &'static str,
}

const fn metric(row: Row, name: &'static str, unit: &'static str, what: &'static str) -> Metric {
    Metric {
        row,
        name,
        unit,
        more_is_better: false,
        what,
    }
}

const METRICS: [Metric; 30] = [
    metric(
        Row::Switch,
        "switch",
        "ns",
        "a resume and a suspend without a scheduler; of greenlet, whose switch is not public, \
         the yield of a greenlet that is alone on its hub",
    ),
    metric(
        Row::Yield,
        "yield",
        "ns",
        "one yield, of t tasks that do nothing else",
    ),
    metric(
        Row::SpawnSeq,
        "spawn_seq",
        "ns",
        "spawning an empty task and joining it",
    ),
    metric(
        Row::SpawnBatch,
        "spawn_batch",
        "ns",
        "spawning and joining one of n empty tasks: all are spawned, then all are joined",
    ),
    metric(
        Row::Timers,
        "timers.cold.cpu",
        "ms",
        "processor time of n tasks that sleep once, 1 to 1,000 ms at random, in a new process",
    ),
    metric(
        Row::Timers,
        "timers.cold.late_p50",
        "us",
        "how late such a task wakes up, counted from its own start: the median task",
    ),
    metric(
        Row::Timers,
        "timers.cold.late_p99",
        "us",
        "the same, of the 99th percentile",
    ),
    metric(
        Row::Timers,
        "timers.warm.cpu",
        "ms",
        "processor time of a later round, after one in which all n slept at the same time",
    ),
    metric(
        Row::Timers,
        "timers.warm.late_p50",
        "us",
        "lateness in the later round, median",
    ),
    metric(
        Row::Timers,
        "timers.warm.late_p99",
        "us",
        "the same, of the 99th percentile",
    ),
    metric(
        Row::Idle,
        "idle.bytes",
        "bytes",
        "memory of one of n tasks that wait: resident and page tables",
    ),
    metric(
        Row::Idle,
        "idle.start",
        "ns",
        "spawning one of n tasks, until it waits: cold",
    ),
    metric(
        Row::Pingpong,
        "pingpong",
        "ns",
        "a round trip between two tasks, over two channels of capacity 1",
    ),
    metric(
        Row::Mpsc,
        "mpsc",
        "ns",
        "one message from one task to another, through a channel of capacity cap",
    ),
    metric(
        Row::Mutex,
        "mutex",
        "ns",
        "locking a mutex that t tasks share, adding to what it guards, and unlocking it",
    ),
    metric(
        Row::Echo,
        "echo.cpu",
        "ns",
        "the server's processor time per request: 64 bytes there, 64 bytes back, c connections",
    ),
    metric(
        Row::Echo,
        "echo.p99",
        "us",
        "from request to answer, 99th percentile",
    ),
    Metric {
        row: Row::Echo,
        name: "echo.rate",
        unit: "1/s",
        more_is_better: true,
        what: "requests per second; past some 64 connections it is the load generator's limit",
    },
    metric(
        Row::Conns,
        "conns.bytes",
        "bytes",
        "the server's memory for one of n idle connections, which have had one request each",
    ),
    metric(
        Row::Pread4k,
        "pread4k",
        "ns",
        "reading 4 KiB at a random offset of a file that is in the page cache",
    ),
    metric(
        Row::Trace,
        "trace",
        "ns",
        "an event of a trace, a counter's new value; of greenlet, whose recorder is off, what is left then",
    ),
    metric(
        Row::EchoTraced,
        "echo_traced.flight",
        "times",
        "echo.cpu while the last events are kept in memory, to that of the same process while nothing is recorded",
    ),
    metric(
        Row::EchoTraced,
        "echo_traced.flight.wall",
        "times",
        "the same of the wall's time per request: more than 1 is throughput that is lost",
    ),
    metric(
        Row::EchoTraced,
        "echo_traced.stream",
        "times",
        "echo_traced.flight while all events are written to a file instead",
    ),
    metric(
        Row::EchoTraced,
        "echo_traced.stream.wall",
        "times",
        "the same of the wall's time per request",
    ),
    metric(
        Row::Dump,
        "dump.list",
        "ms",
        "a list of n tasks that wait, without their stacks",
    ),
    metric(
        Row::Dump,
        "dump.stack",
        "us",
        "the stack of one of them: copied, and with the feature `stacks` unwound",
    ),
    metric(Row::Dump, "dump.text", "ms", "the list as text"),
    metric(Row::Dump, "dump.json", "ms", "the list as JSON"),
    metric(
        Row::Dump,
        "dump.worst",
        "us",
        "the slowest spawn and join of a worker that makes them meanwhile",
    ),
];

/// What a peer of this project has to reach.
#[derive(Debug)]
pub(crate) struct Must {
    metric: &'static str,
    params: &'static str,
    peer: &'static str,
    pub(crate) limit: Limit,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// No more than this.
    AtMost(f64),
    /// No more than this on a machine where corosensei's bare switch takes [`USUAL_SWITCH_NS`]; on
    /// others in proportion.
    Scaled(f64),
    /// No more than so many times what that peer has.
    Times(f64, &'static str),
}

/// What a switch of corosensei takes where the limits were set.
pub(crate) const USUAL_SWITCH_NS: f64 = 4.2;

const fn must(metric: &'static str, params: &'static str, limit: Limit) -> Must {
    Must {
        metric,
        params,
        peer: "greenlet",
        limit,
    }
}

const SHARED: &str = "greenlet-shared";
const FLIGHT: &str = "greenlet-flight";

const fn must_of(
    peer: &'static str,
    metric: &'static str,
    params: &'static str,
    limit: Limit,
) -> Must {
    Must {
        metric,
        params,
        peer,
        limit,
    }
}

const MUSTS: [Must; 45] = [
    must("switch", "w=1", Limit::Scaled(14.0)),
    must("yield", "w=1,t=2", Limit::Scaled(30.0)),
    must("yield", "w=1,t=1000", Limit::Scaled(36.0)),
    must("yield", "w=2,t=1000", Limit::Scaled(25.0)),
    must("spawn_seq", "w=1", Limit::Scaled(130.0)),
    must("spawn_seq", "w=2", Limit::Scaled(250.0)),
    must("spawn_batch", "w=1,n=100000", Limit::Scaled(250.0)),
    must("spawn_batch", "w=2,n=100000", Limit::Scaled(250.0)),
    must("timers.warm.cpu", "w=1,n=100000", Limit::Scaled(250.0)),
    must("timers.cold.late_p50", "w=1,n=100000", Limit::AtMost(60.0)),
    must(
        "timers.cold.late_p99",
        "w=1,n=100000",
        Limit::AtMost(4_000.0),
    ),
    must("timers.warm.late_p50", "w=1,n=100000", Limit::AtMost(60.0)),
    must(
        "timers.warm.late_p99",
        "w=1,n=100000",
        Limit::AtMost(4_000.0),
    ),
    must("idle.bytes", "w=1,n=100000", Limit::AtMost(9_400.0)),
    must_of(SHARED, "idle.bytes", "w=1,n=100000", Limit::AtMost(4_900.0)),
    must("idle.bytes", "w=1,n=1000000", Limit::AtMost(9_400.0)),
    must("idle.start", "w=1,n=100000", Limit::Scaled(4_000.0)),
    must("pingpong", "w=1", Limit::Scaled(180.0)),
    must("pingpong", "w=2", Limit::Scaled(300.0)),
    must("mpsc", "w=1,cap=128", Limit::Scaled(45.0)),
    must("mpsc", "w=2,cap=128", Limit::Scaled(60.0)),
    must("mutex", "w=1,t=1", Limit::Scaled(15.0)),
    must("mutex", "w=2,t=8", Limit::Scaled(100.0)),
    must("echo.cpu", "w=1,c=1", Limit::Times(1.0, "tokio-ct")),
    must("echo.cpu", "w=1,c=64", Limit::Times(1.03, "tokio-ct")),
    must("echo.cpu", "w=1,c=512", Limit::Times(1.03, "tokio-ct")),
    must("echo.p99", "w=1,c=512", Limit::AtMost(4_200.0)),
    must("echo.p99", "w=2,c=512", Limit::Times(0.5, "tokio-mt")),
    must("conns.bytes", "w=1,n=10000", Limit::AtMost(9_300.0)),
    must_of(SHARED, "conns.bytes", "w=1,n=10000", Limit::AtMost(4_900.0)),
    // A plain blocking read.
    must("pread4k", "w=1", Limit::Times(1.2, "threads")),
    must("trace", "w=1", Limit::AtMost(1.0)),
    must_of(FLIGHT, "trace", "w=1", Limit::AtMost(15.0)),
    must("echo_traced.flight", "w=1,c=1", Limit::AtMost(1.02)),
    must("echo_traced.flight.wall", "w=1,c=1", Limit::AtMost(1.02)),
    must("echo_traced.flight", "w=1,c=64", Limit::AtMost(1.02)),
    must("echo_traced.flight.wall", "w=1,c=64", Limit::AtMost(1.02)),
    must("echo_traced.flight", "w=1,c=512", Limit::AtMost(1.02)),
    must("echo_traced.flight.wall", "w=1,c=512", Limit::AtMost(1.02)),
    must("echo_traced.stream", "w=1,c=1", Limit::AtMost(1.03)),
    must("echo_traced.stream.wall", "w=1,c=1", Limit::AtMost(1.03)),
    must("echo_traced.stream", "w=1,c=64", Limit::AtMost(1.03)),
    must("echo_traced.stream.wall", "w=1,c=64", Limit::AtMost(1.03)),
    must("echo_traced.stream", "w=1,c=512", Limit::AtMost(1.03)),
    must("echo_traced.stream.wall", "w=1,c=512", Limit::AtMost(1.03)),
];

/// The limit for a peer in one metric of a case, if there is one.
pub(crate) fn limit(metric: &str, params: &Params, peer: &str) -> Option<Limit> {
    let params = params.to_string();
    let found = MUSTS
        .iter()
        .find(|must| must.metric == metric && must.params == params && must.peer == peer);
    found.map(|must| must.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_belongs_to_something_that_is_measured() {
        for must in &MUSTS {
            let metric = METRICS
                .iter()
                .find(|metric| metric.name == must.metric)
                .unwrap();
            assert!(metric.row.params().contains(&must.params), "{must:?}");
        }
    }

    #[test]
    fn every_row_measures_something() {
        for row in Row::ALL {
            assert!(row.metrics().count() > 0);
            assert!(!row.cases().is_empty());
        }
    }
}
