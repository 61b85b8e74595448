//! Layer 2: the recorder. It knows rings and files, and what events are, but not when they happen.
//!
//! | file | noun |
//! |---|---|
//! | `event` | what a ring is made of |
//! | `block` | what a file is made of |
//! | `clock` | what tells the time of events |
//! | `ring` | the last events of one writer |
//! | `texts` | texts that events refer to |
//! | `name` | what an event calls something |
//! | `session` | all of this, from when recording is switched on to when it is switched off |
//! | `recorder` | who records |
//! | `recording` | what it records with, while recording is on |
//! | `trigger` | what makes the last events be written |
//! | `order` | what the thread of a session is to do |
//! | `threads` | how many threads there are for all this |
//! | `accounts` | what is counted beside the rings |
//! | `file`, `drain` | how what was recorded gets into a file |

mod accounts;
pub(crate) mod block;
mod clock;
mod drain;
mod event;
mod file;
mod name;
mod order;
mod recorder;
mod recording;
mod ring;
mod session;
mod texts;
mod threads;
mod trigger;

#[cfg(all(test, feature = "analysis"))]
pub(crate) use event::Head;
#[cfg(feature = "analysis")]
pub(crate) use event::{Context, Events};

pub use event::{Actor, Ended, Event, Greenlet, Source, State, Stop, Text, Wait};
pub use trigger::Trigger;

pub(crate) use block::Owner;
pub(crate) use drain::Drain;
pub(crate) use name::Name;
pub(crate) use order::{Order, clear_orders, next_order, order};
pub(crate) use recorder::{
    Recorder, claim, is_a_parents, is_on, record_outside, session, start, stop, this_thread,
};
pub(crate) use recording::Recording;
pub(crate) use session::Session;
pub(crate) use threads::{OwnThread, own_threads};
pub(crate) use trigger::{pull, set as set_triggers};
