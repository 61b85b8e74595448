//! What the two ends of a channel share.
//!
//! Everything lies under one short lock: the messages, those who wait for one, and those who wait for room,
//! with the message that each wants to send. Three things hold whenever the lock is free:
//!
//! - While somebody waits for a message there is none: neither in the buffer nor with a sender who waits. So a
//!   message that is sent goes straight to the first one who waits, and that one need not look again.
//! - While somebody waits for room the buffer is full. So whoever receives puts the message of the first
//!   sender into the room that it has made, and senders come in order.
//! - Once one end is gone nobody waits at the other.
//!
//! A channel without capacity is no case of its own: its buffer is always full and always empty.

use std::collections::VecDeque;
use std::mem;

use super::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::sched;
use crate::waker::Outcome;

/// A buffer without bound that was larger than this is freed when it is empty.
const KEPT: usize = 1024;

#[derive(Debug)]
pub(super) struct Channel<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    messages: VecDeque<T>,
    /// How many messages there may be.
    capacity: Option<usize>,
    /// Each with its message, until somebody takes that.
    senders: WaitList<Option<T>>,
    /// Each with room for a message, which stays empty when the senders are gone.
    receivers: WaitList<Option<T>>,
    is_disconnected: bool,
}

/// Why a message was not sent. It comes back.
#[derive(Debug)]
pub(super) enum NotSent<T> {
    /// There is no room, or was none until the deadline.
    Full(T),
    Disconnected(T),
}

/// Why no message was received.
#[derive(Debug)]
pub(super) enum NotReceived {
    /// There is none, or was none until the deadline.
    Empty,
    Disconnected,
}

/// Whoever waited for what was done under the lock: to be dropped when it is free.
type Waiting<T> = Claimed<Option<T>>;

impl<T> Channel<T> {
    /// A channel for up to `capacity` messages, or without bound.
    pub(super) fn new(capacity: Option<usize>) -> Self {
        Self {
            state: Mutex::new(State {
                messages: VecDeque::new(),
                capacity,
                senders: WaitList::new(),
                receivers: WaitList::new(),
                is_disconnected: false,
            }),
        }
    }

    #[inline]
    pub(super) fn try_send(&self, message: T) -> Result<(), NotSent<T>> {
        // First, for who is cancelled in there has not sent.
        sched::spend_memory();
        let mut waiting = Claimed::new();
        let mut state = self.state.lock();
        let sent = state.send(message, &mut waiting);
        drop(state);
        waiting.schedule();
        sent
    }

    /// Waits for room, up to the deadline. Unwinds if the greenlet is cancelled; then the message was
    /// not sent.
    #[inline]
    pub(super) fn send(&self, message: T, deadline: Option<u64>) -> Result<(), NotSent<T>> {
        match self.try_send(message) {
            Err(NotSent::Full(message)) => self.send_slow(message, deadline),
            answer => answer,
        }
    }

    #[cold]
    fn send_slow(&self, message: T, deadline: Option<u64>) -> Result<(), NotSent<T>> {
        let mut waiting = Claimed::new();
        let (outcome, message) = wait(
            (&self.state, |state| &mut state.senders),
            Some(message),
            (WaitReason::Send.at(self), deadline),
            |state, message| {
                let sent = state.send(message.take().expect("it was not sent"), &mut waiting);
                let must_wait = matches!(sent, Err(NotSent::Full(_)));
                *message = sent
                    .err()
                    .map(|(NotSent::Full(m) | NotSent::Disconnected(m))| m);
                Enlist::last_if(must_wait)
            },
            |_| (),
        );
        waiting.schedule();
        match (outcome, message) {
            (Outcome::Cancelled, _) => sched::unwind_cancelled(),
            (_, None) => Ok(()),
            (Outcome::Deadline, Some(message)) => Err(NotSent::Full(message)),
            (Outcome::Woken, Some(message)) => Err(NotSent::Disconnected(message)),
        }
    }

