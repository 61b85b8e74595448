//! [`std::time`] for greenlets.

pub use ::std::time::*;
