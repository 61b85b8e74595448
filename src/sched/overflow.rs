//! Stack overflow: says whose stack it was and how to enlarge it, then aborts.

use std::fmt::{self, Write};
use std::io;
use std::sync::OnceLock;

use super::greenlet_cell::GreenletCell;
use crate::arch;
use crate::lock::StaticMutex;
use crate::stack;
use crate::sys::fault::{self, ActionBefore};

/// The actions that were in force before, of SIGSEGV and SIGBUS.
static PREVIOUS: [OnceLock<ActionBefore>; 2] = [const { OnceLock::new() }; 2];
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Installs the handlers, once in a process.
pub(super) fn install() -> io::Result<()> {
    static LOCK: StaticMutex<()> = StaticMutex::new(());
    let _lock = LOCK.lock();
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        if previous.get().is_none() {
            // SAFETY: `handle` uses atomics, `write` and `abort`, and chains to the previous one.
            let action = unsafe { fault::install(signal, handle, 0) }?;
            previous.set(action).expect("under the lock");
        }
    }
    Ok(())
}

/// Finds the greenlet by the fault's address, never by thread-locals.
unsafe extern "C" fn handle(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: installed for signals that have an address.
    let address = unsafe { fault::address(info) };
    if let Some(found) = stack::find(address).filter(|found| found.guard.contains(&address)) {
        // SAFETY: the owner of a slot is a `GreenletCell` that is alive, since it has run into
        // its guard page just now.
        let cell = unsafe { found.owner.cast::<GreenletCell>().as_ref() };
        // SAFETY: with SA_SIGINFO the third argument is a context.
        let registers = arch::registers(unsafe { &*context.cast() });
        report(cell, found.slot_size, registers);
        std::process::abort();
    }
    let index = usize::from(signal == libc::SIGBUS);
    match PREVIOUS[index].get() {
        // SAFETY: the arguments are passed on as they came.
        Some(previous) => unsafe { previous.chain(signal, info, context) },
        // The fault came between the installation and the noting of what was before.
        None => std::process::abort(),
    }
}

fn report(cell: Option<&GreenletCell>, size: usize, registers: arch::Registers) {
    let mut text = Text {
        bytes: [0; 1024],
        length: 0,
    };
    // A text that does not fit is cut.
    let _ = match cell.map(GreenletCell::cell) {
        Some(cell) => writeln!(
            text,
            "\ngreenlet '{}' (number {}, spawned at {}) has overflowed its stack",
            cell.name().unwrap_or("<unnamed>"),
            cell.id(),
            cell.spawned_at(),
        ),
        None => writeln!(text, "\na greenlet that has ended has overflowed its stack"),
    };
    let _ = writeln!(
        text,
        "its stack has {size} bytes; give it more with greenlet::Builder::stack_size, \
         RuntimeBuilder::stack_size or GREENLET_STACK_SIZE\n\
         program counter {:#x}, stack pointer {:#x}",
        registers.program_counter, registers.stack_pointer,
    );
    fault::write_stderr(&text.bytes[..text.length]);
}

/// A text that needs no allocation.
struct Text {
    bytes: [u8; 1024],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let count = s.len().min(room.len());
        room[..count].copy_from_slice(&s.as_bytes()[..count]);
        self.length += count;
        if count < s.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}
