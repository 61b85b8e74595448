//! What other programs find in exports is what the timeline says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::tools::Tools;
use super::trace::analysis::{Doing, Life, Ready, Slice, Timeline, Trace, export};
use super::trace::{Actor, Source, Stop, wait_reason};

/// A trace with the files that are made of it.
pub(crate) struct Exported<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) timeline: &'a Timeline,
    /// Where the files are.
    pub(crate) directory: PathBuf,
    /// What their names begin with.
    pub(crate) name: &'a str,
}

type Export = fn(&Trace, &Timeline, &mut dyn Write) -> io::Result<()>;

/// The end of a wait.
struct Woke {
    /// Who wakes.
    by: String,
    /// What that is called.
    name: &'static str,
    time: u64,
    woken: String,
    /// Whether the greenlet is ready for some time.
    lasts: bool,
}

/// How many there are, how long they take together, and how many of them have no end.
type Sums = (u64, u64, u64);

/// Sums by who and what.
type Table = BTreeMap<(String, String), Sums>;

fn number(value: &Value) -> u64 {
    value.as_i64().expect("a number").max(0) as u64
}

/// A text, or the empty one.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

/// The number at the end of `greenlet 12` and `fetcher (12)`.
fn greenlet_of(name: &str) -> String {
    let end = name.trim_end_matches(')');
    let digits = end.len() - end.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    assert!(digits > 0, "no number in {name:?}");
    format!("greenlet {}", &end[end.len() - digits..])
}

fn add(table: &mut Table, who: String, what: &str, slice: &Slice) {
    let sums = table.entry((who, what.into())).or_default();
    sums.0 += 1;
    match slice.open {
        true => sums.2 += 1,
        false => sums.1 += slice.nanos(),
    }
}

fn who(life: &Life) -> String {
    format!("greenlet {}", life.id)
}

fn slices(timeline: &Timeline) -> impl Iterator<Item = (&Life, &Slice)> {
    let lives = timeline.greenlets().iter();
    lives.flat_map(|life| life.slices.iter().map(move |slice| (life, slice)))
}

/// Tells only where they differ.
#[track_caller]
fn assert_same<K: Ord + Debug, V: PartialEq + Debug>(
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) {
    let keys: BTreeSet<&K> = found.keys().chain(expected.keys()).collect();
    let differ = keys
        .into_iter()
        .filter(|key| found.get(key) != expected.get(key));
    let differ: Vec<_> = differ
        .map(|key| (key, found.get(key), expected.get(key)))
        .collect();
    let few = &differ[..differ.len().min(10)];
    assert!(
        differ.is_empty(),
        "{} differ, as found and expected: {few:#?}",
        differ.len()
    );
}

