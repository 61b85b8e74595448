//! Standard input, output and error.
//!
//! | file | noun |
//! |---|---|
//! | `raw` | the descriptors, which park |
//! | `lock` | the streams' locks, which park and may be held over waits |
//! | `stdin`, `stdout`, `stderr` | std's types of these names |
//! | `terminal` | whether a descriptor is a terminal |

mod lock;
mod raw;
mod stderr;
mod stdin;
mod stdout;
mod terminal;

pub use stderr::{Stderr, StderrLock, stderr};
pub use stdin::{Stdin, StdinLock, stdin};
pub use stdout::{Stdout, StdoutLock, stdout};
pub use terminal::IsTerminal;

/// The descriptor of a stream and of its lock, and that neither is left in a bad state by a panic.
macro_rules! is_a_stream {
    ($raw:expr, $stream:ident, $lock:ident) => {
        impl AsFd for $stream {
            fn as_fd(&self) -> BorrowedFd<'_> {
                $raw.as_fd()
            }
        }

        impl AsRawFd for $stream {
            fn as_raw_fd(&self) -> RawFd {
                $raw.as_fd().as_raw_fd()
            }
        }

        impl AsFd for $lock<'_> {
            fn as_fd(&self) -> BorrowedFd<'_> {
                $raw.as_fd()
            }
        }

        impl AsRawFd for $lock<'_> {
            fn as_raw_fd(&self) -> RawFd {
                $raw.as_fd().as_raw_fd()
            }
        }

        impl UnwindSafe for $lock<'_> {}
        impl RefUnwindSafe for $lock<'_> {}

        impl fmt::Debug for $stream {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($stream)).finish_non_exhaustive()
            }
        }

        impl fmt::Debug for $lock<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($lock)).finish_non_exhaustive()
            }
        }
    };
}
use is_a_stream;
