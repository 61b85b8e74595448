//! The kernel's epoll, which is asked again at every signal instead of being waited in.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

#[path = "../epoll.rs"]
mod real;

use super::KERNEL;
use crate::sys::{clock, cvt, probe};

#[derive(Debug)]
pub(crate) struct Epoll(real::Epoll);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        real::Epoll::new().map(Self)
    }

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, events: libc::c_int, data: u64) -> io::Result<()> {
        let _kernel = KERNEL.lock.lock().unwrap();
        self.0.add(fd, events, data)
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let _kernel = KERNEL.lock.lock().unwrap();
        self.0.remove(fd)
    }

    pub(crate) fn wait(
        &self,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let mut kernel = KERNEL.lock.lock().unwrap();
        loop {
            let count = self.0.wait(events, Some(Duration::ZERO))?;
            if count > 0 || super::is_over(timeout) {
                return Ok(count);
            }
            kernel = KERNEL.signalled.wait(kernel).unwrap();
        }
    }
}

impl From<Epoll> for OwnedFd {
    fn from(epoll: Epoll) -> Self {
        epoll.0.into()
    }
}
