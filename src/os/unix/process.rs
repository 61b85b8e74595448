//! [`std::os::unix::process`] for greenlets.

pub use ::std::os::unix::process::{ExitStatusExt, parent_id};

pub use crate::process::unix::CommandExt;
