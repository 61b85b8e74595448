//! The switch from the hub to a greenlet, and what the greenlet leaves the hub to do.

use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Relaxed, Release};

use corosensei::CoroutineResult;

use super::current::{self, Current};
use super::greenlet_cell::{GreenletCell, Runnable, hub_number};
use super::hub::{Hub, Turn};
use super::park::{Handoff, Parking};
use super::recording;
use crate::arch::{self, FloatControl};
use crate::tls::{self, Words};
use crate::waker::{Header, Waker};

impl Hub {
    /// Runs a greenlet until it parks, yields or ends; after a yield the next one in turn, and so on. Answers
    /// with one that is to run before any other.
    #[inline]
    pub(super) fn switch_in(&self, runnable: Runnable) -> Option<Runnable> {
        let is_started = runnable.is_started();
        let cell = runnable.into_cell();
        if !is_started && !self.start(cell) {
            return None;
        }
        self.begin_run(cell);
        if self.recorder.takes_part() {
            // SAFETY: alive: it was runnable.
            self.record_run(unsafe { cell.as_ref() });
        }
        // SAFETY: this hub had the right to run it, and it is started. Where there are words that greenlets share
        // with their worker, each has a block of its own.
        unsafe {
            match self.words {
                Some(words) => self.resume(cell, words),
                None => {
                    self.resume_sharing(cell);
                    None
                }
            }
        }
    }

    /// A greenlet has left the CPU, and the hub is back under its own thread pointer.
    ///
    /// # Safety
    ///
    /// This hub had the right to run it, and gives it up.
    #[inline]
    unsafe fn settle(
        &self,
        cell: NonNull<GreenletCell>,
        result: CoroutineResult<Handoff, ()>,
        is_overtaken: bool,
    ) {
        self.remote().running.store(ptr::null_mut(), Relaxed);
        if self.recorder.takes_part() {
            // SAFETY: alive: its end is seen below.
            let greenlet = unsafe { cell.as_ref() };
            self.record_stop(greenlet, recording::why(greenlet, &result));
        }
        match result {
            CoroutineResult::Yield(Handoff::Yield) => {
                // SAFETY: it is alive, and the right to run it is this hub's (caller).
                let yielded = unsafe { Runnable::new(cell) };
                if is_overtaken {
                    self.push_overtaken(yielded);
                } else {
                    self.push_yielded(yielded);
                }
            }
            CoroutineResult::Yield(Handoff::Park(parking)) => self.park(cell, parking),
            CoroutineResult::Return(()) => self.finish(cell),
        }
    }

    /// The greenlet runs next.
    #[inline]
    fn begin_run(&self, cell: NonNull<GreenletCell>) {
        let remote = self.remote();
        remote.counters.switches.increment();
        self.grant_budget();
        // Relaxed, here and in `settle`: see `inspect`, whose barrier does for both.
        remote.running.store(cell.as_ptr(), Relaxed);
    }

    /// The switch to a greenlet, under its thread pointer; after a yield straight on to the next one. So a yield
    /// to another costs one change of the thread pointer, and one to itself none.
    ///
    /// # Safety
    ///
    /// The caller has the right to run the greenlet, which is started and has a block.
    #[inline]
    unsafe fn resume(&self, mut cell: NonNull<GreenletCell>, words: &Words) -> Option<Runnable> {
        // SAFETY: the caller's promise; both are live blocks: the worker's, and the greenlet's, which runs
        // nowhere. Nobody allocates or computes between.
        let mut thread_pointer = unsafe {
            let thread_pointer = self.own_block(cell);
            self.set_float_control(cell, self.float_control);
            words.copy(self.thread_pointer, thread_pointer);
            tls::set_thread_pointer(thread_pointer);
            thread_pointer
        };
        loop {
            // SAFETY: as above. A greenlet that `turn` takes from the queue comes with the right to run it, and is
            // started; all of a runtime have blocks, or none. Up to the next change of the thread
            // pointer nothing uses thread-locals but the greenlet, and those are its own, and `turn` and
            // `push_overtaken`, which are not inlined; between these two nobody allocates, and nobody computes, but for
            // an allocator. `settle` has no thread-local either, and what it calls has none or is not inlined. Who has
            // left the CPU is not used any more once it is queued or settled.
            unsafe {
                let coroutine = (*cell.as_ref().run.get()).coroutine.as_mut();
                let result = coroutine.unwrap_unchecked().resume(self);
                let turn = match result {
                    CoroutineResult::Yield(Handoff::Yield) => self.turn(cell.as_ref()),
                    _ => Turn::Hub(None),
                };
                match turn {
                    Turn::Same => self.begin_run(cell),
                    Turn::Next(next) => {
                        let next = next.into_cell();
                        let next_thread_pointer = self.own_block(next);
                        let present = self.note_float_control(cell);
                        self.set_float_control(next, present);
                        words.copy(thread_pointer, next_thread_pointer);
                        tls::set_thread_pointer(next_thread_pointer);
                        // Before others can see the one that has yielded: see `inspect`.
                        self.begin_run(next);
                        // Not before its thread pointer is free, for then another hub may run it.
                        self.push_overtaken(Runnable::new(cell));
                        (cell, thread_pointer) = (next, next_thread_pointer);
                    }
                    Turn::Hub(next) => {
                        // Before the thread pointer, whose change takes longest: there it costs least.
                        self.reset_float_control(cell);
                        tls::set_thread_pointer(self.thread_pointer);
                        words.copy(thread_pointer, self.thread_pointer);
                        self.settle(cell, result, next.is_some());
                        return next;
                    }
                }
            }
        }
    }

