//! The start and the end of a greenlet.

use std::any::Any;
use std::io;
use std::ptr::{self, NonNull};

use super::current;
use super::greenlet_cell::{GreenletCell, GreenletCoroutine, GreenletYielder, hub_number};
use super::ground::GreenletGround;
use super::hub::Hub;
use super::inspect;
use super::shared::Departed;
use crate::abort::AbortOnUnwind;
use crate::error::Cancelled;
use crate::record::Event;
use crate::tls;
use crate::waker::Header;

/// A hub keeps up to this many warm stacks of a size to itself.
const WARM_STACKS: usize = 64;

/// A sleeping hub is woken when this many of its greenlets have ended elsewhere.
const MANY_DEPARTED: usize = 256;

impl Hub {
    /// The greenlet has returned.
    pub(super) fn finish(&self, cell: NonNull<GreenletCell>) {
        // SAFETY: alive: its own reference is released below.
        let greenlet = unsafe { cell.as_ref() };
        // SAFETY: it is over, so `run` is the hub's.
        let ground = unsafe {
            (*greenlet.run.get()).coroutine = None;
            (*greenlet.run.get()).ground.take()
        };
        let mut ground = ground.expect("a greenlet that ran had a stack");
        ground.slot().set_owner(ptr::null());
        if ground.is_sampled() {
            self.note_usage(greenlet, &mut ground);
        }
        self.keep(ground);
        inspect::await_inspection(cell);
        greenlet.join.end();
        // SAFETY: set when it was started.
        let home = usize::from(unsafe { (*greenlet.run.get()).home });
        if home == self.index() {
            // SAFETY: this hub started it; and the greenlet's own reference is nobody else's.
            unsafe {
                self.remote().registry.remove(cell);
                Header::release(cell.cast());
            }
        } else {
            self.send_home(home, Departed(cell));
        }
        self.count_end();
    }

    #[cold]
    fn send_home(&self, home: usize, departed: Departed) {
        let remote = &self.shared().hubs[home];
        remote.departed.push(departed);
        if remote.departed.len() > MANY_DEPARTED {
            remote.bed.notify(&self.shared().reactor);
        }
    }

    /// Comes after the last thing that the greenlet needs of the runtime.
    fn count_end(&self) {
        self.counters().ended.increment();
        if self.shared().is_ending() {
            self.shared().notify_if_over();
        }
    }

    /// Gives a greenlet its stack. If there is none, the greenlet ends unrun, and its join says
    /// why; then the answer is false.
    pub(super) fn start(&self, cell: NonNull<GreenletCell>) -> bool {
        // SAFETY: alive, and this hub has the right to run it.
        let greenlet = unsafe { cell.as_ref() };
        let run = greenlet.run.get();
        // SAFETY: as above, so `run` is the hub's; for all uses below.
        let reserved = unsafe { (*run).ground.take() };
        let ground = reserved.map_or_else(|| self.ground(greenlet.slot_size()), Ok);
        let mut ground = match ground.and_then(|ground| ground.ready(self.shared().support)) {
            Ok(ground) => ground,
            Err(error) => {
                self.fail(cell, error);
                return false;
            }
        };
        if self.sampler.is_due(ground.is_cold(), || self.next_random()) {
            ground.sample(self.shared().support);
        }
        ground.enter();
        ground.slot().set_owner(cell.as_ptr().cast());
        // SAFETY: as above; for whoever has that right.
        unsafe { *greenlet.float_control.get() = self.float_control };
        // SAFETY: nobody uses the stack, and it lives in `run` until the coroutine is gone.
        let stack = unsafe { ground.stack(self.shared().support) };
        // SAFETY: `main` gets the cell that runs on this very coroutine, alive until it ends.
        let coroutine = GreenletCoroutine::with_stack(stack, move |yielder, _hub| unsafe {
            main(cell, yielder);
        });
        // SAFETY: as above; and this hub has just got it, for the first time.
        unsafe {
            match ground.block() {
                Some(block) => {
                    (*run).thread_pointer = block.thread_pointer();
                }
                None => greenlet.pin(self.index()),
            }
            (*run).ground = Some(ground);
            (*run).coroutine = Some(coroutine);
            (*run).home = hub_number(self.index());
            self.remote().registry.insert(cell);
        }
        // Not `self.ending`: a hub that has not noticed may get what was spawned on one that has.
        if self.shared().is_ending() && cfg!(panic = "unwind") {
            greenlet.cancel();
        }
        true
    }

