//! An elastic pool of threads for jobs that block.
//!
//! Owns its threads, which belong to no hub; `offload` submits to the one [`Pool::global`]. A
//! thread is started whenever a job finds none idle, up to a cap; a thread that was idle for
//! [`IDLE_TIMEOUT`] ends. The thread that became idle last is woken first, so that under a light
//! load the others really end.
//!
//! Invariant, under the lock: while there are jobs in the queue there is a thread that will look at
//! it again without being woken.

use crate::abort::AbortOnUnwind;
use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::sched::Histogram;
use crate::sched::wait_list::{Claimed, Enlist, wait, wait_shielded};
use crate::sys::clock;
use crate::waker::Outcome;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::process;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicPtr, AtomicUsize};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::queue::Queue;

/// Work for the pool. It may block its thread as long as it likes; it must not unwind.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// How long a thread waits for a job before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The cap of the global pool, unless a runtime's builder has said otherwise.
const GLOBAL_THREADS: usize = 512;

/// How long the queue of the global pool may be, unless a runtime's builder has said otherwise.
const GLOBAL_QUEUE: usize = 8192;

/// What its threads are called; the kernel shows the first 15 bytes.
const THREAD_NAME: &str = "greenlet-blocking";

/// A handle to a pool of threads.
///
/// When it is dropped the pool's threads finish what is queued, and end when they have been idle.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool that has no threads yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self::with_idle_timeout(limits, IDLE_TIMEOUT)
    }

    fn with_idle_timeout(limits: Limits, idle_timeout: Duration) -> Self {
        let shared = Shared {
            state: Mutex::new(State::new(limits)),
            limits: LatestLimits::new(limits),
            durations: Histogram::new(),
            idle_timeout,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The pool of the process. A forked child has its own, with its parent's limits: the threads of
    /// its parent's are not there.
    pub(crate) fn global() -> &'static Self {
        static GLOBAL: AtomicPtr<Global> = AtomicPtr::new(ptr::null_mut());
        let process = process::id();
        // Acquire, here and below: pairs with the AcqRel exchange, for what the pointer leads to.
        let mut found = GLOBAL.load(Acquire);
        loop {
            // SAFETY: one that was published is never freed.
            let published = unsafe { found.as_ref() };
            if let Some(global) = published
                && global.process == process
            {
                return &global.pool;
            }
            let limits = published.map_or(Limits::GLOBAL, |parent| parent.pool.limits());
            let pool = Self::new(limits);
            let new = Box::into_raw(Box::new(Global { process, pool }));
            match GLOBAL.compare_exchange(found, new, AcqRel, Acquire) {
                Ok(_) => found = new,
                Err(now) => {
                    // SAFETY: made above, and not published: another thread was faster.
                    drop(unsafe { Box::from_raw(new) });
                    found = now;
                }
            }
        }
    }

    /// A place for a job, if there is one that nobody waits for.
    pub(crate) fn reserve(&self) -> Option<Place<'_>> {
        let mut state = self.shared.state.lock();
        let limit = state.limits.queue;
        state.queue.reserve(limit).then(|| Place(self))
    }

    /// Parks until there is a place, in the order of arrival. `Err`: how the wait has ended without
    /// one.
    #[cold]
    pub(crate) fn wait_for_place(&self, deadline: Option<u64>) -> Result<Place<'_>, Outcome> {
        let queued = Cell::new(false);
        let (outcome, ()) = wait(
            (&self.shared.state, |state| state.queue.waiters()),
            (),
            (WaitReason::Blocking.into(), deadline),
            |state, ()| {
                let place = state.enlist();
                queued.set(place != Enlist::No);
                place
            },
            |state| {
                if queued.get() {
                    state.queue.leave();
                }
            },
        );
        match outcome {
            Outcome::Woken => Ok(Place(self)),
            Outcome::Deadline | Outcome::Cancelled => Err(outcome),
        }
    }

    /// The same without a deadline, and not cancelled.
    #[cold]
    pub(crate) fn wait_for_place_shielded(&self) -> Place<'_> {
        wait_shielded(
            (&self.shared.state, |state| state.queue.waiters()),
            (),
            WaitReason::Blocking.into(),
            |state, ()| state.enlist(),
        );
        Place(self)
    }

    /// Changes who has places, and gives those that are free to the ones that wait.
    fn change_queue(&self, change: impl FnOnce(&mut Queue)) {
        let mut claimed = Claimed::new();
        let mut state = self.shared.state.lock();
        change(&mut state.queue);
        state.grant(&mut claimed);
        drop(state);
        claimed.schedule();
    }

    /// Has `job` run by a thread of the pool, in the order of submission.
    ///
    /// May start a thread, and must then be called under the thread pointer of an OS thread.
    ///
    /// # Errors
    ///
    /// The pool has no thread and the operating system refuses to start one (`WouldBlock`, or
    /// whatever it says). The job comes back. While the pool has threads, a refusal only means
    /// that the job waits for one of them.
    pub(crate) fn submit(&self, place: Place<'_>, job: Job) -> Result<(), Refused> {
        // From here on it is the job's, or given back below.
        std::mem::forget(place);
        let mut state = self.shared.state.lock();
        // Wake an idle thread.
        if let Some(thread) = state.idle.pop() {
            state.queue.push(job);
            drop(state);
            thread.unpark();
            return Ok(());
        }
        // All threads there may be are busy: the first to finish takes it.
        if state.threads >= state.limits.threads {
            state.queue.push(job);
            return Ok(());
        }
        // The first thread is started under the lock, so that nobody counts on one that
        // turns out not to exist.
        if state.threads == 0 {
            if let Err(error) = self.start_thread() {
                drop(state);
                self.change_queue(Queue::return_place);
                return Err(Refused { error, job });
            }
            state.threads = 1;
            state.queue.push(job);
            return Ok(());
        }
        // Start another one; if that fails, the job is left to those that exist.
        state.queue.push(job);
        state.threads += 1;
        state.starting += 1;
        drop(state);
        let started = self.start_thread();
        let mut state = self.shared.state.lock();
        state.starting -= 1;
        if started.is_err() {
            state.threads -= 1;
        }
        Ok(())
    }

    /// How it is doing.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.shared.state.lock();
        Counts {
            threads: state.threads,
            idle: state.idle.len(),
            queued: state.queue.len(),
            waiting: state.queue.waiting(),
            begun: state.begun,
            limits: state.limits,
        }
    }

    /// How long jobs took that threads have done.
    pub(crate) fn durations(&self) -> &Histogram {
        &self.shared.durations
    }

    /// Without the lock: in a forked child there may be nobody who gives it back.
    fn limits(&self) -> Limits {
        self.shared.limits.get()
    }

    /// Changes what is given. More threads than there may be end when they find nothing to do.
    pub(crate) fn set_limits(&self, threads: Option<usize>, queue: Option<usize>) {
        let mut claimed = Claimed::new();
        let mut state = self.shared.state.lock();
        let limits = state.limits;
        state.limits = Limits::new(
            threads.unwrap_or(limits.threads),
            queue.unwrap_or(limits.queue),
        );
        self.shared.limits.set(state.limits);
        state.grant(&mut claimed);
        drop(state);
        claimed.schedule();
    }

    fn start_thread(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name(THREAD_NAME.into())
            .spawn(move || shared.work())
            .map(drop)
    }
}