    #[inline]
    pub(super) fn try_receive(&self) -> Result<T, NotReceived> {
        // First, for who is cancelled in there has not received.
        sched::spend_memory();
        let mut waiting = Claimed::new();
        let mut state = self.state.lock();
        let received = state.receive(&mut waiting);
        drop(state);
        waiting.schedule();
        received
    }

    /// Waits for a message, up to the deadline. Unwinds if the greenlet is cancelled; then it has taken
    /// none.
    #[inline]
    pub(super) fn receive(&self, deadline: Option<u64>) -> Result<T, NotReceived> {
        match self.try_receive() {
            Err(NotReceived::Empty) => self.receive_slow(deadline),
            answer => answer,
        }
    }

    fn receive_slow(&self, deadline: Option<u64>) -> Result<T, NotReceived> {
        let mut waiting = Claimed::new();
        let (outcome, message) = wait(
            (&self.state, |state| &mut state.receivers),
            None,
            (WaitReason::Receive.at(self), deadline),
            |state, message| {
                let received = state.receive(&mut waiting);
                let must_wait = matches!(received, Err(NotReceived::Empty));
                *message = received.ok();
                Enlist::last_if(must_wait)
            },
            |_| (),
        );
        waiting.schedule();
        match (outcome, message) {
            (Outcome::Cancelled, _) => sched::unwind_cancelled(),
            (_, Some(message)) => Ok(message),
            (Outcome::Deadline, None) => Err(NotReceived::Empty),
            (Outcome::Woken, None) => Err(NotReceived::Disconnected),
        }
    }

    /// There are no senders any more.
    pub(super) fn disconnect_senders(&self) {
        let mut waiting = Claimed::new();
        let mut state = self.state.lock();
        state.is_disconnected = true;
        state.receivers.claim_all(&mut waiting);
        drop(state);
        waiting.schedule();
    }

    /// There are no receivers any more: the messages are dropped.
    pub(super) fn disconnect_receivers(&self) {
        let mut waiting = Claimed::new();
        let mut state = self.state.lock();
        state.is_disconnected = true;
        state.senders.claim_all(&mut waiting);
        let messages = mem::take(&mut state.messages);
        drop(state);
        waiting.schedule();
        drop(messages);
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.state.lock().messages.len()
    }

    /// How many messages there may be, if that is bounded.
    pub(super) fn capacity(&self) -> Option<usize> {
        self.state.lock().capacity
    }

    pub(super) fn is_full(&self) -> bool {
        self.state.lock().is_full()
    }
}

impl<T> State<T> {
    #[inline]
    fn is_full(&self) -> bool {
        self.capacity == Some(self.messages.len())
    }

    #[inline]
    fn send(&mut self, message: T, waiting: &mut Waiting<T>) -> Result<(), NotSent<T>> {
        if self.is_disconnected {
            return Err(NotSent::Disconnected(message));
        }
        if let Some(place) = self.receivers.claim_first(waiting) {
            *place = Some(message);
            return Ok(());
        }
        if self.is_full() {
            return Err(NotSent::Full(message));
        }
        self.messages.push_back(message);
        Ok(())
    }

    #[inline]
    fn receive(&mut self, waiting: &mut Waiting<T>) -> Result<T, NotReceived> {
        let first = self.messages.pop_front();
        let next = self.senders.claim_first(waiting).and_then(Option::take);
        match (first, next) {
            (Some(first), Some(next)) => {
                self.messages.push_back(next);
                Ok(first)
            }
            (Some(first), None) => {
                self.free_if_unused();
                Ok(first)
            }
            (None, Some(next)) => Ok(next),
            (None, None) if self.is_disconnected => Err(NotReceived::Disconnected),
            (None, None) => Err(NotReceived::Empty),
        }
    }

    #[inline]
    fn free_if_unused(&mut self) {
        if self.messages.is_empty() && self.capacity.is_none() && self.messages.capacity() > KEPT {
            self.messages = VecDeque::new();
        }
    }
}
