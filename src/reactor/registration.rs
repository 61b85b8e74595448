//! One descriptor in the reactor: what has happened to it, and who waits for more.

#[cfg(all(test, loom))]
mod models;

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Weak;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::Reactor;
use super::waiters::Waiters;
use crate::atomic::{AtomicBool, AtomicUsize};
use crate::interest::Interest;
use crate::lock::Mutex;
use crate::waker::{Header, WakeList, Waker};

/// Events that end the wait of readers.
const READABLE: libc::c_int =
    libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
/// Events that end the wait of writers.
const WRITABLE: libc::c_int = libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR;
/// Events after which everybody is to look: there is nothing left to wait for.
const FINAL: libc::c_int = libc::EPOLLHUP | libc::EPOLLERR;
/// Events after which a short read does not mean that the socket is empty: the end of the
/// stream, an error or urgent data may follow without an edge of their own.
const MORE_TO_COME: libc::c_int =
    libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;

/// A descriptor that is in the epoll of a reactor.
///
/// Waiting without losing an edge: count the edges with [`edges`](Self::edges), try the call,
/// and when it would block, [`arm`](Self::arm) with that count. An edge that came in between
/// has raised the count, and then the waker is woken at once.
///
/// What a wait to read touches comes first, on two cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Registration {
    read: Direction,
    /// An event of `MORE_TO_COME` was seen. Written by the one who polls, never taken back.
    /// Relaxed suffices: it is written before the edge is counted.
    more_to_come: AtomicBool,
    /// The reactor has ended. Written once, by [`die`](Self::die), before it wakes everybody.
    dead: AtomicBool,
    write: Direction,
    /// Weak: a descriptor may outlive its runtime by far, and must not keep the reactor's open.
    reactor: Weak<Reactor>,
    /// Where the reactor keeps its reference.
    index: usize,
}

/// One direction of a descriptor.
#[derive(Debug)]
struct Direction {
    /// How many edges there were. Raised by the one who polls, before it takes `waiters`.
    edges: AtomicUsize,
    /// The length of `waiters`, written under its lock.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
}

impl Registration {
    pub(super) fn new(reactor: Weak<Reactor>, index: usize, first_edge: usize) -> Self {
        Self {
            reactor,
            index,
            read: Direction::new(first_edge),
            write: Direction::new(first_edge),
            more_to_come: AtomicBool::new(false),
            dead: AtomicBool::new(false),
        }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Whether the reactor has ended: no edge will come any more.
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        // Acquire: pairs with the Release in `die`.
        self.dead.load(Acquire)
    }

    /// The reactor ends: everybody looks again, and sees that it has.
    pub(super) fn die(&self) {
        // Release: pairs with the Acquire in `is_dead`.
        self.dead.store(true, Release);
        self.wake_all();
    }

    /// Takes the descriptor out of the reactor, before it is closed, and wakes everybody.
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>) {
        // Without a reactor there is no epoll that it could be in.
        if let Some(reactor) = self.reactor.upgrade() {
            reactor.deregister(self, fd);
        }
        self.wake_all();
    }

    /// How many edges were seen in this direction.
    #[inline]
    pub(crate) fn edges(&self, interest: Interest) -> usize {
        // Acquire: pairs with the AcqRel in `edge`; the data it announced is there.
        self.direction(interest).edges.load(Acquire)
    }

    /// Whether a short read leaves open what comes next.
    #[inline]
    pub(crate) fn may_have_more(&self) -> bool {
        self.more_to_come.load(Relaxed)
    }

    /// Queues a waker for the next edge after `seen`; wakes it at once if that edge has come.
    ///
    /// Once the waker is in the queue `self` may be gone: unlocking is the last thing done to it.
    pub(crate) fn arm(&self, interest: Interest, seen: usize, waker: Waker) {
        let direction = self.direction(interest);
        let mut waiters = direction.waiters.lock();
        // Acquire: pairs with the AcqRel in `edge`. An edge that is counted after this look finds
        // the waker in the queue, because it takes the lock after counting.
        // A reactor's end sets its flag first and takes the lock then, so it does, too.
        if direction.edges.load(Acquire) != seen || self.is_dead() {
            drop(waiters);
            return waker.wake();
        }
        waiters.push(waker);
        direction.waiting.store(waiters.len(), Relaxed);
    }

    /// Takes back the waker of a park that ended otherwise. If an edge has taken it already, the
    /// edge is passed on: it was meant for somebody who waits.
    pub(crate) fn disarm(&self, interest: Interest, cell: NonNull<Header>, generation: u32) {
        let direction = self.direction(interest);
        let mut waiters = direction.waiters.lock();
        let taken = waiters.remove(cell, generation);
        direction.waiting.store(waiters.len(), Relaxed);
        drop(waiters);
        if taken.is_none() {
            self.wake_next(interest);
        }
    }

    /// Wakes the next waiter, if any: the one before has left data, room or connections behind.
    #[inline]
    pub(crate) fn pass_on(&self, interest: Interest) {
        // Relaxed: whoever was queued before the edge that woke the caller is seen, by the lock
        // that the edge took in between; whoever comes later sees the edge.
        if self.direction(interest).waiting.load(Relaxed) > 0 {
            self.wake_next(interest);
        }
    }

    #[cold]
    fn wake_next(&self, interest: Interest) {
        let waker = self.direction(interest).take_first();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether anybody waits, in either direction.
    pub(super) fn has_waiters(&self) -> bool {
        [&self.read, &self.write]
            .into_iter()
            .any(|direction| direction.waiting.load(Relaxed) > 0)
    }

    /// Ends every wait, in both directions.
    pub(crate) fn wake_all(&self) {
        let mut wakes = WakeList::new();
        for direction in [&self.read, &self.write] {
            direction.count_edge();
            direction.take_all(&mut wakes);
        }
        wakes.wake_all();
    }

    /// An event has come.
    pub(super) fn edge(&self, events: libc::c_int, wakes: &mut WakeList) {
        if events & MORE_TO_COME != 0 {
            self.more_to_come.store(true, Relaxed);
        }
        let everybody = events & FINAL != 0;
        for (direction, mask) in [(&self.read, READABLE), (&self.write, WRITABLE)] {
            if events & mask == 0 {
                continue;
            }
            direction.count_edge();
            if everybody {
                direction.take_all(wakes);
            } else if let Some(waker) = direction.take_first() {
                wakes.push(waker);
            }
        }
    }

    fn direction(&self, interest: Interest) -> &Direction {
        match interest {
            Interest::Read => &self.read,
            Interest::Write => &self.write,
        }
    }
}

impl Direction {
    fn new(first_edge: usize) -> Self {
        Self {
            edges: AtomicUsize::new(first_edge),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::default(),
        }
    }

    /// Comes before taking `waiters`: see [`Registration::arm`].
    fn count_edge(&self) {
        // AcqRel: pairs with the Acquire in `edges` and `arm`.
        self.edges.fetch_add(1, AcqRel);
    }

    fn take_first(&self) -> Option<Waker> {
        let mut waiters = self.waiters.lock();
        let waker = waiters.pop();
        self.waiting.store(waiters.len(), Relaxed);
        waker
    }

    fn take_all(&self, wakes: &mut WakeList) {
        let mut waiters = self.waiters.lock();
        waiters.take_all(wakes);
        self.waiting.store(0, Relaxed);
    }
}
