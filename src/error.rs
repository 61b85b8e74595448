//! Errors that have a name of their own.

use std::fmt;
use std::io;

/// Why greenlets cannot have thread-locals of their own in this process.
///
/// The check that failed is named, with what it found; `src/docs/thread_locals.md` lists the checks.
#[derive(Clone, Debug)]
pub struct ThreadLocalsError {
    check: &'static str,
    found: String,
}

impl ThreadLocalsError {
    pub(crate) fn new(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            found: found.into(),
        }
    }

    /// The name of the check that failed.
    pub fn check(&self) -> &'static str {
        self.check
    }
}

impl fmt::Display for ThreadLocalsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "greenlets cannot have thread-locals of their own here: {} ({})",
            self.found, self.check
        )
    }
}

impl std::error::Error for ThreadLocalsError {}

/// Why a [`Runtime`](crate::Runtime) could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of hubs is 0 or more than 1,024, or `GREENLET_HUBS` is not a number.
    Hubs(String),
    /// The stack size is smaller than 16 KiB or larger than the address space.
    StackSize(usize),
    /// A variable of the environment that is no positive number.
    Environment {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
    },
    /// `GREENLET_TRACE` makes no sense.
    Trace {
        /// What it says.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Greenlets cannot have thread-locals of their own in this process, and sharing the
    /// worker's was not asked for.
    ThreadLocals(ThreadLocalsError),
    /// The operating system refused a thread, a descriptor or memory.
    Io(io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hubs(found) => write!(f, "the number of hubs must be 1 to 1024, not {found}"),
            Self::StackSize(size) => {
                write!(
                    f,
                    "the stack size must be 16384 bytes or more, and fit into memory, not {size}"
                )
            }
            Self::Environment { name, value } => {
                write!(f, "{name} must be a positive number, not {value:?}")
            }
            Self::Trace { value, reason } => {
                write!(f, "GREENLET_TRACE={value} makes no sense: {reason}")
            }
            Self::ThreadLocals(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the operating system refused: {error}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::ThreadLocals(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Hubs(_) | Self::StackSize(_) | Self::Environment { .. } | Self::Trace { .. } => {
                None
            }
        }
    }
}

impl From<io::Error> for BuildError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ThreadLocalsError> for BuildError {
    fn from(error: ThreadLocalsError) -> Self {
        Self::ThreadLocals(error)
    }
}

/// `Io` keeps its kind; bad numbers and texts are `InvalidInput`; no thread-locals is `Unsupported`.
impl From<BuildError> for io::Error {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Io(error) => error,
            BuildError::ThreadLocals(_) => io::Error::new(io::ErrorKind::Unsupported, error),
            BuildError::Hubs(_)
            | BuildError::StackSize(_)
            | BuildError::Environment { .. }
            | BuildError::Trace { .. } => io::Error::new(io::ErrorKind::InvalidInput, error),
        }
    }
}

/// What a greenlet unwinds with when it was cancelled, as when its runtime is dropped; gevent's
/// `GreenletExit`.
///
/// No panic message is printed. `JoinHandle::join` then answers with an `Err` whose payload is
/// this. Code that catches unwinding may look for it, clean up and pass it on; whoever goes on
/// regardless meets it again at the next wait.
#[derive(Debug)]
pub struct Cancelled(());

impl Cancelled {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the greenlet was cancelled")
    }
}

impl std::error::Error for Cancelled {}
