//! aarch64: registers for the unwinder. Neither compiled nor run yet, as all of this architecture.

use framehop::UnwindRegsNative;
use framehop::Unwinder;
use framehop::aarch64::PtrAuthMask;

use super::UNKNOWN;
use super::code::Code;
use crate::arch::Registers;

/// Whether a call leaves the return address in a register.
pub(super) const HAS_LINK: bool = true;

pub(super) fn registers(registers: &Registers, code: &Code<'_>) -> UnwindRegsNative {
    let value = |register: Option<usize>| register.map_or(UNKNOWN, |value| value as u64);
    // Return addresses may be signed in the bits that no address has.
    let mask = PtrAuthMask::from_max_known_address(code.unwinder().max_known_code_address());
    UnwindRegsNative::new_with_ptr_auth_mask(
        mask,
        value(registers.link),
        registers.stack_pointer as u64,
        value(registers.frame_pointer),
    )
}

pub(super) fn frame_pointer(registers: &UnwindRegsNative) -> u64 {
    registers.fp()
}

pub(super) fn set_frame_pointer(registers: &mut UnwindRegsNative, value: u64) {
    registers.set_fp(value);
}

/// Prologues are not read here.
pub(super) fn frame_size(_function: &[u8]) -> Option<usize> {
    None
}

/// Whether the last instruction is a call.
pub(super) fn ends_with_call(code: &[u8]) -> bool {
    let Some(last) = code.last_chunk() else {
        return false;
    };
    let last = u32::from_le_bytes(*last);
    // bl, blr
    last >> 26 == 0b10_0101 || last & 0xffff_fc1f == 0xd63f_0000
}
