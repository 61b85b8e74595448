//! A session: from when recording is switched on to when it is switched off. There is one at a time.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::accounts::Accounts;
use super::block::{BlockHeader, Content, FileHeader, Owner};
use super::clock::Clock;
use super::file::{self, Start};
use super::ring::{BLOCK_BYTES, FEWEST_BLOCKS, Ring, Writer};
use super::texts::Texts;
use crate::lock::StaticMutex;
use crate::sys::fault::write_stderr;
use crate::sys::mapping::Mapping;

/// Room for texts.
const TEXTS_BYTES: usize = 4 << 20;

/// In a mapped file: where the texts begin, which is a multiple of every size that pages have. The facts before
/// them have the program's path, of up to 4096 bytes that may each be written as several.
const TEXTS_AT: u64 = 64 << 10;

/// Rings have a multiple of this, for the same reason.
const RING_UNIT: usize = FEWEST_BLOCKS * BLOCK_BYTES;

/// More than there is memory or disk, and so little that all of them together can be counted.
const LARGEST_RING: usize = 1 << 50;

/// A million rings of the default size would not fit into memory, nor their numbers into 16 bits.
const MOST_RINGS: usize = 4096;

#[derive(Debug)]
pub(crate) struct Session {
    /// Tells it from others.
    epoch: u32,
    start: Start,
    /// Facts about the program and the machine.
    about: String,
    /// When it began, in ticks.
    began: u64,
    /// From when on, in ticks, everybody records; 0 while it begins.
    since: AtomicU64,
    /// Up to when, in ticks, everybody has recorded; 0 while recording goes on.
    until: AtomicU64,
    /// Nanoseconds in 2^32 ticks.
    nanos_per_tick: u64,
    ring_bytes: usize,
    /// The file that rings are mapped from, if they are.
    file: Option<File>,
    texts: Texts,
    rings: StaticMutex<Rings>,
    /// Those of every recorder, if they are wanted.
    accounts: Option<StaticMutex<Vec<Arc<StaticMutex<Accounts>>>>>,
}

#[derive(Debug, Default)]
struct Rings {
    all: Vec<Arc<Ring>>,
    /// Why a ring could not be made, the first time.
    failed: Option<io::Error>,
}

impl Session {
    /// Rings of about so many bytes each, in memory, or in a new file that is mapped.
    pub(crate) fn new(
        epoch: u32,
        ring_bytes: usize,
        path: Option<&Path>,
        accounts: bool,
    ) -> io::Result<Self> {
        let ring_bytes = ring_bytes.clamp(1, LARGEST_RING);
        let ring_bytes = ring_bytes.next_multiple_of(RING_UNIT);
        let start = Start::now();
        // Before anybody records, because it may take a millisecond.
        let nanos_per_tick = (1_000_000_000 << 32) / start.clock.ticks_per_second().max(1);
        let file = path.map(create).transpose()?;
        let texts = match &file {
            Some(file) => Mapping::of_file(file, TEXTS_AT, TEXTS_BYTES)?,
            None => Mapping::private(TEXTS_BYTES)?,
        };
        let session = Self {
            epoch,
            start,
            about: start.facts(),
            began: start.clock.now(),
            since: AtomicU64::new(0),
            until: AtomicU64::new(0),
            nanos_per_tick,
            ring_bytes,
            file,
            texts: Texts::new(texts),
            rings: StaticMutex::default(),
            accounts: accounts.then(StaticMutex::default),
        };
        session.write_head()?;
        Ok(session)
    }

    /// Everybody records from this moment on.
    pub(super) fn begin(&self) {
        self.since.store(self.clock().now(), Relaxed);
    }

    /// From this moment on somebody may not record any more.
    pub(super) fn end(&self) {
        self.until.store(self.clock().now(), Relaxed);
    }

    /// Up to when, in ticks, everybody has recorded, if recording is over.
    pub(super) fn until(&self) -> Option<u64> {
        let until = self.until.load(Relaxed);
        (until != 0).then_some(until)
    }

