//! The values of pthread keys, and their destructors at the end of a greenlet.
//!
//! glibc's own function for it is private. This one follows it step by step: up to four rounds,
//! as long as destructors set new values; each value is cleared before its destructor runs;
//! values of deleted keys are dropped; the arrays of keys beyond the first 32 are freed.
//!
//! A destructor is anybody's code: it may set values, park, and come back on another OS thread.
//! So nothing is kept over a call but the thread pointer, which is the greenlet's for life.

use std::ffi::c_void;
use std::ptr;

use super::place;
use super::symbols::Symbols;
use crate::sys::heap;
use crate::sys::thread_key::{Destructor, ThreadKey};

/// Arrays of values per thread, and values per array.
const ARRAYS: usize = 32;
const VALUES: usize = 32;
/// PTHREAD_DESTRUCTOR_ITERATIONS.
const ROUNDS: usize = 4;

/// A thread's value of one key.
#[repr(C)]
struct Value {
    /// Which of the keys that had this number the value belongs to.
    sequence: usize,
    data: *mut c_void,
}

/// A key.
#[repr(C)]
struct Key {
    /// Odd if the key exists; each creation and deletion adds one.
    sequence: usize,
    destructor: Option<Destructor>,
}

/// From `specific` to `specific_used`: the array of arrays is in between.
pub(super) const SPECIFIC_TO_USED: isize = (ARRAYS * size_of::<usize>()) as isize;

/// The table of keys, and where each block has its values.
#[derive(Debug)]
pub(super) struct Keys {
    /// The address of an array of `Key`.
    table: usize,
    specific: isize,
    specific_used: isize,
}

impl Keys {
    pub(super) fn new(symbols: &Symbols) -> Self {
        let specific = symbols.in_pthread(symbols.pthread_specific);
        Self {
            table: symbols.pthread_keys,
            specific,
            specific_used: specific + SPECIFIC_TO_USED,
        }
    }

    /// Whether a value was set in the block at `tp` that was not dropped since.
    ///
    /// # Safety
    ///
    /// `tp` is a whole block or thread.
    #[inline]
    pub(super) unsafe fn used(&self, tp: usize) -> bool {
        // SAFETY: the byte is there in every block.
        unsafe { *place::<u8>(tp, self.specific_used) != 0 }
    }

    /// Runs the destructors of the values of the block at `tp`. Whether none is left: if there
    /// are, [`Self::used`] goes on to say so.
    ///
    /// # Safety
    ///
    /// The caller is the greenlet at `tp`, at its end.
    pub(super) unsafe fn run_destructors(&self, tp: usize) -> bool {
        for _ in 0..ROUNDS {
            // SAFETY: the caller's promise is the same; the byte and the arrays are the block's.
            unsafe {
                if !self.used(tp) {
                    break;
                }
                *place::<u8>(tp, self.specific_used) = 0;
                for array in 0..ARRAYS {
                    self.run_array(tp, array);
                }
            }
        }
        // SAFETY: no destructor runs any more.
        unsafe { self.free_arrays(tp) };
        // SAFETY: as above.
        !unsafe { self.used(tp) }
    }

    /// # Safety
    ///
    /// As for [`Self::run_destructors`].
    unsafe fn run_array(&self, tp: usize, array: usize) {
        // SAFETY: the pointer to the array stays what it is until `free_arrays`.
        let values = unsafe { *self.array(tp, array) };
        if values.is_null() {
            return;
        }
        for index in 0..VALUES {
            // SAFETY: the array has that many values. The value is read and cleared before the
            // destructor runs, and the array is not borrowed over the call.
            unsafe {
                let value = values.add(index);
                let data = (*value).data;
                if data.is_null() {
                    continue;
                }
                (*value).data = ptr::null_mut();
                let key = place::<Key>(self.table, 0)
                    .add(array * VALUES + index)
                    .read();
                if key.sequence == (*value).sequence
                    && let Some(destructor) = key.destructor
                {
                    destructor(data);
                }
            }
        }
    }

    /// Frees all arrays but the first, which is part of `struct pthread`, and drops its values.
    ///
    /// # Safety
    ///
    /// No destructor runs.
    unsafe fn free_arrays(&self, tp: usize) {
        // SAFETY: glibc allocated the arrays with its malloc; nobody else has them.
        unsafe {
            for array in 1..ARRAYS {
                let values = self.array(tp, array).replace(ptr::null_mut());
                heap::free(values.expose_provenance());
            }
            let first = *self.array(tp, 0);
            if self.used(tp) && !first.is_null() {
                first.write_bytes(0, VALUES);
            }
        }
    }

    /// The block's pointer to its array of values number `array`.
    fn array(&self, tp: usize, array: usize) -> *mut *mut Value {
        place::<*mut Value>(tp, self.specific).wrapping_add(array)
    }

    /// Tries out, on the calling thread, whose thread pointer is `tp`, that a value is kept where
    /// this file looks for it.
    pub(super) fn agree_on(&self, tp: usize) -> bool {
        extern "C" fn destructor(_: *mut c_void) {}
        const MARK: usize = 0x600d_600d;
        let Ok(key) = ThreadKey::create(Some(destructor)) else {
            return false;
        };
        let number = key.number() as usize;
        // SAFETY: the destructor accepts anything; the thread is real, and glibc's debugger
        // interface tells where its arrays are.
        let agree = unsafe {
            let unused = !self.used(tp);
            let set = key.set(MARK).is_ok();
            let values = *self.array(tp, number / VALUES);
            let entry = place::<Key>(self.table, 0).add(number).read();
            let kept = !values.is_null() && {
                let value = values.add(number % VALUES);
                (*value).data.addr() == MARK && (*value).sequence == entry.sequence
            };
            let known = entry.destructor.map(|found| found as usize)
                == Some(destructor as *const () as usize);
            let agree = unused && set && kept && known && self.used(tp);
            let _ = key.set(0);
            agree
        };
        key.delete();
        agree
    }
}
