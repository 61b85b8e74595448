//! Switching recording on and off.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Trigger;
use super::options::{Mode, Options};
use super::serve;
use super::summary::Summary;
use crate::blocking;
use crate::lock::StaticMutex;
use crate::record::{self, Drain, Order, OwnThread, Session};
use crate::sched;
use crate::sys::{self, at_exit, clock};

/// How often all that was recorded is written to the file of a stream. When a part of a ring is full, the complete
/// blocks of all rings are written at once.
const FLUSH: Duration = Duration::from_millis(250);
/// For small blocks. Those of rings are larger and written as they are: what is copied drives out of the caches what
/// the program uses.
const BUFFER: usize = 8 << 10;
/// Between two files that one trigger has written.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);
/// How long a flush waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// What goes on.
struct Running {
    options: Options,
    thread: Option<JoinHandle<Written>>,
}

/// What the thread of a session has written.
struct Written {
    result: io::Result<()>,
    /// To the stream's file, if there is one.
    stream: Option<Streamed>,
}

struct Streamed {
    bytes: u64,
    lost: u64,
}

/// Held while recording is switched on or off.
static RUNNING: StaticMutex<Option<Running>> = StaticMutex::new(None);

/// The last flush that was done.
static FLUSHED: AtomicU64 = AtomicU64::new(0);

/// Switches recording on, for all runtimes of the process.
///
/// When this returns, all hubs record. What greenlets there are, which have started, is recorded first, as far as a
/// quarter of a hub's ring has room for them; those that were only spawned are when they first run. In a greenlet this is done on the blocking pool.
///
/// # Errors
///
/// - [`AlreadyExists`](io::ErrorKind::AlreadyExists): it is on already; or where the file of
///   [`Options::flight_in`] is to be there is something else, as a link or a device.
/// - Those of creating the file, and of threads and memory that cannot be had;
///   [`StorageFull`](io::ErrorKind::StorageFull) where the file of [`Options::flight_in`] has no room.
/// - [`Unsupported`](io::ErrorKind::Unsupported): this process was forked by one that has recorded, and has
///   not called `exec`.
///
/// ```
/// use greenlet::trace::{self, Options};
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("greenlet-start-{}.trace", std::process::id()));
/// trace::start(Options::stream(&path))?;
/// greenlet::run(|| greenlet::spawn(|| greenlet::yield_now()).join().unwrap());
/// let summary = trace::stop()?.expect("it was on");
/// assert!(summary.events >= 6);
/// assert_eq!(summary.lost, 0);
/// # std::fs::remove_file(path)
/// # }
/// ```
pub fn start(options: Options) -> io::Result<()> {
    blocking::offload(|| start_here(options))
}

fn start_here(options: Options) -> io::Result<()> {
    record::claim()?;
    let mut running = RUNNING.lock();
    serve::give_way();
    let (mapped, streamed) = match &options.mode {
        Mode::Flight(path) => (path.as_deref(), None),
        Mode::Stream(path) => (None, Some(create(path)?)),
    };
    let needs_thread = streamed.is_some() || !options.triggers.is_empty();
    if mapped.is_some() || needs_thread {
        at_exit::call_once(at_end)?;
    }
    let make = |epoch| Session::new(epoch, options.ring_bytes, mapped, options.accounts);
    let session = record::start(make)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::AlreadyExists, "recording is on already"))?;
    record::clear_orders();
    let thread = needs_thread.then(|| start_thread(session, streamed, &options));
    match thread.transpose() {
        Ok(thread) => {
            record::set_triggers(&options.triggers);
            *running = Some(Running { options, thread });
            // The last owner of a runtime runs destructors of the user's: with no lock held.
            drop(running);
            sched::wake_hubs();
            Ok(())
        }
        Err(error) => {
            record::stop();
            Err(error)
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    if record::is_on() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "recording is on already",
        ));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    // Nobody can be waited for at the other end of a FIFO.
    let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
    sys::fd::set_nonblocking(file.as_fd(), false)?;
    Ok(file)
}

