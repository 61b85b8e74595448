//! Layer 7: names of the C library that this crate defines in the program.
//!
//! The only place with `#[unsafe(no_mangle)]`. Each function is the real one, found behind this
//! module by the loader, with something done before or after it, or in its place on a greenlet.

mod real;
mod thread_identity;
mod thread_name;