    /// A warm stack, or a new one. Called on the hub or on one of its greenlets; what it answers
    /// has to be made [`ready`](GreenletGround::ready).
    pub(super) fn ground(&self, slot_size: usize) -> io::Result<GreenletGround> {
        let mut stacks = self.stacks.borrow_mut();
        if stacks.len(slot_size) == 0 {
            self.shared()
                .depot
                .lock()
                .move_to(&mut stacks, slot_size, WARM_STACKS / 2);
        }
        match stacks.take(slot_size) {
            Some(warm) => Ok(warm),
            None => GreenletGround::build(slot_size, self.shared().support),
        }
    }

    #[cold]
    fn note_usage(&self, greenlet: &GreenletCell, ground: &mut GreenletGround) {
        let used = ground.used(self.shared().support);
        let site = greenlet.cell().spawned_at();
        self.shared().usage.note(site, greenlet.slot_size(), used);
        if self.recorder.takes_part() {
            let (number, size) = (greenlet.cell().id().number(), greenlet.slot_size());
            self.record(|_| Event::Stack {
                greenlet: number,
                used: used as u64,
                size: size as u64,
            });
        }
    }

    /// Keeps a stack for the next greenlet.
    fn keep(&self, mut ground: GreenletGround) {
        ground.leave();
        let mut stacks = self.stacks.borrow_mut();
        let slot_size = ground.slot().size();
        stacks.put(slot_size, ground);
        if stacks.len(slot_size) > WARM_STACKS {
            stacks.move_to(&mut self.shared().depot.lock(), slot_size, WARM_STACKS / 2);
        }
    }

    /// Ends a greenlet that cannot be run. What its closure owns is dropped here, on the hub, for
    /// want of a greenlet; a destructor that waits blocks the hub.
    #[cold]
    fn fail(&self, cell: NonNull<GreenletCell>, error: io::Error) {
        // SAFETY: alive, never run, and this hub has the right to run it.
        unsafe {
            let greenlet = cell.as_ref();
            (greenlet.body.fail)(cell, Box::new(error) as Box<dyn Any + Send>);
            greenlet.join.end();
            Header::release(cell.cast());
        }
        self.count_end();
    }
}

/// What runs at the bottom of every greenlet's stack.
///
/// # Safety
///
/// Called on the greenlet whose cell it is, once.
unsafe fn main(cell: NonNull<GreenletCell>, yielder: &GreenletYielder) {
    let guard = AbortOnUnwind::arm("the first or last steps of a greenlet");
    // SAFETY: alive until the hub has seen it end.
    let greenlet = unsafe { cell.as_ref() };
    let run = greenlet.run.get();
    // SAFETY: the greenlet runs, so `run` is its own.
    let has_own_thread_locals = unsafe {
        (*run).yielder = yielder;
        (*run).thread_pointer != 0
    };
    if has_own_thread_locals {
        // SAFETY: this is the greenlet's start, under its thread pointer.
        unsafe { tls::enter() };
    }
    if greenlet.header().is_cancelled() {
        // The runtime ended before the greenlet began.
        // SAFETY: instead of `run`; and `run` of the cell is still the greenlet's own.
        unsafe {
            (*run).closing = true;
            (greenlet.body.fail)(cell, Box::new(Cancelled::new()));
        }
    } else {
        // SAFETY: on the greenlet, once.
        unsafe { (greenlet.body.run)(cell) };
    }
    if current::was_forked() {
        // The hub of this greenlet is in the parent process. As a thread's end would, in a
        // process that has no other.
        std::process::exit(0);
    }
    // SAFETY: the greenlet runs, so `run` is its own.
    unsafe { (*run).closing = true };
    if greenlet.join.hand_over() {
        // SAFETY: it has run, and nobody will ask for the result.
        unsafe { (greenlet.body.drop_result)(cell) };
    }
    if has_own_thread_locals {
        // SAFETY: this is the greenlet's end, under its thread pointer; what follows uses no
        // thread-locals with destructors.
        unsafe { tls::leave() };
    }
    guard.disarm();
}
