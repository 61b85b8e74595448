//! What the tests of several nouns share.

// Each test binary includes this module and uses its own part of it.
#![allow(dead_code, unused_imports)]

pub(crate) mod child;
pub(crate) mod crowd;
pub(crate) mod flag;
pub(crate) mod hubs;
pub(crate) mod parks;
pub(crate) mod process;
pub(crate) mod quiet;
pub(crate) mod recorded;
pub(crate) mod recursion;
pub(crate) mod sockets;
pub(crate) mod storm;
pub(crate) mod temp;
pub(crate) mod watchdog;

pub(crate) use crowd::{crowd, in_crowd};
pub(crate) use flag::{Barrier, Flag};
pub(crate) use hubs::{
    Wait, at_once, go_to_hub, on_hubs, runtime, watched, with_and_without_moves, with_hubs,
};
pub(crate) use parks::{does_not_park, parks, parks_for_a_while};
