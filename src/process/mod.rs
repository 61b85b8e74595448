//! [`std::process`] for greenlets.
//!
//! Waiting for a child parks the greenlet: a descriptor of the process (pidfd) tells when it has
//! ended. There is no handler of SIGCHLD, so those of the program are left alone, and any number of
//! children may be waited for at once. The pipes to a child park, too, and are never `O_NONBLOCK`, on
//! neither side.
//!
//! What need not wait is std's own.

mod child;
mod command;
pub(crate) mod unix;

pub use std::process::{
    CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, exit, id,
};

pub use crate::io::child_pipes::{ChildStderr, ChildStdin, ChildStdout};
pub use child::Child;
pub use command::Command;
