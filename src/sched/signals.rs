//! Handlers of the signals that users wait for.
//!
//! A handler counts, and wakes. Greenlets wait for an eventfd (each listener for a duplicate of its
//! own, so that each is woken), whose counter nobody takes back: every signal is an edge to epoll.
//! Threads wait for a futex. Then they compare counts. So there is no signal mask that children and
//! threads would inherit, and the handler touches statics only: it may run on any thread, under the
//! thread pointer of a greenlet or in the middle of a switch.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize};
use std::time::Duration;

use super::interrupt;
use super::quit;
use crate::lock::StaticMutex;
use crate::sys::errno;
use crate::sys::event_fd::EventFd;
use crate::sys::fault::{self, ActionBefore};
use crate::sys::signal_action::SignalAction;
use crate::sys::task::TaskId;
use crate::sys::{clock, static_futex};

/// Signals are numbered from 1 to this.
pub(crate) const LAST: libc::c_int = 64;

/// What is kept of one signal.
struct Slot {
    /// How often the handler has run. Written by the handler.
    count: AtomicUsize,
    /// How many wait for it. Written under [`USERS`], read by the handler.
    listeners: AtomicUsize,
    /// What was done about it before the handler was installed; null before that. Written under
    /// `USERS`, read by the handler; never freed, because a handler may still be looking at it.
    before: AtomicPtr<ActionBefore>,
    /// The thread whose handler has called the one before it, or 0. One that was installed over ours,
    /// and goes on to it, is also the one before ours once ours was installed again: it would go round
    /// for ever. Should two threads overwrite each other, one goes round once more.
    calling: AtomicI32,
}

static SLOTS: [Slot; LAST as usize] = [const {
    Slot {
        count: AtomicUsize::new(0),
        listeners: AtomicUsize::new(0),
        before: AtomicPtr::new(ptr::null_mut()),
        calling: AtomicI32::new(0),
    }
}; LAST as usize];

/// How many have asked for the handler of each signal. Held while one is installed or taken back.
static USERS: StaticMutex<[usize; LAST as usize]> = StaticMutex::new([0; LAST as usize]);

/// How many signals have come, and how often somebody was to look for another reason. A futex.
static SEQUENCE: AtomicU32 = AtomicU32::new(0);

/// What greenlets wait for. Made by the first listener, before it listens: Ctrl-C does without.
static EVENT: OnceLock<EventFd> = OnceLock::new();

/// The handler of a signal, for somebody who waits for it.
#[derive(Debug)]
pub(crate) struct Listening {
    handler: HandlerUse,
}

impl Listening {
    /// # Errors
    ///
    /// `InvalidInput` for what is no signal, or none that can be handled.
    pub(crate) fn to(signal: libc::c_int) -> io::Result<Self> {
        let handler = HandlerUse::of(signal)?;
        // Release: pairs with the Acquire in `count_one`.
        handler.slot().listeners.fetch_add(1, Release);
        Ok(Self { handler })
    }

    pub(crate) fn signal(&self) -> libc::c_int {
        self.handler.signal
    }

    /// How often the signal has come.
    pub(crate) fn count(&self) -> usize {
        // Acquire: pairs with the Release in `count_one`.
        self.handler.slot().count.load(Acquire)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handler.slot().listeners.fetch_sub(1, Relaxed);
    }
}

/// While it lives, the signal has our handler.
#[derive(Debug)]
pub(super) struct HandlerUse {
    signal: libc::c_int,
}

impl HandlerUse {
    pub(super) fn of(signal: libc::c_int) -> io::Result<Self> {
        if !(1..=LAST).contains(&signal) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut users = USERS.lock();
        let index = index(signal);
        if users[index] == 0 {
            install(signal)?;
        }
        users[index] += 1;
        Ok(Self { signal })
    }

    fn slot(&self) -> &'static Slot {
        &SLOTS[index(self.signal)]
    }

    /// What was done about the signal before.
    fn before(&self) -> Option<&'static ActionBefore> {
        self.slot().before()
    }

    /// Whether nothing was done about it before.
    pub(super) fn was_default(&self) -> bool {
        self.before().is_some_and(ActionBefore::is_default)
    }
}

impl Drop for HandlerUse {
    /// The last one puts back what was there before; unless somebody else has installed a handler
    /// since, which may go on to ours.
    fn drop(&mut self) {
        let mut users = USERS.lock();
        let index = index(self.signal);
        users[index] -= 1;
        if users[index] == 0
            && is_ours(self.signal)
            && let Some(before) = self.before()
        {
            // It was in force before, so it can be again.
            let _ = before.restore(self.signal);
        }
    }
}

