//! Who records: a hub, or any other thread.
//!
//! Recording is switched for all of them at once:
//!
//! ```text
//!   start                                  a hook of a hub
//!   1. the session is there                a. told (Relaxed): 0 is off
//!   2. EPOCH, and `told` of every hub      b. told is not the epoch that it has joined: it takes
//!   3. a barrier in all threads               SESSION's lock, and joins what it finds
//!   4. since = now                         c. the clock; the event
//! ```
//!
//! A hook behind the barrier sees (2), so whatever happens after `since` is recorded. Before `since` one hub may
//! record what another one does not: a reader concludes nothing from what is missing there.
//! `stop` takes the time, `until`, and then does the same with 0. Whatever has happened before `until` was recorded
//! before its consequences were, so of what is left out by `until`, and of what comes too late for the file, nothing
//! is missing that something else follows from. SESSION's lock is held over (1) to (4): whoever joins has been told.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::io;
use std::process;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, MutexGuard};

use super::block::Owner;
use super::event::{Actor, Event};
use super::recording::Recording;
use super::session::Session;
use super::trigger;
use crate::lock::StaticMutex;
use crate::sys::task::TaskId;
use crate::sys::{membarrier, thread};

/// The epoch of the session that goes on; 0 if there is none.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// Of no session, nor 0.
const NO_EPOCH: u32 = u32::MAX;

static SESSION: StaticMutex<Option<Current>> = StaticMutex::new(None);

/// The switches of all hubs. Locked after `SESSION`.
static SWITCHES: StaticMutex<Vec<Switch>> = StaticMutex::new(Vec::new());

/// The process that records, or did; 0 before there is any.
static PROCESS: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Current {
    session: Arc<Session>,
    /// The recorder of all threads that are not hubs.
    outside: Option<Recorder>,
}

/// The `told` of a recorder, which is alive: it is taken out of the list before that ends. In a forked child the
/// threads with the recorders are gone, and the list is empty.
#[derive(Debug)]
struct Switch(NonNull<AtomicU32>);

// SAFETY: atomic, and alive, wherever it is used.
unsafe impl Send for Switch {}

/// Whether recording is on.
#[inline]
pub(crate) fn is_on() -> bool {
    EPOCH.load(Relaxed) != 0
}

/// Whether recording is that of the process that this one was forked from: the rings are its, and locks may be
/// held by threads that are not here. A child does without recording.
pub(crate) fn is_a_parents() -> bool {
    let process = PROCESS.load(Relaxed);
    process != 0 && process != process::id()
}

/// Comes before [`start`], and before any lock is taken for that: recording is this process's from now on.
pub(crate) fn claim() -> io::Result<()> {
    if is_a_parents() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a child that was forked by a process that has recorded cannot record",
        ));
    }
    follow_forks()?;
    PROCESS.store(process::id(), Relaxed);
    Ok(())
}

/// Has a forked child begin with recording off, and with nobody to tell.
fn follow_forks() -> io::Result<()> {
    /// Of the list of switches, while a thread forks: nobody is to be at it, in whose place nobody is in the child.
    struct Forking(UnsafeCell<Option<MutexGuard<'static, Vec<Switch>>>>);
    // SAFETY: used by who holds the lock that the guard is of.
    unsafe impl Sync for Forking {}
    static FORKING: Forking = Forking(UnsafeCell::new(None));
    extern "C" fn prepare() {
        let switches = SWITCHES.lock();
        // SAFETY: we hold the lock.
        unsafe { *FORKING.0.get() = Some(switches) };
    }
    extern "C" fn parent() {
        // SAFETY: we hold the lock, since `prepare`.
        drop(unsafe { (*FORKING.0.get()).take() });
    }
    extern "C" fn child() {
        EPOCH.store(0, Relaxed);
        trigger::set(&[]);
        // SAFETY: we hold the lock, since `prepare`.
        if let Some(mut switches) = unsafe { (*FORKING.0.get()).take() } {
            switches.clear();
        }
    }
    static FOLLOWED: AtomicBool = AtomicBool::new(false);
    static FOLLOWING: StaticMutex<()> = StaticMutex::new(());
    // Acquire: pairs with the Release below. Without the lock, which a fork may find held: only the first hub of a
    // process, or its first recording, takes it.
    if FOLLOWED.load(Acquire) {
        return Ok(());
    }
    let _following = FOLLOWING.lock();
    if !FOLLOWED.load(Relaxed) {
        thread::at_fork(Some(prepare), Some(parent), Some(child))?;
        FOLLOWED.store(true, Release);
    }
    Ok(())
}

/// Switches recording on, by a session that `make` makes of its epoch. `None` if it is on already.
pub(crate) fn start(
    make: impl FnOnce(u32) -> io::Result<Session>,
) -> io::Result<Option<Arc<Session>>> {
    static STARTS: AtomicU32 = AtomicU32::new(0);
    let mut current = SESSION.lock();
    if current.is_some() {
        return Ok(None);
    }
    let epoch = STARTS.fetch_add(1, Relaxed) % (NO_EPOCH - 1) + 1;
    let session = Arc::new(make(epoch)?);
    *current = Some(Current {
        session: session.clone(),
        outside: None,
    });
    switch(session.epoch());
    // Where the kernel cannot do that, what the hubs are told takes its nanoseconds to reach them.
    membarrier::all_threads();
    session.begin();
    drop(current);
    if let Err(error) = session.write_head() {
        stop();
        return Err(error);
    }
    Ok(Some(session))
}

/// Switches recording off. What is being recorded at this moment may be lost.
pub(crate) fn stop() -> Option<Arc<Session>> {
    let mut current = SESSION.lock();
    let Current { session, outside } = current.take()?;
    session.end();
    switch(0);
    drop(current);
    drop(outside);
    // What is written there once can be written again.
    let _ = session.write_head();
    Some(session)
}

/// Tells everybody that records. Called with `SESSION` locked.
fn switch(epoch: u32) {
    let switches = SWITCHES.lock();
    EPOCH.store(epoch, SeqCst);
    for Switch(told) in &*switches {
        // SAFETY: alive, see `Switch`.
        unsafe { told.as_ref() }.store(epoch, Relaxed);
    }
}

/// The session that goes on.
pub(crate) fn session() -> Option<Arc<Session>> {
    if is_a_parents() {
        return None;
    }
    let current = SESSION.lock();
    current.as_ref().map(|current| current.session.clone())
}

/// Records an event of a thread that is no hub, while recording is on. Answers when that was, in ticks.
#[cold]
pub(crate) fn record_outside(event: impl FnOnce(&Recording) -> Event) -> Option<u64> {
    // A forked child goes no further: its lock may be held by nobody.
    if !is_on() {
        return None;
    }
    let mut current = SESSION.lock();
    let Current { session, outside } = current.as_mut()?;
    let recorder = outside.get_or_insert_with(|| Recorder::of_session(session, Owner::NOBODY));
    recorder.with(|recording| recording.record(event(recording), None))
}

/// The calling thread, as no hub.
pub(crate) fn this_thread() -> Actor {
    Actor::Thread(TaskId::current().as_raw() as u32)
}

/// A hub's way to its ring. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Recorder {
    owner: Owner,
    /// The epoch of the session that goes on; 0 if there is none: all that a hook of a hub looks at. Written by who
    /// switches recording.
    told: AtomicU32,
    /// Of the session that it records for.
    epoch: Cell<u32>,
    /// The same if `recording` is there and can be tried, otherwise [`NO_EPOCH`].
    at_hand: Cell<u32>,
    recording: RefCell<Option<Recording>>,
}

