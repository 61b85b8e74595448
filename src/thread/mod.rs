//! [`std::thread`] for greenlets: the same names, where each thread is a greenlet.
//!
//! [`spawn`] starts a greenlet: in a greenlet, in its runtime; on a plain thread, in the default
//! runtime. [`current`], [`park`], [`sleep`] and the like are about the greenlet that calls, and on
//! a plain thread about that thread.
//!
//! A greenlet has thread-locals of its own, so [`thread_local!`](std::thread_local) and
//! [`LocalKey`] are simply std's: each greenlet has its own value, initialised when it first asks
//! and dropped at its end. gevent's `local` is the same thing.
//!
//! ```
//! use greenlet::thread;
//! use std::cell::Cell;
//!
//! thread_local!(static NUMBER: Cell<u32> = const { Cell::new(1) });
//!
//! greenlet::run(|| {
//!     NUMBER.set(2);
//!     let other = thread::spawn(|| NUMBER.get());
//!     assert_eq!(other.join().unwrap(), 1);
//!     assert_eq!(NUMBER.get(), 2);
//! });
//! ```
//!
//! # Differences
//!
//! - The stack of a greenlet is 256 KiB where std's threads have 2 MiB, unless the
//!   [`Builder`] or the [runtime](crate::RuntimeBuilder::stack_size) says otherwise; and a size below 16 KiB is an error.
//! - [`std::thread::current`] tells greenlets apart, too, but knows nothing of their names.
//! - There is no `JoinHandleExt` of `std::os::unix::thread`: a greenlet is no pthread.

mod scope;

use ::std::time::Duration;

pub use ::std::thread::{AccessError, LocalKey, Result, available_parallelism, panicking};

pub use crate::builder::Builder;
pub use crate::greenlet::{
    Greenlet as Thread, current, park, park_timeout, sleep, sleep_until, yield_now,
};
pub use crate::join_handle::JoinHandle;
pub use crate::sched::Id as ThreadId;
pub use crate::spawn::spawn;
pub use scope::{Scope, ScopedJoinHandle, scope};

/// [`sleep`] with the time in milliseconds.
///
/// # Panics
///
/// As [`park`].
#[deprecated(note = "replaced by `greenlet::thread::sleep`")]
pub fn sleep_ms(ms: u32) {
    sleep(Duration::from_millis(ms.into()));
}

/// [`park_timeout`] with the time in milliseconds.
///
/// # Panics
///
/// As [`park`].
#[deprecated(note = "replaced by `greenlet::thread::park_timeout`")]
pub fn park_timeout_ms(ms: u32) {
    park_timeout(Duration::from_millis(ms.into()));
}
