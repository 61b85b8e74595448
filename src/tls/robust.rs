//! Robust mutexes that a greenlet holds when it ends.
//!
//! When a thread ends, the kernel goes through the list of those that it holds and marks each as
//! one whose owner has died: the next owner is told (`EOWNERDEAD`), and one of those who wait is
//! woken. Of a greenlet's end the kernel does not hear, so this does the same.

use std::sync::atomic::{AtomicU32, Ordering};

use super::layout::Layout;
use super::place;
use crate::arch;

/// What the kernel's ABI has at the head of the list (`struct robust_list_head`).
#[repr(C)]
struct Head {
    /// The first mutex, or this field itself. Bit 0 of a link says that the mutex inherits priorities.
    first: usize,
    /// From the link in a mutex to its futex.
    futex_offset: isize,
}

const INHERITS_PRIORITY: usize = 1;
/// As far as the kernel goes (ROBUST_LIST_LIMIT), in case the list is none.
const LIMIT: usize = 2048;

/// Gives up all robust mutexes of the greenlet at `tp`. If there are too many, the list stays, and
/// the block is not used again.
///
/// # Safety
///
/// The caller is the greenlet at `tp`, at its end.
#[inline]
pub(super) unsafe fn abandon(layout: &Layout, tp: usize) {
    let head = place::<Head>(tp, layout.robust_head);
    // SAFETY: every block has the field.
    if unsafe { (*head).first } != head.addr() {
        // SAFETY: the caller's promise is the same.
        unsafe { abandon_slow(layout, tp) };
    }
}

/// # Safety
///
/// As for [`abandon`].
#[cold]
unsafe fn abandon_slow(layout: &Layout, tp: usize) {
    let head = place::<Head>(tp, layout.robust_head);
    // SAFETY: the list is the greenlet's own. What is on it are mutexes that it has locked, which
    // must not be freed before they are unlocked. The next link is read before the mutex is given up:
    // its next owner has it on another list.
    unsafe {
        let owner = *place::<u32>(tp, layout.tid);
        let mut link = (*head).first;
        for _ in 0..LIMIT {
            let mutex = link & !INHERITS_PRIORITY;
            if mutex == head.addr() {
                (*head).first = mutex;
                return;
            }
            link = *place::<usize>(mutex, 0);
            give_up(place(mutex, (*head).futex_offset), owner);
        }
    }
}

/// # Safety
///
/// `futex` is that of a mutex.
unsafe fn give_up(futex: *mut u32, owner: u32) {
    // SAFETY: the word is a futex, so everybody uses it atomically.
    let word = unsafe { AtomicU32::from_ptr(futex) };
    let died = |value| {
        let owned = value & libc::FUTEX_TID_MASK == owner;
        owned.then_some(value & libc::FUTEX_WAITERS | libc::FUTEX_OWNER_DIED)
    };
    // Release: pairs with the Acquire of the next lock, as an unlock's does.
    let before = word.fetch_update(Ordering::Release, Ordering::Relaxed, died);
    if before.is_ok_and(|value| value & libc::FUTEX_WAITERS != 0) {
        let (number, operation) = (libc::SYS_futex as usize, libc::FUTEX_WAKE as usize);
        // SAFETY: waking reads no memory. Not FUTEX_PRIVATE: those who wait do so for the kernel's
        // wake, which is not either.
        unsafe { arch::syscall4(number, futex.expose_provenance(), operation, 1, 0) };
    }
}
