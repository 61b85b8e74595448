//! One greenlet after the other in the same block.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use super::worker::{self, Greenlet};
use crate::sys;
use crate::sys::thread_key::ThreadKey;

static DROPS: AtomicUsize = AtomicUsize::new(0);

struct CountDrop;

impl Drop for CountDrop {
    fn drop(&mut self) {
        DROPS.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static CONSTANT: Cell<u64> = const { Cell::new(7) };
    static COUNTED: CountDrop = const { CountDrop };
    static LATE: CountDrop = const { CountDrop };
    static REGISTERS_LATE: UseLate = const { UseLate };
}

struct UseLate;

impl Drop for UseLate {
    fn drop(&mut self) {
        LATE.with(|_| ());
        assert!(thread::current().name().is_none());
    }
}

isolated! { fn destructors_run_at_the_end_of_every_life() {
    let mut greenlet = Greenlet::new();
    for life in 1..=3 {
        greenlet.live(|| COUNTED.with(|_| ()));
        assert_eq!(DROPS.load(Ordering::Relaxed), life);
        assert!(greenlet.renew());
    }
} }

isolated! { fn a_destructor_may_use_another_thread_local_for_the_first_time() {
    let mut greenlet = Greenlet::new();
    for life in 1..=3 {
        greenlet.live(|| REGISTERS_LATE.with(|_| ()));
        assert_eq!(DROPS.load(Ordering::Relaxed), life);
        assert!(greenlet.renew());
    }
} }

isolated! { fn the_next_greenlet_finds_new_thread_locals_and_another_thread_id() {
    let mut greenlet = Greenlet::new();
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(greenlet.live(|| {
            assert_eq!(CONSTANT.replace(8), 7);
            thread::current().id()
        }));
        assert!(greenlet.renew());
    }
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
} }

isolated! { fn the_next_greenlet_owns_no_lock_of_the_last() {
    let mut greenlet = Greenlet::new();
    let mutex = crate::sys::recursive_mutex::RecursiveMutex::new().unwrap();
    greenlet.live(|| mutex.try_lock().unwrap());
    assert!(greenlet.renew());
    greenlet.live(|| assert_eq!(mutex.try_lock().unwrap_err().raw_os_error(), Some(libc::EBUSY)));
} }

isolated! { fn the_next_greenlet_begins_without_error_and_with_the_global_locale() {
    let mut greenlet = Greenlet::new();
    greenlet.live(|| {
        // SAFETY: a new locale, used by this greenlet only, and freed while it still uses it, as
        // a careless library would at its end.
        unsafe {
            let locale = libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), ptr::null_mut());
            libc::uselocale(locale);
            assert_eq!(libc::close(-1), -1);
        }
    });
    assert!(greenlet.renew());
    greenlet.live(|| {
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(0));
        // SAFETY: null asks for the present one; -1 is the global one.
        let locale = unsafe { libc::uselocale(ptr::null_mut()) };
        assert_eq!(locale.addr(), usize::MAX);
    });
} }

isolated! { fn the_next_greenlet_is_not_cancelled() {
    let mut greenlet = Greenlet::new();
    let state = |new: c_int| {
        let mut old = -1;
        unsafe extern "C" {
            fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
        }
        // SAFETY: the two states are 0 and 1; `old` has room.
        assert_eq!(unsafe { pthread_setcancelstate(new, &mut old) }, 0);
        old
    };
    assert_eq!(greenlet.live(|| state(1)), 0);
    assert!(greenlet.renew());
    assert_eq!(greenlet.live(|| state(1)), 0);
} }

/// The values that destructors were called with.
static RUNS: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];
static KEY: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(value: *mut c_void) {
    RUNS[value.addr()].fetch_add(1, Ordering::Relaxed);
}

/// Sets the value again, one less, until nothing is left.
extern "C" fn count_down(value: *mut c_void) {
    RUNS[value.addr()].fetch_add(1, Ordering::Relaxed);
    // SAFETY: the destructor takes any small number.
    unsafe { key().set(value.addr() - 1).unwrap() };
}

