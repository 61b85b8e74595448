//! [`std::fs`] for greenlets.

pub use ::std::fs::*;
