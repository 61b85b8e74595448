//! Locks of the C library that ask who is calling.

use std::cell::UnsafeCell;
use std::thread;

use super::worker::{self, Greenlet};
use crate::sys::recursive_mutex::RecursiveMutex;

/// Calls `function` on the block at `tp`, from another OS thread.
fn elsewhere<R: Send>(tp: usize, function: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(|| worker::run(tp, function)).join().unwrap())
}

fn excludes_and_moves(kind: libc::c_int) {
    let (a, b) = (Greenlet::new(), Greenlet::new());
    let mutex = RecursiveMutex::of_kind(kind).unwrap();
    let errno =
        |result: std::io::Result<()>| result.map_or_else(|e| e.raw_os_error(), |()| Some(0));
    a.run(|| mutex.try_lock().unwrap());
    assert_eq!(
        b.run(|| errno(mutex.try_lock())),
        Some(libc::EBUSY),
        "same worker"
    );
    assert_eq!(b.run(|| errno(mutex.unlock())), Some(libc::EPERM));
    assert_eq!(
        elsewhere(b.tp(), || errno(mutex.try_lock())),
        Some(libc::EBUSY),
        "another"
    );
    assert_eq!(
        errno(mutex.try_lock()),
        Some(libc::EBUSY),
        "the worker itself"
    );
    assert_eq!(
        elsewhere(a.tp(), || errno(mutex.unlock())),
        Some(0),
        "after a move"
    );
    assert_eq!(elsewhere(b.tp(), || errno(mutex.try_lock())), Some(0));
    assert_eq!(b.run(|| errno(mutex.unlock())), Some(0));
}

isolated! { fn a_recursive_mutex_excludes_greenlets_and_is_unlocked_after_a_move() {
    excludes_and_moves(libc::PTHREAD_MUTEX_RECURSIVE);
} }

isolated! { fn an_error_checking_mutex_excludes_greenlets_and_is_unlocked_after_a_move() {
    excludes_and_moves(libc::PTHREAD_MUTEX_ERRORCHECK);
} }

isolated! { fn a_free_rwlock_can_be_locked() {
    struct Lock(UnsafeCell<libc::pthread_rwlock_t>);
    // SAFETY: a lock is made to be used from several threads.
    unsafe impl Sync for Lock {}
    static LOCK: Lock = Lock(UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER));
    let (a, b) = (Greenlet::new(), Greenlet::new());
    // SAFETY: a static lock.
    unsafe {
        let lock = LOCK.0.get();
        a.run(|| assert_eq!(libc::pthread_rwlock_wrlock(lock), 0));
        b.run(|| assert_eq!(libc::pthread_rwlock_trywrlock(lock), libc::EBUSY));
        a.run(|| assert_eq!(libc::pthread_rwlock_wrlock(lock), libc::EDEADLK));
        elsewhere(a.tp(), || assert_eq!(libc::pthread_rwlock_unlock(LOCK.0.get()), 0));
        b.run(|| assert_eq!(libc::pthread_rwlock_rdlock(lock), 0));
        b.run(|| assert_eq!(libc::pthread_rwlock_unlock(lock), 0));
    }
} }

isolated! { fn greenlets_on_two_threads_exclude_each_other_in_the_loader() {
    // dl_iterate_phdr holds one of ld.so's own recursive locks over its callback.
    use std::sync::atomic::{AtomicUsize, Ordering};
    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    let (a, b) = (Greenlet::new(), Greenlet::new());
    let iterate = || {
        for _ in 0..2000 {
            crate::sys::dl::for_each_module(|_| {
                assert_eq!(INSIDE.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                std::hint::spin_loop();
                INSIDE.fetch_sub(1, Ordering::SeqCst);
                std::ops::ControlFlow::Continue(())
            });
        }
    };
    let (a, b) = (a.tp(), b.tp());
    thread::scope(|scope| {
        scope.spawn(|| worker::run(a, iterate));
        scope.spawn(|| worker::run(b, iterate));
    });
} }
