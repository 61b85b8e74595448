//! Layer 3: the reactor: one epoll for all hubs of a runtime.
//!
//! Edge-triggered, one [`Registration`] per descriptor for both directions. The reactor knows no
//! greenlets: registrations store wakers, and a poll hands back the ones whose edge has come.
//! One hub at a time polls; which one is the scheduler's affair (`sched/README.md`).

mod registration;
mod waiters;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::lock::Mutex;
use crate::sys::epoll::Epoll;
use crate::sys::event_fd::EventFd;
use crate::waker::WakeList;

pub(crate) use registration::Registration;

/// How many events one poll fetches.
const EVENTS: usize = 512;

/// What the wake-up descriptor's events carry instead of a registration.
const NOTIFY: u64 = 0;

/// Everything a socket can tell; what was asked for does not matter to the price of an edge.
const INTERESTS: libc::c_int =
    libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET;

/// The owner of an epoll and of the registrations in it.
#[derive(Debug)]
pub(crate) struct Reactor {
    epoll: Epoll,
    notify: EventFd,
    /// Held by the one who polls. Events point at registrations without owning them; so
    /// registrations that were given up are freed by its holder only, who knows that no fetched
    /// event is left.
    poller: Mutex<Poller>,
    registrations: Mutex<Registrations>,
    /// How many registrations there are that were not given up.
    registered: AtomicUsize,
}

/// What only the one who polls may touch.
struct Poller {
    events: Box<[libc::epoll_event]>,
}

impl Default for Poller {
    fn default() -> Self {
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS].into();
        Self { events }
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller")
            .field("events", &self.events.len())
            .finish()
    }
}

/// The owning references behind the pointers in the epoll's events.
#[derive(Debug, Default)]
struct Registrations {
    slots: Vec<Option<Arc<Registration>>>,
    free: Vec<usize>,
    /// Deregistered: in no epoll any more, but perhaps in an event that was fetched before.
    given_up: Vec<usize>,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let (epoll, notify) = (Epoll::new()?, EventFd::new()?);
        epoll.add(notify.as_fd(), libc::EPOLLIN, NOTIFY)?;
        Ok(Self {
            epoll,
            notify,
            poller: Mutex::default(),
            registrations: Mutex::default(),
            registered: AtomicUsize::new(0),
        })
    }

    /// Adds a descriptor, whose edges are counted from `first_edge` on.
    ///
    /// `PermissionDenied` for one that cannot be waited for, as a regular file.
    pub(crate) fn register(
        self: &Arc<Self>,
        fd: BorrowedFd<'_>,
        first_edge: usize,
    ) -> io::Result<Arc<Registration>> {
        let mut registrations = self.registrations.lock();
        let index = registrations.free.pop().unwrap_or_else(|| {
            registrations.slots.push(None);
            registrations.slots.len() - 1
        });
        let registration = Arc::new(Registration::new(Arc::downgrade(self), index, first_edge));
        let data = Arc::as_ptr(&registration) as u64;
        match self.epoll.add(fd, INTERESTS, data) {
            Ok(()) => {
                registrations.slots[index] = Some(registration.clone());
                self.registered.fetch_add(1, Relaxed);
                Ok(registration)
            }
            Err(error) => {
                registrations.free.push(index);
                Err(error)
            }
        }
    }

    /// Removes the descriptor of a registration, before the descriptor is closed.
    fn deregister(&self, registration: &Registration, fd: BorrowedFd<'_>) {
        // An error means that it is not in there: the epoll was closed.
        let _ = self.epoll.remove(fd);
        self.registered.fetch_sub(1, Relaxed);
        self.registrations
            .lock()
            .given_up
            .push(registration.index());
    }

    /// Fetches the events that there are, and puts the wakers that they end into `wakes`. Answers
    /// whether it could: not while another thread polls.
    pub(crate) fn poll(&self, wakes: &mut WakeList) -> bool {
        self.poll_if(|| true, Some(Duration::ZERO), wakes).is_some()
    }

    /// The same; waits for the first event up to `timeout`, unless `may_wait` answers no.
    ///
    /// `may_wait` is asked when nobody else can take a [`notify`](Self::notify) away any more.
    /// `None` when another thread polls at the moment, else whether there were events.
    pub(crate) fn poll_if(
        &self,
        may_wait: impl FnOnce() -> bool,
        timeout: Option<Duration>,
        wakes: &mut WakeList,
    ) -> Option<bool> {
        let mut poller = self.poller.try_lock()?;
        if !may_wait() {
            return Some(false);
        }
        self.free_given_up();
        let count = match self.epoll.wait(&mut poller.events, timeout) {
            Ok(count) => count,
            // A signal: the caller looks around and comes again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => unreachable!("epoll is valid and so are the arguments: {error}"),
        };
        for event in &poller.events[..count] {
            self.dispatch(*event, wakes);
        }
        Some(count > 0)
    }

    fn dispatch(&self, event: libc::epoll_event, wakes: &mut WakeList) {
        if event.u64 == NOTIFY {
            return self.notify.clear();
        }
        // SAFETY: the pointer is that of a registration in `registrations`: events are removed from
        // the epoll before it is given up, and after that it is freed by the holder of `poller`
        // only, before it fetches.
        let registration = unsafe { &*(event.u64 as *const Registration) };
        registration.edge(event.events as libc::c_int, wakes);
    }

    /// Called by the holder of `poller`, with no fetched event left.
    fn free_given_up(&self) {
        let mut registrations = self.registrations.lock();
        let given_up = std::mem::take(&mut registrations.given_up);
        for &index in &given_up {
            registrations.slots[index] = None;
        }
        registrations.free.extend(given_up);
    }

    /// Ends a wait in [`poll_if`](Self::poll_if), the present one or the next.
    pub(crate) fn notify(&self) {
        self.notify.signal();
    }

    /// Says that nobody will poll any more, and ends every wait: who waits registers elsewhere.
    pub(crate) fn close(&self) {
        let registrations = std::mem::take(&mut self.registrations.lock().slots);
        for registration in registrations.iter().flatten() {
            registration.die();
        }
    }

    /// Whether anybody waits for a descriptor.
    pub(crate) fn has_waiters(&self) -> bool {
        let registrations = self.registrations.lock();
        let mut all = registrations.slots.iter().flatten();
        all.any(|registration| registration.has_waiters())
    }

    /// How many descriptors are registered.
    #[inline]
    pub(crate) fn registered(&self) -> usize {
        self.registered.load(Relaxed)
    }
}

/// Nobody will poll any more. Who waits registers elsewhere.
impl Drop for Reactor {
    fn drop(&mut self) {
        self.close();
    }
}
