//! [`std::thread`] for greenlets.

pub use ::std::thread::*;