/// The right to put one job into the queue of a pool; given back if it is not used.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Pool);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.change_queue(Queue::return_place);
    }
}

/// How large a pool may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Threads.
    pub(crate) threads: usize,
    /// Jobs that wait for one.
    pub(crate) queue: usize,
}

impl Limits {
    const GLOBAL: Self = Self {
        threads: GLOBAL_THREADS,
        queue: GLOBAL_QUEUE,
    };

    pub(crate) fn new(threads: usize, queue: usize) -> Self {
        assert!(threads > 0, "a pool needs at least one thread");
        assert!(queue > 0, "a job must be able to wait for a thread");
        Self { threads, queue }
    }
}

/// How a pool is doing; read at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Threads that exist or are being started.
    pub(crate) threads: usize,
    /// Threads that wait for a job.
    pub(crate) idle: usize,
    /// Jobs that wait for a thread.
    pub(crate) queued: usize,
    /// Those who wait for a place in the queue.
    pub(crate) waiting: usize,
    /// Jobs that threads have taken so far.
    pub(crate) begun: u64,
    pub(crate) limits: Limits,
}

/// The pool of one process.
struct Global {
    process: u32,
    pool: Pool,
}

/// A job that could not be accepted, and why.
pub(crate) struct Refused {
    pub(crate) error: io::Error,
    pub(crate) job: Job,
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl From<Refused> for io::Error {
    /// The job is dropped.
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// What the handle and the threads share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    limits: LatestLimits,
    /// How long jobs took.
    durations: Histogram,
    idle_timeout: Duration,
}

/// The limits once more, written under the lock.
#[derive(Debug)]
struct LatestLimits {
    threads: AtomicUsize,
    queue: AtomicUsize,
}

impl LatestLimits {
    fn new(limits: Limits) -> Self {
        Self {
            threads: AtomicUsize::new(limits.threads),
            queue: AtomicUsize::new(limits.queue),
        }
    }

