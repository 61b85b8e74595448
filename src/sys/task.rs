//! Other threads of this process, as the kernel sees them.

use std::ffi::c_int;
use std::fs;
use std::io;
use std::time::Duration;

use super::{cvt, cvt_size};

/// The kernel's number of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId(libc::pid_t);

impl TaskId {
    /// The calling thread's.
    pub(crate) fn current() -> Self {
        // SAFETY: takes nothing and does not fail.
        Self(unsafe { libc::gettid() })
    }

    pub(crate) fn from_raw(number: i32) -> Self {
        Self(number)
    }

    pub(crate) fn as_raw(self) -> i32 {
        self.0
    }
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// On a processor, or waiting for one.
    Running,
    /// Waiting in the kernel.
    Waiting {
        /// The system call; none for a page fault.
        syscall: Option<u32>,
        stack_pointer: usize,
        program_counter: usize,
    },
}

/// What `task`, a thread of this process, is doing; asked of the kernel, without disturbing it.
pub(crate) fn activity(task: TaskId) -> io::Result<Activity> {
    let text = fs::read_to_string(format!("/proc/self/task/{}/syscall", task.0))?;
    parse_activity(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// `running`, or the call's number, its arguments, the stack pointer and the program counter; the
/// number is -1, and the arguments are missing, outside of a call.
fn parse_activity(text: &str) -> Option<Activity> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    if first == "running" {
        return Some(Activity::Running);
    }
    let number: i64 = first.parse().ok()?;
    let hexadecimal = |word: &str| usize::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let program_counter = hexadecimal(words.next_back()?)?;
    let stack_pointer = hexadecimal(words.next_back()?)?;
    Some(Activity::Waiting {
        syscall: u32::try_from(number).ok(),
        stack_pointer,
        program_counter,
    })
}

/// The processor time that a thread of this process has used.
pub(crate) fn cpu_time(task: TaskId) -> io::Result<Duration> {
    // As the kernel makes the clocks of threads: the number, inverted, and the kind of clock.
    const PER_THREAD: c_int = 4;
    const SCHEDULER: c_int = 2;
    let clock = (!task.0 << 3) | PER_THREAD | SCHEDULER;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: one writable timespec.
    cvt(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// What comes with a signal that is [sent with a value](signal), as the kernel lays it out.
#[repr(C, align(8))]
struct QueuedInfo {
    signal: c_int,
    errno: c_int,
    code: c_int,
    _padding: c_int,
    process: libc::pid_t,
    user: libc::uid_t,
    value: usize,
    _rest: [u64; 12],
}

const _: () = assert!(size_of::<QueuedInfo>() == size_of::<libc::siginfo_t>());

/// Sends a signal to one thread of this process, with a value: the handler finds it by [`value_of`].
pub(crate) fn signal(task: TaskId, signal: c_int, value: usize) -> io::Result<()> {
    // SAFETY: they take nothing and cannot fail.
    let (process, user) = unsafe { (libc::getpid(), libc::getuid()) };
    let info = QueuedInfo {
        signal,
        errno: 0,
        code: libc::SI_QUEUE,
        _padding: 0,
        process,
        user,
        value,
        _rest: [0; 12],
    };
    // SAFETY: reads `info`, which is as large as the kernel's, and the signal goes to this process.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            process,
            task.0,
            signal,
            &raw const info,
        )
    };
    cvt(result as c_int).map(drop)
}

/// The value that a signal was sent with, if it was.
pub(crate) fn value_of(info: &libc::siginfo_t) -> Option<usize> {
    // SAFETY: of this code, it has a value.
    (info.si_code == libc::SI_QUEUE).then(|| unsafe { info.si_value() }.sival_ptr as usize)
}

/// What the kernel tells of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStatus {
    pub(crate) threads: usize,
    /// Bit `n - 1`: signal `n` has a handler.
    pub(crate) caught_signals: u64,
}

/// Whether there is a handler for a signal that anybody may send. Those for faults, for pipes (which
/// Rust ignores), the C library's and `own`, as a mask, do not count.
pub(crate) fn catches_foreign_signals(status: &ProcessStatus, own: u64) -> bool {
    /// The C library's, for cancelling threads and for setuid.
    const INTERNAL: [c_int; 2] = [32, 33];
    let harmless = [libc::SIGSEGV, libc::SIGBUS, libc::SIGPIPE]
        .into_iter()
        .chain(INTERNAL)
        .fold(own, |mask, signal| mask | 1_u64 << (signal - 1));
    status.caught_signals & !harmless != 0
}

