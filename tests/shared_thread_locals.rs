//! Greenlets that share their worker's thread-locals: the named alternative to having their own.

mod support;

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::c_void;
use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{ptr, thread};

use greenlet::Runtime;
use greenlet::net::{TcpListener, TcpStream};
use support::{child, process, watched};

thread_local! {
    static HUB: Cell<Option<usize>> = const { Cell::new(None) };
}

fn sharing(hubs: usize) -> Runtime {
    // SAFETY: no test here keeps a borrow of a thread-local over a wait, or waits in an initialiser
    // or while it unwinds.
    unsafe { Runtime::builder().share_thread_locals() }
        .hubs(hubs)
        .build()
        .unwrap()
}

#[test]
fn greenlets_of_a_hub_see_the_same_thread_local_and_thread() {
    let _watchdog = watched();
    sharing(1).run(|| {
        HUB.set(Some(7));
        let other = greenlet::spawn(|| (HUB.replace(Some(8)), thread::current().id()));
        assert_eq!(other.join().unwrap(), (Some(7), thread::current().id()));
        assert_eq!(HUB.get(), Some(8));
    });
}

#[test]
fn a_greenlet_stays_on_the_hub_on_which_it_started() {
    let _watchdog = watched();
    sharing(4).run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let greenlets: Vec<_> = (0..200)
            .map(|_| {
                let (stop, seen) = (stop.clone(), seen.clone());
                greenlet::spawn(move || {
                    let (hub, thread) = (greenlet::hub_id(), thread::current().id());
                    seen.lock().unwrap().insert(hub);
                    while !stop.load(Relaxed) {
                        greenlet::yield_now();
                        greenlet::sleep(Duration::from_micros(100));
                        assert_eq!((greenlet::hub_id(), thread::current().id()), (hub, thread));
                    }
                })
            })
            .collect();
        let own = greenlet::hub_id();
        // This hub runs nobody meanwhile, so another one takes some.
        while seen.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        greenlet::sleep(Duration::from_millis(200));
        stop.store(true, Relaxed);
        greenlets
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        assert!(seen.lock().unwrap().iter().any(|hub| *hub != own));
    });
}

#[test]
fn waits_for_sockets_joins_and_tokens_work() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        sharing(hubs).run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let server = greenlet::spawn(move || {
                for stream in listener.incoming().take(50) {
                    let mut stream = stream.unwrap();
                    greenlet::spawn(move || {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        stream.write_all(&[byte[0] + 1]).unwrap();
                    });
                }
            });
            let clients: Vec<_> = (0..50)
                .map(|n| {
                    greenlet::spawn(move || {
                        let mut stream = TcpStream::connect(addr).unwrap();
                        greenlet::yield_now();
                        stream.write_all(&[n]).unwrap();
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        assert_eq!(byte, [n + 1]);
                    })
                })
                .collect();
            clients
                .into_iter()
                .for_each(|client| client.join().unwrap());
            server.join().unwrap();
            let main = greenlet::current();
            greenlet::spawn(move || main.unpark());
            greenlet::park();
        });
    }
}

#[test]
fn dropping_the_runtime_unwinds_them_too() {
    static DROPPED: AtomicBool = AtomicBool::new(false);
    struct OnDrop;
    impl Drop for OnDrop {
        fn drop(&mut self) {
            DROPPED.store(true, SeqCst);
        }
    }
    let _watchdog = watched();
    let runtime = sharing(2);
    let parked = runtime.spawn(|| {
        let _on_drop = OnDrop;
        loop {
            greenlet::park();
        }
    });
    process::wait_until("the greenlet has parked", || runtime.stats().parks > 0);
    drop(runtime);
    assert!(DROPPED.load(SeqCst));
    assert!(parked.join().unwrap_err().is::<greenlet::Cancelled>());
}

#[test]
fn a_greenlet_costs_a_page_less() {
    // Alone, because what is measured is the process's.
    child::alone("a_greenlet_costs_a_page_less", || {
        let _watchdog = watched();
        let own = resident_each(&Runtime::builder().hubs(1).build().unwrap());
        let shared = resident_each(&sharing(1));
        assert!(
            own > shared + 3000,
            "{own} bytes with thread-locals of their own, {shared} without"
        );
    });
}

