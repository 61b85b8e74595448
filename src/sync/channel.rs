//! What the two ends of a channel share.
//!
//! Messages go through two buffers. Senders put them into the first, under the lock of the [`State`]; a receiver
//! that finds the second one empty takes over all that is in the first, and then those who receive need the
//! lock of the second only. So both ends are at work at the same time and meet once for many messages. Who has
//! to wait does so in the state. The lock of the second buffer is taken before the other.
//!
//! - While somebody waits for a message there is none: `length`, which counts both buffers, was 0 when it
//!   enlisted. So a message that is sent goes straight to the first one who waits.
//! - Senders that wait come in order: while there are any, others wait behind them. Whoever receives makes room
//!   and then looks at `senders_wait`; who waits for room sets that and then looks for room. Both in one order
//!   of all (sequentially consistent), so one of the two sees the other.
//! - Once one end is gone nobody waits at the other.
//!
//! A channel without capacity is no case of its own: it is always full and always empty.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::atomic::{AtomicBool, AtomicUsize};
use crate::lock::Mutex;
use crate::reason::WaitReason;
use crate::sched;
use crate::sched::wait_list::{Claimed, Enlist, WaitList, wait};
use crate::waker::Outcome;

/// A buffer without bound that was larger than this is freed when it is empty.
const KEPT: usize = 1024;

#[derive(Debug)]
pub(super) struct Channel<T> {
    state: OwnLine<Mutex<State<T>>>,
    /// Messages that receivers have taken over.
    taken: OwnLine<Mutex<VecDeque<T>>>,
    /// How many messages there are, in both buffers. Raised under the lock of the state.
    length: OwnLine<AtomicUsize>,
    /// The list of senders is not empty, or is about to be. Changes under the lock of the state.
    senders_wait: AtomicBool,
    /// One end is gone. Set under the lock of the state.
    is_disconnected: AtomicBool,
    /// How many messages there may be.
    capacity: Option<usize>,
}

/// On a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct OwnLine<T>(T);

