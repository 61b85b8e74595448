//! [`std::os::unix::thread`] for greenlets.

pub use ::std::os::unix::thread::*;