/// What 2,000 parked greenlets add to the process's resident memory, for each.
fn resident_each(runtime: &Runtime) -> usize {
    const GREENLETS: usize = 2000;
    let before = process::resident();
    let parks = runtime.stats().parks;
    let _parked: Vec<_> = (0..GREENLETS)
        .map(|_| runtime.spawn(greenlet::park))
        .collect();
    let all = parks + GREENLETS as u64;
    process::wait_until("all have parked", || runtime.stats().parks >= all);
    process::resident().saturating_sub(before) / GREENLETS
}

/// Creates a thread and waits for its end. With the C library only, as in all of a forked child:
/// std's locks may have been held by other threads.
fn use_a_thread() {
    extern "C" fn nothing(argument: *mut c_void) -> *mut c_void {
        argument
    }
    let mut thread = 0;
    // SAFETY: the function takes any argument; the thread is joined once.
    unsafe {
        let result = libc::pthread_create(&mut thread, ptr::null(), nothing, ptr::null_mut());
        assert_eq!(result, 0);
        assert_eq!(libc::pthread_join(thread, ptr::null_mut()), 0);
    }
}

/// Forks, runs `child` in the child, for at most ten seconds, and answers with the status.
fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child does what a forked child of a process with threads may, and does not return.
    unsafe {
        let id = libc::fork();
        if id == 0 {
            libc::alarm(10);
            // An alarm is not inherited, and what goes wrong is an endless loop in a child's `fork`.
            let limit = libc::rlimit {
                rlim_cur: 10,
                rlim_max: 10,
            };
            libc::setrlimit(libc::RLIMIT_CPU, &limit);
            libc::_exit(child());
        }
        assert!(id > 0);
        let mut status = 0;
        assert_eq!(libc::waitpid(id, &mut status, 0), id);
        status
    }
}

#[test]
fn a_child_can_start_threads_and_fork_beside_a_runtime_with_thread_locals_of_its_own() {
    let name = "a_child_can_start_threads_and_fork_beside_a_runtime_with_thread_locals_of_its_own";
    child::alone(name, || {
        let _watchdog = watched();
        // It is what tells the C library of greenlets, and installs handlers of forks.
        let own = support::runtime(1);
        let shared = sharing(1);
        let grandchild = || {
            fork(|| {
                use_a_thread();
                fork(|| {
                    use_a_thread();
                    0
                })
            })
        };
        assert_eq!(shared.run(grandchild), 0, "14 is a hang");
        assert_eq!(own.run(grandchild), 0, "and on a greenlet of the other");
        shared.run(use_a_thread);
    });
}

/// Whether the caller, in a forked child, is a thread that no hub runs.
fn is_plain_thread() -> bool {
    let waited = greenlet::hub_id().is_none();
    // On a hub it would run the greenlets that the parent has queued.
    greenlet::sleep(Duration::from_millis(50));
    greenlet::yield_now();
    waited && greenlet::hub_id().is_none()
}

#[test]
fn a_child_is_a_plain_thread_that_runs_nobody_of_its_parents() {
    let name = "a_child_is_a_plain_thread_that_runs_nobody_of_its_parents";
    child::alone(name, || {
        let _watchdog = watched();
        // First where no runtime ever had thread-locals of its own, then beside one.
        look_at_a_child();
        let own = support::runtime(1);
        look_at_a_child();
        assert_eq!(own.run(|| fork(|| i32::from(!is_plain_thread()))), 0);
        look_at_a_child();
    });
}

fn look_at_a_child() {
    let shared = sharing(1);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let status = shared.run(|| {
        let parent = std::process::id();
        let queued = greenlet::spawn(move || {
            let is_child = std::process::id() != parent;
            writer.write_all(&[u8::from(is_child)]).unwrap();
        });
        let status = fork(|| i32::from(!is_plain_thread()));
        queued.join().unwrap();
        // One that returns in the child ends it, as the last thread of a process does.
        let returned = greenlet::spawn(|| {
            // SAFETY: the child does nothing.
            let id = unsafe { libc::fork() };
            let mut status = -1;
            if id != 0 {
                // SAFETY: a child of ours, and room for its status.
                assert_eq!(unsafe { libc::waitpid(id, &mut status, 0) }, id);
            }
            status
        });
        assert_eq!(returned.join().unwrap(), 0);
        status
    });
    assert_eq!(status, 0);
    let mut ran = Vec::new();
    reader.read_to_end(&mut ran).unwrap();
    assert_eq!(ran, [0], "the greenlet ran in the parent, and only there");
}
