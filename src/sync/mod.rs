//! [`std::sync`] for greenlets: locks and channels that park the greenlet that waits.
//!
//! All of it works between greenlets, between hubs, and with plain OS threads, at once. On a plain
//! thread it blocks the thread, as std does. What need not wait does not park.
//!
//! *Fairness:* nobody starves. Waiters are served first in, first out; [`Mutex`] and [`RwLock`] tell what
//! newcomers may do.
//!
//! So that a greenlet that never has to wait lets others run on its hub, every 1024th operation on a channel, or
//! look at a lock that is taken or a value that is not there, yields. Locking a lock that is free is not counted: a
//! loop that does nothing else keeps its hub, as any computation does.
//!
//! *When a runtime is dropped* a greenlet that waits here unwinds. What it waited for has not
//! happened: it has no lock, took no message and no notification, and the others lose nothing.

mod barrier;
mod channel;
mod condvar;
mod lazy_lock;
pub mod mpmc;
pub mod mpsc;
mod mutex;
mod once;
mod once_lock;
mod poison;
mod raw_mutex;
mod raw_rw_lock;
mod rw_lock;
mod spin;

#[cfg(all(test, loom))]
mod models;

pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
#[allow(deprecated, reason = "std has it, too")]
pub use once::ONCE_INIT;
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
