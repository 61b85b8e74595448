//! [`std::process`] for greenlets.

pub use ::std::process::*;