impl Recorder {
    pub(crate) fn new(owner: Owner) -> Self {
        Self {
            owner,
            told: AtomicU32::new(0),
            epoch: Cell::new(0),
            at_hand: Cell::new(NO_EPOCH),
            recording: RefCell::new(None),
        }
    }

    /// Runs `f`; in the meantime this recorder takes part in recording whenever that is on.
    pub(crate) fn attached<T>(&self, f: impl FnOnce() -> T) -> T {
        struct Attached<'a>(&'a AtomicU32);
        impl Drop for Attached<'_> {
            fn drop(&mut self) {
                let is_mine = |switch: &Switch| ptr::eq(switch.0.as_ptr(), self.0);
                SWITCHES.lock().retain(|switch| !is_mine(switch));
                self.0.store(0, Relaxed);
            }
        }
        let attached = Attached(&self.told);
        // Where the kernel has no memory for that, `claim` fails too.
        if follow_forks().is_ok() {
            let mut switches = SWITCHES.lock();
            // In the list until `attached` is dropped, and borrowed as long.
            switches.push(Switch(NonNull::from(&self.told)));
            self.told.store(EPOCH.load(Relaxed), Relaxed);
        }
        let result = f();
        drop(attached);
        result
    }

    fn of_session(session: &Arc<Session>, owner: Owner) -> Self {
        let recorder = Self::new(owner);
        recorder.join(Some(session.clone()));
        recorder
    }

    /// Whether it is to record.
    #[inline]
    pub(crate) fn takes_part(&self) -> bool {
        self.told.load(Relaxed) != 0
    }

    /// Whether recording was switched on or off since this recorder has looked.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.epoch.get() != self.told.load(Relaxed)
    }

    /// Takes part in the session that goes on, or ends taking part in one that has ended. Answers how many
    /// bytes its ring has; none if it does not record.
    #[cold]
    pub(crate) fn catch_up(&self) -> Option<usize> {
        // An allocator records, which is asked for memory by who records: another hook will do.
        if self.recording.try_borrow_mut().is_err() {
            return None;
        }
        if is_a_parents() {
            self.told.store(0, Relaxed);
        }
        self.join(session());
        self.with(Recording::ring_bytes)
    }

    fn join(&self, session: Option<Arc<Session>>) {
        let epoch = session.as_ref().map_or(0, |session| session.epoch());
        self.at_hand.set(NO_EPOCH);
        self.epoch.set(epoch);
        let recording = session.and_then(|session| Recording::join(session, self.owner));
        let can_try = recording.as_ref().is_some_and(Recording::can_try);
        let before = self.recording.replace(recording);
        // Both, and before anything of the user's runs: an allocator that records may have joined another session.
        self.epoch.set(epoch);
        self.at_hand.set(if can_try { epoch } else { NO_EPOCH });
        drop(before);
    }

    /// Calls `f` with what is recorded with; `None` if recording is off.
    #[inline(always)]
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Recording) -> T) -> Option<T> {
        let recording = self.recording.borrow();
        recording.as_ref().map(f)
    }

    /// What is recorded with, if it can be [tried](Recording::try_record) and this recorder need not catch up.
    ///
    /// # Safety
    ///
    /// This recorder does not catch up while that is used.
    // One comparison: a borrow that is counted, an option and a clock that are looked at are a tenth of an event.
    #[inline(always)]
    pub(crate) unsafe fn at_hand(&self) -> Option<&Recording> {
        if self.at_hand.get() != self.told.load(Relaxed) {
            return None;
        }
        // SAFETY: only `join` changes it, which is part of catching up, and then writes `at_hand` before anybody looks.
        // Nobody is told `NO_EPOCH`, so that says that it is there.
        Some(unsafe { (*self.recording.as_ptr()).as_ref().unwrap_unchecked() })
    }
}
