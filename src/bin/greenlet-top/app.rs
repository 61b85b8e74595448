//! What is shown: the model, how it is sorted, and what the user has chosen.

use std::cmp::Reverse;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use greenlet::trace::Greenlet as Number;
use greenlet::trace::analysis::{Lint, Report, Stream, Timeline, Trace};

use crate::connection::News;
use crate::dump::Dump;
use crate::metrics::{Metrics, Rates};
use crate::model::{Doing, Greenlet, HubKey, Model};
use crate::text;

/// How long a window is, for which usage is shown.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// Events are taken so often, however often keys are pressed: see [`Stream::take`].
const TAKE: Duration = Duration::from_millis(100);

/// By what greenlets are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// How much they ran in the last window.
    Run,
    /// How long they have been waiting.
    Wait,
    /// How long they waited for their turn, once, in the last window.
    Latency,
}

impl Sort {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Wait => "wait",
            Self::Latency => "latency",
        }
    }

    /// The other way round.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Run, Self::Wait, Self::Latency]
            .into_iter()
            .find(|sort| sort.name() == name)
    }
}

/// Everything behind the screen.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) model: Model,
    pub(crate) stream: Stream,
    pub(crate) rates: Rates,
    pub(crate) program: Program,
    /// What is wrong with the connection, if something is.
    pub(crate) trouble: Option<String>,
    pub(crate) sort: Sort,
    pub(crate) filter: String,
    /// The table as it is shown: while it is paused it stays.
    pub(crate) rows: Vec<Row>,
    /// Greenlets that pass the filter.
    pub(crate) matching: usize,
    pub(crate) hubs: Vec<HubRow>,
    pub(crate) is_paused: bool,
    window_end: Instant,
    next_take: Instant,
    /// The last dump, or why there is none.
    pub(crate) dump: Option<Result<Dump, String>>,
    pub(crate) lints: Option<Lints>,
}

/// What the program is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// The name of its file, without folders.
    pub(crate) name: String,
    pub(crate) process: String,
    /// When it began.
    begun: Option<Instant>,
}

impl Program {
    pub(crate) fn uptime(&self) -> Option<Duration> {
        self.begun.map(|begun| begun.elapsed())
    }

    fn parse(facts: &str) -> Self {
        let fact = |key: &str| {
            let mut facts = facts.lines().filter_map(|line| line.split_once('='));
            let found = facts.find(|(name, _)| *name == key);
            found.map_or("", |(_, value)| value)
        };
        let path = fact("program");
        let uptime = fact("uptime_seconds").parse().ok();
        let uptime = uptime.and_then(|uptime| Duration::try_from_secs_f64(uptime).ok());
        Self {
            name: path.rsplit('/').next().unwrap_or(path).to_owned(),
            process: fact("process").to_owned(),
            begun: uptime.and_then(|uptime| Instant::now().checked_sub(uptime)),
        }
    }
}

/// A greenlet, as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) number: Number,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) doing: Doing,
    /// How long it has been doing that.
    pub(crate) since: u64,
    /// The part of the window in which it ran.
    pub(crate) running: f64,
    pub(crate) runs: f64,
    pub(crate) longest_run: u64,
    pub(crate) mean_latency: Option<u64>,
    pub(crate) latest: u64,
    pub(crate) site: String,
}

/// A hub, as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct HubRow {
    pub(crate) name: String,
    /// The part of the window in which it ran greenlets.
    pub(crate) busy: f64,
    /// The part in which its thread computed.
    pub(crate) cpu: Option<f64>,
    pub(crate) switches: f64,
    pub(crate) steals: f64,
    pub(crate) queued: f64,
    pub(crate) timers: f64,
    pub(crate) is_asleep: bool,
}

/// What looks like a mistake, looked for on another thread.
#[derive(Debug)]
pub(crate) enum Lints {
    Wanted(Receiver<Result<Vec<Lint>, String>>),
    Found(Result<Vec<Lint>, String>),
}

impl App {
    pub(crate) fn new(sort: Sort) -> Self {
        Self {
            model: Model::default(),
            stream: Stream::new(),
            rates: Rates::default(),
            program: Program::default(),
            trouble: Some("connecting".into()),
            sort,
            filter: String::new(),
            rows: Vec::new(),
            matching: 0,
            hubs: Vec::new(),
            is_paused: false,
            window_end: Instant::now() + WINDOW,
            next_take: Instant::now() + TAKE,
            dump: None,
            lints: None,
        }
    }

    pub(crate) fn take_news(&mut self, news: News) {
        match news {
            News::Begun(facts) => {
                // What the one before has told is of another trace.
                self.program = Program::parse(&facts);
                self.model = Model::default();
                self.stream = Stream::new();
                self.rates = Rates::default();
                self.trouble = None;
            }
            News::Trace(bytes) => {
                if let Err(error) = self.stream.feed(&bytes) {
                    self.trouble = Some(format!("the trace cannot be read: {error}"));
                }
            }
            News::Metrics(text) => self.rates.add(Metrics::parse(&text)),
            News::Dump(dump) => self.dump = Some(dump.and_then(|dump| Dump::parse(&dump))),
            News::Gone(why) => self.trouble = Some(why),
        }
    }

