//! [`std::os`] for greenlets.

pub use ::std::os::{fd, raw};

pub mod linux;
pub mod unix;
