//! std's socket on a descriptor that it does not own: for calls that do not wait, which are left
//! to std.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A `T`, one of std's sockets, that is never dropped: so the descriptor stays open, and its owner's.
pub(super) struct StdRef<'a, T> {
    socket: ManuallyDrop<T>,
    borrowed: PhantomData<BorrowedFd<'a>>,
}

impl<'a, T: From<OwnedFd>> StdRef<'a, T> {
    pub(super) fn new(fd: BorrowedFd<'a>) -> Self {
        // SAFETY: the descriptor is open for as long as it is borrowed, and what looks like its owner
        // here is not dropped, so it does not close it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) };
        Self {
            socket: ManuallyDrop::new(T::from(fd)),
            borrowed: PhantomData,
        }
    }
}

impl<T> Deref for StdRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.socket
    }
}
