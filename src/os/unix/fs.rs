//! [`std::os::unix::fs`] for greenlets.

pub use ::std::os::unix::fs::*;
