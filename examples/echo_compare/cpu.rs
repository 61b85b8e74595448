//! Processors and processor time.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::time::Duration;

/// The first two processors that this process may run on.
pub(crate) fn two_of_ours() -> io::Result<[usize; 2]> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the kernel writes at most so many bytes to the set, which lives until it has.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), set.as_mut_ptr()) };
    check(result)?;
    // SAFETY: all zeros is a set, the empty one; the kernel has added to it.
    let set = unsafe { set.assume_init() };

    // SAFETY: the numbers are below the size of the set.
    let allowed = |&cpu: &usize| unsafe { libc::CPU_ISSET(cpu, &set) };
    let mut cpus = (0..libc::CPU_SETSIZE as usize).filter(allowed);
    match (cpus.next(), cpus.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(io::Error::other("needs two processors")),
    }
}

/// Keeps this thread, and those that it starts from now on, on one processor.
pub(crate) fn pin_to(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: all zeros is a set, the empty one, and `cpu` is below its size.
    let set = unsafe {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: the set is valid and as long as we say.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) })
}

/// The processor time of a process and all its threads up to now, to the nanosecond.
pub(crate) fn time_of(process: u32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: the clock's number is written to a variable of its type.
    let error = unsafe { libc::clock_getcpuclockid(process as libc::pid_t, &mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the time is written to a variable of its type.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The C library's way to report an error.
fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
