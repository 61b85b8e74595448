//! The stack of one greenlet, copied while the program runs.

use std::mem;

use crate::arch::Registers;
use crate::sched::greenlet_cell::{GreenletCell, LeftAt};
use crate::stack;
use crate::sys::task;
use crate::unwind::{self, StackCopy};
use crate::waker::Still;

/// So much of a stack is copied. What waits is seldom deeper than a quarter of that.
const ROOM: usize = 16 << 10;

/// Frames of a stack that are shown.
const FRAMES: usize = 64;

/// How often a greenlet is looked at that does not stay where it is.
const TRIES: usize = 3;

/// A stack as it was, and how much of it was in use.
pub(super) struct StackSeen {
    registers: Registers,
    copy: StackCopy,
    pub(super) used: usize,
}

impl StackSeen {
    /// The program counters of the frames, innermost first.
    pub(super) fn walk(&self) -> Vec<usize> {
        unwind::walk(&self.registers, &self.copy, FRAMES)
    }
}

/// Copies the stack of a greenlet that is off the CPU. `None` if it does not stay there.
///
/// The pieces are read by the kernel, because the greenlet may go on, end, and its stack be another one's,
/// at any moment. What was read counts if the greenlet is still in the same park, or, if it is ready to run,
/// if the same was read twice.
pub(super) fn copy(greenlet: &GreenletCell, reserved: usize) -> Option<StackSeen> {
    (0..TRIES).find_map(|_| {
        let before = greenlet.header().still();
        let seen = read(greenlet, reserved)?;
        let is_same = match before {
            Still::Parked(_) => true,
            Still::Active(_) => {
                let again = read(greenlet, reserved)?;
                seen.registers == again.registers && seen.copy.bytes == again.copy.bytes
            }
        };
        (is_same && greenlet.header().still() == before).then_some(seen)
    })
}

fn read(greenlet: &GreenletCell, reserved: usize) -> Option<StackSeen> {
    let address = greenlet.left_at();
    // What lies elsewhere than on this greenlet's stack is over.
    let found = stack::find(address)?;
    if !std::ptr::eq(found.owner.cast(), greenlet) {
        return None;
    }
    let left_at = left_at(address)?;
    let top = found.usable.end - reserved;
    let sp = left_at.stack_pointer;
    if !(found.usable.start..top).contains(&sp) {
        return None;
    }
    let mut bytes = vec![0; ROOM.min(top - sp)];
    let length = task::read_memory(sp, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(StackSeen {
        registers: Registers {
            program_counter: left_at.program_counter,
            stack_pointer: sp,
            frame_pointer: Some(left_at.frame_pointer),
            link: None,
        },
        copy: StackCopy { address: sp, bytes },
        used: top - sp,
    })
}

fn left_at(address: usize) -> Option<LeftAt> {
    let mut bytes = [0; mem::size_of::<LeftAt>()];
    let length = task::read_memory(address, &mut bytes).ok()?;
    if length != bytes.len() {
        return None;
    }
    let (words, _) = bytes.as_chunks::<8>();
    let &[program_counter, stack_pointer, frame_pointer] = words else {
        return None;
    };
    Some(LeftAt {
        program_counter: usize::from_ne_bytes(program_counter),
        stack_pointer: usize::from_ne_bytes(stack_pointer),
        frame_pointer: usize::from_ne_bytes(frame_pointer),
    })
}
