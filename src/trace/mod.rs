//! Seeing what the scheduler does.

#[cfg(feature = "analysis")]
pub mod export;
#[cfg(feature = "analysis")]
mod read;
#[cfg(all(test, feature = "analysis"))]
mod tests;
#[cfg(feature = "analysis")]
mod timeline;

use crate::reason::WaitReason;

#[cfg(feature = "analysis")]
pub use read::{Lost, Problem, ReadError, Record, Ring, Status, Trace};
#[cfg(feature = "analysis")]
pub use timeline::{
    CounterValue, Doing, Hub, HubSlice, Job, Life, LongRun, Mark, Ready, Slice, Span, Timeline,
    WakeEdge,
};

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
