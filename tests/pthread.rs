//! What the C library takes a greenlet for: a thread.

mod support;

use std::cell::UnsafeCell;
use std::collections::HashSet;
use std::ffi::CStr;
use std::io::Read;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;

use greenlet::{Builder, JoinHandle, on_thread_stack};
use libc::{c_int, c_void};
use support::recursion::use_stack;
use support::{Barrier, Flag, Wait, at_once, go_to_hub, on_hubs, watched, with_and_without_moves};

/// What the C library believes the stack of the caller to be.
fn stack_bounds() -> Range<usize> {
    let mut attributes = MaybeUninit::uninit();
    let (mut low, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the first call initialises the attributes, which the last one destroys.
    unsafe {
        let this = libc::pthread_self();
        assert_eq!(libc::pthread_getattr_np(this, attributes.as_mut_ptr()), 0);
        assert_eq!(
            libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size),
            0
        );
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    low.addr()..low.addr() + size
}

/// An address on the stack of the caller.
fn here() -> usize {
    let local = std::hint::black_box(0u8);
    (&raw const local).addr()
}

#[test]
fn the_bounds_of_the_stack_are_the_greenlets() {
    with_and_without_moves(|wait| {
        let (lows, all) = (Arc::new(Mutex::new(HashSet::new())), Barrier::new(10));
        at_once(10, {
            let lows = lows.clone();
            move |_| {
                let bounds = stack_bounds();
                assert!(bounds.contains(&here()));
                assert!(
                    (200 * 1024..=256 * 1024).contains(&bounds.len()),
                    "{bounds:x?}"
                );
                wait.now();
                assert_eq!(stack_bounds(), bounds);
                // All that they promise is there.
                use_stack(here() - bounds.start - 16 * 1024);
                lows.lock().unwrap().insert(bounds.start);
                // Nobody ends before all have begun, or the stacks would be used again.
                all.wait();
            }
        });
        assert_eq!(lows.lock().unwrap().len(), 10);
    });
}

#[test]
fn the_bounds_of_a_stack_of_another_size_are_known_too() {
    on_hubs(|_| {
        assert!(stack_bounds().len() > 7 << 20);
        let large = Builder::new()
            .stack_size(1 << 20)
            .spawn(|| stack_bounds().len());
        assert!(large.unwrap().join().unwrap() > 900 << 10);
    });
}

#[test]
fn on_thread_stack_has_the_bounds_of_the_workers_stack() {
    on_hubs(|_| {
        let own = stack_bounds();
        for _ in 0..3 {
            let workers = on_thread_stack(|| {
                let bounds = stack_bounds();
                assert!(bounds.contains(&here()));
                bounds
            });
            assert!(workers.end <= own.start || own.end <= workers.start);
            assert_eq!(stack_bounds(), own);
            // After a panic as well.
            assert!(std::panic::catch_unwind(|| on_thread_stack(|| panic!("in there"))).is_err());
            assert_eq!(stack_bounds(), own);
            greenlet::yield_now();
        }
    });
}

#[test]
fn stacker_sees_how_much_stack_is_left() {
    on_hubs(|_| {
        let measure = || {
            let before = stacker::remaining_stack().unwrap();
            assert!(before < 256 * 1024);
            assert!(before > 128 * 1024);
            let within = nested();
            assert!(before - within >= 16 * 1024, "{before} {within}");
        };
        #[inline(never)]
        fn nested() -> usize {
            let room = std::hint::black_box([1u8; 16 * 1024]);
            let remaining = stacker::remaining_stack().unwrap();
            std::hint::black_box(&room);
            remaining
        }
        greenlet::spawn(measure).join().unwrap();
    });
}

#[test]
fn stacker_grows_the_stack() {
    fn deep(depth: u32) -> u32 {
        stacker::maybe_grow(32 * 1024, 256 * 1024, || {
            let room = std::hint::black_box([depth; 256]);
            if depth == 0 { 0 } else { 1 + deep(room[7] - 1) }
        })
    }

    on_hubs(|_| {
        // A megabyte and more.
        let greenlets = [(); 4].map(|()| greenlet::spawn(|| deep(1000)));
        greenlets
            .into_iter()
            .for_each(|greenlet| assert_eq!(greenlet.join().unwrap(), 1000));
    });
}

#[test]
fn every_greenlet_has_a_pthread_self_of_its_own() {
    with_and_without_moves(|wait| {
        let (seen, all) = (Arc::new(Mutex::new(HashSet::new())), Barrier::new(10));
        at_once(10, {
            let seen = seen.clone();
            move |_| {
                // SAFETY: it has no conditions.
                let this = unsafe { libc::pthread_self() };
                seen.lock().unwrap().insert(this);
                wait.now();
                // SAFETY: as above.
                assert_eq!(unsafe { libc::pthread_self() }, this);
                // Nobody ends before all have begun, or the stacks would be used again.
                all.wait();
            }
        });
        assert_eq!(seen.lock().unwrap().len(), 10);
    });
}

/// What the C library calls the caller.
fn name() -> String {
    let mut name = [0u8; 16];
    // SAFETY: there is room for 16 bytes.
    let result = unsafe {
        libc::pthread_getname_np(libc::pthread_self(), name.as_mut_ptr().cast(), name.len())
    };
    assert_eq!(result, 0);
    let name = CStr::from_bytes_until_nul(&name).unwrap();
    name.to_str().unwrap().to_owned()
}

#[test]
fn the_name_is_the_greenlets() {
    fn named(wait: Wait, name: &str, f: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        let named = Builder::new().name(name.into());
        named
            .spawn(move || {
                wait.now();
                f();
            })
            .unwrap()
    }
    with_and_without_moves(|wait| {
        let greenlets = [
            named(wait, "short", || assert_eq!(self::name(), "short")),
            // Cut as std cuts a thread's.
            named(wait, "of more than fifteen bytes", || {
                assert_eq!(self::name(), "of more than fi");
            }),
            named(wait, "renamed", move || {
                // SAFETY: strings.
                let set = |name: &CStr| unsafe {
                    libc::pthread_setname_np(libc::pthread_self(), name.as_ptr())
                };
                assert_eq!(set(c"of sixteen bytes"), libc::ERANGE);
                assert_eq!(set(c"otherwise"), 0);
                wait.now();
                assert_eq!(self::name(), "otherwise");
                // SAFETY: there is room for 15 bytes, which is too little.
                let result = unsafe {
                    let this = libc::pthread_self();
                    libc::pthread_getname_np(this, [0; 15].as_mut_ptr(), 15)
                };
                assert_eq!(result, libc::ERANGE);
            }),
        ];
        greenlets.into_iter().for_each(|it| it.join().unwrap());
        // The worker has kept its own, which is that of a greenlet without one.
        greenlet::spawn(move || assert_eq!(self::name(), worker_name()))
            .join()
            .unwrap();
    });
}

/// What the kernel calls the worker.
fn worker_name() -> String {
    let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    name.trim_end().to_owned()
}

#[test]
fn commands_run() {
    with_and_without_moves(|wait| {
        at_once(3, move |n| {
            let mut child = Command::new("echo")
                .arg(n.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            wait.now();
            let mut text = String::new();
            child
                .stdout
                .take()
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, format!("{n}\n"));
            assert!(child.wait().unwrap().success());
        });
    });
}

#[test]
fn commands_that_need_a_real_fork_run() {
    with_and_without_moves(|wait| {
        at_once(3, move |n| {
            // SAFETY: it has no conditions.
            let uid = unsafe { libc::getuid() };
            wait.now();
            let with_uid = Command::new("echo")
                .arg(n.to_string())
                .uid(uid)
                .output()
                .unwrap();
            assert_eq!(with_uid.stdout, format!("{n}\n").as_bytes());
            wait.now();
            let mut command = Command::new("true");
            // SAFETY: it allocates nothing and takes no lock.
            let with_hook = unsafe { command.pre_exec(|| Ok(())) };
            assert!(with_hook.status().unwrap().success());
        });
    });
}

#[test]
fn a_command_that_does_not_exist_is_an_error_after_a_real_fork_too() {
    on_hubs(|_| {
        // SAFETY: it has no conditions.
        let uid = unsafe { libc::getuid() };
        let error = Command::new("/no/such/program")
            .uid(uid)
            .spawn()
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    });
}

/// What a forked child does. Only with the C library, whose locks are good after a fork; std's may
/// have been held by other threads.
fn live_in_a_child() -> bool {
    extern "C" fn allocate(_argument: *mut c_void) -> *mut c_void {
        // SAFETY: plain allocation; the size is not zero.
        unsafe {
            let memory = libc::malloc(100_000);
            libc::memset(memory, 1, 100_000)
        }
    }

    let (mut thread, mut result) = (0, ptr::null_mut());
    // SAFETY: the function takes any argument; the thread is joined once; its result is freed once.
    unsafe {
        if libc::pthread_create(&mut thread, ptr::null(), allocate, ptr::null_mut()) != 0
            || libc::pthread_join(thread, &mut result) != 0
            || *result.cast::<u8>() != 1
        {
            return false;
        }
        libc::free(result);
    }
    greenlet::hub_id().is_none()
}

#[test]
fn a_forked_child_is_a_plain_thread_that_can_start_others() {
    on_hubs(|_| {
        greenlet::yield_now();
        // SAFETY: the child does what a forked child of a process with threads may.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: it does not return.
            unsafe { libc::_exit(i32::from(!live_in_a_child())) };
        }
        assert!(child > 0);
        let mut status = 0;
        // SAFETY: a child of ours and a writable status.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        // The parent goes on.
        greenlet::spawn(greenlet::yield_now).join().unwrap();
    });
}

