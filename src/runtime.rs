//! Runtimes: a number of hubs and the greenlets that they run.

use std::fmt;
use std::io;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::blocking;
use crate::error::{BuildError, Cancelled, ThreadLocalsError};
use crate::join_handle::JoinHandle;
use crate::metrics::{self, Metrics};
use crate::panic_message;
use crate::sched::{
    self, BLOCKED_AFTER, BlockedHub, Deadlock, DumpsOnQuit, Interruptible, Main, MonitorOptions,
    OnBlocked, Shared, SpawnOptions, StackUsage, Stats,
};
use crate::stack;
use crate::trace;

/// The stack of the greenlet that `run` starts: as large as a main thread's.
const MAIN_STACK: usize = 8 << 20;

/// More hubs than this are a mistake.
const MAX_HUBS: usize = 1024;

/// A scheduler with its worker threads, one hub each.
///
/// Dropping it ends its greenlets: closures that have not started are dropped, every wait answers
/// with an unwinding [`Cancelled`](crate::Cancelled), and the drop returns when the last greenlet
/// has ended and the workers are gone. Greenlets that are unwinding already finish that, waits in
/// destructors included. A greenlet that never waits or yields holds the drop up, and so does one
/// that catches `Cancelled` and goes on, at full speed: every wait fails at once. Dropped by one
/// of its own greenlets, a runtime ends in the background.
///
/// With `panic = "abort"` nothing can unwind. The drop returns when every hub has come out of the
/// greenlet that it runs and has stopped. What has not ended by then is leaked, with the closures
/// that have not started: no destructors run, `is_finished` stays false, a wake does nothing, and a
/// [`join`](JoinHandle::join) waits for ever, on a plain thread or in another runtime.
pub struct Runtime {
    shared: Arc<Shared>,
    workers: Vec<thread::JoinHandle<()>>,
    /// Ctrl-C interrupts `run`.
    ctrl_c: bool,
    /// SIGQUIT writes a dump while `run` is under way.
    dump_on_quit: bool,
    /// The socket of `GREENLET_TOP`.
    _top: Option<Arc<trace::Server>>,
}

