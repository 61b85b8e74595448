//! Seeing what the scheduler does.

mod serve;

use crate::reason::WaitReason;

pub use serve::{Server, serve};

pub(crate) use serve::serve_by_environment;

pub use crate::record::{Actor, Ended, Event, Greenlet, Source, State, Stop, Text, Wait};

/// One word for what a [`Wait`] is for, as `mutex`. `None` for a code of a newer version.
///
/// ```
/// assert_eq!(greenlet::trace::wait_reason(1), Some("sleep"));
/// assert_eq!(greenlet::trace::wait_reason(200), None);
/// ```
pub fn wait_reason(code: u8) -> Option<&'static str> {
    WaitReason::from_code(code).map(WaitReason::name)
}