    /// What is known of the program, the machine and the recording, line by line.
    pub(super) fn facts(&self) -> String {
        let mut facts = self.about.clone();
        for (key, ticks) in [("since", &self.since), ("until", &self.until)] {
            let ticks = ticks.load(Relaxed);
            if ticks != 0 {
                facts += &file::moment(key, ticks);
            }
        }
        facts
    }

    /// Writes all that comes before the texts of a mapped file, if there is one.
    pub(super) fn write_head(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let first_block = (FileHeader::WORDS * 8) as u64;
        let facts = file::lines(self.facts());
        let header = BlockHeader {
            length: (TEXTS_AT - first_block) as u32,
            used: (facts.len() * 8) as u32,
            ..BlockHeader::of_no_ring(Content::Facts)
        };
        let mut words = self.start.header(first_block).encode().to_vec();
        words.extend(header.encode());
        words.extend(facts);
        words.truncate(TEXTS_AT as usize / 8);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        file.write_all_at(&bytes, 0)
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn start(&self) -> &Start {
        &self.start
    }

    pub(crate) fn clock(&self) -> Clock {
        self.start.clock
    }

    /// When it began, in ticks.
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// Nanoseconds in 2^32 ticks.
    pub(crate) fn nanos_per_tick(&self) -> u64 {
        self.nanos_per_tick
    }

    pub(crate) fn texts(&self) -> &Texts {
        &self.texts
    }

    /// How many bytes a ring has.
    pub(crate) fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    /// For a new recorder.
    pub(super) fn add_accounts(&self) -> Option<Arc<StaticMutex<Accounts>>> {
        let accounts = Arc::default();
        self.accounts.as_ref()?.lock().push(Arc::clone(&accounts));
        Some(accounts)
    }

    /// What all recorders have counted, if they do.
    pub(crate) fn accounts(&self) -> Option<Accounts> {
        let mut sum = Accounts::default();
        for accounts in self.accounts.as_ref()?.lock().iter() {
            sum.add(&accounts.lock());
        }
        Some(sum)
    }

    /// The rings so far.
    pub(crate) fn rings(&self) -> Vec<Arc<Ring>> {
        self.rings.lock().all.clone()
    }

    /// Why a ring could not be made, if that was so.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.rings.lock().failed.take()
    }

    /// A new ring's writer. `None` if there is no memory, or no room on the disk; the first time that is told on
    /// standard error.
    pub(super) fn add_ring(&self, owner: Owner) -> Option<Writer> {
        let mut rings = self.rings.lock();
        let number = rings.all.len();
        let memory = match &self.file {
            _ if number == MOST_RINGS => Err(io::ErrorKind::QuotaExceeded.into()),
            Some(file) => {
                let first = TEXTS_AT + TEXTS_BYTES as u64;
                let at = first + (number * self.ring_bytes) as u64;
                // What the file has got of the disk's room before there was no more is of use to others.
                Mapping::of_file(file, at, self.ring_bytes).inspect_err(|_| {
                    let _ = file.set_len(at);
                })
            }
            None => Mapping::private(self.ring_bytes),
        };
        match memory {
            Ok(memory) => {
                memory.prefer_huge_pages();
                let ring = Arc::new(Ring::new(memory, number as u16, owner));
                rings.all.push(ring.clone());
                Some(Writer::new(ring, self.clock()))
            }
            Err(error) => {
                if rings.failed.is_none() {
                    let bytes = self.ring_bytes;
                    let told = format!(
                        "greenlet: a hub or thread is not recorded: {bytes} bytes for its events: {error}\n"
                    );
                    // Not `io::stderr`, whose lock a greenlet may have.
                    write_stderr(told.as_bytes());
                    rings.failed = Some(error);
                }
                None
            }
        }
    }
}

/// A new file. One that is there is replaced: a process may have it mapped. What else is there stays, and a link is
/// not followed: in a directory that all may write to it may be anybody's.
fn create(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        let told = "something is there that is no file";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, told));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}