    fn set(&self, limits: Limits) {
        self.threads.store(limits.threads, Relaxed);
        self.queue.store(limits.queue, Relaxed);
    }

    fn get(&self) -> Limits {
        Limits::new(self.threads.load(Relaxed), self.queue.load(Relaxed))
    }
}

struct State {
    limits: Limits,
    queue: Queue,
    /// Threads that wait for a job, the latest last. Whoever takes one out unparks it; it takes
    /// itself out when it ends.
    idle: Vec<Thread>,
    /// Threads that exist, and those of `starting`.
    threads: usize,
    /// Threads whose start is not known to have worked. No thread ends while there are any: it
    /// may have to do their jobs.
    starting: usize,
    /// Jobs that threads have taken.
    begun: u64,
}

impl State {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            queue: Queue::default(),
            idle: Vec::new(),
            threads: 0,
            starting: 0,
            begun: 0,
        }
    }

    /// Gives places that are free to those who wait for one.
    fn grant(&mut self, claimed: &mut Claimed<()>) {
        self.queue.grant(self.limits.queue, claimed);
    }

    /// Takes a place, or queues up for one.
    fn enlist(&mut self) -> Enlist {
        self.queue.enlist(self.limits.queue)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("limits", &self.limits)
            .field("queued", &self.queue.len())
            .field("idle", &self.idle.len())
            .field("threads", &self.threads)
            .field("starting", &self.starting)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The life of a thread of the pool.
    fn work(&self) {
        let guard = AbortOnUnwind::arm("a job of the blocking pool");
        while let Some(job) = self.next_job() {
            let begun = clock::now();
            job();
            self.durations.count(clock::now().saturating_sub(begun));
        }
        guard.disarm();
    }

    /// Waits for a job. `None` ends the thread, which no longer counts.
    fn next_job(&self) -> Option<Job> {
        loop {
            let mut state = self.state.lock();
            if let Some(job) = state.queue.pop() {
                let mut claimed = Claimed::new();
                state.begun += 1;
                state.grant(&mut claimed);
                drop(state);
                claimed.schedule();
                return Some(job);
            }
            if state.threads > state.limits.threads && state.starting == 0 {
                state.threads -= 1;
                return None;
            }
            state.idle.push(thread::current());
            drop(state);
            if !self.wait_until_called() {
                return None;
            }
        }
    }

    /// Parks until a submitter has taken this thread out of the idle ones. `false` if none did in
    /// time: the thread has ended then.
    fn wait_until_called(&self) -> bool {
        let me = thread::current().id();
        let mut deadline = Instant::now() + self.idle_timeout;
        loop {
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
            let mut state = self.state.lock();
            let Some(place) = state.idle.iter().position(|thread| thread.id() == me) else {
                return true;
            };
            if Instant::now() < deadline {
                continue;
            }
            if state.starting > 0 {
                deadline += self.idle_timeout;
                continue;
            }
            state.idle.remove(place);
            state.threads -= 1;
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Output};
    use std::sync::mpsc::{self, Receiver, Sender};
    use std::{env, fs};

    const LONG: Duration = Duration::from_secs(20);
    const CHILD: &str = "GREENLET_TEST_CHILD";

    /// A job that says that it runs, then waits until it is told to end.
    fn gate(running: &Sender<Sender<()>>) -> Job {
        let running = running.clone();
        Box::new(move || {
            let (open, gate) = mpsc::channel();
            running.send(open).expect("the test listens");
            let _ = gate.recv_timeout(LONG);
        })
    }

    /// Occupies `n` threads of the pool; they are free when the answer is dropped.
    fn occupy(pool: &Pool, n: usize) -> Vec<Sender<()>> {
        let (running, gates) = mpsc::channel();
        (0..n)
            .map(|_| {
                submit(pool, gate(&running)).expect("a thread");
                gates.recv_timeout(LONG).expect("the job runs")
            })
            .collect()
    }

    fn limits(threads: usize) -> Limits {
        Limits::new(threads, 100)
    }

    fn pool(threads: usize) -> Pool {
        Pool::new(limits(threads))
    }

    fn submit(pool: &Pool, job: Job) -> Result<(), Refused> {
        pool.submit(pool.reserve().expect("a place"), job)
    }

    fn submit_value(pool: &Pool, value: usize) -> Receiver<usize> {
        let (sender, receiver) = mpsc::channel();
        let job = Box::new(move || sender.send(value).unwrap_or_default());
        submit(pool, job).expect("a thread");
        receiver
    }

    #[track_caller]
    fn eventually(claim: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + LONG;
        while !holds() {
            assert!(Instant::now() < deadline, "not in time: {claim}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Runs one test of this file in a process of its own, on its main thread.
    fn in_child(test: &str, variable: (&str, &str)) -> Output {
        Command::new(env::current_exe().expect("a path"))
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg(format!(
                "{}::{test}",
                module_path!().split_once("::").expect("a crate").1
            ))
            .env(CHILD, test)
            .env(variable.0, variable.1)
            .output()
            .expect("the child runs")
    }

    fn is_child(test: &str) -> bool {
        env::var(CHILD).is_ok_and(|child| child == test)
    }

    #[track_caller]
    fn assert_passed(output: &Output) {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("1 passed"), "{text}");
    }

    #[test]
    fn jobs_that_wait_for_each_other_all_run() {
        let pool = pool(64);
        let gates = occupy(&pool, 64);
        assert_eq!(
            (
                pool.counts().threads,
                pool.counts().idle,
                pool.counts().queued
            ),
            (64, 0, 0)
        );
        drop(gates);
        eventually("all are idle", || pool.counts().idle == 64);
    }

    #[test]
    fn at_the_cap_jobs_wait_and_run_in_order() {
        let pool = pool(1);
        let gates = occupy(&pool, 1);
        let (sender, receiver) = mpsc::channel();
        for n in 0..100 {
            let sender = sender.clone();
            submit(&pool, Box::new(move || sender.send(n).unwrap_or_default())).expect("accepted");
        }
        assert_eq!((pool.counts().threads, pool.counts().queued), (1, 100));
        drop(gates);
        for n in 0..100 {
            assert_eq!(receiver.recv_timeout(LONG), Ok(n));
        }
        assert_eq!(pool.counts().threads, 1);
    }

    #[test]
    fn an_idle_thread_is_used_before_a_new_one_is_started() {
        let pool = pool(8);
        for n in 0..100 {
            assert_eq!(submit_value(&pool, n).recv_timeout(LONG), Ok(n));
            eventually("idle", || pool.counts().idle == 1);
        }
        assert_eq!(pool.counts().threads, 1);
    }

    #[test]
    fn idle_threads_end_after_the_time_out_and_new_ones_start_later() {
        let pool = Pool::with_idle_timeout(limits(8), Duration::from_millis(30));
        for n in 0..3 {
            drop(occupy(&pool, 8));
            eventually("all have ended", || pool.counts().threads == 0);
            assert_eq!((pool.counts().idle, pool.counts().queued), (0, 0));
            assert_eq!(submit_value(&pool, n).recv_timeout(LONG), Ok(n));
        }
    }

    #[test]
    fn a_light_load_keeps_one_thread_and_lets_the_others_end() {
        let pool = Pool::with_idle_timeout(limits(8), Duration::from_millis(200));
        drop(occupy(&pool, 8));
        eventually("all are idle", || pool.counts().idle == 8);
        eventually("one is left", || {
            submit_value(&pool, 0)
                .recv_timeout(LONG)
                .expect("the job runs");
            pool.counts().threads == 1
        });
    }

    #[test]
    fn no_job_is_lost_between_time_outs_and_submissions() {
        let pool = Pool::with_idle_timeout(limits(4), Duration::from_micros(50));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..2_000 {
                        assert_eq!(submit_value(&pool, n).recv_timeout(LONG), Ok(n));
                        if n % 16 == 0 {
                            thread::sleep(Duration::from_micros(60));
                        }
                    }
                });
            }
        });
        eventually("all have ended", || pool.counts().threads == 0);
    }

    #[test]
    fn the_global_pool_is_one_and_its_threads_are_named() {
        assert!(std::ptr::eq(Pool::global(), Pool::global()));
        let (sender, receiver) = mpsc::channel();
        let job = move || drop(sender.send(thread::current().name().map(String::from)));
        submit(Pool::global(), Box::new(job)).expect("a thread");
        let name = receiver.recv_timeout(LONG).expect("the job runs");
        assert_eq!(name.as_deref(), Some(THREAD_NAME));
    }

    #[test]
    fn a_dropped_pool_still_runs_what_was_submitted() {
        let pool = Pool::with_idle_timeout(limits(1), Duration::from_millis(1));
        let gates = occupy(&pool, 1);
        let last = submit_value(&pool, 7);
        drop(pool);
        drop(gates);
        assert_eq!(last.recv_timeout(LONG), Ok(7));
    }

    #[test]
    fn as_many_jobs_wait_as_there_are_places() {
        let pool = Pool::new(Limits::new(1, 2));
        let gates = occupy(&pool, 1);
        let first = submit_value(&pool, 1);
        let place = pool.reserve().expect("the second place");
        assert!(pool.reserve().is_none());
        let (sender, second) = mpsc::channel();
        let job = Box::new(move || sender.send(2).unwrap_or_default());
        pool.submit(place, job).expect("a thread");
        assert!(pool.reserve().is_none());
        drop(gates);
        assert_eq!(first.recv_timeout(LONG), Ok(1));
        assert_eq!(second.recv_timeout(LONG), Ok(2));
        // One that is not used is free again.
        for _ in 0..3 {
            assert!(pool.reserve().is_some());
        }
        assert_eq!(pool.counts().begun, 3);
    }

    #[test]
    fn a_forked_child_need_not_wait_for_the_lock_to_know_the_limits() {
        let pool = Pool::new(limits(8));
        pool.set_limits(None, Some(7));
        let (told, is_told) = mpsc::channel();
        let held = pool.shared.state.lock();
        thread::scope(|scope| {
            scope.spawn(|| told.send(pool.limits()));
            let limits = is_told.recv_timeout(Duration::from_secs(20));
            drop(held);
            assert_eq!(limits, Ok(Limits::new(8, 7)));
        });
    }

    #[test]
    fn limits_can_be_raised_and_lowered() {
        let pool = pool(1);
        let mut gates = occupy(&pool, 1);
        pool.set_limits(Some(3), None);
        gates.extend(occupy(&pool, 2));
        assert_eq!(pool.counts().threads, 3);
        pool.set_limits(Some(2), Some(7));
        assert_eq!(pool.limits(), Limits::new(2, 7));
        drop(gates);
        eventually("one has ended", || pool.counts().threads == 2);
        assert_eq!(submit_value(&pool, 5).recv_timeout(LONG), Ok(5));
    }

    #[test]
    fn a_job_that_unwinds_ends_the_process() {
        const NAME: &str = "a_job_that_unwinds_ends_the_process";
        if is_child(NAME) {
            submit(&pool(1), Box::new(|| panic!("unwinds"))).expect("a thread");
            thread::sleep(LONG);
            return;
        }
        let output = in_child(NAME, ("RUST_BACKTRACE", "0"));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(message.contains("a job of the blocking pool"), "{message}");
    }

    #[test]
    fn a_job_comes_back_when_there_is_no_thread_and_none_can_be_started() {
        const NAME: &str = "a_job_comes_back_when_there_is_no_thread_and_none_can_be_started";
        if !is_child(NAME) {
            // std asks for stacks of a size that no address space has.
            return assert_passed(&in_child(NAME, ("RUST_MIN_STACK", "4611686018427387904")));
        }
        let pool = pool(4);
        let (sender, receiver) = mpsc::channel();
        let job = Box::new(move || sender.send(1).unwrap_or_default());
        let refused = submit(&pool, job).expect_err("no thread can be started");
        assert_eq!(refused.error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(
            (
                pool.counts().threads,
                pool.counts().idle,
                pool.counts().queued
            ),
            (0, 0, 0)
        );
        (refused.job)();
        assert_eq!(receiver.recv(), Ok(1));
    }

    #[test]
    fn a_job_that_gets_no_new_thread_waits_for_one_that_exists() {
        const NAME: &str = "a_job_that_gets_no_new_thread_waits_for_one_that_exists";
        if !is_child(NAME) {
            return assert_passed(&in_child(NAME, ("MALLOC_ARENA_MAX", "1")));
        }
        let pool = pool(4);
        let gates = occupy(&pool, 1);
        let address_space = limit_address_space(1 << 20);
        let waiting = submit_value(&pool, 5);
        assert_eq!(
            (pool.counts().threads, pool.counts().queued),
            (1, 1),
            "limit {address_space}"
        );
        drop(gates);
        assert_eq!(waiting.recv_timeout(LONG), Ok(5));
    }

    /// Leaves the process `bytes` of new mappings: too few for a stack.
    fn limit_address_space(bytes: usize) -> usize {
        let status = fs::read_to_string("/proc/self/status").expect("status");
        let size = status.split("VmSize:").nth(1).expect("VmSize");
        let kib: usize = size
            .split_whitespace()
            .next()
            .expect("kB")
            .parse()
            .expect("a number");
        let limit = kib * 1024 + bytes;
        let done = Command::new("prlimit")
            .args(["--pid", &std::process::id().to_string()])
            .arg(format!("--as={limit}:"))
            .status()
            .expect("prlimit of util-linux");
        assert!(done.success());
        limit
    }
}
