//! Traces made by hand, and what is read from them.

pub(super) mod builder;
mod check;
mod fuzz;
mod read;
mod report;
mod stream;
mod timeline;
