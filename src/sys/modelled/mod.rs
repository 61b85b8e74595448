//! What blocks a thread, for models: these take the place of the files of the same names, because
//! a model's threads are all run by one OS thread, which must not block.
//!
//! Time stands still in a model: a time-out of zero is over at once, any other never.

pub(crate) mod epoll;
pub(crate) mod event_fd;
pub(crate) mod futex;
pub(crate) mod mapping;

use std::time::Duration;

use loom::sync::{Condvar, Mutex};

loom::lazy_static! {
    /// Held over every call, as the kernel's own locks are. Who waits in epoll is told of every signal.
    static ref KERNEL: Kernel = Kernel { lock: Mutex::new(futex::Waiting::default()), signalled: Condvar::new() };
}

struct Kernel {
    lock: Mutex<futex::Waiting>,
    signalled: Condvar,
}

fn is_over(timeout: Option<Duration>) -> bool {
    timeout.is_some_and(|timeout| timeout.is_zero())
}
