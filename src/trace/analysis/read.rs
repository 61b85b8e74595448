//! Reads trace files. Nothing in a file is trusted: what is damaged is left out and told of, and memory
//! is bounded by the size of the file.
//!
//! | file | noun |
//! |---|---|
//! | `blocks` | where blocks are in a file, found again behind damage |
//! | `clock` | from ticks to nanoseconds |
//! | `order` | one order of the events of all rings |

mod blocks;
mod clock;
mod order;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use self::blocks::{Block, Blocks};
use self::clock::Clock;
use crate::record::block::{Content, FileHeader, MAJOR, Owner};
use crate::record::{Context, Event, Events, Greenlet, State, Text};

/// What is in a trace file.
///
/// ```no_run
/// use greenlet::trace::{Event};
/// use greenlet::trace::analysis::{Trace};
///
/// let trace = Trace::open("crawl.trace")?;
/// let runs = trace.records().iter().filter(|record| matches!(record.event, Event::Run { .. }));
/// println!("{} switches in {:?}", runs.count(), trace.duration());
/// for problem in trace.problems() {
///     eprintln!("{problem}");
/// }
/// # Ok::<(), greenlet::trace::analysis::ReadError>(())
/// ```
#[derive(Debug)]
pub struct Trace {
    header: FileHeader,
    rings: Vec<Ring>,
    records: Vec<Record>,
    statuses: Vec<Status>,
    texts: HashMap<Text, String>,
    since: u64,
    facts: BTreeMap<String, String>,
    lost: Vec<Lost>,
    problems: Vec<Problem>,
    unknown: u64,
    begin: u64,
    end: u64,
}

/// Who has recorded events one after the other: a hub, or all threads that are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The ring's number in the file.
    pub number: u16,
    /// The number of the hub's runtime; 0 of the ring of other threads.
    pub runtime: u16,
    /// The number of the hub in its runtime; `None` of the ring of other threads.
    pub hub: Option<u16>,
    /// The kernel's number of the hub's thread.
    pub thread: u32,
}

/// An event, when and where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// Nanoseconds of the monotonic clock.
    pub time: u64,
    /// Which of [`Trace::rings`] it is from.
    pub ring: u16,
    /// What happened.
    pub event: Event,
}

/// What a greenlet did at one moment: when recording began, or when the trace was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The moment, in nanoseconds of the monotonic clock.
    pub time: u64,
    /// The greenlet.
    pub greenlet: Greenlet,
    /// The number of its last run.
    pub run: u16,
    /// What it did.
    pub state: State,
    /// Who spawned it; 0 for a plain thread.
    pub parent: Greenlet,
    /// Where it was spawned.
    pub site: Text,
    /// Its name.
    pub name: Text,
    /// For how many nanoseconds it had been waiting.
    pub since: u64,
}

/// Events that were recorded, and are not in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which of [`Trace::rings`] has lost them.
    pub ring: u16,
    /// How many.
    pub events: u64,
    /// The time of the ring's last event before them. `None` if they are the ring's first: a flight
    /// recorder overwrites what is old.
    pub after: Option<u64>,
    /// The time from which on the ring's events are there again.
    pub before: u64,
}

/// A place in the file that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes from the file's beginning.
    pub offset: u64,
    /// What is wrong, and what was done about it.
    pub what: String,
}

/// Why a file could not be read at all.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// It could not be opened or read.
    Io(io::Error),
    /// It has no bytes.
    Empty,
    /// It does not begin as traces do.
    NotATrace,
    /// It ends within the header; this is how many bytes there are.
    CutOff(usize),
    /// It is of a newer format, whose number this is.
    TooNew(u16),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be read: {error}"),
            Self::Empty => f.write_str("the file is empty"),
            Self::NotATrace => f.write_str("not a trace: it does not begin with \"GREENLET\""),
            Self::CutOff(bytes) => write!(
                f,
                "the file ends after {bytes} bytes, within the header of {}",
                FileHeader::WORDS * 8
            ),
            Self::TooNew(major) => write!(
                f,
                "version {major} of the format, of which this version of the crate knows {MAJOR}: \
                 read it with a newer one"
            ),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.what)
    }
}

