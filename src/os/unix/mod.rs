//! [`std::os::unix`] for greenlets.

pub use ::std::os::unix::{ffi, io};
// std has deprecated it, and has it still.
#[allow(deprecated)]
pub use ::std::os::unix::raw;

pub mod fs;
pub mod net;
pub mod prelude;
pub mod process;
pub mod thread;