#[test]
fn a_change_of_the_users_id_reaches_all_threads_and_returns() {
    on_hubs(|_| {
        at_once(4, |_| {
            // SAFETY: these have no conditions, and change nothing.
            unsafe {
                assert_eq!(libc::setresgid(!0, !0, !0), 0);
                greenlet::yield_now();
                assert_eq!(libc::setresuid(!0, !0, !0), 0);
            }
        });
    });
    // From a plain thread, while greenlets run.
    let _watchdog = watched();
    let runtime = support::runtime(2);
    let over = Arc::new(Flag::default());
    let busy = [(); 4].map(|()| {
        let over = over.clone();
        runtime.spawn(move || {
            while !over.is_up() {
                greenlet::yield_now();
            }
        })
    });
    // SAFETY: as above.
    (0..20).for_each(|_| assert_eq!(unsafe { libc::setresuid(!0, !0, !0) }, 0));
    over.raise();
    busy.into_iter()
        .for_each(|greenlet| greenlet.join().unwrap());
}

/// A mutex of the C library's.
struct PthreadMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: it is there to be shared.
unsafe impl Sync for PthreadMutex {}
// SAFETY: it moves before its first use only, in an `Arc`.
unsafe impl Send for PthreadMutex {}

impl PthreadMutex {
    fn new(kind: c_int) -> Arc<Self> {
        let mut attributes = MaybeUninit::uninit();
        let mutex = Arc::new(Self(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
        // SAFETY: the attributes are initialised first, and the mutex is not in use.
        unsafe {
            assert_eq!(libc::pthread_mutexattr_init(attributes.as_mut_ptr()), 0);
            assert_eq!(
                libc::pthread_mutexattr_settype(attributes.as_mut_ptr(), kind),
                0
            );
            assert_eq!(
                libc::pthread_mutex_init(mutex.0.get(), attributes.as_ptr()),
                0
            );
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
        }
        mutex
    }

    fn lock(&self) -> c_int {
        // SAFETY: it was initialised, and is not moved any more.
        unsafe { libc::pthread_mutex_lock(self.0.get()) }
    }

    fn try_lock(&self) -> c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_trylock(self.0.get()) }
    }