impl Runtime {
    /// Sets a runtime up.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = greenlet::Runtime::builder().hubs(2).stack_size(1 << 20).build()?;
    /// assert_eq!(runtime.run(|| 1 + 1), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Runs `f` in a greenlet named `main` and returns its result. May be called again, and from
    /// several threads. `f` may borrow: the caller is blocked meanwhile.
    ///
    /// The greenlet has a stack of 8 MiB. Greenlets that it has spawned may outlive it; they end
    /// with the runtime.
    ///
    /// # Panics
    ///
    /// With the panic of `f`. On a deadlock, with a list of who waits for what. In a greenlet, whose hub
    /// would be blocked. In a process that was forked on a greenlet: the hubs are its parent's.
    ///
    /// On Ctrl-C it unwinds without a message, with [`RunError::Interrupted`] as payload; see
    /// [`RuntimeBuilder::ctrl_c`].
    ///
    /// ```
    /// # let runtime = greenlet::Runtime::builder().hubs(1).build().unwrap();
    /// let mut numbers = vec![3, 1, 2];
    /// runtime.run(|| numbers.sort());
    /// assert_eq!(numbers, [1, 2, 3]);
    /// ```
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        self.try_run(f).unwrap_or_else(|error| error.unwind())
    }

    /// [`run`](Self::run), with an error instead of a panic when nothing can ever wake the greenlets
    /// that are left, and on Ctrl-C.
    ///
    /// # Errors
    ///
    /// [`RunError::Deadlock`] and [`RunError::Interrupted`]; the greenlet of `f` was cancelled then, and
    /// has ended.
    ///
    /// # Panics
    ///
    /// With the panic of `f`. In a greenlet, whose hub would be blocked.
    #[track_caller]
    pub fn try_run<F, T>(&self, f: F) -> Result<T, RunError>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        assert!(
            !sched::on_greenlet(),
            "a runtime's `run` would block the hub of this greenlet"
        );
        let slot_size = self
            .shared
            .slot_size_for(MAIN_STACK)
            .expect("8 MiB fit into memory");
        let options = SpawnOptions {
            name: Some("main".into()),
            ..SpawnOptions::new(slot_size, Location::caller())
        };
        // Before the greenlet begins, so that it is interrupted from its first instruction on.
        let _dumps = self.dump_on_quit.then(DumpsOnQuit::enter).flatten();
        let interruptible = self.ctrl_c.then(Interruptible::enter).flatten();
        // SAFETY: Send; and the caller waits below, so what `f` borrows stays.
        let spawned = unsafe { sched::spawn(&self.shared, options, f) };
        // SAFETY: the greenlet that was just spawned in it.
        let main = unsafe { Main::enter(&self.shared, spawned.cell(), interruptible) };
        let result = spawned
            .join(true)
            .expect("a shielded wait is not cancelled");
        result.or_else(|payload| {
            if !payload.is::<Cancelled>() {
                resume_unwind(payload);
            }
            match main.deadlock() {
                Some(deadlock) => Err(RunError::Deadlock(deadlock.clone())),
                None if main.was_interrupted() => Err(RunError::Interrupted),
                None => resume_unwind(payload),
            }
        })
    }

    /// [`spawn`](crate::spawn) in this runtime, from anywhere.
    ///
    /// # Panics
    ///
    /// In a process that was forked on a greenlet: the hubs are its parent's.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: Send and 'static; and `self` keeps the runtime alive.
        unsafe { JoinHandle::spawn(&self.shared, Location::caller(), f) }
    }

    /// How many hubs it has.
    pub fn hubs(&self) -> usize {
        self.shared.hub_count()
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        metrics::stats_of(&self.shared)
    }

    /// The same and more, hub by hub, and as a text for Prometheus; see [`metrics`](mod@crate::metrics).
    pub fn metrics(&self) -> Metrics {
        metrics::of(std::slice::from_ref(&self.shared))
    }

    /// How much stack its greenlets have used, by spawn site: what a good
    /// [`stack_size`](crate::Builder::stack_size) is chosen by.
    ///
    /// This is sampled. A greenlet that was chosen when it started counts when it has ended. Of those
    /// that start on a stack that others have used before, one in 1,024 is chosen, of those on a new
    /// stack one in 64, and more of the first ones on each hub.
    ///
    /// ```
    /// # let runtime = greenlet::Runtime::builder().hubs(1).build().unwrap();
    /// runtime.run(|| std::hint::black_box([1_u8; 50_000]).len());
    /// let usage = runtime.stack_usage();
    /// assert!(usage[0].high_water > 50_000);
    /// println!("{}: {} bytes", usage[0].spawned_at, usage[0].high_water);
    /// ```
    pub fn stack_usage(&self) -> Vec<StackUsage> {
        self.shared.stack_usage()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if cfg!(panic = "abort") {
            // Greenlets that wait are leaked, and whoever wakes one goes to its runtime.
            std::mem::forget(self.shared.clone());
        }
        self.shared.end();
        if sched::runtime().is_some_and(|own| Arc::ptr_eq(own, &self.shared)) {
            return;
        }
        let workers = std::mem::take(&mut self.workers);
        blocking::offload_drop(|| {
            sched::end(&self.shared, workers);
            trace::flush();
        });
        // Descriptors that outlive the runtime register with another one.
        self.shared.reactor.close();
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("hubs", &self.hubs())
            .finish_non_exhaustive()
    }
}

/// What a [`Runtime`] is to be like; by [`Runtime::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before `build`"]
pub struct RuntimeBuilder {
    hubs: Option<usize>,
    stack_size: Option<usize>,
    share_thread_locals: bool,
    blocked_after: Option<Duration>,
    on_blocked: Option<OnBlocked>,
    blocking_threads: Option<usize>,
    blocking_queue: Option<usize>,
    ctrl_c: Option<bool>,
    dump_on_quit: Option<bool>,
}

impl RuntimeBuilder {
    /// How many hubs, and so worker threads: 1 to 1,024. Otherwise `GREENLET_HUBS` says so, or
    /// else the number of available processors.
    pub fn hubs(mut self, hubs: usize) -> Self {
        self.hubs = Some(hubs);
        self
    }

