//! With the feature `stacks`: unwind tables and debug information.
//!
//! A walk takes place under the loader's lock on its list of modules, so that tables stay while they
//! are read, and gathers the modules anew. That is some microseconds of pointers, nothing is indexed
//! or copied, and what has been unloaded is not remembered anywhere.

mod code;

#[cfg(target_arch = "aarch64")]
#[path = "enabled/aarch64.rs"]
mod native;
#[cfg(target_arch = "x86_64")]
#[path = "enabled/x86_64.rs"]
mod native;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use framehop::{CacheNative, Error, FrameAddress, MayAllocateDuringUnwind, UnwindRegsNative};
use framehop::{Unwinder, UnwinderNative};

use self::code::Code;
use super::StackCopy;
use super::frame::{Frame, lookups, place};
use crate::arch::Registers;
use crate::sys::held_modules;

/// Stands for a register that is not known: no stack lies there, so what needs it fails. Far from
/// both ends of the numbers, for tables add to it and subtract from it.
const UNKNOWN: u64 = 1 << 62;

/// The program counters of the frames, innermost first and at most `limit`: the first is that of the
/// registers, the others are return addresses.
///
/// Ends at the root of the stack, at the end of the copy, or where it is not sure how to go on.
/// Reads of the stack nothing but the copy.
pub(crate) fn walk(registers: &Registers, stack: &StackCopy, limit: usize) -> Vec<usize> {
    let mut counters = Vec::new();
    if limit == 0 {
        return counters;
    }
    counters.push(registers.program_counter);
    let walked = held_modules::with_modules_held(|held| {
        // The loader's frames are below, and a panic would abort there. None is known of; the tables,
        // though, are as each library brings them. What has been found by then is kept.
        catch_unwind(AssertUnwindSafe(|| {
            let code = Code::new(held.modules());
            let mut walk = Walk::new(&code, registers, stack);
            while counters.len() < limit
                && let Some(counter) = walk.next()
            {
                counters.push(counter);
            }
        }))
    });
    debug_assert!(walked.is_ok(), "unwinding has panicked");
    counters
}

/// The functions of each address, innermost first: more than one where calls were inlined. The first
/// address is a program counter, the others are return addresses.
///
/// Reads debug information from files, which may take a second the first time. Libraries that were
/// loaded after the first call have their exported symbols only; asking for these waits for a
/// `dlopen` or `dlclose` that is under way on another thread.
pub(crate) fn describe(addresses: &[usize]) -> Vec<Frame> {
    let folder = std::env::current_dir().ok();
    let mut frames = Vec::new();
    for (address, lookup) in lookups(addresses) {
        let known = frames.len();
        let place = place(address, lookup);
        // The crate takes one off whatever address it gets.
        let asked = ptr::without_provenance_mut(lookup.saturating_add(1));
        backtrace::resolve(asked, |symbol| {
            let Some(name) = symbol.name() else { return };
            let file = symbol.filename().map(|file| {
                let below = folder.as_ref().and_then(|dir| file.strip_prefix(dir).ok());
                below.unwrap_or(file).to_string_lossy().into_owned()
            });
            frames.push(Frame {
                address,
                symbol: Some(format!("{name:#}")),
                file,
                line: symbol.lineno(),
                place: place.clone(),
            });
        });
        if frames.len() == known {
            frames.push(Frame::exported(address, lookup));
        }
    }
    frames
}

impl StackCopy {
    /// The word that was at `address`, if the copy has all of it.
    fn word(&self, address: usize) -> Option<usize> {
        let start = address.checked_sub(self.address)?;
        let bytes = self.bytes.get(start..)?.first_chunk()?;
        Some(usize::from_ne_bytes(*bytes))
    }
}

/// A walk from frame to frame.
struct Walk<'a> {
    code: &'a Code<'a>,
    stack: &'a StackCopy,
    /// Of this walk only: it also remembers what has failed for want of a register.
    cache: CacheNative<MayAllocateDuringUnwind>,
    address: FrameAddress,
    registers: UnwindRegsNative,
}

impl<'a> Walk<'a> {
    fn new(code: &'a Code<'a>, registers: &Registers, stack: &'a StackCopy) -> Self {
        Self {
            code,
            stack,
            cache: CacheNative::new(),
            address: FrameAddress::from_instruction_pointer(registers.program_counter as u64),
            registers: native::registers(registers, code),
        }
    }

    /// Goes to the caller and answers with the return address.
    fn next(&mut self) -> Option<usize> {
        // What a table makes of registers is only as good as these, so look at them first: a stack
        // pointer is aligned and in the copy, and a frame pointer elsewhere is none.
        let stack_pointer = self.registers.sp() as usize;
        let aligned = stack_pointer.is_multiple_of(size_of::<usize>());
        self.stack.word(stack_pointer).filter(|_| aligned)?;
        let frame_pointer = native::frame_pointer(&self.registers) as usize;
        let framed = self.stack.word(frame_pointer).is_some();
        if !framed {
            native::set_frame_pointer(&mut self.registers, UNKNOWN);
        }

        let found = match self.unwind() {
            Ok(found) => found?,
            Err(_) if !framed => self.unwind_without_frame_pointer(stack_pointer)?,
            Err(_) => return None,
        };

        // Callers lie above. Only a leaf function may have no frame of its own, where there is a link
        // register.
        let leaf = !self.address.is_return_address() && native::HAS_LINK;
        let lowest = match leaf {
            true => stack_pointer,
            false => stack_pointer.checked_add(1)?,
        };
        if (self.registers.sp() as usize) < lowest {
            return None;
        }
        // And they are code, as what comes before. Most have called; some routines put an address on
        // the stack by hand, but one where a function starts was never called from: at the root of a
        // greenlet's stack lies such a record, for those who follow frame pointers.
        let before = self.code.text_before(found as usize)?;
        let starts = self.code.function_start(found as usize) == Some(found as usize);
        if starts && !native::ends_with_call(before) {
            return None;
        }
        self.address = FrameAddress::from_return_address(found)?;
        Some(found as usize)
    }

    /// By the tables.
    fn unwind(&mut self) -> Result<Option<u64>, Error> {
        let stack = self.stack;
        let mut read = |address: u64| match stack.word(address as usize) {
            Some(word) => Ok(word as u64),
            None => Err(()),
        };
        self.code.unwinder().unwind_frame(
            self.address,
            &mut self.registers,
            &mut self.cache,
            &mut read,
        )
    }

    /// By the tables, with a frame pointer that is worked out from the function's first instructions.
    ///
    /// A guess, so it must be confirmed: what it says is the return address must come after a call.
    fn unwind_without_frame_pointer(&mut self, stack_pointer: usize) -> Option<u64> {
        let lookup = self.address.address_for_lookup() as usize;
        let function = self.code.function(lookup)?;
        let guess = stack_pointer.checked_add(native::frame_size(function)?)?;
        self.stack.word(guess)?;
        native::set_frame_pointer(&mut self.registers, guess as u64);
        let found = self.unwind().ok()??;
        let before = self.code.text_before(found as usize)?;
        native::ends_with_call(before).then_some(found)
    }
}

/// The unwinder that reads tables where they lie.
type TableUnwinder<'held> = UnwinderNative<&'held [u8], MayAllocateDuringUnwind>;