#[derive(Debug)]
struct State<T> {
    messages: VecDeque<T>,
    /// Each with its message, until somebody takes that.
    senders: WaitList<Option<T>>,
    /// Each with room for a message, which stays empty when the senders are gone.
    receivers: WaitList<Option<T>>,
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
            state: OwnLine(Mutex::new(State {
                messages: VecDeque::new(),
                senders: WaitList::new(),
                receivers: WaitList::new(),
            })),
            taken: OwnLine(Mutex::new(VecDeque::new())),
            length: OwnLine(AtomicUsize::new(0)),
            senders_wait: AtomicBool::new(false),
            is_disconnected: AtomicBool::new(false),
            capacity,
        }
    }

    #[inline]
    pub(super) fn try_send(&self, message: T) -> Result<(), NotSent<T>> {
        // First, for who is cancelled in there has not sent.
        sched::spend_memory();
        let mut waiting = Claimed::new();
        let mut state = self.state.0.lock();
        let sent = self.send_under_lock(&mut state, message, &mut waiting);
        drop(state);
        waiting.schedule();
        sent
    }

    #[inline]
    fn send_under_lock(
        &self,
        state: &mut State<T>,
        message: T,
        waiting: &mut Waiting<T>,
    ) -> Result<(), NotSent<T>> {
        if self.is_disconnected() {
            return Err(NotSent::Disconnected(message));
        }
        if let Some(place) = state.receivers.claim_first(waiting) {
            *place = Some(message);
            return Ok(());
        }
        if self.is_full() || !state.senders.is_empty() {
            return Err(NotSent::Full(message));
        }
        self.put(state, message);
        Ok(())
    }

    #[inline]
    fn put(&self, state: &mut State<T>, message: T) {
        // Before a receiver can take it out, which takes the lock.
        self.length.0.fetch_add(1, Relaxed);
        state.messages.push_back(message);
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
            (&self.state.0, |state| &mut state.senders),
            Some(message),
            (WaitReason::Send.at(self), deadline),
            |state, message| {
                // SeqCst: comes before the look for room; see `make_room`.
                self.senders_wait.store(true, SeqCst);
                let own = message.take().expect("it was not sent");
                let sent = self.send_under_lock(state, own, &mut waiting);
                let must_wait = matches!(sent, Err(NotSent::Full(_)));
                *message = sent
                    .err()
                    .map(|(NotSent::Full(m) | NotSent::Disconnected(m))| m);
                if !must_wait {
                    self.update(state);
                }
                Enlist::last_if(must_wait)
            },
            |state| self.update(state),
        );
        waiting.schedule();
        match (outcome, message) {
            (Outcome::Cancelled, _) => sched::unwind_cancelled(),
            (_, None) => Ok(()),
            (Outcome::Deadline, Some(message)) => Err(NotSent::Full(message)),
            (Outcome::Woken, Some(message)) => Err(NotSent::Disconnected(message)),
        }
    }

    /// Under the lock: `senders_wait` tells what has become of the list.
    fn update(&self, state: &State<T>) {
        self.senders_wait.store(!state.senders.is_empty(), SeqCst);
    }

    #[inline]
    pub(super) fn try_receive(&self) -> Result<T, NotReceived> {
        // First, for who is cancelled in there has not received.
        sched::spend_memory();
        let mut waiting = Claimed::new();
        let mut taken = self.taken.0.lock();
        let first = match taken.pop_front() {
            Some(first) => first,
            None => match self.take_over(&mut taken, &mut waiting)? {
                TakenOver::Some => taken.pop_front().expect("there is some"),
                TakenOver::FromSender(message) => return Ok(message),
            },
        };
        self.make_room();
        drop(taken);
        // SeqCst: comes after the room was made; see `make_room`.
        if self.senders_wait.load(SeqCst) {
            self.let_senders_in();
        }
        Ok(first)
    }

    /// A message was taken out.
    #[inline]
    fn make_room(&self) {
        // SeqCst: with the look at `senders_wait` that follows. A sender that waits sets that first, and looks
        // at the length then.
        self.length.0.fetch_sub(1, SeqCst);
    }

    /// The buffer of the receivers is empty, so they take what is in the other; or if that is, too,
    /// what a sender wants to send who waits.
    #[inline(never)]
    fn take_over(
        &self,
        taken: &mut VecDeque<T>,
        waiting: &mut Waiting<T>,
    ) -> Result<TakenOver<T>, NotReceived> {
        let mut state = self.state.0.lock();
        if !state.messages.is_empty() {
            if self.capacity.is_none() && taken.capacity() > KEPT {
                *taken = VecDeque::new();
            }
            mem::swap(taken, &mut state.messages);
            return Ok(TakenOver::Some);
        }
        let next = state.senders.claim_first(waiting).and_then(Option::take);
        self.update(&state);
        let is_disconnected = self.is_disconnected();
        match next {
            Some(message) => Ok(TakenOver::FromSender(message)),
            None if is_disconnected => Err(NotReceived::Disconnected),
            None => Err(NotReceived::Empty),
        }
    }

    #[cold]
    fn let_senders_in(&self) {
        let mut waiting = Claimed::new();
        let mut state = self.state.0.lock();
        while !self.is_full() {
            let next = state
                .senders
                .claim_first(&mut waiting)
                .and_then(Option::take);
            match next {
                Some(message) => self.put(&mut state, message),
                None => break,
            }
        }
        self.update(&state);
        drop(state);
        waiting.schedule();
    }

    /// Waits for a message, up to the deadline. Unwinds if the greenlet is cancelled; then it has taken
    /// none.
    #[inline]
    pub(super) fn receive(&self, deadline: Option<u64>) -> Result<T, NotReceived> {
        // Who has to wait looks under the lock anyway, when it is off the CPU.
        let mut looks_empty = self.looks_empty();
        loop {
            if !mem::take(&mut looks_empty) {
                match self.try_receive() {
                    Err(NotReceived::Empty) => {}
                    answer => return answer,
                }
            }
            if let Some(answer) = self.wait_for_message(deadline) {
                return answer;
            }
        }
    }

    /// Whether there was nothing to receive just now.
    #[inline]
    fn looks_empty(&self) -> bool {
        self.length.0.load(Relaxed) == 0
            && !self.senders_wait.load(Relaxed)
            && !self.is_disconnected()
    }

    /// Known under the lock; without, what was so some time ago.
    #[inline]
    fn is_disconnected(&self) -> bool {
        self.is_disconnected.load(Relaxed)
    }

    /// `None`: there is a message now, or never again.
    fn wait_for_message(&self, deadline: Option<u64>) -> Option<Result<T, NotReceived>> {
        let (outcome, message) = wait(
            (&self.state.0, |state| &mut state.receivers),
            None,
            (WaitReason::Receive.at(self), deadline),
            |state, _| {
                // What was sent is counted under this lock; what another receiver takes out may not be yet.
                let is_empty = self.length.0.load(Relaxed) == 0 && state.senders.is_empty();
                Enlist::last_if(is_empty && !self.is_disconnected())
            },
            |_| (),
        );
        match (outcome, message) {
            (Outcome::Cancelled, _) => sched::unwind_cancelled(),
            (_, Some(message)) => Some(Ok(message)),
            (Outcome::Deadline, None) => Some(Err(NotReceived::Empty)),
            (Outcome::Woken, None) => None,
        }
    }

    /// There are no senders any more.
    pub(super) fn disconnect_senders(&self) {
        let mut waiting = Claimed::new();
        let mut state = self.state.0.lock();
        self.is_disconnected.store(true, Relaxed);
        state.receivers.claim_all(&mut waiting);
        drop(state);
        waiting.schedule();
    }

    /// There are no receivers any more: the messages are dropped.
    pub(super) fn disconnect_receivers(&self) {
        let mut waiting = Claimed::new();
        let mut state = self.state.0.lock();
        self.is_disconnected.store(true, Relaxed);
        state.senders.claim_all(&mut waiting);
        let messages = mem::take(&mut state.messages);
        self.length.0.store(0, Relaxed);
        drop(state);
        waiting.schedule();
        // Nobody else uses it any more; but what is dropped may use the channel.
        let taken = mem::take(&mut *self.taken.0.lock());
        drop((taken, messages));
    }

    /// How many messages there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        // SeqCst: of a sender that waits, after it has said so; see `make_room`.
        self.length.0.load(SeqCst)
    }

    /// How many messages there may be, if that is bounded.
    pub(super) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.len() >= capacity)
    }
}

/// What a receiver has that finds its own buffer empty.
enum TakenOver<T> {
    /// Messages, in its buffer.
    Some,
    /// The message of a sender that has waited.
    FromSender(T),
}
