//! Stacks of known functions, seen from a signal handler and from another thread.

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::mem;
use std::ptr;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{StackCopy, describe, walk};
use crate::arch::{self, Registers};

const LIMIT: usize = 64;
const PAGE: usize = 4096;

/// Up to 64 KiB of the stack at `address`, or what is readable of it: pages that are not end it.
fn copy_stack(address: usize) -> StackCopy {
    let mut bytes = vec![0_u8; 16 * PAGE];
    let length = copy_into(address, &mut bytes);
    bytes.truncate(length);
    StackCopy { address, bytes }
}

/// Answers how many bytes were copied. May be called in a signal handler.
fn copy_into(address: usize, bytes: &mut [u8]) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        let from = address + done;
        let count = (PAGE - from % PAGE).min(bytes.len() - done);
        let local = libc::iovec {
            iov_base: bytes[done..].as_mut_ptr().cast(),
            iov_len: count,
        };
        let remote = libc::iovec {
            iov_base: ptr::without_provenance_mut(from),
            iov_len: count,
        };
        // SAFETY: `local` is a part of `bytes`; what cannot be read there is an error.
        let copied = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
        if copied != count as isize {
            break;
        }
        done += count;
    }
    done
}

/// What a signal handler saw.
struct Seen {
    registers: Registers,
    bytes: Vec<u8>,
    length: usize,
}

/// Held by the one test that has a signal under way; the handler writes through [`TARGET`].
static ONE_SIGNAL: Mutex<()> = Mutex::new(());
static TARGET: std::sync::atomic::AtomicPtr<Seen> =
    std::sync::atomic::AtomicPtr::new(ptr::null_mut());

unsafe extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: set by the thread that raised the signal, which waits for it.
    let seen = unsafe { &mut *TARGET.load(Acquire) };
    // SAFETY: with SA_SIGINFO the third argument is a context.
    seen.registers = arch::registers(unsafe { &*context.cast() });
    seen.length = copy_into(seen.registers.stack_pointer, &mut seen.bytes);
}

/// Registers and stack of the caller, by a signal that this thread sends itself.
#[inline(always)]
fn capture() -> (Registers, StackCopy) {
    let _one = ONE_SIGNAL.lock().unwrap_or_else(PoisonError::into_inner);
    let mut seen = Box::new(Seen {
        registers: Registers {
            program_counter: 0,
            stack_pointer: 0,
            frame_pointer: None,
            link: None,
        },
        bytes: vec![0; 16 * PAGE],
        length: 0,
    });
    TARGET.store(&mut *seen, Release);
    // SAFETY: the handler does what a handler may, and only this test sends the signal, with its
    // target in place; the context of `raise` is on this thread's stack.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
        assert_eq!(libc::raise(libc::SIGUSR1), 0);
    }
    let seen = black_box(seen);
    let copy = StackCopy {
        address: seen.registers.stack_pointer,
        bytes: seen.bytes[..seen.length].to_vec(),
    };
    (seen.registers, copy)
}

// Different bodies, or the optimiser makes one function of them; and something after the call, or
// it is a jump.

#[inline(never)]
fn outermost<R>(work: fn() -> R) -> R {
    let space = black_box([1_u8; 100]);
    let answer = middle(work);
    black_box(space);
    answer
}

#[inline(never)]
fn middle<R>(work: fn() -> R) -> R {
    let space = black_box([2_u64; 7]);
    let answer = innermost(work);
    black_box(space);
    answer
}

#[inline(never)]
fn innermost<R>(work: fn() -> R) -> R {
    let answer = work();
    black_box(3_u16);
    answer
}

#[inline(never)]
fn captured() -> (Registers, StackCopy) {
    let answer = capture();
    black_box(&answer);
    answer
}

const CHAIN: [&str; 3] = ["tests::innermost", "tests::middle", "tests::outermost"];

fn names(counters: &[usize]) -> Vec<String> {
    let name =
        |frame: super::frame::Frame| frame.symbol.unwrap_or_else(|| frame.address.to_string());
    describe(counters).into_iter().map(name).collect()
}

/// Whether the functions of the chain are among the names, one directly after the other.
#[cfg(feature = "stacks")]
fn has_chain(names: &[String]) -> bool {
    let is = |names: &[String]| {
        let mut pairs = names.iter().zip(CHAIN);
        pairs.all(|(name, function)| name.contains(function))
    };
    names.windows(CHAIN.len()).any(is)
}