    /// The stack size of greenlets that do not ask for another, in bytes of address space; see
    /// [`Builder::stack_size`](crate::Builder::stack_size). Otherwise `GREENLET_STACK_SIZE` says
    /// so, or else it is 256 KiB.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Lets greenlets share their worker's thread-locals instead of having their own: a page less
    /// for each, and possible where [`build`](Self::build) answers
    /// [`BuildError::ThreadLocals`]. A greenlet then stays on the hub on which it started.
    ///
    /// # Safety
    ///
    /// Rust takes a greenlet for a thread, which it then is not. No code that runs in greenlets may
    /// - keep a borrow into a `thread_local!` (inside of `LocalKey::with`, or a `RefCell` guard of
    ///   it) over a wait, nor wait in the initialiser of one;
    /// - use crates that set a thread-local for a scope (scoped-tls) around a wait;
    /// - wait in a `Drop` that runs while a panic unwinds;
    /// - hold a re-entrant lock (std's stdout lock) over a wait;
    /// - expect `errno`, or another C library's per-thread state, to be kept over a wait.
    pub unsafe fn share_thread_locals(mut self) -> Self {
        self.share_thread_locals = true;
        self
    }

    /// How long a greenlet may keep its hub from running others before that is reported, and before
    /// what waits for the hub is given to others: 10 ms unless this says otherwise. The monitor looks
    /// twice in that time, but every 5 ms at least and every 0.2 ms at most. The message of a panic, which takes long with a backtrace, is reported after 10 s.
    pub fn blocked_after(mut self, time: Duration) -> Self {
        self.blocked_after = Some(time);
        self
    }

    /// Has `report` called, on a thread of its own, when a greenlet has kept its hub from running others
    /// for [`blocked_after`](Self::blocked_after): once for every time that it does so. Otherwise the
    /// report is written to standard error, once for every place that greenlets are spawned at.
    ///
    /// With the feature `stacks` the report has the greenlet's stack. A greenlet that computes is sent
    /// a signal for it, SIGURG, whose handler goes on to one that was there before; a system call that
    /// it begins at that moment may end with `EINTR`. One that waits is not disturbed.
    ///
    /// `report` holds up all other reports, and must not panic: that aborts.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let (sender, reports) = mpsc::channel();
    /// let runtime = greenlet::Runtime::builder()
    ///     .hubs(1)
    ///     .on_blocked(move |report| drop(sender.send(report.to_string())))
    ///     .build()
    ///     .unwrap();
    /// runtime.run(|| std::thread::sleep(Duration::from_millis(100)));
    /// # let report = reports.recv().unwrap();
    /// # assert!(report.contains("greenlet 'main'"), "{report}");
    /// ```
    pub fn on_blocked(mut self, report: impl Fn(&BlockedHub) + Send + Sync + 'static) -> Self {
        self.on_blocked = Some(OnBlocked::Call(Arc::new(report)));
        self
    }

