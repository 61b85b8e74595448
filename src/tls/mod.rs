//! Thread-locals of their own for greenlets: what glibc takes for a thread, without a thread.
//!
//! This folder owns the thread control blocks (`struct pthread`, static thread-locals, dynamic
//! thread vector) that lie at the top of each stack slot, and knows everything that glibc has to
//! be told, or kept from finding out, so that it takes each block for a thread's. It knows no
//! scheduler: that one creates a [`Block`] with a stack, switches the thread pointer to it,
//! and asks the greenlet itself to [`enter`] and [`leave`].
//!
//! Its invariant: **a block that glibc can see is whole.** It is filled in before it is put on
//! glibc's list of threads, and is taken off before its memory goes. And nothing is believed:
//! every offset is told by glibc's own symbols or seen on real threads, twice, and the first
//! [`support()`] runs two blocks before it says yes. Where something is not as expected there
//! is an error with the name of the check, never a guess.
//!
//! `README.md` in this folder has the states of a block, who may touch what, and the table of the
//! traps with the cure and the test of each.

mod block;
mod boundary;
mod check;
mod findings;
mod fork;
mod hooks;
mod ids;
mod kernel_id;
mod keys;
mod layout;
mod list;
mod low_level_lock;
mod modules;
mod probe;
mod refuse;
mod register;
mod robust;
mod setxid;
mod support;
mod symbols;
mod template;
mod visit;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use block::Block;
pub(crate) use boundary::{enter, leave};
pub(crate) use hooks::Hooks;
pub(crate) use kernel_id::{KernelId, is_running_greenlet};
pub(crate) use register::set_thread_pointer;
pub(crate) use support::{Support, support};
pub(crate) use visit::{Visit, announce_allocator};
pub(crate) use words::Words;

/// A place in the block, or the thread, at `tp`.
#[inline(always)]
fn place<T>(tp: usize, offset: isize) -> *mut T {
    std::ptr::with_exposed_provenance_mut(tp.wrapping_add_signed(offset))
}