    /// Reads what has come, and ends the window if it is time. To be called some times a second.
    pub(crate) fn tick(&mut self) {
        if Instant::now() >= self.next_take {
            self.next_take = Instant::now() + TAKE;
            let records = self.stream.take();
            self.model.apply(&records, &self.stream);
        }
        if let Some(Lints::Wanted(found)) = &self.lints {
            match found.try_recv() {
                Ok(found) => self.lints = Some(Lints::Found(found)),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    let what = "the analysis has failed".to_owned();
                    self.lints = Some(Lints::Found(Err(what)));
                }
            }
        }
        if Instant::now() < self.window_end {
            return;
        }
        self.window_end = Instant::now() + WINDOW;
        // What has ended keeps its last window.
        if self.trouble.is_none()
            && let Some(settled) = self.model.settled()
        {
            self.model.end_window(settled);
        }
        if !self.is_paused {
            self.arrange();
        }
    }

    /// Reads all that has come, and makes tables of it: everything is one window.
    pub(crate) fn finish(&mut self) {
        for _ in 0..2 {
            let records = self.stream.take();
            self.model.apply(&records, &self.stream);
        }
        if let Some(now) = self.model.now() {
            self.model.end_window(now);
        }
        self.arrange();
    }

    /// Looks for what looks like a mistake in the last events.
    pub(crate) fn want_lints(&mut self) {
        let (sender, receiver) = mpsc::channel();
        let recent = self.stream.recent();
        thread::spawn(move || {
            // It may be wanted no more.
            let _ = sender.send(lints(&recent));
        });
        self.lints = Some(Lints::Wanted(receiver));
    }

    fn several_runtimes(&self) -> bool {
        let mut runtimes = self.hub_keys().into_iter().map(|(runtime, _)| runtime);
        let first = runtimes.next();
        runtimes.any(|other| Some(other) != first)
    }

    /// Hubs that are there, by the metrics; by the trace, before there are any.
    fn hub_keys(&self) -> Vec<HubKey> {
        let by_metrics: Vec<HubKey> = self.rates.hubs().collect();
        match by_metrics.is_empty() {
            true => self.model.hubs.keys().copied().collect(),
            false => by_metrics,
        }
    }

    /// Makes the tables anew.
    pub(crate) fn arrange(&mut self) {
        /// As many rows as anybody looks through.
        const MOST: usize = 2000;
        let several = self.several_runtimes();
        let now = self.model.shown();
        let filter = self.filter.to_lowercase();
        let passes = |greenlet: &&Greenlet| {
            let has = |text: &str| text.to_lowercase().contains(&filter);
            filter.is_empty()
                || has(self.stream.text(greenlet.name).unwrap_or(""))
                || has(self.stream.text(greenlet.site).unwrap_or(""))
                || has(&text::state(greenlet.state, several))
                || format!("#{}", greenlet.number) == filter
        };
        let mut greenlets: Vec<&Greenlet> = self.model.greenlets.values().filter(passes).collect();
        self.matching = greenlets.len();
        let waits = |greenlet: &Greenlet| match greenlet.state {
            Doing::Waiting(_) => now.saturating_sub(greenlet.since) + 1,
            _ => 0,
        };
        greenlets.sort_unstable_by_key(|greenlet| {
            let last = greenlet.last;
            let key = match self.sort {
                Sort::Run => (last.running, last.runs),
                Sort::Wait => (waits(greenlet), 0),
                Sort::Latency => (last.latest, last.mean_latency().unwrap_or(0)),
            };
            (Reverse(key), greenlet.number)
        });
        greenlets.truncate(MOST);
        let window = self.model.window.as_nanos().max(1) as f64;
        self.rows = greenlets
            .into_iter()
            .map(|greenlet| Row {
                number: greenlet.number,
                name: text::name(greenlet, &self.stream),
                state: text::state(greenlet.state, several),
                doing: greenlet.state,
                since: now.saturating_sub(greenlet.since),
                running: greenlet.last.running as f64 / window,
                runs: greenlet.last.runs as f64 * 1e9 / window,
                longest_run: greenlet.last.longest_run,
                mean_latency: greenlet.last.mean_latency(),
                latest: greenlet.last.latest,
                site: text::site(greenlet, &self.stream),
            })
            .collect();
        let hubs = self.hub_keys().into_iter();
        self.hubs = hubs.map(|key| self.hub_row(key, several, window)).collect();
    }

    fn hub_row(&self, key: HubKey, several: bool, window: f64) -> HubRow {
        let traced = self.model.hubs.get(&key);
        let last = traced.map(|hub| hub.last).unwrap_or_default();
        let per_second = 1e9 / window;
        let number = |name: &str| self.rates.of_hub(key, name).unwrap_or(0.0);
        HubRow {
            name: text::hub(key, several),
            busy: (last.busy as f64 / window).min(1.0),
            cpu: self.rates.growth(key, "cpu_seconds_total"),
            switches: last.switches as f64 * per_second,
            steals: last.steals as f64 * per_second,
            queued: number("queued"),
            timers: number("timers"),
            is_asleep: traced.map_or(number("asleep") > 0.0, |hub| hub.is_asleep),
        }
    }

    /// Switches in a second, by the trace.
    pub(crate) fn switches(&self) -> f64 {
        self.hubs.iter().map(|hub| hub.switches).sum()
    }

    /// How many greenlets there are: the metrics know those, too, of which no event has come.
    pub(crate) fn greenlets(&self) -> f64 {
        let traced = self.model.greenlets.len() as f64;
        self.rates.sum("greenlets").unwrap_or(traced)
    }
}

/// What looks like a mistake in a trace.
fn lints(trace: &[u8]) -> Result<Vec<Lint>, String> {
    let trace = Trace::from_bytes(trace).map_err(|error| error.to_string())?;
    let report = Report::new(&trace, &Timeline::new(&trace), 10);
    Ok(report.lints)
}
