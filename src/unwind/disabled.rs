//! Without the feature `stacks`: what costs no dependency.

use super::StackCopy;
use super::frame::{Frame, lookups};
use crate::arch::Registers;

/// The program counter of the innermost frame: the others would take unwind tables.
pub(crate) fn walk(registers: &Registers, _stack: &StackCopy, limit: usize) -> Vec<usize> {
    let innermost = Some(registers.program_counter);
    innermost.into_iter().take(limit).collect()
}

/// The exported symbol of each address, or else where it is in which file. The first address is a
/// program counter, the others are return addresses.
///
/// Waits for a `dlopen` or `dlclose` that is under way on another thread.
pub(crate) fn describe(addresses: &[usize]) -> Vec<Frame> {
    let frame = |(address, lookup)| Frame::exported(address, lookup);
    lookups(addresses).map(frame).collect()
}
