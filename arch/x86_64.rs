//! x86-64. The thread pointer is the FS base.

use std::arch::asm;

use super::Registers;

/// The address that thread-locals are found from; glibc keeps it at `fs:0`.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let tp: usize;
    // SAFETY: the x86-64 TLS ABI puts the thread pointer itself at fs:0. `pure` is
    // not claimed, so the read is not moved over a switch of the thread pointer.
    unsafe { asm!("mov {}, fs:0", out(reg) tp, options(nostack, preserves_flags, readonly)) };
    tp
}

/// Moves the thread pointer to `tp` by `wrfsbase`.
///
/// # Safety
///
/// `tp` is a thread control block that the C library accepts as the running thread's,
/// nothing computed from the old one is used again before it is put back, and
/// [`has_thread_pointer_instruction`] has answered yes.
#[inline(always)]
pub(crate) unsafe fn set_thread_pointer(tp: usize) {
    // SAFETY: the instruction is enabled and `tp` is a thread control block (caller).
    // Not `nomem`: thread-locals are memory, so none may be cached over this.
    unsafe { asm!("wrfsbase {}", in(reg) tp, options(nostack, preserves_flags)) };
}

/// Moves the thread pointer to `tp` by `arch_prctl(ARCH_SET_FS)`.
///
/// # Safety
///
/// As for [`set_thread_pointer`], without the last condition.
#[cold]
#[inline(never)]
pub(crate) unsafe fn set_thread_pointer_by_syscall(tp: usize) {
    const ARCH_SET_FS: usize = 0x1002;
    const SYS_ARCH_PRCTL: usize = 158;
    // SAFETY: arch_prctl reads its two integers and no memory; `tp` is good (caller).
    let result = unsafe { syscall4(SYS_ARCH_PRCTL, ARCH_SET_FS, tp, 0, 0) };
    debug_assert_eq!(result, 0);
}

/// Whether `wrfsbase` may be used: bit 1 of `AT_HWCAP2`.
pub(crate) fn has_thread_pointer_instruction(hwcap2: u64) -> bool {
    hwcap2 & 2 != 0
}

/// Whether this thread runs on a CET shadow stack, which a switch of stacks would break.
///
/// Kernels that know none answer with an error, so "no" is also the answer there.
pub(crate) fn has_shadow_stack() -> bool {
    const ARCH_SHSTK_STATUS: usize = 0x5005;
    const SYS_ARCH_PRCTL: usize = 158;
    let mut features = 0_u64;
    // SAFETY: the call writes eight bytes to the address of `features`.
    let result = unsafe {
        let features = (&raw mut features).expose_provenance();
        syscall4(SYS_ARCH_PRCTL, ARCH_SHSTK_STATUS, features, 0, 0)
    };
    result == 0 && features & 1 != 0
}

/// The part of glibc's thread control block that its ABI fixes.
///
/// ```text
///   room() bytes
///   +-------+------------------------+----------------+-------+
///   | slack | static thread-locals   | struct pthread | slack |
///   +-------+------------------------+----------------+-------+
///                                    ^ thread pointer         ^ top
/// ```
pub(crate) mod tcb {
    use std::ops::Range;

    /// The dynamic thread vector.
    pub(crate) const DTV: isize = 0x08;
    /// Words that are the same in every thread of a process: the stack guard and
    /// the pointer guard.
    pub(crate) const GUARDS: &[isize] = &[0x28, 0x30];

    /// From the thread pointer to the start of `struct pthread`.
    pub(crate) fn pthread_start(_pthread_size: usize) -> isize {
        0
    }

    /// From the thread pointer to `header.multiple_threads`, an `int`.
    pub(crate) fn multiple_threads(_pthread_size: usize) -> isize {
        0x18
    }

    /// Bytes that a thread control block and its static thread-locals take, wherever
    /// the multiple of 64 lies that they end at. `static_size` is what
    /// `_dl_get_tls_static_info` says; here it includes `struct pthread`.
    pub(crate) fn room(static_size: usize, pthread_size: usize, align: usize) -> usize {
        let pthread = pthread_size.next_multiple_of(64) + align.saturating_sub(64);
        (pthread + static_size - pthread_size).next_multiple_of(64)
    }

    /// The thread pointer of a block that ends at `top`.
    pub(crate) fn thread_pointer_below(
        top: usize,
        _static_size: usize,
        pthread_size: usize,
        align: usize,
    ) -> usize {
        (top - pthread_size) & !(align - 1)
    }

