//! Layer 2: the recorder's vocabulary.
//!
//! | file | noun |
//! |---|---|
//! | `event` | what a ring is made of |
//! | `block` | what a file is made of |

pub(crate) mod block;
mod event;

#[cfg(feature = "analysis")]
pub(crate) use event::Head;

pub use event::{Actor, Ended, Event, Greenlet, Source, State, Stop, Text, Wait};
