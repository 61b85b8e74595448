//! [`std::os`] for greenlets.

pub use ::std::os::fd;

pub mod linux;
pub mod unix;
