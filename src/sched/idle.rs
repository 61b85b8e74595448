//! Which hubs search, which sleep, and who wakes whom. `README.md` has the protocol and its
//! proof.

#[cfg(all(test, loom))]
mod models;

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::time::Duration;

use crate::atomic::{AtomicU32, AtomicUsize, fence};
use crate::lock::Mutex;
use crate::reactor::Reactor;
use crate::sys::futex;
use crate::waker::WakeList;

/// How many hubs search and how many sleep, in one word.
#[derive(Clone, Copy)]
struct Counts(usize);

impl Counts {
    const SEARCHING: usize = 1;
    const SLEEPING: usize = 1 << 16;

    fn searching(self) -> usize {
        self.0 & (Self::SLEEPING - 1)
    }

    fn sleeping(self) -> usize {
        self.0 >> 16
    }
}

/// The state of all hubs of a runtime.
#[derive(Debug)]
pub(super) struct Idle {
    /// [`Counts`]. `SLEEPING` is changed under the lock of `sleepers`.
    counts: AtomicUsize,
    /// The hubs that sleep, or are about to.
    sleepers: Mutex<Vec<usize>>,
    hubs: usize,
}

impl Idle {
    pub(super) fn new(hubs: usize) -> Self {
        Self {
            counts: AtomicUsize::new(0),
            sleepers: Mutex::new(Vec::with_capacity(hubs)),
            hubs,
        }
    }

    /// After work was pushed where every hub can find it: the hub that should be woken for it.
    /// It counts as searching from now on.
    #[inline]
    pub(super) fn claim_sleeper(&self) -> Option<usize> {
        // Pairs with the fence in `announce_sleep`: either we see the hub sleep, or it sees
        // what was pushed.
        fence(SeqCst);
        let counts = Counts(self.counts.load(Relaxed));
        if counts.sleeping() == 0 || counts.searching() > 0 {
            return None;
        }
        self.claim_sleeper_slow()
    }

    #[cold]
    fn claim_sleeper_slow(&self) -> Option<usize> {
        let mut sleepers = self.sleepers.lock();
        if Counts(self.counts.load(Relaxed)).searching() > 0 {
            return None;
        }
        let hub = sleepers.pop()?;
        // Relaxed: the lock orders the changes of `SLEEPING`, and a searcher is only a hint.
        self.counts
            .fetch_sub(Counts::SLEEPING - Counts::SEARCHING, Relaxed);
        Some(hub)
    }

    /// Whether this hub may search: half of the hubs at a time are enough.
    pub(super) fn start_searching(&self) -> bool {
        if 2 * Counts(self.counts.load(Relaxed)).searching() >= self.hubs {
            return false;
        }
        self.counts.fetch_add(Counts::SEARCHING, Relaxed);
        true
    }

    /// The search has found something. Answers whether nobody searches now: then another hub
    /// should be woken, for there may be more.
    pub(super) fn stop_searching(&self) -> bool {
        let before = Counts(self.counts.fetch_sub(Counts::SEARCHING, SeqCst));
        before.searching() == 1
    }

    /// The hub is about to sleep. It must look once more, and then sleep or
    /// [`retract`](Self::retract_sleep).
    pub(super) fn announce_sleep(&self, hub: usize, was_searching: bool) {
        let mut sleepers = self.sleepers.lock();
        sleepers.push(hub);
        let searching = if was_searching { Counts::SEARCHING } else { 0 };
        self.counts.fetch_add(Counts::SLEEPING - searching, Relaxed);
        drop(sleepers);
        // Pairs with the fence in `claim_sleeper`.
        fence(SeqCst);
    }

    /// The hub does not sleep, or not any more. Answers whether somebody has woken it for work:
    /// then it counts as searching.
    pub(super) fn retract_sleep(&self, hub: usize) -> bool {
        let mut sleepers = self.sleepers.lock();
        let Some(position) = sleepers.iter().position(|sleeper| *sleeper == hub) else {
            return true;
        };
        sleepers.swap_remove(position);
        self.counts.fetch_sub(Counts::SLEEPING, Relaxed);
        false
    }
}

const AWAKE: u32 = 0;
/// Somebody wants the hub to look around: its next sleep is over before it begins.
const NOTIFIED: u32 = 1;
/// In the reactor's poll, or on the way there.
const POLLING: u32 = 2;
/// On the futex.
const SLEEPING: u32 = 3;

/// Where one hub sleeps: in the reactor's poll if nobody else is there, else on a futex.
#[derive(Debug)]
pub(super) struct Bed {
    state: AtomicU32,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU32::new(AWAKE),
        }
    }

    /// Sleeps until notified, until there are events, or for `timeout`; answers spuriously, too:
    /// whether it was in the reactor's poll.
    pub(super) fn sleep(
        &self,
        reactor: &Reactor,
        timeout: Option<Duration>,
        wakes: &mut WakeList,
    ) -> bool {
        // Acquire, here and below: pairs with the SeqCst in `notify`; the work is visible.
        let has_polled = self
            .state
            .compare_exchange(AWAKE, POLLING, Acquire, Acquire)
            .is_ok()
            && self.wait(reactor, timeout, wakes);
        self.state.swap(AWAKE, Acquire);
        has_polled
    }

    /// In `POLLING`, or notified since.
    fn wait(&self, reactor: &Reactor, timeout: Option<Duration>, wakes: &mut WakeList) -> bool {
        let polled = reactor.poll_if(|| self.is_polling(), timeout, wakes);
        if polled.is_none()
            && self
                .state
                .compare_exchange(POLLING, SLEEPING, Acquire, Acquire)
                .is_ok()
        {
            futex::wait(&self.state, SLEEPING, timeout);
        }
        polled.is_some()
    }

    /// Asked under the poller's lock: a hub that had it before may have read the eventfd that a
    /// notification of this one had written to.
    fn is_polling(&self) -> bool {
        // Acquire: as in `sleep`.
        self.state.load(Acquire) == POLLING
    }

    /// Whether the hub sleeps and nobody has notified it.
    pub(super) fn is_asleep(&self) -> bool {
        // Relaxed: see the fences in `monitor`.
        [POLLING, SLEEPING].contains(&self.state.load(Relaxed))
    }

    /// Ends the hub's sleep, the present or the next one.
    pub(super) fn notify(&self, reactor: &Reactor) {
        // SeqCst: pairs with the Acquire exchanges in `sleep`, and keeps its place behind the
        // push of what the hub is to find.
        match self.state.swap(NOTIFIED, SeqCst) {
            POLLING => reactor.notify(),
            SLEEPING => futex::wake_one(&self.state),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn a_notification_that_another_hub_has_read_ends_the_sleep_all_the_same() {
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            let (reactor, bed) = (Reactor::new().unwrap(), Bed::new());
            let mut wakes = WakeList::new();
            bed.state.store(POLLING, Relaxed);
            bed.notify(&reactor);
            assert!(reactor.poll(&mut wakes));
            bed.wait(&reactor, None, &mut wakes);
            ended.send(()).unwrap();
        });
        let ended = end.recv_timeout(Duration::from_secs(20));
        assert!(ended.is_ok(), "the hub sleeps, although it was notified");
    }
}
