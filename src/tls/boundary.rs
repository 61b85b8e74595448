//! What runs on the greenlet itself, before and after the user's code.

use super::{robust, support};
use crate::arch;
use crate::sys::thread_state;

/// How often destructors of thread-locals and of pthread keys may cause each other to run again.
const ROUNDS: usize = 4;

/// Makes the greenlet's thread-locals inside libc what they are on a new thread. On a block
/// that was used before, `libc`'s are the last greenlet's.
///
/// # Safety
///
/// Called on a greenlet, its thread pointer set, before the user's code.
#[inline(never)]
pub(crate) unsafe fn enter() {
    thread_state::reset();
}

/// Runs the destructors of the greenlet's thread-locals and of its values of pthread keys, and
/// gives up the robust mutexes that it still holds.
///
/// The destructors are the user's code: they may set new ones, allocate, park and move.
///
/// # Safety
///
/// Called on a greenlet, its thread pointer set, after the user's code. Afterwards no
/// thread-local with a destructor may be used on the greenlet.
#[inline(never)]
pub(crate) unsafe fn leave() {
    let support = support::installed();
    let tp = arch::thread_pointer();
    // SAFETY: the user's code is done (caller), and `tp` is the greenlet's own, wherever it runs.
    unsafe {
        support.symbols.call_tls_dtors();
        for _ in 0..ROUNDS {
            if !support.keys.used(tp) {
                break;
            }
            // Values that are left make `renew` refuse the block: whoever keeps threads in a list
            // of its own and unlists them in such a destructor would find another thread there.
            let none_left = support.keys.run_destructors(tp);
            support.symbols.call_tls_dtors();
            if !none_left {
                break;
            }
        }
        robust::abandon(&support.layout, tp);
    }
}
