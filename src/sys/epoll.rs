//! epoll, edge-triggered, with nanosecond time-outs where the kernel has them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::{clock, cvt, probe};

/// Whether `epoll_pwait2` (Linux 5.11) has been refused. Only ever goes from false to true, and
/// a late reader merely asks the kernel once more.
static WITHOUT_PWAIT2: AtomicBool = AtomicBool::new(false);

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        if probe::without("epoll_pwait2") {
            WITHOUT_PWAIT2.store(true, Relaxed);
        }
        // SAFETY: no pointers are passed.
        let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new, so nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds `fd`; its events carry `data`.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, events: libc::c_int, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: data,
        };
        // SAFETY: `event` is valid for the call, which keeps no pointer to it.
        cvt(unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                fd.as_raw_fd(),
                &mut event,
            )
        })
        .map(drop)
    }

    /// Removes `fd`.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: this operation reads no event.
        cvt(unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                fd.as_raw_fd(),
                std::ptr::null_mut(),
            )
        })
        .map(drop)
    }

    /// Waits until there are events, `timeout` has passed (`None`: for ever) or a signal came
    /// (`Interrupted`). Answers how many of `events` it has filled.
    pub(crate) fn wait(
        &self,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if timeout.is_some_and(|timeout| !timeout.is_zero()) && !WITHOUT_PWAIT2.load(Relaxed) {
            match self.wait_nanoseconds(events, timeout) {
                // EPERM: from a seccomp filter that is older than the call.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    WITHOUT_PWAIT2.store(true, Relaxed);
                }
                answer => return answer,
            }
        }
        self.wait_milliseconds(events, timeout)
    }

    fn wait_nanoseconds(
        &self,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let timeout = timeout.map(clock::timespec);
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the kernel writes at most `events.len()` events and reads one timespec; both
        // live over the call. glibc has a wrapper only from 2.35 on, hence the number.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                events.len().min(i32::MAX as usize) as libc::c_int,
                timeout,
                std::ptr::null::<libc::sigset_t>(),
                8usize,
            )
        };
        cvt(count as libc::c_int).map(|count| count as usize)
    }

    fn wait_milliseconds(
        &self,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        // Rounded up: a wait that ends early would be repeated with nothing left to wait for.
        let timeout = timeout.map_or(-1, |timeout| {
            timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as libc::c_int
        });
        // SAFETY: the kernel writes at most `events.len()` events.
        cvt(unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                events.len().min(i32::MAX as usize) as libc::c_int,
                timeout,
            )
        })
        .map(|count| count as usize)
    }
}

/// The instance as a descriptor: readable while one that was added has something to tell.
impl From<Epoll> for OwnedFd {
    fn from(epoll: Epoll) -> Self {
        epoll.0
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    /// Waits for a moment; answers how long that was, and whether it was by the fallback.
    fn short_wait() -> (Duration, bool) {
        let epoll = Epoll::new().unwrap();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1];
        let start = Instant::now();
        let count = epoll.wait(&mut events, Some(Duration::from_nanos(1)));
        assert_eq!(count.unwrap(), 0);
        (start.elapsed(), WITHOUT_PWAIT2.load(Relaxed))
    }

    #[test]
    fn without_epoll_pwait2_a_wait_takes_whole_milliseconds() {
        let path = "sys::epoll::tests::without_epoll_pwait2_a_wait_takes_whole_milliseconds";
        if probe::without("epoll_pwait2") {
            let (elapsed, by_fallback) = short_wait();
            assert!(by_fallback, "the fallback was not used");
            assert!(elapsed > Duration::from_micros(500), "{elapsed:?}");
            return;
        }
        // In a process of its own: the answer is kept for the process.
        let output = Command::new(std::env::current_exe().unwrap())
            .args([path, "--exact"])
            .env("GREENLET_WITHOUT", "epoll_pwait2")
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{stdout}");
        assert!(stdout.contains("1 passed"), "there is no {path}:\n{stdout}");
    }

    /// Where the kernel has the call, which it may be forbidden to use.
    #[test]
    fn epoll_pwait2_is_used_where_it_is_there() {
        let (_, by_fallback) = short_wait();
        // SAFETY: a descriptor that is none; the kernel looks at nothing else then.
        let answer = cvt(unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                -1,
                std::ptr::null::<()>(),
                1,
                0,
                0,
                0,
            )
        } as libc::c_int);
        let refused = matches!(
            answer.unwrap_err().raw_os_error(),
            Some(libc::ENOSYS | libc::EPERM)
        );
        assert_eq!(by_fallback, refused || probe::without("epoll_pwait2"));
    }
}