    fn unlock(&self) -> c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) }
    }
}

/// Calls `look` in a new greenlet on the hub of the caller, while that waits.
fn beside<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> T {
    let hub = greenlet::hub_id().unwrap();
    Builder::new().hub(hub).spawn(look).unwrap().join().unwrap()
}

#[test]
fn a_recursive_mutex_is_its_greenlets_alone_and_unlocked_after_a_move() {
    on_hubs(|hubs| {
        let mutex = PthreadMutex::new(libc::PTHREAD_MUTEX_RECURSIVE);
        for round in 0..20 {
            assert_eq!(mutex.lock(), 0);
            assert_eq!(mutex.lock(), 0);
            let shared = mutex.clone();
            assert_eq!(beside(move || shared.try_lock()), libc::EBUSY);
            go_to_hub(round % hubs);
            assert_eq!(mutex.lock(), 0);
            (0..3).for_each(|_| assert_eq!(mutex.unlock(), 0));
            let shared = mutex.clone();
            assert_eq!(beside(move || (shared.try_lock(), shared.unlock())), (0, 0));
        }
    });
}

#[test]
fn an_error_checking_mutex_knows_its_greenlet() {
    on_hubs(|hubs| {
        let mutex = PthreadMutex::new(libc::PTHREAD_MUTEX_ERRORCHECK);
        for round in 0..20 {
            assert_eq!(mutex.lock(), 0);
            assert_eq!(mutex.lock(), libc::EDEADLK);
            let shared = mutex.clone();
            assert_eq!(beside(move || shared.unlock()), libc::EPERM);
            let shared = mutex.clone();
            assert_eq!(beside(move || shared.try_lock()), libc::EBUSY);
            go_to_hub(round % hubs);
            assert_eq!(mutex.lock(), libc::EDEADLK);
            assert_eq!(mutex.unlock(), 0);
            assert_eq!(mutex.unlock(), libc::EPERM);
        }
    });
}

