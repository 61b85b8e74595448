//! `fork` on a greenlet.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::{mem, thread};

use super::library::Library;
use super::worker::{self, FORKED, Greenlet};
use crate::arch;
use crate::sys::thread_key::ThreadKey;

/// Forks, runs `child` in the child, and answers how it ended: its result, or None if it died.
fn fork(child: impl FnOnce() -> i32) -> Option<i32> {
    // SAFETY: the child ends by `_exit`, and what it does until then it does alone.
    unsafe {
        let id = libc::fork();
        assert_ne!(id, -1);
        if id == 0 {
            libc::alarm(20);
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            libc::_exit(caught.unwrap_or(111));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(id, &mut status, 0), id);
        libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
    }
}

/// A worker is rarely the main thread.
fn on_another_thread(body: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(body).join().unwrap());
}

isolated! { fn a_child_allocates_and_forks_again() {
    on_another_thread(|| {
        let greenlet = Greenlet::new();
        let tp = greenlet.tp();
        let grandchild = || {
            assert_eq!(arch::thread_pointer(), tp);
            drop(vec![1; 1000]);
            7
        };
        let child = || {
            drop(vec![1; 100_000]);
            fork(grandchild).map_or(1, |code| code + 1)
        };
        assert_eq!(greenlet.run(|| fork(child)), Some(8));
        greenlet.run(|| assert_eq!(arch::thread_pointer(), tp, "the parent is back on it"));
    });
} }

isolated! { fn the_hook_is_called_in_a_child_that_a_greenlet_made_only() {
    let greenlet = Greenlet::new();
    assert_eq!(greenlet.run(|| fork(|| FORKED.get() as i32)), Some(1));
    assert_eq!(greenlet.run(|| FORKED.get()), 0);
    assert_eq!(fork(|| FORKED.get() as i32), Some(0));
} }

isolated! { fn a_childs_new_threads_do_not_get_the_workers_stack() {
    on_another_thread(|| {
        let worker = arch::thread_pointer();
        let greenlet = Greenlet::new();
        let child = move || {
            let barrier = Arc::new(Barrier::new(5));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let barrier = Arc::clone(&barrier);
                    thread::spawn(move || {
                        barrier.wait();
                        arch::thread_pointer() == worker
                    })
                })
                .collect();
            barrier.wait();
            let reused = threads.into_iter().any(|thread| thread.join().unwrap());
            if reused { 2 } else { 0 }
        };
        assert_eq!(greenlet.run(|| fork(child)), Some(0));
    });
} }

isolated! { fn command_with_a_user_runs_from_a_greenlet() {
    // The user id makes std fork instead of spawning, and call setuid in the child.
    on_another_thread(|| {
        let greenlet = Greenlet::new();
        let output = greenlet.live(|| Command::new("id").arg("-u").uid(1234).output());
        // SAFETY: takes nothing.
        if unsafe { libc::geteuid() } == 0 {
            assert_eq!(output.unwrap().stdout, b"1234\n");
        } else {
            assert!(output.is_err());
        }
    });
} }

isolated! { fn command_with_code_before_exec_runs_from_a_greenlet() {
    Greenlet::new().live(|| {
        let mut command = Command::new("true");
        // SAFETY: does nothing that a child may not.
        let status = unsafe { command.pre_exec(|| Ok(())) }.status().unwrap();
        assert!(status.success());
    });
} }

isolated! { fn blocks_come_and_go_in_a_child() {
    // In the child glibc's list is empty: blocks from before must not be taken off again.
    on_another_thread(|| {
        let mut greenlets: Vec<Greenlet> = (0..5).map(|_| Greenlet::new()).collect();
        let support = worker::support();
        let forked = greenlets.pop().unwrap();
        let tp = forked.tp();
        let child = move || {
            assert!(support.list.contains(tp), "the one that forked is put back");
            let new: Vec<Greenlet> = worker_threads(|| (0..3).map(|_| Greenlet::new()).collect());
            assert!(!greenlets.iter().any(|greenlet| support.list.contains(greenlet.tp())));
            drop(mem::take(&mut greenlets));
            assert!(new.iter().all(|greenlet| support.list.contains(greenlet.tp())));
            let gone: Vec<usize> = new.iter().map(Greenlet::tp).collect();
            drop(new);
            assert!(!gone.iter().any(|&tp| support.list.contains(tp)));
            assert!(support.list.contains(tp));
            // And in its child, which never had a second thread, the list stays as it is.
            fork(move || i32::from(!support.list.contains(tp))).unwrap_or(3)
        };
        assert_eq!(forked.run(|| fork(child)), Some(0));
    });
} }

/// What `function` answers on the worker's thread pointer.
fn worker_threads<R>(function: impl FnOnce() -> R) -> R {
    // SAFETY: `function` parks nowhere, and was not looked into by the compiler.
    let visit = unsafe { crate::tls::Visit::begin() };
    let mut function = Some(function);
    let result = call(&mut || function.take().unwrap()());
    drop(visit);
    result
}

#[inline(never)]
fn call<R>(function: &mut dyn FnMut() -> R) -> R {
    function()
}

isolated! { fn a_library_that_a_child_loads_has_its_thread_locals_on_the_greenlet() {
    let source = "static __thread int v __attribute__((tls_model(\"initial-exec\"))) = 42;
                  int *get(void) { return &v; }";
    let Some(library) = Library::build("fork", source, &[]) else { return };
    on_another_thread(move || {
        let greenlet = Greenlet::new();
        let code = greenlet.run(|| fork(|| library.load().replace(0)));
        assert_eq!(code, Some(42));
    });
} }

