//! Layer 5: input and output that parks. One [`Source`] a descriptor, one retry loop for all.

mod binding;
mod source;

pub(crate) use source::Source;
