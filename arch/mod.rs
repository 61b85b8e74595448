//! Layer 0: registers. The only `asm!` of the crate is in this folder.
//!
//! Every architecture file defines, in this order:
//!
//! | item | what it does |
//! |---|---|
//! | [`thread_pointer`] | reads the register that thread-locals hang off |
//! | [`set_thread_pointer`] | writes it with the unprivileged instruction |
//! | [`set_thread_pointer_by_syscall`] | writes it where the kernel does not allow that instruction |
//! | [`has_thread_pointer_instruction`] | whether the instruction may be used, from the auxiliary vector |
//! | [`has_shadow_stack`] | whether the processor checks return addresses on a stack of its own |
//! | [`tcb`] | where glibc keeps what, relative to the thread pointer |
//! | [`FloatControl`] | how floating-point arithmetic is set: rounding, what traps, what is flushed to 0 |
//! | [`float_control`] | reads it |
//! | [`set_float_control`] | writes it |
//! | [`CYCLES_SOURCE`] | what the kernel calls the counter below, where it relies on it itself |
//! | [`cycles`] | a cheap, monotonic-enough counter |
//! | [`prefetch_for_write`] | has memory fetched that will be written soon |
//! | [`syscall4`] | a system call that no C library function stands in front of |
//! | [`syscall6`] | the same with six arguments |
//! | [`registers`] | where a signal's context says that the thread was |
//! | [`registers_here`] | where the caller is |

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("greenlet runs on x86-64 (and, not yet compiled or run, aarch64) Linux");

/// Where a thread was: what unwinding starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) program_counter: usize,
    pub(crate) stack_pointer: usize,
    /// `None` where it is not known: what the kernel tells of a thread in a system call has no more
    /// than the other two.
    pub(crate) frame_pointer: Option<usize>,
    /// The register with the return address of the running function, on architectures that have one.
    pub(crate) link: Option<usize>,
}
