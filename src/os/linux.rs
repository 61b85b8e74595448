//! [`std::os::linux`] for greenlets.

pub use ::std::os::linux::*;

pub mod net;
