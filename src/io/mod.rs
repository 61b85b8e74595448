//! Layer 5: input and output that parks. One [`Source`] a descriptor, one retry loop for all.

mod source;

pub(crate) use source::Source;