    /// The switch to a greenlet that shares its worker's thread-locals. Not inlined, because it uses one, and its
    /// caller changes the thread pointer.
    ///
    /// # Safety
    ///
    /// The caller has the right to run the greenlet, which is started.
    #[inline(never)]
    unsafe fn resume_sharing(&self, cell: NonNull<GreenletCell>) {
        current::set(Current::new(self, cell.as_ptr()));
        // SAFETY: alive, and `run` is the hub's until the greenlet runs (caller).
        let result = unsafe {
            self.set_float_control(cell, self.float_control);
            let coroutine = (*cell.as_ref().run.get()).coroutine.as_mut();
            let result = coroutine.unwrap_unchecked().resume(self);
            self.reset_float_control(cell);
            result
        };
        current::set(Current::new(self, ptr::null()));
        // SAFETY: it has left the CPU, and this hub had the right to run it (caller).
        unsafe { self.settle(cell, result, false) };
    }

    /// Prepares a greenlet's block for this hub, and answers with its thread pointer.
    ///
    /// # Safety
    ///
    /// The caller has the right to run the greenlet, which is started and has a block.
    #[inline]
    unsafe fn own_block(&self, cell: NonNull<GreenletCell>) -> usize {
        let hub = hub_number(self.index());
        // SAFETY: `run` is the hub's (caller). The greenlet's `current` lies as far from its thread pointer as
        // the hub's does from the hub's; nobody else writes it, and the greenlet does not run.
        unsafe {
            let run = cell.as_ref().run.get();
            let thread_pointer = (*run).thread_pointer;
            if (*run).hub != hub {
                (*run).hub = hub;
                let current = thread_pointer.wrapping_add(self.current_offset);
                (current as *mut Current).write(Current::new(self, cell.as_ptr()));
            }
            thread_pointer
        }
    }

    /// Sets floating-point arithmetic as a greenlet has it, which is nearly always as it is.
    ///
    /// # Safety
    ///
    /// The caller has the right to run the greenlet. What runs before it does not compute, or only as an allocator
    /// might, which greenlets call with any setting.
    #[inline]
    unsafe fn set_float_control(&self, cell: NonNull<GreenletCell>, present: FloatControl) {
        // SAFETY: alive, and the caller's; it is the next that computes (caller).
        unsafe {
            let of_greenlet = *cell.as_ref().float_control.get();
            if of_greenlet != present {
                arch::set_float_control(of_greenlet);
            }
        }
    }

    /// Sets it as the worker has it.
    ///
    /// # Safety
    ///
    /// The greenlet has just left the CPU, and this hub has the right to run it.
    #[inline]
    unsafe fn reset_float_control(&self, cell: NonNull<GreenletCell>) {
        // SAFETY: the caller's promise; the hub runs from here on.
        unsafe {
            if self.note_float_control(cell) != self.float_control {
                arch::set_float_control(self.float_control);
            }
        }
    }

    /// Notes, and answers, how a greenlet has left it.
    ///
    /// # Safety
    ///
    /// The greenlet has just left the CPU, and this hub has the right to run it.
    #[inline]
    unsafe fn note_float_control(&self, cell: NonNull<GreenletCell>) -> FloatControl {
        let float_control = arch::float_control();
        // SAFETY: alive, and the hub's (caller).
        unsafe { *cell.as_ref().float_control.get() = float_control };
        float_control
    }

    /// The greenlet has left the CPU to wait.
    #[inline]
    pub(super) fn park(&self, cell: NonNull<GreenletCell>, parking: Parking) {
        self.counters().parks.increment();
        let committing = &self.remote().committing;
        // Release: who reads this note instead of an earlier one sees that commit's end all the same.
        // For this one `begin_park` publishes it.
        committing.store(cell.as_ptr(), Release);
        self.begin_park(cell, parking);
        // Release: pairs with the Acquire in `await_commit`: who cancels waits for the commit.
        committing.store(ptr::null_mut(), Release);
    }

    #[inline]
    fn begin_park(&self, cell: NonNull<GreenletCell>, parking: Parking) {
        // SAFETY: alive, and not running: the hub may use it until the waker is published.
        let greenlet = unsafe { cell.as_ref() };
        // SAFETY: as above.
        let Ok(waker) = (unsafe { Header::begin_park(cell.cast(), parking.shielded) }) else {
            if self.recorder.takes_part() {
                recording::record_cancelled_park(greenlet);
            }
            // SAFETY: it was cancelled and does not park, so this hub has the right to run it.
            return self.push_back(unsafe { Runnable::new(cell) });
        };
        // From here to the end of the commit it is not ended by its deadline, see `park_until`, nor
        // cancelled, see `Shared::await_commit`.
        match parking.deadline {
            // SAFETY: parked right here, and this is the only commit.
            None => unsafe { parking.commit(waker) },
            Some(deadline) => self.park_until(greenlet, deadline, waker, parking),
        }
    }

    /// Holds the lock on the timers until the commit is through: if the deadline could end the
    /// park before that, the greenlet might be gone while the commit still uses its stack.
    #[cold]
    fn park_until(&self, greenlet: &GreenletCell, deadline: u64, waker: Waker, parking: Parking) {
        let mut timers = self.remote().timers.lock();
        let key = timers.insert(deadline, waker.clone());
        // SAFETY: the greenlet is parked and nobody can wake it yet, so `run` is the hub's.
        unsafe {
            (*greenlet.run.get()).timer = Some(key);
            (*greenlet.run.get()).timer_hub = hub_number(self.index());
        }
        // SAFETY: parked by the caller, and this is the only commit.
        unsafe { parking.commit(waker) };
    }
}
