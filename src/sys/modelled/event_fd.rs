//! The kernel's eventfd, whose signals are told to those who wait in a model's epoll.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

#[path = "../event_fd.rs"]
mod real;

use super::KERNEL;
use crate::sys::{cvt, cvt_size};

#[derive(Debug)]
pub(crate) struct EventFd(real::EventFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        real::EventFd::new().map(Self)
    }

    pub(crate) fn signal(&self) {
        let _kernel = KERNEL.lock.lock().unwrap();
        self.0.signal();
        KERNEL.signalled.notify_all();
    }

    pub(crate) fn clear(&self) {
        let _kernel = KERNEL.lock.lock().unwrap();
        self.0.clear();
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
