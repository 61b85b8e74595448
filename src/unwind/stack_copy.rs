//! A piece of a stack as it was.

/// The bytes of a stack from its stack pointer on, or as many as there were time and room for.
// Without the feature nothing reads it.
#[cfg_attr(not(feature = "stacks"), allow(dead_code))]
#[derive(Clone, Debug, Default)]
pub(crate) struct StackCopy {
    /// Where the first byte was.
    pub(crate) address: usize,
    pub(crate) bytes: Vec<u8>,
}