impl Slot {
    fn before(&self) -> Option<&'static ActionBefore> {
        // Acquire: pairs with the Release in `install`.
        // SAFETY: null, or leaked by `install`.
        unsafe { self.before.load(Acquire).as_ref() }
    }

    /// In the handler: this signal has come.
    fn count_one(&self, signal: libc::c_int) {
        // Looked at before it is counted: a listener that takes it may be gone the next moment.
        let is_listened_to = self.listeners.load(Acquire) > 0;
        errno::keep(|| {
            // Release: pairs with the Acquire in `Listening::count`.
            self.count.fetch_add(1, Release);
            wake();
            match signal {
                _ if is_listened_to => {}
                interrupt::SIGNAL => interrupt::come(),
                quit::SIGNAL => quit::come(),
                _ => {}
            }
        });
    }
}

fn index(signal: libc::c_int) -> usize {
    signal as usize - 1
}

/// Under the lock of `USERS`.
fn install(signal: libc::c_int) -> io::Result<()> {
    if is_ours(signal) {
        // Somebody had installed another, and has put ours back.
        return Ok(());
    }
    // SAFETY: `handle` uses statics and makes system calls.
    let before = unsafe { fault::install(signal, handle, libc::SA_RESTART) }?;
    let slot = &SLOTS[index(signal)];
    // Nearly always it is what it was the last time.
    if !slot
        .before()
        .is_some_and(|old| old.calls_the_same_as(&before))
    {
        // Release: pairs with the Acquire in `before`.
        slot.before.store(Box::into_raw(Box::new(before)), Release);
    }
    Ok(())
}

fn is_ours(signal: libc::c_int) -> bool {
    SignalAction::of(signal).is_ok_and(|action| action.handler == handle as *const () as usize)
}

/// Whether nothing is done about it, unless by us.
pub(super) fn is_default_or_ours(signal: libc::c_int) -> bool {
    let is_default = SignalAction::of(signal).is_ok_and(|action| action.handler == libc::SIG_DFL);
    is_default || is_ours(signal)
}

/// The signals whose handler is ours and calls no other, as a mask.
pub(super) fn only_handlers() -> u64 {
    let users = USERS.lock();
    (1..=LAST)
        .filter(|&signal| {
            let before = SLOTS[index(signal)].before();
            users[index(signal)] > 0
                && before.is_some_and(|before| !before.has_handler())
                && is_ours(signal)
        })
        .fold(0, |mask, signal| mask | 1 << index(signal))
}

unsafe extern "C" fn handle(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let slot = &SLOTS[index(signal)];
    let Some(before) = slot.before().filter(|before| before.has_handler()) else {
        return slot.count_one(signal);
    };
    let thread = TaskId::current().as_raw();
    // Relaxed, here and below: this thread reads what it has written itself.
    if slot.calling.load(Relaxed) == thread {
        return;
    }
    slot.count_one(signal);
    slot.calling.store(thread, Relaxed);
    // SAFETY: the arguments are passed on as they came.
    unsafe { before.call_handler(signal, info, context) };
    let _ = slot.calling.compare_exchange(thread, 0, Relaxed, Relaxed);
}

/// Has everybody look who waits for any signal. May be called in a signal handler.
pub(crate) fn wake() {
    // AcqRel: pairs with the Acquire in `wait_on_thread`; what is to be looked at comes before.
    SEQUENCE.fetch_add(1, AcqRel);
    static_futex::wake_all(&SEQUENCE);
    if let Some(event) = EVENT.get() {
        event.signal();
    }
}

/// A descriptor to wait for: an edge comes with every signal, and with every [`wake`].
pub(crate) fn event() -> io::Result<OwnedFd> {
    // Who is faster does not matter.
    if EVENT.get().is_none() {
        let _ = EVENT.set(EventFd::new()?);
    }
    let event = EVENT.get().expect("it was set, by us or by another");
    event.as_fd().try_clone_to_owned()
}

/// Asks `ready` until it answers, and blocks the thread in between. `None` when `deadline` passes
/// first.
pub(crate) fn wait_on_thread<T>(
    deadline: Option<u64>,
    mut ready: impl FnMut() -> Option<T>,
) -> Option<T> {
    loop {
        // Acquire: pairs with the AcqRel in `wake`.
        let seen = SEQUENCE.load(Acquire);
        if let Some(answer) = ready() {
            return Some(answer);
        }
        let left = deadline.map(|deadline| deadline.saturating_sub(clock::now()));
        if left == Some(0) {
            return None;
        }
        static_futex::wait(&SEQUENCE, seen, left.map(Duration::from_nanos));
    }
}
