//! Where the system refuses memory: who asked is told why, and all the rest works on.

mod support;

use std::fs;
use std::io::{self, ErrorKind};
use std::ptr;
use std::sync::Arc;
use std::thread;

use greenlet::{JoinHandle, Runtime};
use support::process::wait_until;
use support::{Flag, child, runtime, watched};

/// More than any of the limits below leaves room for.
const TOO_MANY: usize = 6000;

/// Bytes that the limits leave for address space.
const ROOM: u64 = 256 << 20;

/// The first number of a line of /proc/self/status, in bytes.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("status");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    1024 * number.expect("a number").parse::<u64>().expect("a number")
}

/// Limits a resource to so much for the rest of the process.
fn limit(resource: libc::__rlimit_resource_t, bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: a valid limit.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

/// Takes mappings until only `left` can be made.
fn leave_mappings(left: usize) {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").expect("a limit");
    let limit: usize = limit.trim().parse().expect("a number");
    let pages = limit - left - support::process::mappings();
    let (none, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, of which every other page is made a mapping of its own.
    unsafe {
        let base = libc::mmap(ptr::null_mut(), pages * 4096, none, flags, -1, 0);
        assert_ne!(base, libc::MAP_FAILED);
        for page in (0..pages).step_by(2) {
            let address = base.byte_add(page * 4096);
            assert_eq!(libc::mprotect(address, 4096, libc::PROT_READ), 0);
        }
    }
}

/// Spawns more greenlets than there can be, with `spawn` and with `try_spawn`, and looks at who is
/// refused and how, and whether everything else works, during that and after it.
fn spawns_too_many(runtime: &Runtime, reason: &str) {
    runtime.run(|| {
        let release = Arc::new(Flag::default());
        let waiting = || {
            let release = release.clone();
            move || release.wait()
        };

        // With `try_spawn` until it is refused.
        let mut waiters: Vec<JoinHandle<()>> = Vec::new();
        let error = loop {
            match greenlet::try_spawn(waiting()) {
                Ok(greenlet) => waiters.push(greenlet),
                Err(error) => break error,
            }
            assert!(waiters.len() < TOO_MANY, "nobody is refused");
        };
        assert!(waiters.len() > 100, "{} are few: {error}", waiters.len());
        explains(&error, reason);

        // `spawn` is told by `join`, and who was not refused waits.
        for refused in [greenlet::spawn(waiting()), greenlet::spawn(waiting())] {
            let payload = refused.join().unwrap_err();
            explains(&payload.downcast::<io::Error>().unwrap(), reason);
        }
        let parks = || greenlet::stats().expect("on a greenlet").parks;
        wait_until("all wait", || parks() >= waiters.len() as u64);
        assert!(waiters.iter().all(|greenlet| !greenlet.is_finished()));

        the_rest_works();

        // Who ends makes room.
        release.raise();
        let count = waiters.len();
        let ended = waiters.into_iter().map(JoinHandle::join);
        assert_eq!(ended.filter(Result::is_ok).count(), count);
        for _ in 0..2 {
            let again: Vec<_> = (0..100).map(|n| greenlet::spawn(move || n)).collect();
            let sum: i32 = again.into_iter().map(|one| one.join().unwrap()).sum();
            assert_eq!(sum, 99 * 100 / 2);
        }
    });
}

/// The error is of the right kind, and a sentence that names the limit.
#[track_caller]
fn explains(error: &io::Error, reason: &str) {
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    let text = error.to_string();
    assert!(text.contains(reason), "{text}");
}

/// What a program needs besides: memory in large pieces, and threads.
fn the_rest_works() {
    let large = vec![1_u8; 4 << 20];
    assert_eq!(
        large.iter().map(|&byte| u64::from(byte)).sum::<u64>(),
        4 << 20
    );
    let sum = thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(|| {
            (0..1000_u64)
                .map(|n| n.to_string().len() as u64)
                .sum::<u64>()
        })
        .expect("a thread")
        .join()
        .unwrap();
    assert_eq!(sum, 10 + 90 * 2 + 900 * 3);
}

#[test]
fn without_address_space_spawning_is_refused_and_the_rest_goes_on() {
    let test = "without_address_space_spawning_is_refused_and_the_rest_goes_on";
    child::alone(test, || {
        let _watchdog = watched();
        let runtime = runtime(2);
        limit(libc::RLIMIT_AS, status("VmSize:") + ROOM);
        spawns_too_many(&runtime, "no address space for a stack of 262144 bytes");
    });
}

/// As under `vm.overcommit_memory=2`, which is of the whole machine and so out of a test's reach:
/// there, too, it counts what might be written, and `mmap` fails.
#[test]
fn without_data_to_write_spawning_is_refused_and_the_rest_goes_on() {
    let test = "without_data_to_write_spawning_is_refused_and_the_rest_goes_on";
    child::alone(test, || {
        let _watchdog = watched();
        let runtime = runtime(2);
        limit(libc::RLIMIT_DATA, status("VmData:") + ROOM);
        spawns_too_many(&runtime, "RLIMIT_DATA");
    });
}

#[test]
fn with_shared_thread_locals_it_is_the_same() {
    let test = "with_shared_thread_locals_it_is_the_same";
    child::alone(test, || {
        let _watchdog = watched();
        let builder = Runtime::builder().hubs(2);
        // SAFETY: what the test's greenlets do is fine on one thread's thread-locals.
        let runtime = unsafe { builder.share_thread_locals() }.build().unwrap();
        limit(libc::RLIMIT_AS, status("VmSize:") + ROOM);
        spawns_too_many(&runtime, "no address space");
    });
}

/// What the fallback leaves to the rest of the program, and some stacks.
const MAPPINGS: usize = 2048 + 2 * 2000;

#[test]
fn without_mappings_spawning_is_refused_and_the_rest_goes_on() {
    let test = "without_mappings_spawning_is_refused_and_the_rest_goes_on";
    let fallback = [("GREENLET_WITHOUT", "guard_install")];
    child::passes(test, &fallback, || {
        let _watchdog = watched();
        leave_mappings(MAPPINGS);
        let runtime = runtime(2);
        spawns_too_many(&runtime, "vm.max_map_count");
    });
}

#[test]
fn without_any_mapping_the_kernels_refusal_is_passed_on() {
    let test = "without_any_mapping_the_kernels_refusal_is_passed_on";
    let fallback = [("GREENLET_WITHOUT", "guard_install")];
    child::passes(test, &fallback, || {
        let _watchdog = watched();
        leave_mappings(MAPPINGS);
        let runtime = runtime(1);
        runtime.run(|| {
            greenlet::spawn(|| ()).join().unwrap();
            // The program takes what the runtime has left it.
            leave_mappings(100);
            let mut waiters = Vec::new();
            let error = loop {
                match greenlet::try_spawn(greenlet::park) {
                    Ok(greenlet) => waiters.push(greenlet),
                    Err(error) => break error,
                }
            };
            explains(&error, "Cannot allocate memory");
            explains(&error, "vm.max_map_count");
            for greenlet in waiters {
                greenlet.thread().unpark();
                greenlet.join().unwrap();
            }
        });
    });
}