/// As `hub 3`, with the runtime if it is not the first, or `threads`.
impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hub {
            None => f.write_str("threads"),
            Some(hub) if self.runtime <= 1 => write!(f, "hub {hub}"),
            Some(hub) => write!(f, "runtime {} hub {hub}", self.runtime),
        }
    }
}

impl Trace {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not a trace of a version that is known. Damage behind the header is no
    /// error: see [`problems`](Self::problems).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        Self::read(File::open(path)?)
    }

    /// Reads what a reader gives until its end.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn read(mut reader: impl Read) -> Result<Self, ReadError> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Self::from_bytes(&bytes)
    }

    /// Reads what is in memory.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReadError> {
        let header = file_header(bytes)?;
        let Blocks {
            blocks,
            mut problems,
        } = Blocks::find(bytes, header.first_block);
        let clock = Clock::new(&header, &blocks, &mut problems);
        let mut contents = Contents {
            clock,
            problems,
            texts: HashMap::new(),
            facts: BTreeMap::new(),
            statuses: Vec::new(),
            unknown: 0,
        };
        let mut events = Vec::new();
        for block in blocks {
            match block.header.content {
                Content::Events => events.push(block),
                Content::Texts => contents.add_texts(&block),
                Content::Facts => contents.add_facts(&block),
                Content::Statuses => contents.add_statuses(&block),
                Content::Unknown(_) => {}
            }
        }
        let (rings, decoded, lost) = contents.rings(events);
        let records = order::merge(&decoded);
        drop(decoded);
        contents.add_statuses_of(&records);
        let times = || records.iter().map(|record| record.time);
        let begin = times().min().or(contents.statuses.first().map(|s| s.time));
        let end = times().max().or(contents.statuses.last().map(|s| s.time));
        contents.problems.sort_by_key(|problem| problem.offset);
        let since = contents.moment("since");
        Ok(Self {
            since: since.map_or(0, |ticks| contents.clock.nanos(ticks, 0)),
            header,
            rings,
            statuses: contents.statuses,
            texts: contents.texts,
            facts: contents.facts,
            lost,
            problems: contents.problems,
            unknown: contents.unknown,
            begin: begin.unwrap_or(0),
            end: end.unwrap_or(0),
            records,
        })
    }

    /// Whose events these are: hubs first, in the order of runtimes and their hubs.
    pub fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// What happened, each ring in its order, and each greenlet's life in its order: a spawn comes before
    /// the first run, and what ended a park before the run that follows. Beyond that it is ordered by
    /// time; where clocks of processors differ, `time` may go back a little from one to the next.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What greenlets did when recording began and when the trace was written, in the order of time.
    pub fn statuses(&self) -> &[Status] {
        &self.statuses
    }

    /// A text of the trace's table. `None` if the table does not have it, or if it is 0.
    pub fn text(&self, text: Text) -> Option<&str> {
        self.texts.get(&text).map(String::as_str)
    }

    /// From when on all hubs recorded, in nanoseconds of the monotonic clock: what some did before that, while
    /// recording was switched on, may be missing. 0 if the file does not say it.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// What the file says about itself, as `("processors", "4")`, in the order of keys.
    pub fn facts(&self) -> impl Iterator<Item = (&str, &str)> {
        let facts = self.facts.iter();
        facts.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// One of the facts.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts.get(key).map(String::as_str)
    }

    /// What is missing, by rings and then by time.
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// What is damaged, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many events were left out because this version does not know what they are.
    pub fn unknown_events(&self) -> u64 {
        self.unknown
    }

    /// The version of the file's format: major and minor.
    pub fn version(&self) -> (u16, u16) {
        (self.header.major, self.header.minor)
    }

    /// The number of the process.
    pub fn process(&self) -> u32 {
        self.header.process
    }

    /// The time of the first event; 0 of a trace without any.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// The time of the last event; 0 of a trace without any.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// From the first event to the last.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end - self.begin)
    }

    /// What the clock on the wall showed. `None` if that cannot be told.
    pub fn wall_time(&self, time: u64) -> Option<SystemTime> {
        let since_1970 = self.header.wall_offset.checked_add(time)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(since_1970))
    }

    /// Whether the end of the trace was written: not if its program was killed, or still records, or could not
    /// write all of it.
    pub fn has_ended(&self) -> bool {
        self.facts.contains_key("until")
    }

    /// Whether every ring is there from its first event on, with nothing missing in between.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.problems.is_empty()
    }
}

