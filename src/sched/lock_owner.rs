//! Who keeps a greenlet waiting.

use std::fmt;

use super::cell::Id;
use crate::owner::Holder;

/// Who keeps a greenlet waiting: who has the lock, runs the initialisation, or is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LockOwner {
    /// A greenlet.
    Greenlet(Id),
    /// A plain thread.
    Thread,
    /// So many who read an [`RwLock`](crate::sync::RwLock); it is not known who they are.
    Readers(u32),
}

impl LockOwner {
    /// The greenlet, if it is one.
    pub fn greenlet(self) -> Option<Id> {
        match self {
            Self::Greenlet(id) => Some(id),
            Self::Thread | Self::Readers(_) => None,
        }
    }
}

impl From<Holder> for LockOwner {
    fn from(holder: Holder) -> Self {
        match holder {
            Holder::Greenlet(number) => Self::Greenlet(Id::new(number)),
            Holder::PlainThread => Self::Thread,
            Holder::Readers(count) => Self::Readers(count),
        }
    }
}

impl fmt::Display for LockOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greenlet(id) => write!(f, "greenlet {id}"),
            Self::Thread => f.write_str("a plain thread"),
            Self::Readers(1) => f.write_str("a reader"),
            Self::Readers(count) => write!(f, "{count} readers"),
        }
    }
}