#[test]
fn a_greenlet_that_got_the_stack_of_a_locks_owner_is_not_the_owner() {
    on_hubs(|_| {
        for _ in 0..50 {
            let mutex = PthreadMutex::new(libc::PTHREAD_MUTEX_RECURSIVE);
            let owned = mutex.clone();
            // It ends without an unlock, as a thread may.
            assert_eq!(beside(move || owned.lock()), 0);
            let shared = mutex.clone();
            assert_eq!(beside(move || shared.try_lock()), libc::EBUSY);
        }
    });
}

struct PthreadRwLock(UnsafeCell<libc::pthread_rwlock_t>);

// SAFETY: it is there to be shared.
unsafe impl Sync for PthreadRwLock {}
// SAFETY: it moves before its first use only, into an `Arc`.
unsafe impl Send for PthreadRwLock {}

#[test]
fn a_rwlock_knows_its_writer() {
    on_hubs(|hubs| {
        let lock = PthreadRwLock(UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER));
        let lock = Arc::new(lock);
        for round in 0..20 {
            // SAFETY: all calls have the same initialised lock, which stays where it is.
            unsafe {
                assert_eq!(libc::pthread_rwlock_wrlock(lock.0.get()), 0);
                assert_eq!(libc::pthread_rwlock_rdlock(lock.0.get()), libc::EDEADLK);
                let shared = lock.clone();
                let other = beside(move || libc::pthread_rwlock_tryrdlock(shared.0.get()));
                assert_eq!(other, libc::EBUSY);
                go_to_hub(round % hubs);
                assert_eq!(libc::pthread_rwlock_wrlock(lock.0.get()), libc::EDEADLK);
                assert_eq!(libc::pthread_rwlock_unlock(lock.0.get()), 0);
                // And readers may come and go on any hub.
                assert_eq!(libc::pthread_rwlock_rdlock(lock.0.get()), 0);
                let shared = lock.clone();
                let other = beside(move || {
                    let read = libc::pthread_rwlock_tryrdlock(shared.0.get());
                    (read, libc::pthread_rwlock_unlock(shared.0.get()))
                });
                assert_eq!(other, (0, 0));
                go_to_hub((round + 1) % hubs);
                assert_eq!(libc::pthread_rwlock_unlock(lock.0.get()), 0);
            }
        }
    });
}

/// What the destructor of a key was called with.
static DESTROYED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