pub(crate) fn process_status() -> io::Result<ProcessStatus> {
    let text = fs::read_to_string("/proc/self/status")?;
    parse_status(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn parse_status(text: &str) -> Option<ProcessStatus> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim())
    };
    Some(ProcessStatus {
        threads: value("Threads:")?.parse().ok()?,
        caught_signals: u64::from_str_radix(value("SigCgt:")?, 16).ok()?,
    })
}

/// Copies memory of this process that others may be writing, or that may not be there. Answers how
/// much of it could be read, from its start.
pub(crate) fn read_memory(address: usize, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(address),
        iov_len: buffer.len(),
    };
    // SAFETY: `local` is writable memory of the caller's; what is read is only looked at by the
    // kernel, which answers with an error where there is nothing.
    cvt_size(unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn a_thread_that_computes_is_running_and_one_that_waits_is_in_its_call() {
        let (sender, receiver) = mpsc::channel();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                sender.send(TaskId::current()).unwrap();
                while !over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let task = receiver.recv().unwrap();
            // It may still be on its way out of `send`.
            let start = Instant::now();
            let runs = loop {
                let runs = activity(task).is_ok_and(|activity| activity == Activity::Running);
                if runs || start.elapsed() > Duration::from_secs(20) {
                    break runs;
                }
            };
            over.store(true, Relaxed);
            assert!(runs, "it never runs");
        });
        let (sender, receiver) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let waiter = thread::spawn(move || {
            sender.send(TaskId::current()).unwrap();
            let _ = released.recv();
        });
        let task = receiver.recv().unwrap();
        let start = Instant::now();
        let futex = libc::SYS_futex as u32;
        loop {
            if let Activity::Waiting { syscall, .. } = activity(task).unwrap()
                && syscall == Some(futex)
            {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "it never waits");
            thread::yield_now();
        }
        drop(release);
        waiter.join().unwrap();
        // The kernel forgets it a little after the join.
        while activity(task).is_ok() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it is still there"
            );
        }
    }

    #[test]
    fn what_the_kernel_writes_is_understood() {
        let call = "230 0x1 0x0 0x7f 0x0 0x0 0x0 0x7ffe10 0x7f7c\n";
        let waiting = |syscall, stack_pointer, program_counter| {
            Some(Activity::Waiting {
                syscall,
                stack_pointer,
                program_counter,
            })
        };
        assert_eq!(parse_activity(call), waiting(Some(230), 0x7ffe10, 0x7f7c));
        assert_eq!(parse_activity("-1 0x10 0x20\n"), waiting(None, 0x10, 0x20));
        assert_eq!(parse_activity("running\n"), Some(Activity::Running));
        for text in ["", "230", "230 0x1", "0x1 0x2 0x3", "230 10 20"] {
            assert_eq!(parse_activity(text), None, "{text}");
        }
    }

    #[test]
    fn processor_time_is_that_of_the_thread() {
        let task = TaskId::current();
        let (before, start) = (cpu_time(task).unwrap(), Instant::now());
        while cpu_time(task).unwrap() - before < Duration::from_millis(2) {
            assert!(start.elapsed() < Duration::from_secs(20));
        }
    }

    #[test]
    fn the_process_tells_its_threads_and_signals() {
        let status = process_status().unwrap();
        assert!(status.threads >= 1);
        // Rust's own handler, for stack overflows.
        assert!(status.caught_signals & (1 << (libc::SIGSEGV - 1)) != 0);
        assert_eq!(parse_status("Threads:\tx\nSigCgt:\t0\n"), None);
        assert_eq!(parse_status(""), None);
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        let words = [7_u64, 8];
        let mut bytes = [0; 16];
        let address = words.as_ptr().expose_provenance();
        assert_eq!(read_memory(address, &mut bytes).unwrap(), 16);
        assert_eq!(bytes[8], 8);
        assert!(read_memory(8, &mut bytes).is_err());
    }
}