    /// How many threads the blocking pool may have, see [`blocking`](crate::blocking). Otherwise
    /// `GREENLET_BLOCKING_THREADS` says so, or else it is 512.
    ///
    /// The pool is the process's, so this holds for every runtime, from this [`build`](Self::build) to
    /// the next one that says something else. Threads that are too many then end when they find nothing
    /// to do.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        assert!(threads > 0, "the blocking pool needs at least one thread");
        self.blocking_threads = Some(threads);
        self
    }

    /// How many jobs may wait for a thread of the blocking pool before greenlets wait for a place in
    /// the queue, see [`blocking`](crate::blocking). Otherwise `GREENLET_BLOCKING_QUEUE` says so, or
    /// else it is 8,192. It holds for the process, as [`blocking_threads`](Self::blocking_threads) does.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn blocking_queue(mut self, jobs: usize) -> Self {
        assert!(jobs > 0, "the queue of the blocking pool needs a place");
        self.blocking_queue = Some(jobs);
        self
    }

    /// Whether Ctrl-C (SIGINT) ends [`run`](Runtime::run): yes, unless this says otherwise.
    ///
    /// Then, while it runs, the signal cancels its greenlet, as a drop of the runtime would: the present
    /// wait, or the next one, unwinds with [`Cancelled`]. Destructors run, and when the greenlet has
    /// ended, [`try_run`](Runtime::try_run) answers [`RunError::Interrupted`], and `run` unwinds
    /// without a message: a `main` that lets that pass ends with exit code 101, and not by the signal.
    /// A greenlet that computes, or waits in [`blocking`](crate::blocking), is not interrupted before
    /// it waits elsewhere; a second signal ends the process at once, as it does without all this.
    ///
    /// It holds where nothing was done about the signal when `run` began: a handler of the program's is
    /// left alone, and a signal that is ignored stays so. And it does not hold while somebody waits for
    /// the signal by [`signal`](crate::signal). All `run`s of the process are interrupted that allow it.
    /// When the last has ended, the signal's default action is back. With `panic = "abort"` it is never
    /// away.
    pub fn ctrl_c(mut self, interrupts: bool) -> Self {
        self.ctrl_c = Some(interrupts);
        self
    }

    /// Whether SIGQUIT (Ctrl-\\ in a terminal) writes a [`dump`](crate::dump()) to standard error while
    /// [`run`](Runtime::run) is under way: yes, unless this says otherwise.
    ///
    /// The program goes on. A second signal within two seconds ends it, as the first one does without all this: with a
    /// core file, if the system writes any. The dump is taken by a thread of its own, so it does not matter
    /// whether hubs are stuck.
    ///
    /// It holds where nothing was done about the signal when `run` began: a handler of the program's is
    /// left alone, and a signal that is ignored stays so. And it does not hold while somebody waits for
    /// the signal by [`signal`](crate::signal). When the last `run` has ended, the signal's default action is
    /// back. A child that was forked and has not called `exec` ends.
    pub fn dump_on_quit(mut self, dumps: bool) -> Self {
        self.dump_on_quit = Some(dumps);
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// - `Hubs`: a number of hubs out of range, or `GREENLET_HUBS` is no number.
    /// - `StackSize`: less than 16 KiB, or more than there is address space.
    /// - `Environment`: `GREENLET_STACK_SIZE` is no number, or `GREENLET_BLOCKING_THREADS` or `GREENLET_BLOCKING_QUEUE` is none
    ///   above zero.
    /// - `Trace`: `GREENLET_TRACE` makes no sense.
    /// - `ThreadLocals`: greenlets cannot have thread-locals of their own here; it says why.
    /// - `Io`: the system refuses threads, descriptors or memory.
    pub fn build(self) -> Result<Runtime, BuildError> {
        let hubs = self.chosen_hubs()?;
        let size = self.chosen_stack_size()?;
        let blocking_threads = limit(self.blocking_threads, "GREENLET_BLOCKING_THREADS")?;
        let blocking_queue = limit(self.blocking_queue, "GREENLET_BLOCKING_QUEUE")?;
        let support = if self.share_thread_locals {
            None
        } else {
            Some(blocking::offload(sched::support)?)
        };
        let slot_size = Some(size)
            .filter(|size| *size >= stack::MIN_SIZE)
            .and_then(|size| sched::slot_size(size, support))
            .ok_or(BuildError::StackSize(size))?;
        trace::obey().map_err(|(value, reason)| BuildError::Trace { value, reason })?;
        panic_message::install();
        blocking::set_limits(blocking_threads, blocking_queue);
        let monitor = MonitorOptions {
            blocked_after: self.blocked_after.unwrap_or(BLOCKED_AFTER),
            on_blocked: self.on_blocked.unwrap_or(OnBlocked::Print),
            blocking_counts: || {
                let pool = blocking::counts();
                (pool.threads, pool.idle, pool.queued)
            },
        };
        // Not on a greenlet: OS threads are to be started by OS threads.
        let (shared, workers) =
            blocking::offload(|| sched::start(hubs, slot_size, support, monitor))?;
        Ok(Runtime {
            shared,
            workers,
            ctrl_c: self.ctrl_c.unwrap_or(true),
            dump_on_quit: self.dump_on_quit.unwrap_or(true),
            _top: blocking::offload(trace::serve_by_environment),
        })
    }

    fn chosen_hubs(&self) -> Result<usize, BuildError> {
        let hubs = match (self.hubs, variable("GREENLET_HUBS")) {
            (Some(hubs), _) => hubs,
            (None, Some(text)) => text.trim().parse().map_err(|_| BuildError::Hubs(text))?,
            (None, None) => thread::available_parallelism()
                .map_or(1, usize::from)
                .min(MAX_HUBS),
        };
        if (1..=MAX_HUBS).contains(&hubs) {
            Ok(hubs)
        } else {
            Err(BuildError::Hubs(hubs.to_string()))
        }
    }

    fn chosen_stack_size(&self) -> Result<usize, BuildError> {
        let name = "GREENLET_STACK_SIZE";
        match (self.stack_size, variable(name)) {
            (Some(size), _) => Ok(size),
            (None, Some(text)) => text
                .trim()
                .parse()
                .map_err(|_| BuildError::Environment { name, value: text }),
            (None, None) => Ok(stack::DEFAULT_SIZE),
        }
    }
}

