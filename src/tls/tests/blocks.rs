//! A greenlet's block is a thread to everybody in the process.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_int;
use std::process::Command;
use std::{io, mem, thread};

use super::worker::{self, Greenlet};
use crate::arch;
use crate::sys;

thread_local! {
    static CONSTANT: Cell<u64> = const { Cell::new(7) };
    static LAZY: RefCell<String> = RefCell::new(String::from("start"));
}

isolated! { fn the_block_size_is_a_multiple_of_64_and_a_page_or_two() {
    let size = worker::support().block_size();
    assert!(size.is_multiple_of(64) && (1024..16 * 4096).contains(&size), "{size}");
} }

isolated! { fn every_top_that_is_a_multiple_of_64_works() {
    let support = worker::support();
    for colour in 0..64 {
        let slot = worker::Slot::new(1 << 16);
        let top = slot.range().end - colour * 64;
        // SAFETY: the slot is ours and zero; the block is destroyed before the slot is.
        unsafe {
            let block = support.create(top, slot.range()).unwrap();
            let tp = block.thread_pointer();
            assert!(tp.is_multiple_of(64));
            worker::run(tp, || CONSTANT.set(CONSTANT.get() + 1));
            block.destroy();
        }
        // Nothing was written outside.
        let outside = top - support.block_size();
        // SAFETY: the slot is still mapped.
        let bytes = |from: usize, to: usize| unsafe {
            let start = std::ptr::with_exposed_provenance::<u8>(from);
            std::slice::from_raw_parts(start, to - from)
        };
        assert!(bytes(slot.range().start, outside).iter().all(|&byte| byte == 0));
        assert!(bytes(top, slot.range().end).iter().all(|&byte| byte == 0));
    }
} }

isolated! { fn thread_locals_are_the_greenlets_own() {
    CONSTANT.set(1);
    LAZY.with_borrow_mut(|text| text.push_str(" main"));
    let (a, b) = (Greenlet::new(), Greenlet::new());
    for (greenlet, name) in [(&a, " a"), (&b, " b")] {
        greenlet.run(|| {
            assert_eq!(CONSTANT.get(), 7);
            CONSTANT.set(100);
            LAZY.with_borrow_mut(|text| text.push_str(name));
        });
    }
    a.run(|| LAZY.with_borrow(|text| assert_eq!(text, "start a")));
    b.run(|| LAZY.with_borrow(|text| assert_eq!(text, "start b")));
    LAZY.with_borrow(|text| assert_eq!(text, "start main"));
    assert_eq!(CONSTANT.get(), 1);
} }

isolated! { fn std_takes_each_greenlet_for_a_thread() {
    let (a, b) = (Greenlet::new(), Greenlet::new());
    let ids = [a.run(|| thread::current().id()), b.run(|| thread::current().id())];
    assert_ne!(ids[0], ids[1]);
    assert!(!ids.contains(&thread::current().id()));
    assert_eq!(ids[0], a.run(|| thread::current().id()));
} }

isolated! { fn panics_are_counted_per_greenlet() {
    struct LookWhilePanicking<'a>(&'a Greenlet);
    impl Drop for LookWhilePanicking<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            self.0.run(|| assert!(!thread::panicking()));
        }
    }
    let (a, b) = (Greenlet::new(), Greenlet::new());
    a.run(|| {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _look = LookWhilePanicking(&b);
            std::panic::resume_unwind(Box::new(5));
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&5));
        assert!(!thread::panicking());
    });
} }

isolated! { fn errno_is_the_greenlets_own() {
    let errno = || io::Error::last_os_error().raw_os_error();
    // SAFETY: a closed descriptor.
    let fail = || unsafe { assert_eq!(libc::close(-1), -1) };
    let (a, b) = (Greenlet::new(), Greenlet::new());
    a.run(fail);
    assert_eq!(b.live(errno), Some(0));
    assert_eq!(a.run(errno), Some(libc::EBADF));
    assert_eq!(a.live(errno), Some(0), "a new greenlet begins without an error");
} }

isolated! { fn the_c_library_works_on_a_greenlet() {
    let greenlet = Greenlet::new();
    greenlet.live(|| {
        // Character classes are found through thread-locals that start as null.
        // SAFETY: calls with valid arguments.
        unsafe {
            assert_ne!(libc::isalpha(c_int::from(b'x')), 0);
            assert_eq!(libc::strtod(c"1.5".as_ptr(), std::ptr::null_mut()), 1.5);
            assert!(libc::dlopen(c"/nonexistent.so".as_ptr(), libc::RTLD_NOW).is_null());
            assert!(!libc::dlerror().is_null());
            assert_eq!(libc::signal(libc::SIGUSR1, libc::SIG_IGN), 0);
            assert_eq!(libc::raise(libc::SIGUSR1), 0);
            assert_eq!(libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1), 0);
            let mut name = [0; 16];
            let (me, size) = (libc::pthread_self(), name.len());
            assert_eq!(libc::pthread_setname_np(me, c"a greenlet".as_ptr()), 0);
            assert_eq!(libc::pthread_getname_np(me, name.as_mut_ptr(), size), 0);
        }
        assert!(!io::Error::from_raw_os_error(libc::ENOENT).to_string().is_empty());
        assert!(std::fs::read_to_string("/proc/self/stat").unwrap().contains(')'));
        let map: HashMap<u32, u32> = (0..100).map(|i| (i, i * i)).collect();
        assert_eq!(map[&9], 81);
        assert!("localhost:1".parse::<std::net::SocketAddr>().is_err());
        let addresses = std::net::ToSocketAddrs::to_socket_addrs("localhost:1");
        assert!(addresses.is_ok_and(|mut found| found.next().is_some()));
    });
} }

