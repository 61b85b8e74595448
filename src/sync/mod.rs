//! [`std::sync`] for greenlets.

pub use ::std::sync::*;
