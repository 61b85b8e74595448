//! [`std::io`] for greenlets.

pub use ::std::io::*;
