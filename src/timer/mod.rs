//! Layer 3: timers. Stores payloads with deadlines and hands them back when their time has come.
//!
//! Knows no clock, no greenlet and no waker: the owner of a [`Wheel`] says what time it is, and
//! what a payload means. Nothing here sleeps or locks.

mod nodes;
mod wheel;

#[cfg(test)]
mod tests;

pub(crate) use nodes::Key;
pub(crate) use wheel::Wheel;
