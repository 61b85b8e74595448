//! [`std::os::unix::net`] for greenlets.

pub use ::std::os::unix::net::*;