/// Sets the same value again, for ever.
extern "C" fn insist(value: *mut c_void) {
    RUNS[value.addr()].fetch_add(1, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { key().set(value.addr()).unwrap() };
}

/// Uses a thread-local with a destructor.
extern "C" fn use_thread_local(_: *mut c_void) {
    COUNTED.with(|_| ());
}

fn key() -> ThreadKey {
    ThreadKey::from_number(KEY.load(Ordering::Relaxed) as u32)
}

fn create_key(destructor: extern "C" fn(*mut c_void)) -> ThreadKey {
    let key = ThreadKey::create(Some(destructor)).unwrap();
    KEY.store(key.number() as usize, Ordering::Relaxed);
    key
}

fn runs(value: usize) -> usize {
    RUNS[value].load(Ordering::Relaxed)
}

isolated! { fn values_of_keys_are_destroyed_and_gone() {
    let mut greenlet = Greenlet::new();
    let key = create_key(count);
    // SAFETY: the destructor takes any small number.
    greenlet.live(|| unsafe { key.set(5).unwrap() });
    assert_eq!(runs(5), 1);
    assert!(greenlet.renew());
    greenlet.live(|| assert_eq!(key.get(), 0));
    assert_eq!(runs(5), 1);
} }

isolated! { fn values_of_keys_beyond_the_first_32_are_destroyed_too() {
    let mut greenlet = Greenlet::new();
    let keys: Vec<ThreadKey> = (0..200).map(|_| create_key(count)).collect();
    for _ in 0..3 {
        // SAFETY: the destructor takes any small number.
        greenlet.live(|| keys.iter().for_each(|key| unsafe { key.set(3).unwrap() }));
        assert!(greenlet.renew());
        greenlet.live(|| assert!(keys.iter().all(|key| key.get() == 0)));
        assert!(greenlet.renew());
    }
    assert_eq!(runs(3), 3 * keys.len());
} }

isolated! { fn values_of_deleted_keys_are_dropped() {
    let mut greenlet = Greenlet::new();
    let key = create_key(count);
    greenlet.live(|| {
        // SAFETY: the destructor takes any small number.
        unsafe { key.set(5).unwrap() };
        key.delete();
    });
    assert_eq!(runs(5), 0);
    assert!(greenlet.renew());
} }

isolated! { fn a_destructor_may_set_the_value_again_three_times() {
    let mut greenlet = Greenlet::new();
    let key = create_key(count_down);
    // SAFETY: the destructor takes any small number.
    greenlet.live(|| unsafe { key.set(4).unwrap() });
    assert_eq!([4, 3, 2, 1].map(runs), [1; 4]);
    assert!(greenlet.renew());
} }

isolated! { fn a_block_with_a_value_that_does_not_go_is_not_used_again() {
    let mut greenlet = Greenlet::new();
    let key = create_key(insist);
    // SAFETY: the destructor takes any small number.
    greenlet.live(|| unsafe { key.set(6).unwrap() });
    assert_eq!(runs(6), 4);
    assert!(!greenlet.renew());
} }

isolated! { fn a_destructor_of_a_key_may_use_a_thread_local() {
    let mut greenlet = Greenlet::new();
    let key = create_key(use_thread_local);
    for life in 1..=3 {
        // SAFETY: the destructor takes any small number.
        greenlet.live(|| unsafe { key.set(1).unwrap() });
        assert_eq!(DROPS.load(Ordering::Relaxed), life);
        assert!(greenlet.renew());
    }
} }

/// Robust mutexes that stay where they are.
struct Robust(Box<[UnsafeCell<libc::pthread_mutex_t>]>);

// SAFETY: mutexes are there to be shared.
unsafe impl Sync for Robust {}

impl Robust {
    fn new(count: usize) -> Self {
        let new = |_| UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER);
        let mutexes: Box<[_]> = (0..count).map(new).collect();
        // SAFETY: set up before they are used, and never moved.
        unsafe {
            let mut attributes = std::mem::zeroed();
            libc::pthread_mutexattr_init(&mut attributes);
            libc::pthread_mutexattr_setrobust(&mut attributes, libc::PTHREAD_MUTEX_ROBUST);
            for mutex in &mutexes {
                assert_eq!(libc::pthread_mutex_init(mutex.get(), &attributes), 0);
            }
        }
        Self(mutexes)
    }

    fn lock(&self, index: usize) -> c_int {
        // SAFETY: it is set up.
        unsafe { libc::pthread_mutex_lock(self.0[index].get()) }
    }

    fn unlock(&self, index: usize) -> c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(self.0[index].get()) }
    }

    /// After EOWNERDEAD, by the owner.
    fn make_consistent(&self, index: usize) {
        // SAFETY: as above.
        let result = unsafe { libc::pthread_mutex_consistent(self.0[index].get()) };
        assert_eq!(result, 0);
    }
}