pub(super) fn file_header(bytes: &[u8]) -> Result<FileHeader, ReadError> {
    if bytes.is_empty() {
        return Err(ReadError::Empty);
    }
    let magic = crate::record::block::FILE_MAGIC.to_le_bytes();
    if !bytes.iter().zip(magic).all(|(&byte, magic)| byte == magic) {
        return Err(ReadError::NotATrace);
    }
    let words = blocks::words_at(bytes, 0).ok_or(ReadError::CutOff(bytes.len()))?;
    let header = FileHeader::decode(words).ok_or(ReadError::NotATrace)?;
    if header.major > MAJOR {
        return Err(ReadError::TooNew(header.major));
    }
    Ok(header)
}

/// The events of one ring, in its order.
#[derive(Debug, Default)]
struct RingEvents {
    events: Vec<(u64, Event)>,
}

/// What is gathered from the blocks.
struct Contents {
    clock: Clock,
    problems: Vec<Problem>,
    texts: HashMap<Text, String>,
    facts: BTreeMap<String, String>,
    statuses: Vec<Status>,
    unknown: u64,
}

impl Contents {
    fn problem(&mut self, block: &Block<'_>, what: impl Into<String>) {
        self.problems.push(Problem {
            offset: block.offset,
            what: what.into(),
        });
    }