isolated! { fn threads_that_fork_at_the_same_time_keep_their_greenlets() {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let greenlet = Greenlet::new();
                let tp = greenlet.tp();
                for _ in 0..20 {
                    let child = || i32::from(arch::thread_pointer() != tp);
                    assert_eq!(greenlet.run(|| fork(child)), Some(0));
                    greenlet.run(|| assert_eq!(arch::thread_pointer(), tp));
                }
            });
        }
    });
} }

/// A recursive mutex in memory that a child shares.
fn shared_mutex() -> *mut libc::pthread_mutex_t {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping, large enough, in which the mutex is set up and stays.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        let mut attributes = mem::zeroed();
        libc::pthread_mutexattr_init(&mut attributes);
        libc::pthread_mutexattr_settype(&mut attributes, libc::PTHREAD_MUTEX_RECURSIVE);
        libc::pthread_mutexattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED);
        assert_eq!(libc::pthread_mutex_init(memory.cast(), &attributes), 0);
        memory.cast()
    }
}

isolated! { fn a_child_owns_no_lock_of_its_parents() {
    let mutex = shared_mutex();
    let greenlet = Greenlet::new();
    // SAFETY: the mutex is set up and stays.
    let (lock, try_lock, unlock) = unsafe {(
        || libc::pthread_mutex_lock(mutex),
        || libc::pthread_mutex_trylock(mutex),
        || libc::pthread_mutex_unlock(mutex),
    )};
    greenlet.run(|| assert_eq!(lock(), 0));
    let child = || i32::from(try_lock() != libc::EBUSY);
    assert_eq!(greenlet.run(|| fork(|| child() + fork(child).unwrap_or(9))), Some(0));
    // The parent's greenlet still has it, and gives it to its child.
    greenlet.run(|| assert_eq!(unlock(), 0));
    let child = || i32::from(lock() != 0 || lock() != 0 || unlock() != 0 || unlock() != 0);
    assert_eq!(greenlet.run(|| fork(child)), Some(0));
} }

isolated! { fn greenlets_that_parent_and_child_make_are_not_the_same() {
    for returned in [false, true] {
        let mutex = shared_mutex();
        let on_a_greenlet = |call: unsafe extern "C" fn(*mut libc::pthread_mutex_t) -> i32| {
            // SAFETY: the mutex is set up and stays.
            Greenlet::new().run(|| unsafe { call(mutex) })
        };
        if returned {
            drop(Greenlet::new());
        }
        // Both take the next number after the fork, a new one or one that came back.
        assert_eq!(fork(|| on_a_greenlet(libc::pthread_mutex_lock)), Some(0));
        assert_eq!(on_a_greenlet(libc::pthread_mutex_trylock), libc::EBUSY);
    }
} }

/// malloc's words that are found before a fork, and those that are put there after it.
static WORDS: OnceLock<[Vec<usize>; 2]> = OnceLock::new();
static FOUND: AtomicBool = AtomicBool::new(false);

isolated! { fn mallocs_words_go_to_the_worker_for_the_fork_and_come_back() {
    extern "C" fn before() {
        if let Some([before, _]) = WORDS.get() {
            FOUND.store(worker::words() == *before, Ordering::Relaxed);
        }
    }
    extern "C" fn after() {
        if let Some([_, after]) = WORDS.get() {
            worker::set_words(after);
        }
    }
    // Registered first, so these run under the worker's thread pointer, as glibc does.
    crate::sys::thread::at_fork(Some(before), Some(after), Some(after)).unwrap();
    let greenlet = Greenlet::new();
    let (own, others) = (worker::words(), worker::words_of_another_thread());
    WORDS.set([others.clone(), own.clone()]).unwrap();
    let seen = greenlet.run(|| {
        worker::set_words(&others);
        let child = || i32::from(worker::words() != own);
        (fork(child), worker::words())
    });
    assert!(FOUND.load(Ordering::Relaxed), "the worker has the greenlet's");
    assert_eq!(seen, (Some(0), own), "the greenlet has the worker's");
} }

isolated! { fn a_worker_needs_no_memory_for_a_fork() {
    // Values of keys beyond the first 32 are in arrays that are allocated when they are needed.
    let _keys: Vec<_> = (0..40).map(|_| ThreadKey::create(None).unwrap()).collect();
    on_another_thread(|| {
        let greenlet = Greenlet::new();
        let child = || FORKED.get() as i32;
        let exhaust = || {
            let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: a limit; and memory that is leaked.
            unsafe {
                assert_eq!(libc::setrlimit(libc::RLIMIT_DATA, &limit), 0);
                assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &limit), 0);
                for size in [1 << 16, 4096, 512, 64] {
                    while !std::hint::black_box(libc::malloc(size)).is_null() {}
                }
            }
        };
        let status = greenlet.run(|| {
            exhaust();
            // SAFETY: the child ends at once.
            unsafe {
                let id = libc::fork();
                if id == 0 {
                    libc::_exit(child());
                }
                let mut status = -1;
                libc::waitpid(id, &mut status, 0);
                let limit = libc::rlimit {
                    rlim_cur: libc::RLIM_INFINITY,
                    rlim_max: libc::RLIM_INFINITY,
                };
                libc::setrlimit(libc::RLIMIT_DATA, &limit);
                libc::setrlimit(libc::RLIMIT_AS, &limit);
                status
            }
        });
        assert!(libc::WIFEXITED(status), "{status}");
        assert_eq!(libc::WEXITSTATUS(status), 1, "the hook was called in the child");
    });
} }
