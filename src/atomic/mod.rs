//! Layer 2: what a protocol is made of: atomics, cells, a mutex, thread-locals, queues.
//!
//! They are std's, and crossbeam's queues. With `--cfg loom` they are loom's, and the models beside the protocols
//! (`models.rs`) run them in every order that the memory model allows. Files that take part in
//! a modelled protocol import from here; all others use std.

#[cfg(not(loom))]
mod real;
#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(loom)]
mod modelled;
#[cfg(loom)]
pub(crate) use modelled::*;
