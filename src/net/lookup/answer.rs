//! What came out of a lookup.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The result of a lookup, for any number of callers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The addresses, without a port.
    Found(Arc<[SocketAddr]>),
    /// The name is not known, or nobody could be asked.
    Failed(Arc<Failure>),
    /// The one who was to ask was cancelled before, or had no more time: somebody else may.
    Abandoned,
}

/// What an error says, since that cannot be copied.
#[derive(Debug)]
pub(super) struct Failure {
    kind: io::ErrorKind,
    code: Option<i32>,
    message: String,
}

impl From<io::Result<Vec<SocketAddr>>> for Answer {
    fn from(result: io::Result<Vec<SocketAddr>>) -> Self {
        match result {
            Ok(addrs) => Self::Found(addrs.into()),
            Err(error) => Self::Failed(Arc::new(Failure {
                kind: error.kind(),
                code: error.raw_os_error(),
                message: error.to_string(),
            })),
        }
    }
}

impl Failure {
    /// Whether it was this process that failed, as with too many descriptors, rather than the name.
    pub(super) fn is_ours(&self) -> bool {
        self.code.is_some()
    }

    pub(super) fn to_error(&self) -> io::Error {
        match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.kind, self.message.clone()),
        }
    }
}