/// A frame of a thread that is in the system call `number`, as the kernel tells it.
fn in_system_call(thread: c_int, number: libc::c_long) -> Registers {
    let path = format!("/proc/self/task/{thread}/syscall");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(&path).expect("the thread is alive");
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields[0] == number.to_string() {
            let hex = |at: usize| usize::from_str_radix(&fields[at][2..], 16).expect("hexadecimal");
            return Registers {
                program_counter: hex(8),
                stack_pointer: hex(7),
                frame_pointer: None,
                link: None,
            };
        }
        assert!(Instant::now() < deadline, "in no such call: {text}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is seen of a thread that blocks in `work`, which `end` ends, below the known functions.
fn blocked(number: libc::c_long, work: fn(), end: fn()) -> Vec<usize> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static THREAD: AtomicI32 = AtomicI32::new(0);
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    THREAD.store(0, Release);
    let worker = std::thread::spawn(move || {
        // SAFETY: answers with a number.
        THREAD.store(unsafe { libc::gettid() }, Release);
        outermost(work);
    });
    let thread = loop {
        match THREAD.load(Acquire) {
            0 => std::thread::yield_now(),
            thread => break thread,
        }
    };
    let registers = in_system_call(thread, number);
    let copy = copy_stack(registers.stack_pointer);
    let counters = walk(&registers, &copy, LIMIT);
    end();
    worker.join().unwrap();
    assert_eq!(counters[0], registers.program_counter);
    counters
}

fn check_blocked(counters: &[usize]) {
    let names = names(counters);
    #[cfg(feature = "stacks")]
    assert!(has_chain(&names), "{names:#?}");
    #[cfg(not(feature = "stacks"))]
    assert_eq!((counters.len(), names.len()), (1, 1), "{CHAIN:?}");
}

#[test]
fn functions_are_found_from_the_context_of_a_signal() {
    let (registers, copy) = outermost(captured);
    let counters = walk(&registers, &copy, LIMIT);
    assert_eq!(counters[0], registers.program_counter);
    check_blocked(&counters);
}

#[test]
fn a_greenlets_functions_are_found_and_no_others() {
    let (registers, copy) = crate::run(|| outermost(captured));
    let counters = walk(&registers, &copy, LIMIT);
    check_blocked(&counters);
    assert!(counters.len() < LIMIT, "{:#?}", names(&counters));
    // The worker's functions are on another stack: the last one is where this one begins.
    #[cfg(feature = "stacks")]
    {
        let names = names(&counters);
        let last = names.last().expect("at least one");
        assert!(last.contains("trampoline"), "{names:#?}");
    }
}

#[test]
fn functions_are_found_without_the_frame_pointer() {
    let (registers, copy) = outermost(captured);
    let registers = Registers {
        frame_pointer: None,
        ..registers
    };
    check_blocked(&walk(&registers, &copy, LIMIT));
}

#[test]
fn a_thread_that_sleeps_is_seen() {
    fn work() {
        std::thread::sleep(Duration::from_millis(300));
    }
    check_blocked(&blocked(libc::SYS_clock_nanosleep, work, || {}));
}

#[test]
fn a_thread_that_sleeps_in_the_c_library_is_seen() {
    fn work() {
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 300_000_000,
        };
        // SAFETY: reads `time`, writes nothing.
        unsafe { libc::nanosleep(&time, ptr::null_mut()) };
    }
    check_blocked(&blocked(libc::SYS_clock_nanosleep, work, || {}));
}

#[test]
fn a_thread_that_waits_in_a_condition_variable_is_seen() {
    static DONE: Mutex<bool> = Mutex::new(false);
    static CHANGED: Condvar = Condvar::new();
    fn work() {
        let done = DONE.lock().unwrap();
        drop(CHANGED.wait_while(done, |done| !*done).unwrap());
    }
    fn end() {
        *DONE.lock().unwrap() = true;
        CHANGED.notify_all();
    }
    check_blocked(&blocked(libc::SYS_futex, work, end));
}