/// Switches recording off, and answers what was recorded; `None` if it was not on.
///
/// When this returns, all that was recorded before is in the file of a stream, or of
/// [`Options::flight_in`]. What [`Options::flight`] has recorded is gone: take a [`snapshot`] before.
///
/// # Errors
///
/// What went wrong when the file was written, or when a hub was to have memory for its events; recording is
/// off all the same.
pub fn stop() -> io::Result<Option<Summary>> {
    blocking::offload(stop_here)
}

fn stop_here() -> io::Result<Option<Summary>> {
    // The thread is not here, and the file is another one's.
    if record::is_a_parents() {
        return Ok(None);
    }
    if RUNNING.lock().is_none() {
        return Ok(None);
    }
    // They are recorded when they are delivered, with their stacks. The last owner of a runtime runs destructors
    // of the user's, and who listens may want to switch recording: with no lock held.
    sched::await_reports();
    let mut running = RUNNING.lock();
    let Some(Running { thread, .. }) = running.take() else {
        return Ok(None);
    };
    record::set_triggers(&[]);
    let Some(session) = record::stop() else {
        return Ok(None);
    };
    let written = thread.map(|thread| {
        record::order(Order::End);
        thread.join().expect("it does not panic")
    });
    let mut summary = Summary::of(&session);
    if let Some(written) = written {
        written.result?;
        if let Some(Streamed { bytes, lost }) = written.stream {
            summary.bytes = bytes;
            summary.lost = lost;
        }
    }
    match session.failure() {
        Some(error) => Err(error),
        None => Ok(Some(summary)),
    }
}

/// Whether recording is on.
pub fn is_on() -> bool {
    record::is_on()
}

/// Writes what the rings hold to a file, while recording goes on: a trace that ends now.
///
/// A file that is there is overwritten. In a greenlet this is done on the blocking pool.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound): recording is not on. Those of creating and writing the file.
pub fn snapshot(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking::offload(|| {
        let Some(session) = record::session() else {
            let message = "recording is not on";
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        };
        let last = RUNNING
            .lock()
            .as_ref()
            .and_then(|running| running.options.last);
        write_snapshot(session, path, last)
    })
}

fn write_snapshot(session: Arc<Session>, path: &Path, last: Option<Duration>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = BufWriter::new(options.open(path)?);
    let since = last.map_or(0, |last| {
        clock::now().saturating_sub(last.as_nanos() as u64).max(1)
    });
    let statuses = sched::statuses(&session);
    let mut drain = Drain::begin(session.clone(), file, since)?;
    drain.statuses(session.clock().pair(), &statuses)?;
    drain.end()
}

/// Writes what a stream has recorded so far, and waits for it.
pub(crate) fn flush() {
    static ORDERS: AtomicU64 = AtomicU64::new(1);
    if !record::is_on() {
        return;
    }
    let number = ORDERS.fetch_add(1, Relaxed);
    // The thread ends when it cannot write.
    let is_written = |running: &Running| {
        let mut thread = running.thread.iter();
        matches!(running.options.mode, Mode::Stream(_))
            && thread.any(|thread| !thread.is_finished())
    };
    let is_written = || RUNNING.lock().as_ref().is_some_and(is_written);
    if !is_written() {
        return;
    }
    record::order(Order::Flush(number));
    let start = Instant::now();
    while FLUSHED.load(Relaxed) < number && is_written() && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
}

/// The process ends: what was recorded is not to be lost.
extern "C" fn at_end() {
    if let Err(error) = stop_here() {
        // Not `eprintln`, which panics when standard error cannot be written.
        let _ = writeln!(io::stderr(), "greenlet: the trace is not complete: {error}");
    }
}