extern "C" fn destroy(value: *mut c_void) {
    DESTROYED.lock().unwrap().push(value.addr());
}

fn create_key(destructor: unsafe extern "C" fn(*mut c_void)) -> libc::pthread_key_t {
    let mut key = 0;
    // SAFETY: a writable key; the destructor takes any value.
    let result = unsafe { libc::pthread_key_create(&mut key, Some(destructor)) };
    assert_eq!(result, 0);
    key
}

fn get(key: libc::pthread_key_t) -> usize {
    // SAFETY: the key exists.
    unsafe { libc::pthread_getspecific(key) }.addr()
}

fn set(key: libc::pthread_key_t, value: usize) {
    // SAFETY: the key exists, and its destructor takes any value.
    let result = unsafe { libc::pthread_setspecific(key, ptr::without_provenance_mut(value)) };
    assert_eq!(result, 0);
}

#[test]
fn keys_have_a_value_for_each_greenlet_and_their_destructors_run() {
    let key = create_key(destroy);
    with_and_without_moves(|wait| {
        DESTROYED.lock().unwrap().clear();
        at_once(20, move |n| {
            assert_eq!(get(key), 0);
            set(key, n + 1);
            wait.now();
            assert_eq!(get(key), n + 1);
        });
        // They have run by the time of the join.
        let mut destroyed = std::mem::take(&mut *DESTROYED.lock().unwrap());
        destroyed.sort_unstable();
        assert_eq!(destroyed, (1..=20).collect::<Vec<_>>());
        assert_eq!(get(key), 0);
    });
}

#[test]
fn a_destructor_of_a_key_may_set_it_again_and_wait() {
    static KEY: AtomicUsize = AtomicUsize::new(0);
    static CALLS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn again(value: *mut c_void) {
        greenlet::yield_now();
        greenlet::sleep(std::time::Duration::from_micros(10));
        CALLS.fetch_add(1, SeqCst);
        // Two more rounds.
        if value.addr() > 1 {
            set(KEY.load(SeqCst) as libc::pthread_key_t, value.addr() - 1);
        }
    }

    let key = create_key(again);
    KEY.store(key as usize, SeqCst);
    on_hubs(|_| {
        CALLS.store(0, SeqCst);
        at_once(5, move |_| set(key, 3));
        assert_eq!(CALLS.load(SeqCst), 15);
    });
}

#[test]
fn keys_beyond_the_first_block_work_too() {
    extern "C" fn nothing(_value: *mut c_void) {}

    let keys: Vec<_> = (0..80).map(|_| create_key(nothing)).collect();
    let keys = Arc::new(keys);
    with_and_without_moves(|wait| {
        let keys = keys.clone();
        at_once(10, move |n| {
            for key in keys.iter() {
                assert_eq!(get(*key), 0);
                set(*key, 100 * n + *key as usize);
            }
            wait.now();
            assert!(keys.iter().all(|key| get(*key) == 100 * n + *key as usize));
        });
    });
    // SAFETY: nobody uses them any more.
    keys.iter()
        .for_each(|key| assert_eq!(unsafe { libc::pthread_key_delete(*key) }, 0));
}

#[test]
fn threads_that_greenlets_start_are_threads_as_ever() {
    with_and_without_moves(|wait| {
        at_once(5, move |n| {
            let number = Arc::new(Mutex::new(n));
            let shared = number.clone();
            let started = thread::spawn(move || {
                *shared.lock().unwrap() += 1;
                (greenlet::hub_id(), stack_bounds().contains(&here()))
            });
            wait.now();
            assert_eq!(started.join().unwrap(), (None, true));
            assert_eq!(*number.lock().unwrap(), n + 1);
        });
    });
}

#[test]
fn scoped_threads_may_borrow_from_a_greenlet() {
    on_hubs(|_| {
        let mut numbers = [0; 4];
        thread::scope(|scope| {
            for (n, number) in numbers.iter_mut().enumerate() {
                scope.spawn(move || *number = n);
            }
        });
        assert_eq!(numbers, [0, 1, 2, 3]);
    });
}
