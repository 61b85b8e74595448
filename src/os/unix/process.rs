//! [`std::os::unix::process`] for greenlets.

pub use ::std::os::unix::process::*;
