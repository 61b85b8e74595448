//! x86-64: registers for the unwinder, and what instructions say of a frame.

use framehop::UnwindRegsNative;

use super::UNKNOWN;
use super::code::Code;
use crate::arch::Registers;

/// Whether a call leaves the return address in a register.
pub(super) const HAS_LINK: bool = false;

pub(super) fn registers(registers: &Registers, _code: &Code<'_>) -> UnwindRegsNative {
    let frame_pointer = registers
        .frame_pointer
        .map_or(UNKNOWN, |value| value as u64);
    UnwindRegsNative::new(
        registers.program_counter as u64,
        registers.stack_pointer as u64,
        frame_pointer,
    )
}

pub(super) fn frame_pointer(registers: &UnwindRegsNative) -> u64 {
    registers.bp()
}

pub(super) fn set_frame_pointer(registers: &mut UnwindRegsNative, value: u64) {
    registers.set_bp(value);
}

/// How far the frame pointer is above the stack pointer while a function calls another one, by the
/// instructions that the function begins with.
///
/// Compilers set up a frame in this order: `push rbp`, `mov rbp, rsp`, other pushes, `sub rsp`. What
/// adds more to a frame is not read: frames that are aligned, or probed page by page.
pub(super) fn frame_size(function: &[u8]) -> Option<usize> {
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    let code = function.strip_prefix(&ENDBR64).unwrap_or(function);
    let mut code = code.strip_prefix(&[0x55, 0x48, 0x89, 0xe5])?;
    let mut pushed = 0;
    loop {
        code = match code {
            // push r8 to r15
            [0x41, 0x50..=0x57, rest @ ..] => rest,
            // push rax to rdi
            [0x50..=0x57, rest @ ..] => rest,
            _ => break,
        };
        pushed += size_of::<usize>();
    }
    let reserved = match *code {
        // sub rsp, of one byte and of four
        [0x48, 0x83, 0xec, size @ 0..=0x7f, ..] => usize::from(size),
        [0x48, 0x81, 0xec, a, b, c, d, ..] => match u32::from_le_bytes([a, b, c, d]) {
            0x1000 => return None,
            size => usize::try_from(size).ok()?,
        },
        // and rsp; lea r11, [rsp + ...]
        [0x48, 0x81 | 0x83, 0xe4, ..] | [0x4c, 0x8d, 0x9c, 0x24, ..] => return None,
        _ => 0,
    };
    let size = pushed + reserved;
    // At a call the stack is aligned to 16, as the frame pointer is.
    size.is_multiple_of(16).then_some(size)
}

/// Whether the last instruction is a call.
pub(super) fn ends_with_call(code: &[u8]) -> bool {
    // call, relative
    let direct = matches!(code, [.., 0xe8, _, _, _, _]);
    // call, by a register or by memory: as long as its second byte and, if any, its third say
    let indirect = |length: &usize| match code.last_chunk::<7>() {
        Some(last) => match last[7 - length..] {
            [0xff, form, ref rest @ ..] if form & 0x38 == 0x10 => {
                let index = rest.first().copied();
                indirect_call_length(form, index) == Some(*length)
            }
            _ => false,
        },
        None => false,
    };
    direct || (2..=7).any(|length| indirect(&length))
}

/// The bytes of an indirect call. `index` is the byte after `form`.
fn indirect_call_length(form: u8, index: Option<u8>) -> Option<usize> {
    let (mode, base) = (form >> 6, form & 7);
    let indexed = mode != 3 && base == 4;
    let absolute = match indexed {
        true => index? & 7 == 5,
        false => base == 5,
    };
    let displacement = match mode {
        0 if absolute => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    Some(2 + usize::from(indexed) + displacement)
}

#[cfg(test)]
mod tests {
    use super::{ends_with_call, frame_size};

    #[test]
    fn the_size_of_a_frame_is_read_from_its_prologue() {
        let sleep = b"\x55\x48\x89\xe5\x41\x57\x41\x56\x41\x54\x53\x48\x83\xec\x20\x48\x85\xff";
        assert_eq!(frame_size(sleep), Some(4 * 8 + 0x20));
        let large = b"\xf3\x0f\x1e\xfa\x55\x48\x89\xe5\x48\x81\xec\x20\x01\x00\x00";
        assert_eq!(frame_size(large), Some(0x120));
        assert_eq!(frame_size(b"\x55\x48\x89\xe5\xe8\0\0\0\0"), Some(0));
        // Not aligned, aligned by an instruction, probed, without a frame pointer, and cut.
        assert_eq!(frame_size(b"\x55\x48\x89\xe5\x53\x90\x90"), None);
        assert_eq!(frame_size(b"\x55\x48\x89\xe5\x48\x83\xe4\xe0"), None);
        assert_eq!(frame_size(b"\x55\x48\x89\xe5\x48\x81\xec\0\x10\0\0"), None);
        assert_eq!(frame_size(b"\x53\x48\x83\xec\x20"), None);
        assert_eq!(frame_size(b"\x55\x48"), None);
    }

    #[test]
    fn calls_are_told_from_other_instructions() {
        let calls: [&[u8]; 7] = [
            b"\x90\x90\xe8\x01\x02\x03\x04",
            b"\x90\x90\x90\x90\x90\xff\xd0",
            b"\x90\xff\x15\x01\x02\x03\x04",
            b"\x90\x90\x90\x90\xff\x50\x18",
            b"\x90\xff\x93\x01\x02\x03\x04",
            b"\xff\x94\x24\x01\x02\x03\x04",
            b"\x90\x90\x90\x90\xff\x14\xc8",
        ];
        for call in calls {
            assert!(ends_with_call(call), "{call:x?}");
        }
        let others: [&[u8]; 4] = [
            b"",
            b"\xd0",
            b"\x90\x90\x90\x90\x90\x90\x90",
            b"\x90\x90\x90\x90\x90\xff\xe0",
        ];
        for other in others {
            assert!(!ends_with_call(other), "{other:x?}");
        }
    }
}