    fn add_texts(&mut self, block: &Block<'_>) {
        let mut rest = block.payload;
        while let Some((word, behind)) = rest.split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            let (text, length) = (word as u32, (word >> 32) as usize);
            let Some(bytes) = behind.get(..length) else {
                self.problem(block, "the last of the texts is cut off: left out");
                return;
            };
            let known = self.texts.entry(text);
            known.or_insert_with(|| String::from_utf8_lossy(bytes).into_owned());
            rest = behind.get(length.next_multiple_of(8)..).unwrap_or(&[]);
        }
    }

    fn add_facts(&mut self, block: &Block<'_>) {
        let text = String::from_utf8_lossy(block.payload);
        // A last line without its end is cut off.
        let lines = text.split_inclusive('\n');
        let lines = lines.filter_map(|line| line.strip_suffix('\n'));
        let facts = lines.filter_map(|line| line.split_once('='));
        self.facts
            .extend(facts.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    fn add_statuses(&mut self, block: &Block<'_>) {
        let mut events = Vec::new();
        self.decode(block, u64::MAX, &mut events);
        self.statuses
            .extend(events.into_iter().filter_map(status_of));
    }

    /// Recorders may put statuses among the events of a ring too.
    fn add_statuses_of(&mut self, records: &[Record]) {
        let pairs = records.iter().map(|record| (record.time, record.event));
        self.statuses.extend(pairs.filter_map(status_of));
        self.statuses.sort_by_key(|status| status.time);
    }

    /// Appends the events of a block up to a moment, and answers how many there are, with those that are
    /// later or not known.
    fn decode(&mut self, block: &Block<'_>, until: u64, events: &mut Vec<(u64, Event)>) -> u64 {
        let context = Context::new(block.header.greenlets);
        let mut count = 0;
        for event in Events::new(words_of(block.payload), &context) {
            let Ok((ticks, event)) = event else {
                self.problem(block, "the last of the events is cut off: left out");
                return count;
            };
            count += 1;
            if block.header.base_ticks.saturating_add(ticks) > until {
                continue;
            }
            let time = self.clock.nanos(block.header.base_ticks, ticks);
            match event {
                Some(event) => events.push((time, event)),
                None => self.unknown += 1,
            }
        }
        count
    }

    /// The moment of the clock of events up to which all rings are whole; later events are left out.
    fn until(&self) -> u64 {
        let until = self.moment("until").or_else(|| self.moment("through"));
        until.unwrap_or(u64::MAX)
    }

    /// A moment of the clock of events, in ticks.
    fn moment(&self, key: &str) -> Option<u64> {
        self.facts.get(key).and_then(|text| text.parse().ok())
    }

    /// Sorts blocks into rings, and tells what is missing.
    fn rings(&mut self, mut blocks: Vec<Block<'_>>) -> (Vec<Ring>, Vec<RingEvents>, Vec<Lost>) {
        // Of a block that is there twice, the one with more in it comes first.
        blocks.sort_by_key(|block| {
            let owner = block.header.owner;
            let place = (owner.hub == Owner::NO_HUB, owner.runtime, owner.hub);
            let size = usize::MAX - block.payload.len();
            (block.header.ring, block.header.sequence, size, place)
        });
        blocks.dedup_by_key(|block| (block.header.ring, block.header.sequence));
        let mut rings: Vec<(Ring, Vec<Block<'_>>)> = Vec::new();
        for block in blocks {
            match rings.last_mut() {
                Some((ring, of_ring)) if ring.number == block.header.ring => of_ring.push(block),
                _ => rings.push((Ring::of(&block), vec![block])),
            }
        }
        rings.sort_by_key(|(ring, _)| (ring.hub.is_none(), ring.runtime, ring.hub, ring.number));
        let (mut decoded, mut lost) = (Vec::new(), Vec::new());
        for (index, (_, blocks)) in rings.iter().enumerate() {
            decoded.push(self.ring(index as u16, blocks, &mut lost));
        }
        let rings = rings.into_iter().map(|(ring, _)| ring).collect();
        (rings, decoded, lost)
    }

    /// The events of one ring.
    fn ring(&mut self, ring: u16, blocks: &[Block<'_>], lost: &mut Vec<Lost>) -> RingEvents {
        let mut events = Vec::new();
        let (mut next, until) = (0, self.until());
        for block in blocks {
            let header = block.header;
            match header.first_event.checked_sub(next) {
                Some(0) => {}
                Some(missing) => lost.push(Lost {
                    ring,
                    events: missing,
                    after: events.last().map(|&(time, _)| time),
                    before: self.clock.nanos(header.base_ticks, 0),
                }),
                None => {
                    let what = format!(
                        "block {} of ring {} says that {} events came before it, and {next} did",
                        header.sequence, header.ring, header.first_event
                    );
                    self.problem(block, what);
                }
            }
            let count = self.decode(block, until, &mut events);
            next = header.first_event.saturating_add(count);
        }
        RingEvents { events }
    }
}

impl Ring {
    fn of(block: &Block<'_>) -> Self {
        let owner = block.header.owner;
        Self {
            number: block.header.ring,
            runtime: owner.runtime,
            hub: (owner.hub != Owner::NO_HUB).then_some(owner.hub),
            thread: owner.thread,
        }
    }
}

/// What is not a whole word is left out.
pub(super) fn words_of(payload: &[u8]) -> impl Iterator<Item = u64> {
    let word = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
    payload.chunks_exact(8).map(word)
}

fn status_of((time, event): (u64, Event)) -> Option<Status> {
    match event {
        Event::Status {
            greenlet,
            run,
            state,
            parent,
            site,
            name,
            since,
        } => Some(Status {
            time,
            greenlet,
            run,
            state,
            parent,
            site,
            name,
            since,
        }),
        _ => None,
    }
}
