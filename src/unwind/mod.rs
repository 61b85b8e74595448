//! Layer 3: what a thread or a greenlet was doing, from its registers and a copy of its stack.
//!
//! The one that is looked at does not take part: whoever reports takes the copy, and unwinds it later
//! on a thread of its own. So nothing here runs in a signal handler, and a stack that has
//! changed meanwhile does no harm.
//!
//! | item | with the feature `stacks` | without |
//! |---|---|---|
//! | [`walk`] | the program counters of all frames that can be found | the innermost one |
//! | [`describe`] | functions with file and line, inlined ones too | exported symbols, else file and offset |

mod frame;
mod stack_copy;

#[cfg(feature = "stacks")]
mod enabled;
#[cfg(feature = "stacks")]
pub(crate) use enabled::{describe, walk};

#[cfg(not(feature = "stacks"))]
mod disabled;
#[cfg(not(feature = "stacks"))]
pub(crate) use disabled::{describe, walk};

#[cfg(test)]
mod tests;

pub(crate) use stack_copy::StackCopy;