    /// Where the static thread-locals of the block at `tp` lie.
    pub(crate) fn static_thread_locals(
        tp: usize,
        static_size: usize,
        pthread_size: usize,
    ) -> Range<usize> {
        tp - (static_size - pthread_size)..tp
    }

    /// Where `_dl_allocate_tls` notes what malloc gave it for a block at `tp`.
    pub(crate) fn allocation_note(tp: usize, pthread_size: usize) -> usize {
        tp + pthread_size
    }

    /// The thread pointer that `_dl_allocate_tls` makes of that allocation.
    pub(crate) fn thread_pointer_in(
        allocation: usize,
        static_size: usize,
        pthread_size: usize,
        align: usize,
    ) -> usize {
        allocation.next_multiple_of(align) + static_size - pthread_size
    }
}

/// The control bits of MXCSR in the lower half, x87's control word in the upper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FloatControl(u32);

/// Bits of MXCSR that are no exception flags: denormals are zeros, masks, rounding, flush to zero.
const MXCSR_CONTROL: u32 = 0xffc0;

/// How the calling thread's floating-point arithmetic is set.
#[inline(always)]
pub(crate) fn float_control() -> FloatControl {
    let (mut mxcsr, mut x87) = (0_u32, 0_u16);
    // SAFETY: the instructions write four and two bytes, which are there.
    unsafe {
        asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &raw mut mxcsr, in(reg) &raw mut x87,
             options(nostack, preserves_flags));
    }
    FloatControl(mxcsr & MXCSR_CONTROL | u32::from(x87) << 16)
}

/// Sets it. What exceptions were noted stays noted in MXCSR and is forgotten in x87, where the
/// next instruction would trap on one that is noted and does trap now.
///
/// # Safety
///
/// The code that runs next is the code for which `control` was read, and no other is under way.
#[cold]
#[inline(never)]
pub(crate) unsafe fn set_float_control(control: FloatControl) {
    let (mut mxcsr, x87) = (0_u32, (control.0 >> 16) as u16);
    // SAFETY: reads and writes the four and two bytes; the bits were read from the registers.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags));
        mxcsr = mxcsr & !MXCSR_CONTROL | control.0 & MXCSR_CONTROL;
        asm!("ldmxcsr [{}]", "fnclex", "fldcw [{}]", in(reg) &raw const mxcsr,
             in(reg) &raw const x87, options(nostack, preserves_flags));
    }
}

/// What the kernel calls that counter, where it relies on it itself.
pub(crate) const CYCLES_SOURCE: &str = "tsc";

/// The time stamp counter.
#[inline(always)]
pub(crate) fn cycles() -> u64 {
    // SAFETY: every x86-64 has the instruction, and Linux leaves it enabled.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Has the processor fetch a line of memory that will be written soon. Any address will do.
#[inline(always)]
pub(crate) fn prefetch_for_write<T>(place: *const T) {
    // SAFETY: a hint, which never faults; processors that do not know it do nothing.
    unsafe { asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly)) };
}

/// System call `number`; the result as the kernel gives it, `-errno` for an error.
///
/// # Safety
///
/// What the kernel asks for that call, and that glibc does not have to know of it.
#[inline]
pub(crate) unsafe fn syscall4(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel changes rax, rcx and r11 and keeps the other registers; what
    // it does with memory is the caller's affair.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b,
             in("rdx") c, in("r10") d, lateout("rcx") _, lateout("r11") _, options(nostack));
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
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b,
             in("rdx") c, in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _,
             lateout("r11") _, options(nostack));
    }
    result
}

/// Where the caller is: unwinding from here finds the caller's callers while it has not returned.
#[inline(always)]
pub(crate) fn registers_here() -> Registers {
    let (program_counter, stack_pointer, frame_pointer);
    // SAFETY: reads registers only.
    unsafe {
        asm!("lea {}, [rip]", "mov {}, rsp", "mov {}, rbp", out(reg) program_counter,
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
    let registers = &context.uc_mcontext.gregs;
    Registers {
        program_counter: registers[libc::REG_RIP as usize] as usize,
        stack_pointer: registers[libc::REG_RSP as usize] as usize,
        frame_pointer: Some(registers[libc::REG_RBP as usize] as usize),
        link: None,
    }
}