#[test]
fn a_thread_that_waits_for_a_lock_is_seen() {
    static LOCK: Mutex<()> = Mutex::new(());
    static OWNED: AtomicI32 = AtomicI32::new(0);
    static RELEASE: AtomicI32 = AtomicI32::new(0);
    fn work() {
        drop(LOCK.lock());
    }
    fn end() {
        RELEASE.store(1, Release);
    }
    let owner = std::thread::spawn(|| {
        let _guard = LOCK.lock();
        OWNED.store(1, Release);
        while RELEASE.load(Acquire) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    while OWNED.load(Acquire) == 0 {
        std::thread::yield_now();
    }
    let counters = blocked(libc::SYS_futex, work, end);
    owner.join().unwrap();
    check_blocked(&counters);
}

#[test]
fn a_thread_that_receives_is_seen() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::OnceLock;
    static PAIR: OnceLock<(UnixStream, UnixStream)> = OnceLock::new();
    fn work() {
        let mut byte = [0];
        (&PAIR.get().unwrap().0).read_exact(&mut byte).unwrap();
    }
    fn end() {
        (&PAIR.get().unwrap().1).write_all(&[1]).unwrap();
    }
    PAIR.set(UnixStream::pair().unwrap()).unwrap();
    check_blocked(&blocked(libc::SYS_recvfrom, work, end));

    fn work_in_c() {
        use std::os::fd::AsRawFd;
        let fd = PAIR.get().unwrap().0.as_raw_fd();
        let mut byte = [0_u8];
        // SAFETY: there is room for a byte.
        let count = unsafe { libc::recv(fd, byte.as_mut_ptr().cast(), 1, 0) };
        assert_eq!(count, 1);
    }
    check_blocked(&blocked(libc::SYS_recvfrom, work_in_c, end));
}

#[test]
fn a_walk_ends_at_its_limit() {
    let (registers, copy) = outermost(captured);
    assert!(walk(&registers, &copy, 0).is_empty());
    assert_eq!(walk(&registers, &copy, 1), [registers.program_counter]);
    let all = walk(&registers, &copy, LIMIT);
    for limit in 2..all.len() {
        assert_eq!(walk(&registers, &copy, limit), all[..limit]);
    }
}

#[test]
fn a_cut_copy_gives_the_same_frames_as_far_as_it_goes() {
    let (registers, copy) = outermost(captured);
    let all = walk(&registers, &copy, LIMIT);
    for length in (0..copy.bytes.len()).step_by(41) {
        let cut = StackCopy {
            address: copy.address,
            bytes: copy.bytes[..length].to_vec(),
        };
        let found = walk(&registers, &cut, LIMIT);
        assert!(all.starts_with(&found), "{length}: {found:x?}");
    }
}

#[test]
fn nonsense_ends_without_a_panic() {
    let (good, copy) = outermost(captured);
    // xorshift, for numbers that are the same each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for round in 0..4000 {
        let stack = &copy.bytes[..copy.bytes.len().min(4096)];
        // Numbers of every size, places in the copy, in this code, and at both ends.
        let mut number = || match random() % 6 {
            0 => random() >> (random() % 64),
            1 => copy.address.wrapping_add(random() % 4096),
            2 => copy.address + random() % 512 * 8,
            3 => good.program_counter.wrapping_add(random() % 65536),
            4 => random() % 64,
            _ => usize::MAX - random() % 64,
        };
        let mut registers = Registers {
            program_counter: number(),
            stack_pointer: number(),
            frame_pointer: Some(number()).filter(|value| value % 3 != 0),
            link: Some(number()).filter(|value| value % 3 != 0),
        };
        let mut bytes = stack.to_vec();
        for word in bytes.chunks_exact_mut(8) {
            if number() % 3 == 0 {
                word.copy_from_slice(&number().to_ne_bytes());
            }
        }
        let mut address = copy.address;
        match round % 4 {
            0 => {}
            1 => registers.stack_pointer = copy.address + number() % 512 * 8,
            2 => {
                address = number();
                registers.stack_pointer = address.wrapping_add(number() % 512 * 8);
            }
            _ => bytes.truncate(number() % 5000),
        }
        let counters = walk(&registers, &StackCopy { address, bytes }, LIMIT);
        assert!(!counters.is_empty() && counters.len() <= LIMIT);
        if round % 100 == 0 {
            assert!(describe(&counters).len() >= counters.len());
        }
    }
    assert_eq!(walk(&good, &StackCopy::default(), LIMIT).len(), 1);
}

#[test]
fn frames_are_shown_with_what_is_known_of_them() {
    let shown = |address: usize| describe(&[address])[0].to_string();
    let libc_function = libc::getpid as *const () as usize;
    // With the C library's debug information the name may be a local one, and there is a file.
    let text = shown(libc_function);
    let placed = text.contains(" in libc.so.6+0x") || text.contains(" at ");
    assert!(text.contains("getpid") && placed, "{text}");
    assert_eq!(shown(0x10), "0x10");

    let own = shown(nonsense_ends_without_a_panic as *const () as usize);
    #[cfg(feature = "stacks")]
    {
        let expected = "greenlet::unwind::tests::nonsense_ends_without_a_panic at ";
        assert!(own.starts_with(expected), "{own}");
        assert!(own.contains("src/unwind/tests.rs:"), "{own}");
    }
    #[cfg(not(feature = "stacks"))]
    assert!(own.contains("+0x"), "{own}");
}