impl Exported<'_> {
    pub(crate) fn write(&self, extension: &str, export: Export) -> PathBuf {
        let path = self.directory.join(format!("{}.{extension}", self.name));
        let mut out = BufWriter::new(File::create(&path).expect("a file"));
        export(self.trace, self.timeline, &mut out).expect("written");
        out.flush().expect("written");
        path
    }

    fn ring(&self, ring: u16) -> String {
        self.trace.rings()[usize::from(ring)].to_string()
    }

    /// Who wakes, and the name of what is shown there.
    fn waker(&self, by: Source, ring: u16) -> Option<(String, &'static str)> {
        Some(match by {
            Source::Actor(Actor::Greenlet(id)) => (format!("greenlet {id}"), "wake"),
            Source::Actor(Actor::Thread(number)) => (format!("thread {number}"), "wake"),
            Source::Reactor => (self.ring(ring), "reactor"),
            Source::Timer => (self.ring(ring), "timer"),
            Source::Unknown => return None,
        })
    }

    /// Each wake after which the trace tells of a greenlet that is ready.
    fn each_wake(&self) -> Vec<Woke> {
        let mut wakes = Vec::new();
        for life in self.timeline.greenlets() {
            let woken = |slice: &&Slice| matches!(slice.doing, Doing::Ready(Ready::Woken(..)));
            let edges = self.timeline.wakes().iter();
            let mut edges = edges.filter(|edge| edge.woken == life.id);
            for slice in life.slices.iter().filter(woken) {
                let edge = edges.find(|edge| edge.run == slice.run);
                let edge = edge.expect("its wake");
                if let Some((by, name)) = self.waker(edge.by, edge.ring) {
                    wakes.push(Woke {
                        by,
                        name,
                        time: edge.time.min(slice.begin),
                        woken: who(life),
                        lasts: slice.nanos() > 0 || slice.open,
                    });
                }
            }
        }
        wakes
    }

    /// Who wakes, what it is called, and who is woken: how often.
    fn wakes(&self) -> BTreeMap<(String, &'static str, String), u64> {
        let mut wakes = BTreeMap::new();
        for wake in self.each_wake() {
            *wakes.entry((wake.by, wake.name, wake.woken)).or_default() += 1;
        }
        wakes
    }

    /// The same, but whom somebody wakes at one moment only once.
    fn wake_moments(&self) -> BTreeSet<(String, &'static str, u64)> {
        let wakes = self.each_wake().into_iter();
        wakes.map(|wake| (wake.by, wake.name, wake.time)).collect()
    }

    /// Slices, flows, counters and moments.
    pub(crate) fn check_perfetto(&self, tools: &Tools) {
        let path = self.write("pftrace", export::perfetto);
        let kinds = tools.python("check_fields.py", &[path.as_os_str()], "");
        assert!(kinds.contains("track_event"), "{kinds}");
        let answers = tools.sql(
            &path,
            &[
                NO_ERRORS,
                "select t.name, s.name, count(*), sum(max(s.dur, 0)), sum(s.dur < 0)
                 from slice s join track t on s.track_id = t.id join track p on t.parent_id = p.id
                 where p.name = 'greenlets' group by 1, 2",
                "select t.name, s.name = 'sleep', count(*), sum(max(s.dur, 0)), sum(s.dur < 0)
                 from slice s join track t on s.track_id = t.id join track p on t.parent_id = p.id
                 where p.name = 'hubs' and s.name not in ('reactor', 'timer', 'steal', 'long run')
                 group by 1, 2",
                "select ft.name, fs.name, tt.name, ts.name, count(*), max(fs.ts - ts.ts)
                 from flow join slice fs on flow.slice_out = fs.id join track ft on fs.track_id = ft.id
                 join slice ts on flow.slice_in = ts.id join track tt on ts.track_id = tt.id
                 group by 1, 2, 3, 4",
                "select count(*), sum(value) from counter join counter_track t on t.id = track_id
                 where t.name <> 'ready greenlets'",
                "select max(value), min(value) from counter join counter_track t on t.id = track_id
                 where t.name = 'ready greenlets'",
                "select count(*), sum(max(dur, 0)), sum(dur < 0) from slice s join track t on s.track_id = t.id
                 where t.name = 'spans'",
            ],
        );
        assert_eq!(answers[0], Vec::<Vec<Value>>::new());

        let mut expected = Table::new();
        for (life, slice) in slices(self.timeline) {
            let what = match slice.doing {
                Doing::Running { .. } => "running".into(),
                Doing::Ready(_) => "ready".into(),
                Doing::Waiting { wait, .. } => match wait_reason(wait.reason) {
                    Some(reason) => format!("wait {reason}"),
                    None => format!("wait reason-{}", wait.reason),
                },
            };
            add(&mut expected, who(life), &what, slice);
        }
        let wakes = self.wakes();
        for (by, name, _) in self.wake_moments() {
            if by.starts_with("greenlet ") {
                expected.entry((by, name.into())).or_default().0 += 1;
            }
        }
        let sums = |row: &[Value]| (number(&row[0]), number(&row[1]), number(&row[2]));
        let found = answers[1].iter();
        let found = found.map(|row| {
            let (track, slice) = (greenlet_of(&text(&row[0])), text(&row[1]));
            ((track, slice), sums(&row[2..]))
        });
        assert_same(&found.collect::<Table>(), &expected);

        let mut expected = BTreeMap::new();
        for hub in self.timeline.hubs() {
            for slice in &hub.slices {
                let key = (self.ring(hub.ring), u64::from(slice.is_sleep()));
                let sums: &mut Sums = expected.entry(key).or_default();
                *sums = (sums.0 + 1, sums.1 + slice.nanos(), 0);
            }
        }
        let found = answers[2].iter();
        let found = found.map(|row| ((text(&row[0]), number(&row[1])), sums(&row[2..])));
        assert_same(&found.collect(), &expected);

        let mut found = BTreeMap::new();
        for row in &answers[3] {
            let (by, name) = (text(&row[0]), text(&row[1]));
            let by = match name == "wake" && !by.starts_with("thread ") {
                true => greenlet_of(&by),
                false => by,
            };
            assert_eq!(row[3], "ready");
            assert!(
                row[5].as_i64() <= Some(0),
                "a flow leads backwards: {row:?}"
            );
            found.insert((by, name, greenlet_of(&text(&row[2]))), number(&row[4]));
        }
        let expected: BTreeMap<_, _> = wakes
            .into_iter()
            .map(|((by, name, woken), count)| ((by, name.to_owned(), woken), count))
            .collect();
        assert!(!expected.is_empty());
        assert_same(&found, &expected);

        let values = self.timeline.counters();
        assert_eq!(number(&answers[4][0][0]), values.len() as u64);
        let sum: f64 = values.iter().map(|counter| counter.value).sum();
        assert!((answers[4][0][1].as_f64().unwrap_or(0.0) - sum).abs() < 1e-6);
        assert!(answers[5][0][0].as_f64().expect("a number") >= 1.0);
        assert_eq!(answers[5][0][1].as_f64(), Some(0.0));

        let of_greenlets = self
            .timeline
            .greenlets()
            .iter()
            .flat_map(|life| &life.spans);
        let spans: Vec<_> = of_greenlets.chain(self.timeline.thread_spans()).collect();
        let closed = spans.iter().filter_map(|span| Some(span.end? - span.begin));
        let row = &answers[6][0];
        assert_eq!(number(&row[0]), spans.len() as u64);
        let open = spans.iter().filter(|span| span.end.is_none()).count() as u64;
        if !spans.is_empty() {
            assert_eq!((number(&row[1]), number(&row[2])), (closed.sum(), open));
        }
    }

    /// States of threads and who woke them. `whole` if no events are missing, and clocks do not differ: else only of
    /// those that run.
    pub(crate) fn check_perfetto_sched(&self, tools: &Tools, whole: bool) {
        let path = self.write("sched.pftrace", export::perfetto_sched);
        let kinds = tools.python("check_fields.py", &[path.as_os_str()], "");
        assert!(kinds.contains("ftrace_events"), "{kinds}");
        let answers = tools.sql(
            &path,
            &[
                NO_ERRORS,
                "select t.name, s.state, count(*), sum(max(s.dur, 0)), sum(s.dur < 0)
                 from thread_state s join thread t using (utid)
                 where t.tid >= 10000000 and s.dur <> 0 group by 1, 2",
                "select w.name, w.tid, t.name, count(*)
                 from thread_state s join thread t using (utid) join thread w on s.waker_utid = w.utid
                 where t.tid >= 10000000 and s.state = 'R' and s.dur <> 0 group by 1, 2, 3",
                "select t.name, s.cpu, count(*), sum(max(s.dur, 0)), sum(s.dur < 0) from sched s join thread t using (utid)
                 where t.tid >= 10000000 group by 1, 2",
            ],
        );
        assert_eq!(answers[0], Vec::<Vec<Value>>::new());

        // Each life begins with what a kernel would not know.
        let mut expected = Table::new();
        let mut runs: BTreeMap<(String, u64), Sums> = BTreeMap::new();
        for (life, slice) in slices(self.timeline) {
            let state = match slice.doing {
                Doing::Running { ring: None, .. } => continue,
                Doing::Running {
                    ring: Some(ring),
                    stop,
                } => {
                    let hubs = self.timeline.hubs();
                    let cpu = hubs.iter().position(|hub| hub.ring == ring).expect("a hub");
                    let sums: &mut Sums = runs.entry((who(life), cpu as u64)).or_default();
                    sums.0 += 1;
                    match slice.open {
                        true => sums.2 += 1,
                        false => sums.1 += slice.nanos(),
                    }
                    if stop == Some(Stop::End) {
                        expected.insert((who(life), "X".into()), (1, 0, 1));
                    }
                    "Running"
                }
                Doing::Ready(_) if !slice.cut => "R",
                Doing::Waiting { .. } if !slice.cut => "S",
                _ => continue,
            };
            // A kernel's trace has no order of what happens on two processors at one moment.
            if slice.nanos() > 0 || slice.open {
                add(&mut expected, who(life), state, slice);
            }
        }
        let mut found = Table::new();
        for row in &answers[1] {
            let key = (greenlet_of(&text(&row[0])), text(&row[1]));
            found.insert(key, (number(&row[2]), number(&row[3]), number(&row[4])));
        }
        assert!(!expected.is_empty());
        if whole {
            assert_same(&found, &expected);
        }

        let found = answers[3].iter().map(|row| {
            let sums = (number(&row[2]), number(&row[3]), number(&row[4]));
            ((greenlet_of(&text(&row[0])), number(&row[1])), sums)
        });
        assert_same(&found.collect(), &runs);

        if !whole {
            return;
        }
        let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
        for wake in self.each_wake().into_iter().filter(|wake| wake.lasts) {
            *expected.entry((wake.by, wake.woken)).or_default() += 1;
        }
        for life in self.timeline.greenlets() {
            let lasts = life
                .slices
                .first()
                .is_some_and(|slice| slice.nanos() > 0 || slice.open);
            if life.spawned.is_some() && lasts {
                let by = match life.parent {
                    0 => "program".into(),
                    parent => format!("greenlet {parent}"),
                };
                *expected.entry((by, who(life))).or_default() += 1;
            }
        }
        let mut found = BTreeMap::new();
        for row in &answers[2] {
            let (name, thread) = (text(&row[0]), number(&row[1]));
            let by = match thread {
                10_000_000.. => greenlet_of(&name),
                _ if name.starts_with("hub ") || name == "threads" => name,
                _ if thread == u64::from(self.trace.process()) => "program".into(),
                _ => format!("thread {thread}"),
            };
            *found.entry((by, greenlet_of(&text(&row[2])))).or_default() += number(&row[3]);
        }
        assert_same(&found, &expected);
    }

    /// The format, and that Perfetto, which reads it too, finds the same.
    pub(crate) fn check_chrome(&self, tools: &Tools, schema: &Path) {
        let path = self.write("json", export::chrome);
        tools.python("check_json.py", &[schema.as_os_str(), path.as_os_str()], "");
        let document: Value =
            serde_json::from_reader(io::BufReader::new(File::open(&path).expect("the file")))
                .expect("JSON");
        let events = document["traceEvents"].as_array().expect("events");
        // Nanoseconds by names.
        let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for event in events.iter().filter(|event| event["cat"] == "greenlet") {
            let sums = found.entry(text(&event["name"])).or_default();
            let nanos = event["dur"].as_f64().expect("a duration") * 1000.0;
            *sums = (sums.0 + 1, sums.1 + nanos.round() as u64);
        }
        let sum = |wanted: fn(&Doing) -> bool| {
            let slices = slices(self.timeline).filter(|(_, slice)| wanted(&slice.doing));
            slices.fold((0, 0), |sums, (_, slice)| {
                (sums.0 + 1, sums.1 + slice.nanos())
            })
        };
        let is_running = |doing: &Doing| matches!(doing, Doing::Running { .. });
        assert_eq!(found["running"], sum(is_running));
        assert_eq!(
            found["ready"],
            sum(|doing| matches!(doing, Doing::Ready(_)))
        );
        let waits = found.iter().filter(|(name, _)| name.starts_with("wait "));
        let waits = waits.fold((0, 0), |sums, (_, more)| (sums.0 + more.0, sums.1 + more.1));
        assert_eq!(waits, sum(|doing| matches!(doing, Doing::Waiting { .. })));
        let answers = tools.sql(
            &path,
            &[
                NO_ERRORS,
                "select count(*) from slice where name = 'running'",
                "select count(*) from flow",
            ],
        );
        assert_eq!(answers[0], Vec::<Vec<Value>>::new());
        assert_eq!(number(&answers[1][0][0]), sum(is_running).0);
        assert_eq!(
            number(&answers[2][0][0]),
            self.wakes().values().sum::<u64>()
        );
    }

    /// One line an event, from which the same can be computed.
    pub(crate) fn check_json_lines(&self) {
        let path = self.write("jsonl", export::json_lines);
        let lines = fs::read_to_string(path).expect("UTF-8");
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines[0]["event"], "trace");
        let lost = self.trace.lost().len();
        assert_eq!(lines.len(), 1 + self.trace.records().len() + lost);
        assert!(lines.iter().all(|line| line["event"].is_string()));
        let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
        assert_eq!(of("wake"), self.timeline.wakes().len());
        assert_eq!(of("lost"), lost);
        let running: u64 = self.timeline.hubs().iter().map(|hub| hub.running).sum();
        if self.trace.is_whole() {
            // From the first run of each hub that is over.
            let mut sum = 0;
            let mut since = BTreeMap::new();
            for line in &lines {
                let time = line["time"].as_u64().unwrap_or(0);
                match line["event"].as_str() {
                    Some("run") => drop(since.insert(text(&line["ring"]), time)),
                    Some("stop") => {
                        sum += since
                            .remove(&text(&line["ring"]))
                            .map_or(0, |begin| time - begin);
                    }
                    _ => {}
                }
            }
            let end = self.timeline.end();
            sum += since.into_values().map(|begin| end - begin).sum::<u64>();
            assert_eq!(sum, running);
        }
    }

    /// Stacks and numbers, and that no time gets lost.
    pub(crate) fn check_folded(&self) {
        let path = self.write("folded", export::folded);
        let stacks = fs::read_to_string(path).expect("UTF-8");
        let mut sum = 0;
        let mut count = 0;
        for line in stacks.lines() {
            let (stack, micros) = line.rsplit_once(' ').expect("a number");
            sum += micros.parse::<u64>().expect("a number");
            count += 1;
            assert!(stack.split(';').all(|frame| !frame.is_empty()), "{line}");
        }
        let idle = slices(self.timeline)
            .filter(|(_, slice)| !matches!(slice.doing, Doing::Running { .. }))
            .map(|(_, slice)| slice.nanos());
        let idle = idle.sum::<u64>() / 1000;
        assert!(
            sum.abs_diff(idle) <= count + 1 + self.timeline.greenlets().len() as u64,
            "{sum} {idle}"
        );
    }

    /// What a browser shows, and does.
    pub(crate) fn check_html(&self, tools: &Tools) {
        let path = self.write("html", export::html);
        let picture = self.directory.join(format!("{}.png", self.name));
        let box_of = "(({ x, y, width, height }) => [x, y, width, height])(document.getElementById('timeline').getBoundingClientRect())";
        let visit = tools.browse(
            &path,
            &json!([
                { "size": [1400, 1000] },
                { "dark": false },
                { "evaluate": "document.getElementById('title').textContent" },
                { "evaluate": "[...document.querySelectorAll('.tile')].map((tile) => [tile.children[1].textContent, tile.children[0].textContent])" },
                { "evaluate": "document.scripts.length" },
                { "evaluate": "timeline.lanes.length" },
                { "evaluate": "document.getElementById('overview').scrollIntoView()" },
                { "wait": 50 },
                { "pixels": ["#12966b", "#e0912f", "#171d26"] },
                { "screenshot": picture },
                { "evaluate": box_of },
                // Zoom: Ctrl and the wheel.
                { "mouse": "mouseWheel", "x": 800, "y": 300, "deltaY": -300, "modifiers": 2 },
                { "evaluate": "(timeline.to - timeline.from) / page.duration" },
                // Pan.
                { "mouse": "mousePressed", "x": 800, "y": 130 },
                { "mouse": "mouseMoved", "x": 700, "y": 130 },
                { "mouse": "mouseReleased", "x": 700, "y": 130 },
                { "evaluate": "timeline.from / page.duration" },
                { "evaluate": "show(0, page.duration)" },
                { "evaluate": "explain({ clientX: 5, clientY: 5 }, { lane: 0, at: 0 }); document.getElementById('tip').textContent" },
                { "evaluate": "document.getElementById('find').value = '(nobody)'; arrange(); timeline.lanes.filter(({ sums }) => sums).length" },
                { "evaluate": "document.getElementById('find').value = ''; arrange(); timeline.lanes.filter(({ sums }) => sums).length" },
                { "evaluate": "document.getElementById('theme').click(); document.documentElement.dataset.theme" },
                { "wait": 100 },
                { "pixels": ["#2fb98a", "#f0ab4c", "#171d26"] },
                { "evaluate": "page.histograms.map(({ total }) => total)" },
                { "evaluate": "document.querySelectorAll('#waits tr:not(.inner)').length - 1" },
                { "evaluate": "[...document.querySelectorAll('#offender-tabs button')].map((tab) => { tab.click(); return document.querySelectorAll('#offenders tr.go').length; })" },
                { "evaluate": "document.querySelectorAll('#wakes path').length" },
                { "evaluate": "document.querySelector('#offenders tr.go').click(); timeline.to - timeline.from < page.duration || timeline.lanes.length" },
            ]),
        );
        assert_eq!(visit.console, Vec::<Value>::new(), "nothing goes wrong");
        let of_network = |url: &&Value| !text(url).starts_with("data:");
        assert_eq!(
            visit.requests.iter().filter(of_network).count(),
            1,
            "only itself"
        );
        let mut results = visit.results.into_iter().skip(2);
        let mut next = || results.next().expect("a result");

        let program = self.trace.fact("program").expect("a fact");
        assert_eq!(
            next(),
            json!(
                Path::new(program)
                    .file_name()
                    .and_then(|name| name.to_str())
            )
        );
        let tiles = next();
        let tile = |label: &str| {
            let all = tiles.as_array().expect("tiles").iter();
            let mut values = all
                .filter(|tile| tile[0] == label)
                .map(|tile| text(&tile[1]));
            values
                .next()
                .unwrap_or_else(|| panic!("{label} in {tiles}"))
        };
        let plain = |label: &str| {
            tile(label)
                .replace(',', "")
                .parse::<usize>()
                .expect("a number")
        };
        assert_eq!(plain("greenlets"), self.timeline.greenlets().len());
        assert_eq!(plain("hubs"), self.timeline.hubs().len());
        assert_eq!(plain("wakes"), self.timeline.wakes().len());
        let running = |slice: &Slice| matches!(slice.doing, Doing::Running { .. });
        let runs = slices(self.timeline)
            .filter(|(_, slice)| running(slice))
            .count();
        assert_eq!(plain("runs"), runs);
        assert_eq!(next(), json!(2), "no scripts but the page's");
        assert!(next().as_u64().expect("lanes") > self.timeline.hubs().len() as u64);
        for _ in 0..2 {
            next();
        }
        let pixels = next();
        let pixels: Vec<u64> = pixels
            .as_array()
            .expect("counts")
            .iter()
            .map(number)
            .collect();
        assert!(
            pixels[0] > 500 && pixels[1] > 20 && pixels[2] == 0,
            "{pixels:?}"
        );
        assert_eq!(next(), json!([1400, 1000]));
        let size = fs::metadata(&picture).expect("the picture").len();
        assert!(size > 20_000, "a picture of {size} bytes");
        let place = next();
        assert!(
            place[2].as_f64() > Some(1000.0) && place[3].as_f64() > Some(100.0),
            "{place}"
        );
        next();
        let zoomed = next().as_f64().expect("a part");
        assert!((0.2..0.7).contains(&zoomed), "{zoomed}");
        for _ in 0..3 {
            next();
        }
        assert!(next().as_f64() > Some(0.1), "panned");
        next();
        let tip = text(&next());
        assert!(tip.contains("hub 0") && tip.contains("from"), "{tip}");
        assert_eq!(next(), json!(0));
        assert_eq!(next(), json!(self.timeline.greenlets().len().min(300)));
        assert_eq!(next(), json!("dark"));
        next();
        let pixels = next();
        let pixels: Vec<u64> = pixels
            .as_array()
            .expect("counts")
            .iter()
            .map(number)
            .collect();
        assert!(
            pixels[0] > 500 && pixels[1] > 20 && pixels[2] > 10_000,
            "{pixels:?}"
        );
        let totals = next();
        let whole = |wanted: fn(&Doing) -> bool| {
            let slices = slices(self.timeline);
            slices
                .filter(|(_, slice)| !slice.open && !slice.cut && wanted(&slice.doing))
                .count()
        };
        assert_eq!(
            totals[0],
            whole(|doing| matches!(doing, Doing::Ready(Ready::Woken(..))))
        );
        assert_eq!(
            totals[2],
            whole(|doing| matches!(doing, Doing::Running { .. }))
        );
        let mut reasons: Vec<u8> = slices(self.timeline)
            .filter_map(|(_, slice)| match slice.doing {
                Doing::Waiting { wait, .. } => Some(wait.reason),
                _ => None,
            })
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(next(), json!(reasons.len()));
        let tables = next();
        let tables: Vec<u64> = tables
            .as_array()
            .expect("counts")
            .iter()
            .map(number)
            .collect();
        assert!(
            tables.len() == 5 && tables.iter().all(|&lines| (1..=20).contains(&lines)),
            "{tables:?}"
        );
        assert!(next().as_u64() > Some(0), "ribbons");
    }
}

/// What the trace processor complains of.
const NO_ERRORS: &str = "select name, value from stats
    where value > 0 and severity in ('error', 'data_loss')";
