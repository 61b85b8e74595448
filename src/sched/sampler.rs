//! Samples: registers and stack of a worker that runs a greenlet, taken from outside.
//!
//! A thread that waits in the kernel is not touched: the kernel tells its stack and program counter,
//! and the memory is read. One that computes is sent a signal (SIGURG, which programs ignore unless
//! they ask for it), whose handler does nothing but copy registers and stack.

use std::cell::UnsafeCell;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

use super::names::Names;
use crate::arch::{self, Registers};
use crate::lock::StaticMutex;
use crate::sys::errno;
use crate::sys::fault::{self, ActionBefore};
use crate::sys::signal_action::SignalAction;
use crate::sys::task::{self, TaskId};
use crate::unwind::{self, StackCopy};

const SIGNAL: libc::c_int = libc::SIGURG;

/// So much of a stack is copied.
const ROOM: usize = 32 << 10;

/// Frames of a report.
const FRAMES: usize = 64;

/// How long the signal may take to be handled.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where a thread was, and who had called whom.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    registers: Registers,
    stack: StackCopy,
}

impl Sample {
    /// Of a thread that waits in the kernel with these registers. If it has gone on, so be it.
    pub(super) fn of_waiting(stack_pointer: usize, program_counter: usize) -> Self {
        let mut bytes = vec![0; ROOM];
        let length = copy(stack_pointer, &mut bytes);
        bytes.truncate(length);
        Self {
            registers: Registers {
                program_counter,
                stack_pointer,
                frame_pointer: None,
                link: None,
            },
            stack: StackCopy {
                address: stack_pointer,
                bytes,
            },
        }
    }

    /// Of a thread that computes. `None` if it does not handle the signal in time. A thread that
    /// begins to wait at that very moment finds its wait interrupted, if the kernel does not
    /// restart it.
    pub(super) fn of_computing(task: TaskId) -> Option<Self> {
        /// The monitor asks, and who takes a dump.
        static ASKING: StaticMutex<()> = StaticMutex::new(());
        install().ok()?;
        let _asking = ASKING.lock();
        SLOT.take(task)
    }

    /// The program counters of the frames, innermost first.
    pub(super) fn walk(&self) -> Vec<usize> {
        unwind::walk(&self.registers, &self.stack, FRAMES)
    }

    /// The frames, innermost first, without the scheduler's at both ends. Looks up names, which may take long.
    pub(super) fn describe(&self) -> Vec<String> {
        Names::default().of_stack(self.walk())
    }
}

/// The mask of the signal, if it has no handler but ours: not one that was there before, nor a later
/// one.
pub(super) fn only_handler() -> u64 {
    let is_ours = |action: SignalAction| action.handler == handle as *const () as usize;
    let is_only = BEFORE.get().is_some_and(|before| !before.has_handler())
        && SignalAction::of(SIGNAL).is_ok_and(is_ours);
    u64::from(is_only) << (SIGNAL - 1)
}

/// What was done about the signal before.
static BEFORE: OnceLock<ActionBefore> = OnceLock::new();

fn install() -> io::Result<()> {
    static LOCK: StaticMutex<()> = StaticMutex::new(());
    let _lock = LOCK.lock();
    if BEFORE.get().is_none() {
        // SAFETY: `handle` makes system calls, uses atomics and its own buffer, and calls the handler that was there
        // before, which is one for this signal.
        let before = unsafe { fault::install(SIGNAL, handle, libc::SA_RESTART) }?;
        BEFORE.set(before).expect("under the lock");
    }
    Ok(())
}

unsafe extern "C" fn handle(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the second argument is what came with the signal, and the third a context.
    let (value, registers) = unsafe { (task::value_of(&*info), arch::registers(&*context.cast())) };
    // Whoever has sent it: of two that are on their way at once one is delivered.
    errno::keep(|| SLOT.fill(registers));
    // Ours is nobody else's, not even one that comes when nobody asks any more.
    if value != Some(SLOT.value())
        && let Some(before) = BEFORE.get()
    {
        // SAFETY: the arguments are passed on as they came.
        unsafe { before.call_handler(signal, info, context) };
    }
}

/// Where the handler puts what was asked for.
struct Slot {
    /// [`EMPTY`], [`asked`] and so on.
    state: AtomicU64,
    /// The handler's in `FILLING`, in `FULL` that of who asks.
    raw: UnsafeCell<Raw>,
}

/// Nobody asks.
const EMPTY: u64 = 0;
/// The handler copies.
const FILLING: u64 = 1;
/// The copy is there.
const FULL: u64 = 2;

/// The signal is on its way to this thread. A handler that comes late finds that another one is asked, and stays out.
fn asked(task: TaskId) -> u64 {
    const ASKED: u64 = 3;
    (task.as_raw() as u64) << 32 | ASKED
}

struct Raw {
    registers: Registers,
    length: usize,
    bytes: [u8; ROOM],
}

// SAFETY: `raw` has one owner at a time, told by `state`.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot {
    state: AtomicU64::new(EMPTY),
    raw: UnsafeCell::new(Raw {
        registers: Registers {
            program_counter: 0,
            stack_pointer: 0,
            frame_pointer: None,
            link: None,
        },
        length: 0,
        bytes: [0; ROOM],
    }),
};

impl Slot {
    /// By one at a time.
    fn take(&self, task: TaskId) -> Option<Sample> {
        // Release: pairs with the Acquire in `fill`; who asked before is done with the copy.
        self.state.store(asked(task), Release);
        let sent = task::signal(task, SIGNAL, self.value());
        let start = Instant::now();
        // Acquire: pairs with the Release in `fill`.
        while self.state.load(Acquire) != FULL {
            let late = sent.is_err() || start.elapsed() > PATIENCE;
            if late
                && self
                    .state
                    .compare_exchange(asked(task), EMPTY, Relaxed, Relaxed)
                    .is_ok()
            {
                return None;
            }
            thread::sleep(Duration::from_micros(50));
        }
        // SAFETY: full, so it is the caller's, who is the only one (`of_computing`).
        let raw = unsafe { &*self.raw.get() };
        let sample = Sample {
            registers: raw.registers,
            stack: StackCopy {
                address: raw.registers.stack_pointer,
                bytes: raw.bytes[..raw.length].to_vec(),
            },
        };
        self.state.store(EMPTY, Relaxed);
        Some(sample)
    }

    /// What tells this one's signals from others.
    fn value(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// In the handler: if its thread is asked, the copy is made.
    fn fill(&self, registers: Registers) {
        let is_asked = self
            .state
            // Acquire: pairs with the Release in `take`; the copy is made behind it.
            .compare_exchange(asked(TaskId::current()), FILLING, Acquire, Relaxed)
            .is_ok();
        if is_asked {
            // SAFETY: filling, so it is the handler's.
            let raw = unsafe { &mut *self.raw.get() };
            raw.registers = registers;
            raw.length = copy(registers.stack_pointer, &mut raw.bytes);
            // Release: pairs with the Acquire in `take`.
            self.state.store(FULL, Release);
        }
    }
}

/// Copies the stack at `address`, page by page up to where it ends. Answers how much there was.
fn copy(address: usize, buffer: &mut [u8]) -> usize {
    const PAGE: usize = 4096;
    let mut done = 0;
    while done < buffer.len() {
        let at = address.wrapping_add(done);
        let end = buffer.len().min(done + PAGE - at % PAGE);
        match task::read_memory(at, &mut buffer[done..end]) {
            Ok(count) if count == end - done => done = end,
            _ => break,
        }
    }
    done
}
