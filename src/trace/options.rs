//! How to record.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Trigger;

/// A ring holds some hundred thousand events.
const RING_BYTES: usize = 4 << 20;

/// How many files a trigger writes, unless there may be more.
const SNAPSHOTS: usize = 10;

/// How to record; for [`start`](super::start).
///
/// ```
/// use greenlet::trace::{self, Options, Trigger};
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("greenlet-options-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let options = Options::flight()
///     .ring_size(16 << 20)
///     .snapshot_on(&[Trigger::Panic, Trigger::LongRun], folder.join("incident"))
///     .last(Duration::from_secs(10));
/// trace::start(options)?;
/// // ...
/// trace::stop()?;
/// # std::fs::remove_dir_all(&folder)
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing before `start`"]
pub struct Options {
    pub(super) mode: Mode,
    pub(super) ring_bytes: usize,
    pub(super) accounts: bool,
    pub(super) triggers: Vec<Trigger>,
    /// What the names of files begin with that triggers write.
    pub(super) snapshots: PathBuf,
    pub(super) most_snapshots: usize,
    pub(super) last: Option<Duration>,
}

/// Where events go.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    /// To rings; in this file, if there is one.
    Flight(Option<PathBuf>),
    /// To this file.
    Stream(PathBuf),
}

impl Options {
    /// The flight recorder: the last events are kept in memory, and written to a file when
    /// [`snapshot`](super::snapshot) is called, or a [trigger](Self::snapshot_on) is pulled.
    pub fn flight() -> Self {
        Self::new(Mode::Flight(None))
    }

    /// The flight recorder with its memory in a file, which thus has the last events whatever becomes of
    /// the process, even if it is killed. A file that is there is replaced, and anything else, as a link or a
    /// device, is an error; nobody may change or truncate it while recording is on. It is best on a file
    /// system in memory, as `/dev/shm`: elsewhere the kernel writes it to the disk again and again.
    pub fn flight_in(path: impl AsRef<Path>) -> Self {
        Self::new(Mode::Flight(Some(path.as_ref().into())))
    }

    /// All events, written to a file by a thread of their own. If that is too slow, events are lost, and
    /// counted. A file that is there is written over; a FIFO must have a reader already.
    pub fn stream(path: impl AsRef<Path>) -> Self {
        Self::new(Mode::Stream(path.as_ref().into()))
    }

    fn new(mode: Mode) -> Self {
        Self {
            mode,
            ring_bytes: RING_BYTES,
            accounts: false,
            triggers: Vec::new(),
            snapshots: PathBuf::new(),
            most_snapshots: SNAPSHOTS,
            last: None,
        }
    }

    /// How much memory each hub has for its events, in bytes: 4 MiB unless this says otherwise, and 64 KiB
    /// at least. An event takes 8 to 48 bytes; most of those of a wait and the switch after it take 8. Memory is
    /// used as it fills, by huge pages of 2 MiB where the kernel has any.
    pub fn ring_size(mut self, bytes: usize) -> Self {
        self.ring_bytes = bytes;
        self
    }

    /// Has the runs of every greenlet, and who has woken whom, counted besides: exact for the whole time,
    /// however much the rings forget, at the cost of two look-ups a switch. [`stop`](super::stop) answers
    /// with it.
    pub fn accounts(mut self, wanted: bool) -> Self {
        self.accounts = wanted;
        self
    }

    /// Has the last events written to a file when one of these things happens: to `prefix`, to which a
    /// number and the [name](Trigger::name) of the trigger are added, as `-1-panic.trace`. No more than
    /// one a second, and [ten](Self::most_snapshots), of each trigger.
    pub fn snapshot_on(mut self, triggers: &[Trigger], prefix: impl AsRef<Path>) -> Self {
        self.triggers = triggers.to_vec();
        self.snapshots = prefix.as_ref().into();
        self
    }

    /// How many files each trigger may write: ten unless this says otherwise.
    pub fn most_snapshots(mut self, count: usize) -> Self {
        self.most_snapshots = count;
        self
    }

    /// About how far a snapshot goes back: as far as the rings do, unless this says otherwise. It is written in blocks of
    /// 16 KiB, and those that ended before are left out.
    pub fn last(mut self, time: Duration) -> Self {
        self.last = Some(time);
        self
    }
}
