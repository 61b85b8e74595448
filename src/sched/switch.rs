//! The switch from the hub to a greenlet, and what the greenlet leaves the hub to do.

use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Relaxed, Release};

use corosensei::CoroutineResult;

use super::current::{self, Current};
use super::greenlet_cell::{GreenletCell, Run, Runnable, hub_number};
use super::hub::Hub;
use super::park::{Handoff, Parking};
use super::recording;
use crate::arch::{self, FloatControl};
use crate::tls;
use crate::waker::{Header, Waker};

impl Hub {
    /// Runs a greenlet until it parks, yields or ends.
    #[inline]
    pub(super) fn switch_in(&self, runnable: Runnable) {
        let cell = runnable.into_cell();
        // SAFETY: alive: it was runnable.
        let greenlet = unsafe { cell.as_ref() };
        // SAFETY: this hub had the right to run it, so `run` is the hub's.
        let run = greenlet.run.get();
        // SAFETY: as above.
        if unsafe { (*run).coroutine.is_none() } && !self.start(cell) {
            return;
        }
        let remote = self.remote();
        remote.counters.switches.increment();
        self.grant_budget();
        // Relaxed, here and below: see `inspect`, whose barrier does for both.
        remote.running.store(cell.as_ptr(), Relaxed);
        if self.recorder.takes_part() {
            self.record_run(greenlet);
        }
        // SAFETY: as above; it is started.
        let result = unsafe { self.resume(cell, run) };
        remote.running.store(ptr::null_mut(), Relaxed);
        if self.recorder.takes_part() {
            self.record_stop(greenlet, &result);
        }
        match result {
            CoroutineResult::Yield(Handoff::Yield) => {
                // SAFETY: it is off the CPU, alive, and this hub has the right to run it.
                self.push_yielded(unsafe { Runnable::new(cell) });
            }
            CoroutineResult::Yield(Handoff::Park(parking)) => self.park(cell, parking),
            CoroutineResult::Return(()) => self.finish(cell),
        }
    }

    /// The switch itself, under the greenlet's thread pointer.
    ///
    /// # Safety
    ///
    /// The caller has the right to run the greenlet, which is started; `run` is its own.
    #[inline]
    unsafe fn resume(
        &self,
        cell: NonNull<GreenletCell>,
        run: *mut Run,
    ) -> CoroutineResult<Handoff, ()> {
        // SAFETY: `run` is the hub's until the greenlet runs (caller); for all uses below.
        let (coroutine, thread_pointer) =
            unsafe { ((*run).coroutine.as_mut(), (*run).thread_pointer) };
        // SAFETY: it is started (caller).
        let coroutine = unsafe { coroutine.unwrap_unchecked() };
        // SAFETY: alive, and for who may use `run` (caller). The greenlet is the next that computes.
        let float_control = unsafe {
            let float_control = cell.as_ref().float_control.get();
            self.set_float_control(*float_control);
            float_control
        };
        let Some(words) = self.words else {
            current::set(Current::new(self, cell.as_ptr()));
            let result = coroutine.resume(self);
            // SAFETY: as above: it is alive until the hub has seen the result.
            unsafe { *float_control = self.reset_float_control() };
            current::set(Current::new(self, ptr::null()));
            return result;
        };
        // SAFETY: as above. The greenlet's `current` lies as far from its thread pointer as the hub's
        // does from the hub's; nobody else writes it, and the greenlet does not run.
        unsafe {
            let hub = hub_number(self.index());
            if (*run).hub != hub {
                (*run).hub = hub;
                let current = thread_pointer.wrapping_add(self.current_offset);
                (current as *mut Current).write(Current::new(self, cell.as_ptr()));
            }
        }
        // SAFETY: both are live blocks: the worker's, and the greenlet's, which runs nowhere. Nothing
        // between the two switches uses thread-locals but the greenlet, and those are its own.
        unsafe {
            words.copy(self.thread_pointer, thread_pointer);
            tls::set_thread_pointer(thread_pointer);
            let result = coroutine.resume(self);
            // Before the thread pointer, whose change takes longest: there it costs least.
            *float_control = self.reset_float_control();
            tls::set_thread_pointer(self.thread_pointer);
            words.copy(thread_pointer, self.thread_pointer);
            result
        }
    }

    /// Sets floating-point arithmetic as a greenlet has it, which is nearly always as the worker has it.
    ///
    /// # Safety
    ///
    /// Nobody computes before the greenlet runs.
    #[inline]
    unsafe fn set_float_control(&self, of_greenlet: FloatControl) {
        if of_greenlet != self.float_control {
            // SAFETY: the greenlet's own, and it runs next (caller).
            unsafe { arch::set_float_control(of_greenlet) };
        }
    }

    /// Sets it as the worker has it, and answers how the greenlet left it.
    #[inline]
    fn reset_float_control(&self) -> FloatControl {
        let of_greenlet = arch::float_control();
        if of_greenlet != self.float_control {
            // SAFETY: the hub's own, which runs from here on.
            unsafe { arch::set_float_control(self.float_control) };
        }
        of_greenlet
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
                recording::record_wake(greenlet, current::get());
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