isolated! { fn the_next_owner_of_a_robust_mutex_is_told_that_the_last_has_ended() {
    let mut greenlet = Greenlet::new();
    let mutexes = Robust::new(3);
    for _ in 0..3 {
        greenlet.live(|| {
            (0..3).for_each(|index| assert_eq!(mutexes.lock(index), 0));
            assert_eq!(mutexes.unlock(1), 0);
        });
        assert!(greenlet.renew());
        let next = || {
            for (index, result) in [(0, libc::EOWNERDEAD), (1, 0), (2, libc::EOWNERDEAD)] {
                assert_eq!(mutexes.lock(index), result);
                if result != 0 {
                    mutexes.make_consistent(index);
                }
                assert_eq!(mutexes.unlock(index), 0);
            }
        };
        // The same block's next greenlet, and then a thread.
        greenlet.live(next);
        assert!(greenlet.renew());
        greenlet.live(|| (0..3).for_each(|index| assert_eq!(mutexes.lock(index), 0)));
        mutexes.0.iter().enumerate().for_each(|(index, _)| {
            assert_eq!(mutexes.lock(index), libc::EOWNERDEAD);
            mutexes.make_consistent(index);
            assert_eq!(mutexes.unlock(index), 0);
        });
        assert!(greenlet.renew());
    }
} }

isolated! { fn who_waits_for_a_robust_mutex_is_woken_by_its_owners_end() {
    let greenlet = Greenlet::new();
    let (mutexes, id) = (Robust::new(1), AtomicUsize::new(0));
    thread::scope(|scope| {
        let waiting = greenlet.live(|| {
            assert_eq!(mutexes.lock(0), 0);
            let waiting = scope.spawn(|| {
                id.store(sys::thread::kernel_id() as usize, Ordering::Relaxed);
                mutexes.lock(0)
            });
            // It waits where /proc says that it is in a futex's system call.
            let futex = format!("{} ", libc::SYS_futex);
            let is_waiting = || {
                let path = format!("/proc/self/task/{}/syscall", id.load(Ordering::Relaxed));
                std::fs::read_to_string(path).is_ok_and(|call| call.starts_with(&futex))
            };
            while !is_waiting() {
                thread::yield_now();
            }
            waiting
        });
        assert_eq!(waiting.join().unwrap(), libc::EOWNERDEAD);
    });
} }

isolated! { fn a_block_with_more_robust_mutexes_than_the_kernel_looks_at_is_not_used_again() {
    const LIMIT: usize = 2048;
    for (count, reused) in [(LIMIT - 1, true), (LIMIT + 1, false)] {
        let mut greenlet = Greenlet::new();
        // Leaked: a block that is not used again has them on its list.
        let mutexes: &Robust = Box::leak(Box::new(Robust::new(count)));
        greenlet.live(|| (0..count).for_each(|index| assert_eq!(mutexes.lock(index), 0)));
        assert_eq!(greenlet.renew(), reused);
    }
} }

isolated! { fn blocks_that_come_and_go_leak_nothing() {
    let support = worker::support();
    let slot = worker::Slot::new(1 << 16);
    // SAFETY: takes nothing.
    let in_use = || unsafe { libc::mallinfo2().uordblks };
    let live = || {
        // SAFETY: the slot is ours, and zero again at the end; the block is destroyed before.
        unsafe {
            let mut block = support.create(slot.range().end, slot.range()).unwrap();
            for _ in 0..3 {
                worker::run(block.thread_pointer(), || {
                    crate::tls::enter();
                    COUNTED.with(|_| ());
                    drop(vec![thread::current().id(); 100]);
                    crate::tls::leave();
                });
                assert!(block.renew());
            }
            block.destroy();
            let start = ptr::with_exposed_provenance_mut::<u8>(slot.range().start);
            start.write_bytes(0, slot.range().len());
        }
    };
    live();
    let before = in_use();
    (0..1000).for_each(|_| live());
    assert!(in_use() < before + 4096, "{} bytes more", in_use() - before);
} }