/// A limit that was chosen, or else what the variable says.
fn limit(chosen: Option<usize>, name: &'static str) -> Result<Option<usize>, BuildError> {
    let (None, Some(text)) = (chosen, variable(name)) else {
        return Ok(chosen);
    };
    match text.trim().parse() {
        Ok(limit) if limit > 0 => Ok(Some(limit)),
        _ => Err(BuildError::Environment { name, value: text }),
    }
}

/// What a variable says, if it is set. What is not UTF-8 is no number either, and is shown with
/// replacement characters.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Why [`try_run`] has not run its closure to the end.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The runtime could not be built.
    Build(BuildError),
    /// Nothing can ever wake the greenlets that are left.
    Deadlock(Deadlock),
    /// By Ctrl-C, see [`RuntimeBuilder::ctrl_c`].
    Interrupted,
}

impl RunError {
    /// What `run` does instead of answering.
    #[track_caller]
    fn unwind(self) -> ! {
        match self {
            // Who has pressed Ctrl-C knows.
            Self::Interrupted => resume_unwind(Box::new(self)),
            Self::Build(_) | Self::Deadlock(_) => panic!("{self}"),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::Deadlock(deadlock) => deadlock.fmt(f),
            Self::Interrupted => f.write_str("interrupted by Ctrl-C"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Build(error) => Some(error),
            Self::Deadlock(deadlock) => Some(deadlock),
            Self::Interrupted => None,
        }
    }
}

impl From<RunError> for io::Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Build(error) => error.into(),
            RunError::Deadlock(deadlock) => Self::new(io::ErrorKind::Deadlock, deadlock),
            // Not its kind `Interrupted`, after which callers try again.
            RunError::Interrupted => Self::other(error),
        }
    }
}

/// Builds a runtime, runs `f` in it and drops it: greenlets that are left then are cancelled.
///
/// # Panics
///
/// If the runtime cannot be built, with the reason; with the panic of `f`; on a deadlock, with a list of
/// who waits for what; and in a greenlet. On Ctrl-C it unwinds without a message, with
/// [`RunError::Interrupted`] as payload; see [`RuntimeBuilder::ctrl_c`].
///
/// ```
/// let sum = greenlet::run(|| {
///     let greenlets: Vec<_> = (0..10).map(|n| greenlet::spawn(move || n * n)).collect();
///     greenlets.into_iter().map(|greenlet| greenlet.join().unwrap()).sum::<u32>()
/// });
/// assert_eq!(sum, 285);
/// ```
#[track_caller]
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    match try_run(f) {
        Ok(value) => value,
        Err(error) => error.unwind(),
    }
}

/// [`run`], with an error instead of a panic if the runtime cannot be built, on a deadlock, and on Ctrl-C.
///
/// # Errors
///
/// [`RunError::Build`], with `f` dropped unrun. [`RunError::Deadlock`] when nothing can ever wake the
/// greenlets that are left, and [`RunError::Interrupted`]; all are cancelled then.
///
/// # Panics
///
/// With the panic of `f`, and in a greenlet.
#[track_caller]
pub fn try_run<F, T>(f: F) -> Result<T, RunError>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let runtime = Runtime::builder().build().map_err(RunError::Build)?;
    runtime.try_run(f)
}

/// What the runtime of the calling greenlet has done so far; `None` outside of a greenlet.
pub fn stats() -> Option<Stats> {
    sched::runtime().map(|shared| metrics::stats_of(shared))
}

/// [`Runtime::stack_usage`] of the runtime of the calling greenlet; `None` outside of a greenlet.
pub fn stack_usage() -> Option<Vec<StackUsage>> {
    sched::runtime().map(|shared| shared.stack_usage())
}

/// Calls `f` with the runtime of the caller, or with the default one.
pub(crate) fn with_current<R>(f: impl FnOnce(&Arc<Shared>) -> R) -> R {
    match sched::runtime() {
        Some(shared) => f(shared),
        None => f(&default_runtime().shared),
    }
}

/// The runtime for greenlets that are spawned outside of any. Ends with the process.
fn default_runtime() -> &'static Runtime {
    static DEFAULT: OnceLock<Runtime> = OnceLock::new();
    DEFAULT.get_or_init(|| match Runtime::builder().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("the default runtime cannot be built: {error}"),
    })
}

impl From<ThreadLocalsError> for RunError {
    fn from(error: ThreadLocalsError) -> Self {
        Self::Build(error.into())
    }
}