fn start_thread(
    session: Arc<Session>,
    streamed: Option<File>,
    options: &Options,
) -> io::Result<JoinHandle<Written>> {
    let drain = streamed.map(|file| {
        let file = BufWriter::with_capacity(BUFFER, file);
        let mut drain = Drain::begin(session.clone(), file, 0)?;
        let statuses = sched::statuses(&session);
        drain.statuses(session.clock().pair(), &statuses)?;
        drain.checkpoint()?;
        Ok::<_, io::Error>(drain)
    });
    let mut service = Service {
        drain: drain.transpose()?,
        session,
        snapshots: Snapshots {
            triggers: options.triggers.clone(),
            prefix: options.snapshots.clone(),
            most: options.most_snapshots,
            written: 0,
            last: options.last,
            kinds: HashMap::new(),
        },
    };
    thread::Builder::new()
        .name("greenlet-trace".into())
        .spawn(move || {
            let _own = OwnThread::count();
            let result = service.run();
            service.written(result)
        })
}

/// The thread of a session.
struct Service {
    session: Arc<Session>,
    drain: Option<Drain<BufWriter<File>>>,
    snapshots: Snapshots,
}

/// The files that triggers write.
struct Snapshots {
    triggers: Vec<Trigger>,
    prefix: PathBuf,
    /// Of each trigger.
    most: usize,
    written: usize,
    last: Option<Duration>,
    /// How many files each trigger has written, and when it has written the last: so one that is pulled again and again
    /// does not keep the others from theirs.
    kinds: HashMap<Trigger, (usize, Instant)>,
}

impl Service {
    fn run(&mut self) -> io::Result<()> {
        let mut flush = Instant::now() + FLUSH;
        loop {
            match record::next_order(self.drain.is_some().then_some(flush)) {
                Some(Order::Write(trigger)) => self.snapshots.write(&self.session, trigger),
                Some(Order::End) => return self.drain.as_mut().map_or(Ok(()), Drain::end),
                Some(Order::Flush(number)) => {
                    self.write(true)?;
                    FLUSHED.fetch_max(number, Relaxed);
                }
                None => {
                    let all = Instant::now() >= flush;
                    self.write(all)?;
                    if all {
                        flush = Instant::now() + FLUSH;
                    }
                }
            }
        }
    }

    fn write(&mut self, all: bool) -> io::Result<()> {
        let Some(drain) = &mut self.drain else {
            return Ok(());
        };
        if !all {
            return drain.drain(false);
        }
        drain.checkpoint()?;
        drain.file().flush()
    }

    fn written(mut self, result: io::Result<()>) -> Written {
        let stream = self.drain.as_mut().map(|drain| Streamed {
            bytes: drain.file().bytes(),
            lost: drain.lost(),
        });
        Written { result, stream }
    }
}

impl Snapshots {
    fn write(&mut self, session: &Arc<Session>, trigger: Trigger) {
        // One that was pulled when the session before this ended.
        if !self.triggers.contains(&trigger) {
            return;
        }
        let (count, last) = match self.kinds.get(&trigger) {
            Some(&(count, last)) => (count, Some(last)),
            None => (0, None),
        };
        let is_early = last.is_some_and(|last| last.elapsed() < SNAPSHOT_PAUSE);
        if is_early || count == self.most {
            return;
        }
        self.written += 1;
        let mut path = self.prefix.clone().into_os_string();
        path.push(format!("-{}-{trigger}.trace", self.written));
        let path = PathBuf::from(path);
        let result = write_snapshot(session.clone(), &path, self.last);
        self.kinds.insert(trigger, (count + 1, Instant::now()));
        // Not `eprintln`, which panics when standard error cannot be written.
        let _ = match result {
            Ok(()) => writeln!(
                io::stderr(),
                "greenlet: trace of a {trigger}: {}",
                path.display()
            ),
            Err(error) => writeln!(
                io::stderr(),
                "greenlet: the trace of a {trigger} cannot be written to {}: {error}",
                path.display()
            ),
        };
    }
}
