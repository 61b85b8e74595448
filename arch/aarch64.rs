//! aarch64. The thread pointer is TPIDR_EL0.
//!
//! Written to the same contract as x86-64, and neither compiled nor run yet: no such machine or
//! standard library was at hand. Treat it as a draft.

use std::arch::asm;

use super::Registers;

/// The address that thread-locals are found from.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let tp: usize;
    // SAFETY: copies a register that user space may read. Not `nomem` and not `pure`,
    // so the read is not moved over a switch of the thread pointer.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) tp, options(nostack, preserves_flags, readonly)) };
    tp
}

/// Moves the thread pointer to `tp`.
///
/// # Safety
///
/// `tp` is a thread control block that the C library accepts as the running thread's,
/// and nothing computed from the old one is used again before it is put back.
#[inline(always)]
pub(crate) unsafe fn set_thread_pointer(tp: usize) {
    // SAFETY: user space may write the register; `tp` is good (caller). Not `nomem`:
    // thread-locals are memory, so none may be cached over this.
    unsafe { asm!("msr tpidr_el0, {}", in(reg) tp, options(nostack, preserves_flags)) };
}

/// The same: this architecture has no system call for it and needs none.
///
/// # Safety
///
/// As for [`set_thread_pointer`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn set_thread_pointer_by_syscall(tp: usize) {
    // SAFETY: the caller's promise is the same.
    unsafe { set_thread_pointer(tp) };
}

/// Always: the register belongs to user space.
pub(crate) fn has_thread_pointer_instruction(_hwcap2: u64) -> bool {
    true
}

/// Whether this thread runs on a guarded control stack, which a switch of stacks would break.
///
/// Kernels that know none answer with an error, so "no" is also the answer there.
pub(crate) fn has_shadow_stack() -> bool {
    const PR_GET_SHADOW_STACK_STATUS: usize = 74;
    const SYS_PRCTL: usize = 167;
    let mut features = 0_u64;
    // SAFETY: the call writes eight bytes to the address of `features`.
    let result = unsafe {
        let features = (&raw mut features).expose_provenance();
        syscall4(SYS_PRCTL, PR_GET_SHADOW_STACK_STATUS, features, 0, 0)
    };
    result == 0 && features & 1 != 0
}

/// The part of glibc's thread control block that its ABI fixes.
///
/// ```text
///   room() bytes
///   +-------+----------------+--------+----------------------+-------+
///   | slack | struct pthread | header | static thread-locals | slack |
///   +-------+----------------+--------+----------------------+-------+
///                            ^ thread pointer                        ^ top
/// ```
pub(crate) mod tcb {
    use std::ops::Range;

    /// The dynamic thread vector, in the header.
    pub(crate) const DTV: isize = 0x00;
    /// The guards are globals here.
    pub(crate) const GUARDS: &[isize] = &[];

    /// From the thread pointer to the start of `struct pthread`.
    pub(crate) fn pthread_start(pthread_size: usize) -> isize {
        -(pthread_size as isize)
    }

    /// From the thread pointer to `header.multiple_threads`, an `int`.
    pub(crate) fn multiple_threads(pthread_size: usize) -> isize {
        pthread_start(pthread_size)
    }

    /// Bytes that a thread control block and its static thread-locals take, wherever
    /// the multiple of 64 lies that they end at. `static_size` is what
    /// `_dl_get_tls_static_info` says; here it does not include `struct pthread`.
    pub(crate) fn room(static_size: usize, pthread_size: usize, align: usize) -> usize {
        let thread_locals = static_size.next_multiple_of(64) + align.saturating_sub(64);
        (thread_locals + pthread_size).next_multiple_of(64)
    }

    /// The thread pointer of a block that ends at `top`.
    pub(crate) fn thread_pointer_below(
        top: usize,
        static_size: usize,
        _pthread_size: usize,
        align: usize,
    ) -> usize {
        (top - static_size) & !(align - 1)
    }

    /// Where the static thread-locals of the block at `tp` lie, the header included.
    pub(crate) fn static_thread_locals(
        tp: usize,
        static_size: usize,
        _pthread_size: usize,
    ) -> Range<usize> {
        tp..tp + static_size
    }

    /// Where `_dl_allocate_tls` notes what malloc gave it for a block at `tp`.
    pub(crate) fn allocation_note(tp: usize, pthread_size: usize) -> usize {
        tp - pthread_size - size_of::<usize>()
    }

    /// The thread pointer that `_dl_allocate_tls` makes of that allocation.
    pub(crate) fn thread_pointer_in(
        allocation: usize,
        _static_size: usize,
        pthread_size: usize,
        align: usize,
    ) -> usize {
        (allocation + pthread_size + size_of::<usize>()).next_multiple_of(align)
    }
}

/// FPCR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FloatControl(u32);

/// How the calling thread's floating-point arithmetic is set.
#[inline(always)]
pub(crate) fn float_control() -> FloatControl {
    let control: u64;
    // SAFETY: user space may read the register.
    unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nostack, preserves_flags)) };
    FloatControl(control as u32)
}

/// Sets it.
///
/// # Safety
///
/// The code that runs next is the code for which `control` was read, and no other is under way.
#[cold]
#[inline(never)]
pub(crate) unsafe fn set_float_control(control: FloatControl) {
    // SAFETY: user space may write the register; the bits were read from it.
    unsafe {
        asm!("msr fpcr, {}", in(reg) u64::from(control.0), options(nostack, preserves_flags));
    }
}

/// What the kernel calls that counter, where it relies on it itself.
pub(crate) const CYCLES_SOURCE: &str = "arch_sys_counter";

/// The virtual counter.
#[inline(always)]
pub(crate) fn cycles() -> u64 {
    let count: u64;
    // SAFETY: Linux lets user space read CNTVCT_EL0.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack, preserves_flags)) };
    count
}

/// Has the processor fetch a line of memory that will be written soon. Any address will do.
#[inline(always)]
pub(crate) fn prefetch_for_write<T>(place: *const T) {
    // SAFETY: a hint, which never faults.
    unsafe {
        asm!("prfm pstl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
}

/// System call `number`; the result as the kernel gives it, `-errno` for an error.
///
/// # Safety
///
/// What the kernel asks for that call, and that glibc does not have to know of it.
#[inline]
pub(crate) unsafe fn syscall4(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel changes x0 and keeps the other registers; what it does with
    // memory is the caller's affair.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c,
             in("x3") d, options(nostack));
    }
    result
}

/// [`syscall4`] with six arguments.
///
/// # Safety
///
/// As for [`syscall4`].
#[inline]
pub(crate) unsafe fn syscall6(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: as in `syscall4`.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c,
             in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

/// Where the caller is: unwinding from here finds the caller's callers while it has not returned.
#[inline(always)]
pub(crate) fn registers_here() -> Registers {
    let (program_counter, stack_pointer, frame_pointer);
    // SAFETY: reads registers only.
    unsafe {
        asm!("adr {}, .", "mov {}, sp", "mov {}, x29", out(reg) program_counter,
             out(reg) stack_pointer, out(reg) frame_pointer,
             options(nomem, nostack, preserves_flags));
    }
    Registers {
        program_counter,
        stack_pointer,
        frame_pointer: Some(frame_pointer),
        link: None,
    }
}

/// Where the thread was when the signal with this context arrived.
pub(crate) fn registers(context: &libc::ucontext_t) -> Registers {
    let registers = &context.uc_mcontext;
    Registers {
        program_counter: registers.pc as usize,
        stack_pointer: registers.sp as usize,
        frame_pointer: Some(registers.regs[29] as usize),
        link: Some(registers.regs[30] as usize),
    }
}
