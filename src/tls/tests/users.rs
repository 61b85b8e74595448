//! `setuid` and its family, which tell every thread by a signal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::worker::{self, Greenlet};
use crate::sys::signal_action::SignalAction;

/// Whether the process may change its user; else there is nothing to test.
///
/// # Panics
///
/// If it may not, and `CI` is set: there, everything is to be tested.
fn is_root() -> bool {
    // SAFETY: takes nothing.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        assert!(std::env::var_os("CI").is_none(), "these tests need root");
        eprintln!("skipped: not root");
    }
    root
}

/// Calls setresuid, and says whether this thread has that user then.
fn become_user(user: u32) -> bool {
    // SAFETY: numbers.
    unsafe { libc::setresuid(u32::MAX, user, u32::MAX) == 0 && libc::geteuid() == user }
}

isolated! { fn a_greenlet_changes_the_user() {
    if is_root() {
        let greenlet = Greenlet::new();
        let other = thread::spawn(|| {
            thread::park();
            // SAFETY: takes nothing.
            unsafe { libc::geteuid() }
        });
        assert!(greenlet.run(|| become_user(1234)));
        other.thread().unpark();
        assert_eq!(other.join().unwrap(), 1234);
    }
} }

isolated! { fn a_greenlet_exchanges_its_users() {
    if is_root() {
        let greenlet = Greenlet::new();
        // SAFETY: numbers. The system call is made twice on the worker's thread, which must
        // not exchange them back.
        unsafe {
            assert_eq!(libc::setresuid(1000, 2000, 0), 0);
            let exchange = || libc::setreuid(libc::geteuid(), libc::getuid());
            assert_eq!(greenlet.run(exchange), 0);
            assert_eq!((libc::getuid(), libc::geteuid()), (2000, 1000));
        }
    }
} }

isolated! { fn a_thread_changes_the_user_while_greenlets_compute() {
    static COMPUTING: AtomicBool = AtomicBool::new(false);
    static DONE: AtomicBool = AtomicBool::new(false);
    if is_root() {
        let greenlet = Greenlet::new();
        let tp = greenlet.tp();
        thread::scope(|scope| {
            scope.spawn(|| {
                worker::run(tp, || {
                    COMPUTING.store(true, Ordering::SeqCst);
                    while !DONE.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                    // SAFETY: takes nothing.
                    assert_eq!(unsafe { libc::geteuid() }, 1234);
                });
            });
            while !COMPUTING.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            let changed = become_user(1234);
            DONE.store(true, Ordering::SeqCst);
            assert!(changed);
        });
    }
} }

isolated! { fn many_listed_blocks_do_not_stop_setuid() {
    if is_root() {
        let greenlets: Vec<Greenlet> = (0..200).map(|_| Greenlet::new()).collect();
        assert!(greenlets[100].run(|| become_user(1234)));
    }
} }

isolated! { fn the_wrapped_handler_is_put_back_for_a_new_worker() {
    // glibc installs its own with the first thread of a process, and may do so again in a child.
    const SIGSETXID: i32 = 33;
    thread::spawn(|| ()).join().unwrap();
    let glibcs = SignalAction::of(SIGSETXID).unwrap();
    let greenlet = Greenlet::new();
    let wrapped = SignalAction::of(SIGSETXID).unwrap();
    assert_ne!(wrapped.handler, glibcs.handler);
    // SAFETY: as it was before.
    unsafe { glibcs.install(SIGSETXID).unwrap() };
    let support = worker::support();
    assert_eq!(SignalAction::of(SIGSETXID).unwrap().handler, wrapped.handler);
    // SAFETY: this thread is on its own thread pointer.
    unsafe { support.adopt_worker() };
    assert_eq!(SignalAction::of(SIGSETXID).unwrap().handler, wrapped.handler);
    if is_root() {
        assert!(greenlet.run(|| become_user(1234)));
    }
} }

isolated! { fn a_child_with_new_threads_changes_the_user() {
    if is_root() {
        let greenlet = Greenlet::new();
        let status = greenlet.run(|| {
            // SAFETY: the child ends by `_exit`.
            unsafe {
                let id = libc::fork();
                if id == 0 {
                    libc::alarm(20);
                    let _thread = thread::spawn(thread::park);
                    libc::_exit(i32::from(!become_user(1234)));
                }
                let mut status = 0;
                libc::waitpid(id, &mut status, 0);
                status
            }
        });
        assert_eq!(status, 0, "0 is a clean exit; 14 a hang");
    }
} }
