//! Layer 1: the C library's functions, one safe wrapper each (or one `unsafe` one that says why).
//!
//! Nothing in here waits for anything but the kernel's own work, knows a greenlet or retries:
//! a call that would block answers `WouldBlock`, one that was interrupted `Interrupted`.

pub(crate) mod address;
pub(crate) mod alternate_stack;
pub(crate) mod ancillary;
pub(crate) mod at_exit;
pub(crate) mod auxv;
pub(crate) mod clock;
pub(crate) mod dl;
pub(crate) mod errno;
pub(crate) mod fault;
pub(crate) mod fd;
pub(crate) mod file;
pub(crate) mod file_kind;
pub(crate) mod heap;
#[cfg(feature = "stacks")]
pub(crate) mod held_modules;
pub(crate) mod membarrier;
pub(crate) mod memory;
pub(crate) mod os_thread;
pub(crate) mod pidfd;
pub(crate) mod pipe;
pub(crate) mod poll;
pub(crate) mod probe;
pub(crate) mod random;
pub(crate) mod recursive_mutex;
pub(crate) mod residence;
pub(crate) mod signal_action;
pub(crate) mod signal_mask;
pub(crate) mod socket;
pub(crate) mod socket_option;
pub(crate) mod task;
pub(crate) mod thread;
pub(crate) mod thread_key;
pub(crate) mod thread_state;
pub(crate) mod transfer;
pub(crate) mod unix_socket;

// What blocks a thread.
#[cfg(not(loom))]
pub(crate) mod epoll;
#[cfg(not(loom))]
pub(crate) mod event_fd;
#[cfg(not(loom))]
pub(crate) mod futex;
// What a model looks into.
#[cfg(not(loom))]
pub(crate) mod mapping;
#[cfg(loom)]
mod modelled;
#[cfg(loom)]
pub(crate) use modelled::{epoll, event_fd, futex, mapping};

// The same for words in statics, which take part in no model.
#[cfg(not(loom))]
pub(crate) use futex as static_futex;
#[cfg(loom)]
#[path = "futex.rs"]
pub(crate) mod static_futex;

use std::io;

/// `-1` is an error, told by `errno`; everything else is the answer.
#[inline]
pub(crate) fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// [`cvt`] for calls that answer with a size.
#[inline]
pub(crate) fn cvt_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The answer of a system call that was made without the C library: `-errno` for an error.
#[inline]
pub(crate) fn cvt_raw(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result as i32))
}