isolated! { fn a_greenlet_starts_programs() {
    Greenlet::new().live(|| {
        assert_eq!(Command::new("sh").args(["-c", "exit 3"]).status().unwrap().code(), Some(3));
        // SAFETY: a string constant.
        let status = unsafe { libc::system(c"exit 5".as_ptr()) };
        assert_eq!(libc::WEXITSTATUS(status), 5);
    });
} }

isolated! { fn the_stack_bounds_are_those_given() {
    let mut greenlet = Greenlet::new();
    let stack = greenlet.stack();
    assert_eq!(greenlet.run(sys::thread::stack_bounds).unwrap(), stack);
    assert!(!stack.contains(&sys::thread::stack_bounds().unwrap().start));
    // SAFETY: nobody is on the block.
    let other = unsafe { greenlet.block().swap_stack_bounds(4096..8192) };
    assert_eq!(other, stack);
    assert_eq!(greenlet.run(sys::thread::stack_bounds).unwrap(), 4096..8192);
    // SAFETY: as above.
    assert_eq!(unsafe { greenlet.block().swap_stack_bounds(stack) }, 4096..8192);
} }

isolated! { fn calls_that_name_the_thread_to_the_kernel_name_the_worker() {
    let greenlet = Greenlet::new();
    let other = thread::spawn(thread::park);
    let of_other = std::os::unix::thread::JoinHandleExt::as_pthread_t(&other);
    let calls = move |thread: libc::pthread_t| {
        // SAFETY: each call gets room for what it writes; the thread lives.
        unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            let size = size_of_val(&set);
            let mut parameters: libc::sched_param = mem::zeroed();
            let (mut policy, mut clock) = (0, 0);
            [
                libc::pthread_getaffinity_np(thread, size, &mut set),
                libc::pthread_setaffinity_np(thread, size, &set),
                libc::pthread_getschedparam(thread, &mut policy, &mut parameters),
                libc::pthread_setschedparam(thread, policy, &parameters),
                libc::pthread_setschedprio(thread, parameters.sched_priority),
                libc::pthread_getcpuclockid(thread, &mut clock),
                libc::clock_gettime(clock, &mut mem::zeroed()),
            ]
        }
    };
    let own_id = || worker::support().layout.tid;
    // SAFETY: a field of the running greenlet's.
    let id = || unsafe { *super::super::place::<i32>(arch::thread_pointer(), own_id()) };
    greenlet.run(|| {
        let before = id();
        // SAFETY: takes nothing.
        assert_eq!(calls(unsafe { libc::pthread_self() }), [0; 7]);
        assert_eq!(calls(of_other), [0; 7]);
        assert_eq!(id(), before, "the greenlet has its own number again");
        assert!(before >= 1 << 22);
    });
    other.thread().unpark();
    other.join().unwrap();
} }

isolated! { fn the_processor_number_is_the_workers() {
    let greenlet = Greenlet::new();
    // SAFETY: the set has the size that is said.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of_val(&set), &mut set), 0);
        let last = (0..1024).rfind(|&cpu| libc::CPU_ISSET(cpu, &set)).unwrap();
        libc::CPU_ZERO(&mut set);
        libc::CPU_SET(last, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
        assert_eq!(greenlet.run(sys::thread::processor).unwrap(), last as u32);
    }
} }

isolated! { fn each_greenlet_has_a_resolver_of_its_own() {
    let support = worker::support();
    let (a, b) = (Greenlet::new(), Greenlet::new());
    let state = || support.symbols.resolver_state();
    let states = [a.run(state), b.run(state), state()];
    assert!(states[0] != states[1] && states[1] != states[2] && states[0] != states[2]);
} }

isolated! { fn threads_start_from_a_greenlet_where_the_kernel_refuses_rseq() {
    let greenlet = Greenlet::new();
    // Load the system call's number; rseq (334) fails with ENOSYS; everything else is allowed.
    let code = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let unless_equal = libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: libc::SYS_rseq as u32 };
    let filter = [
        code(0x20, 0),
        unless_equal,
        code(0x06, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        code(0x06, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the filter is whole, and lives as long as the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program), 0);
    }
    // glibc ends the process if the new thread inherits "registered" and then is refused.
    greenlet.run(|| thread::spawn(|| ()).join().unwrap());
} }

isolated! { fn glibc_has_the_block_on_its_list_until_it_is_destroyed() {
    let support = worker::support();
    let slot = worker::Slot::new(1 << 16);
    // SAFETY: the slot is ours and zero; the block is destroyed before it goes.
    unsafe {
        let block = support.create(slot.range().end, slot.range()).unwrap();
        let tp = block.thread_pointer();
        assert!(support.list.contains(tp));
        block.destroy();
        assert!(!support.list.contains(tp));
    }
} }
