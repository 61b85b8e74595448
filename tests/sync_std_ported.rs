//! std's tests of its locks, anew: on plain threads and in greenlets on 1, 2 and 8 hubs.
//!
//! The names are those of library/std/tests/sync in rust-lang/rust. Where that has a test of the same name for
//! two types, the name here begins with the type.

mod support;

use greenlet::std;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::channel;
use std::sync::{
    Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock, RwLockReadGuard,
    RwLockWriteGuard, TryLockError,
};
use std::thread;
use std::time::Duration;

use support::sockets::everywhere;

#[derive(Eq, PartialEq, Debug)]
struct NonCopy(i32);

struct CountsDrops(Arc<AtomicUsize>);

impl Drop for CountsDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn spawn_and_wait<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    thread::spawn(f).join().unwrap()
}

fn panics(f: impl FnOnce()) -> bool {
    panic::catch_unwind(AssertUnwindSafe(f)).is_err()
}

fn quiet_panic() -> ! {
    panic::resume_unwind(Box::new("meant"))
}

// mutex.rs

#[test]
fn mutex_smoke() {
    everywhere(|| {
        let m = Mutex::new(());
        drop(m.lock().unwrap());
        drop(m.lock().unwrap());
    });
}

#[test]
fn lots_and_lots() {
    everywhere(|| {
        const J: u32 = 1000;
        const K: u32 = 3;
        let m = Arc::new(Mutex::new(0));
        let (tx, rx) = channel();
        for _ in 0..2 * K {
            let (tx, m) = (tx.clone(), m.clone());
            thread::spawn(move || {
                for _ in 0..J {
                    *m.lock().unwrap() += 1;
                }
                tx.send(()).unwrap();
            });
        }
        drop(tx);
        for _ in 0..2 * K {
            rx.recv().unwrap();
        }
        assert_eq!(*m.lock().unwrap(), J * K * 2);
    });
}

#[test]
fn try_lock() {
    everywhere(|| {
        let m = Mutex::new(());
        *m.try_lock().unwrap() = ();
    });
}

#[test]
fn mutex_test_into_inner() {
    assert_eq!(Mutex::new(NonCopy(10)).into_inner().unwrap(), NonCopy(10));
}

#[test]
fn mutex_test_into_inner_drop() {
    let drops = Arc::new(AtomicUsize::new(0));
    let m = Mutex::new(CountsDrops(drops.clone()));
    assert_eq!(drops.load(SeqCst), 0);
    {
        let _inner = m.into_inner().unwrap();
        assert_eq!(drops.load(SeqCst), 0);
    }
    assert_eq!(drops.load(SeqCst), 1);
}

#[test]
fn mutex_test_get_mut() {
    let mut m = Mutex::new(NonCopy(10));
    *m.get_mut().unwrap() = NonCopy(20);
    assert_eq!(m.into_inner().unwrap(), NonCopy(20));
}

#[test]
fn test_mutex_arc_nested() {
    everywhere(|| {
        let arc = Arc::new(Mutex::new(1));
        let arc2 = Arc::new(Mutex::new(arc));
        let (tx, rx) = channel();
        let _t = thread::spawn(move || {
            let lock = arc2.lock().unwrap();
            assert_eq!(*lock.lock().unwrap(), 1);
            tx.send(()).unwrap();
        });
        rx.recv().unwrap();
    });
}

#[test]
fn test_mutex_unsized() {
    let mutex: &Mutex<[i32]> = &Mutex::new([1, 2, 3]);
    {
        let b = &mut *mutex.lock().unwrap();
        b[0] = 4;
        b[2] = 5;
    }
    assert_eq!(&*mutex.lock().unwrap(), &[4, 2, 5]);
}

#[test]
fn test_mutex_arc_access_in_unwind() {
    everywhere(|| {
        struct Unwinder(Arc<Mutex<i32>>);
        impl Drop for Unwinder {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        let arc = Arc::new(Mutex::new(1));
        let arc2 = arc.clone();
        let _ = thread::spawn(move || {
            let _u = Unwinder(arc2);
            quiet_panic();
        })
        .join();
        assert_eq!(*arc.lock().unwrap(), 2);
    });
}

fn new_poisoned_mutex<T>(value: T) -> Mutex<T> {
    let mutex = Mutex::new(value);
    assert!(panics(|| {
        let _guard = mutex.lock().unwrap();
        quiet_panic();
    }));
    assert!(mutex.is_poisoned());
    mutex
}

#[test]
fn mutex_test_into_inner_poison() {
    everywhere(|| {
        let error = new_poisoned_mutex(NonCopy(10)).into_inner().unwrap_err();
        assert_eq!(error.into_inner(), NonCopy(10));
    });
}

#[test]
fn mutex_test_get_mut_poison() {
    everywhere(|| {
        let mut m = new_poisoned_mutex(NonCopy(10));
        assert_eq!(*m.get_mut().unwrap_err().into_inner(), NonCopy(10));
    });
}

#[test]
fn test_mutex_arc_poison() {
    everywhere(|| {
        let arc = Arc::new(Mutex::new(1));
        assert!(!arc.is_poisoned());
        let arc2 = arc.clone();
        let _ = thread::spawn(move || {
            let _lock = arc2.lock().unwrap();
            quiet_panic();
        })
        .join();
        assert!(arc.lock().is_err());
        assert!(arc.is_poisoned());
        assert!(matches!(arc.try_lock(), Err(TryLockError::Poisoned(_))));
    });
}

#[test]
fn mutex_debug_is_stds() {
    let (ours, theirs) = (Mutex::new(5), ::std::sync::Mutex::new(5));
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    let (our_guard, their_guard) = (ours.lock().unwrap(), theirs.lock().unwrap());
    assert_eq!(format!("{ours:#?}"), format!("{theirs:#?}"));
    assert_eq!(
        format!("{our_guard:?} {our_guard:3}"),
        format!("{their_guard:?} {their_guard:3}")
    );
}

// condvar.rs

#[test]
fn condvar_smoke() {
    everywhere(|| {
        let c = Condvar::new();
        c.notify_one();
        c.notify_all();
    });
}

#[test]
fn notify_one() {
    everywhere(|| {
        let pair = Arc::new((Mutex::new(()), Condvar::new()));
        let pair2 = pair.clone();
        let g = pair.0.lock().unwrap();
        let _t = thread::spawn(move || {
            let _g = pair2.0.lock().unwrap();
            pair2.1.notify_one();
        });
        drop(pair.1.wait(g).unwrap());
    });
}

#[test]
fn notify_all() {
    everywhere(|| {
        const N: usize = 10;
        let data = Arc::new((Mutex::new(0), Condvar::new()));
        let (tx, rx) = channel();
        for _ in 0..N {
            let (data, tx) = (data.clone(), tx.clone());
            thread::spawn(move || {
                let (lock, cond) = &*data;
                let mut count = lock.lock().unwrap();
                *count += 1;
                if *count == N {
                    tx.send(()).unwrap();
                }
                while *count != 0 {
                    count = cond.wait(count).unwrap();
                }
                tx.send(()).unwrap();
            });
        }
        drop(tx);
        let (lock, cond) = &*data;
        rx.recv().unwrap();
        let mut count = lock.lock().unwrap();
        *count = 0;
        cond.notify_all();
        drop(count);
        for _ in 0..N {
            rx.recv().unwrap();
        }
    });
}

#[test]
fn test_mutex_arc_condvar() {
    everywhere(|| {
        let packet = Arc::new((Mutex::new(false), Condvar::new()));
        let packet2 = packet.clone();
        let (tx, rx) = channel();
        let _t = thread::spawn(move || {
            rx.recv().unwrap();
            let (lock, condvar) = &*packet2;
            *lock.lock().unwrap() = true;
            condvar.notify_one();
        });
        let (lock, condvar) = &*packet;
        let mut guard = lock.lock().unwrap();
        tx.send(()).unwrap();
        assert!(!*guard);
        while !*guard {
            guard = condvar.wait(guard).unwrap();
        }
    });
}

#[test]
fn wait_while() {
    everywhere(|| {
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let pair2 = pair.clone();
        thread::spawn(move || {
            *pair2.0.lock().unwrap() = true;
            pair2.1.notify_one();
        });
        let guard = pair
            .1
            .wait_while(pair.0.lock().unwrap(), |started| !*started);
        assert!(*guard.unwrap());
    });
}

#[test]
fn wait_timeout_wait() {
    everywhere(|| {
        let (m, c) = (Mutex::new(()), Condvar::new());
        loop {
            let g = m.lock().unwrap();
            let (_g, result) = c.wait_timeout(g, Duration::from_millis(1)).unwrap();
            if result.timed_out() {
                break;
            }
        }
    });
}

#[test]
fn wait_timeout_while_wait() {
    everywhere(|| {
        let (m, c) = (Mutex::new(()), Condvar::new());
        let g = m.lock().unwrap();
        let waited = c.wait_timeout_while(g, Duration::from_millis(1), |()| true);
        assert!(waited.unwrap().1.timed_out());
    });
}

#[test]
fn wait_timeout_while_instant_satisfy() {
    everywhere(|| {
        let (m, c) = (Mutex::new(()), Condvar::new());
        let g = m.lock().unwrap();
        let waited = c.wait_timeout_while(g, Duration::ZERO, |()| false);
        assert!(!waited.unwrap().1.timed_out());
    });
}

#[test]
fn wait_timeout_while_wake() {
    everywhere(|| {
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let pair2 = pair.clone();
        let g = pair.0.lock().unwrap();
        let _t = thread::spawn(move || {
            let mut started = pair2.0.lock().unwrap();
            thread::sleep(Duration::from_millis(1));
            *started = true;
            pair2.1.notify_one();
        });
        let forever = Duration::from_millis(u64::MAX);
        let (g, waited) = pair
            .1
            .wait_timeout_while(g, forever, |notified| !*notified)
            .unwrap();
        assert!(!waited.timed_out());
        assert!(*g);
    });
}

#[test]
fn wait_timeout_wake() {
    everywhere(|| {
        let pair = Arc::new((Mutex::new(()), Condvar::new()));
        loop {
            let g = pair.0.lock().unwrap();
            let notified = Arc::new(AtomicBool::new(false));
            let (pair2, notified2) = (pair.clone(), notified.clone());
            let t = thread::spawn(move || {
                let _g = pair2.0.lock().unwrap();
                thread::sleep(Duration::from_millis(1));
                notified2.store(true, Relaxed);
                pair2.1.notify_one();
            });
            let (g, result) = pair
                .1
                .wait_timeout(g, Duration::from_millis(u64::MAX))
                .unwrap();
            assert!(!result.timed_out());
            drop(g);
            t.join().unwrap();
            if notified.load(Relaxed) {
                break;
            }
        }
    });
}

// rwlock.rs

#[test]
fn rwlock_smoke() {
    everywhere(|| {
        let l = RwLock::new(());
        drop(l.read().unwrap());
        drop(l.write().unwrap());
        drop((l.read().unwrap(), l.read().unwrap()));
        drop(l.write().unwrap());
    });
}

#[test]
fn frob() {
    everywhere(|| {
        const N: u32 = 10;
        let r = Arc::new(RwLock::new(()));
        let (tx, rx) = channel::<()>();
        for thread in 0..N {
            let (tx, r) = (tx.clone(), r.clone());
            thread::spawn(move || {
                // A generator of numbers that do not look alike.
                let mut random = thread + 1;
                for _ in 0..1000 {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if (random >> 16) % N == 0 {
                        drop(r.write().unwrap());
                    } else {
                        drop(r.read().unwrap());
                    }
                }
                drop(tx);
            });
        }
        drop(tx);
        let _ = rx.recv();
    });
}

#[test]
fn test_rw_arc() {
    everywhere(|| {
        let arc = Arc::new(RwLock::new(0));
        let arc2 = arc.clone();
        let (tx, rx) = channel();
        thread::spawn(move || {
            let mut lock = arc2.write().unwrap();
            for _ in 0..10 {
                let number = *lock;
                *lock = -1;
                thread::yield_now();
                *lock = number + 1;
            }
            tx.send(()).unwrap();
        });
        let children: Vec<_> = (0..5)
            .map(|_| {
                let arc = arc.clone();
                thread::spawn(move || assert!(*arc.read().unwrap() >= 0))
            })
            .collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        rx.recv().unwrap();
        assert_eq!(*arc.read().unwrap(), 10);
    });
}

#[test]
fn test_rw_arc_access_in_unwind() {
    everywhere(|| {
        struct Unwinder(Arc<RwLock<isize>>);
        impl Drop for Unwinder {
            fn drop(&mut self) {
                *self.0.write().unwrap() += 1;
            }
        }
        let arc = Arc::new(RwLock::new(1));
        let arc2 = arc.clone();
        let _ = thread::spawn(move || {
            let _u = Unwinder(arc2);
            quiet_panic();
        })
        .join();
        assert_eq!(*arc.read().unwrap(), 2);
    });
}

#[test]
fn test_rwlock_unsized() {
    let rw: &RwLock<[i32]> = &RwLock::new([1, 2, 3]);
    {
        let b = &mut *rw.write().unwrap();
        b[0] = 4;
        b[2] = 5;
    }
    assert_eq!(&*rw.read().unwrap(), &[4, 2, 5]);
}

#[test]
fn rwlock_test_into_inner() {
    assert_eq!(RwLock::new(NonCopy(10)).into_inner().unwrap(), NonCopy(10));
}

#[test]
fn rwlock_test_into_inner_drop() {
    let drops = Arc::new(AtomicUsize::new(0));
    let m = RwLock::new(CountsDrops(drops.clone()));
    {
        let _inner = m.into_inner().unwrap();
        assert_eq!(drops.load(SeqCst), 0);
    }
    assert_eq!(drops.load(SeqCst), 1);
}

#[test]
fn rwlock_test_get_mut() {
    let mut m = RwLock::new(NonCopy(10));
    *m.get_mut().unwrap() = NonCopy(20);
    assert_eq!(m.into_inner().unwrap(), NonCopy(20));
}

#[test]
fn test_read_guard_covariance() {
    fn do_stuff<'a>(_: RwLockReadGuard<'_, &'a i32>, _: &'a i32) {}
    let j = 5;
    let lock = RwLock::new(&j);
    {
        let i = 6;
        do_stuff(lock.read().unwrap(), &i);
    }
}

#[test]
fn test_downgrade_basic() {
    everywhere(|| {
        let r = RwLock::new(());
        let _read_guard = RwLockWriteGuard::downgrade(r.write().unwrap());
    });
}

#[test]
fn test_downgrade_observe() {
    everywhere(|| {
        const W: usize = 20;
        const N: usize = 100;
        let rw = Arc::new(RwLock::new(0));
        let handles: Vec<_> = (0..W)
            .map(|_| {
                let rw = rw.clone();
                thread::spawn(move || {
                    for _ in 0..N {
                        let mut write_guard = rw.write().unwrap();
                        *write_guard += 1;
                        let current = *write_guard;
                        let read_guard = RwLockWriteGuard::downgrade(write_guard);
                        assert_eq!(current, *read_guard);
                    }
                })
            })
            .collect();
        handles
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
        assert_eq!(*rw.read().unwrap(), W * N);
    });
}

#[test]
fn test_downgrade_atomic() {
    everywhere(|| {
        const NEW_VALUE: i32 = -1;
        const W: usize = 20;
        let rwlock = Arc::new(RwLock::new(0));
        let mut main_write_guard = rwlock.write().unwrap();
        let handles: Vec<_> = (0..W)
            .map(|_| {
                let rwlock = rwlock.clone();
                thread::spawn(move || *rwlock.write().unwrap() += 1)
            })
            .collect();
        thread::sleep(Duration::from_millis(42));
        *main_write_guard = NEW_VALUE;
        let main_read_guard = RwLockWriteGuard::downgrade(main_write_guard);
        assert_eq!(*main_read_guard, NEW_VALUE, "`downgrade` was not atomic");
        drop(main_read_guard);
        handles
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
        assert_eq!(*rwlock.read().unwrap(), W as i32 + NEW_VALUE);
    });
}

#[test]
fn poison_test_rwlock_try_write() {
    everywhere(|| {
        let lock = RwLock::new(0);
        let read_guard = lock.read().unwrap();
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        drop(read_guard);
    });
}

fn new_poisoned_rwlock<T>(value: T) -> RwLock<T> {
    let lock = RwLock::new(value);
    assert!(panics(|| {
        let _guard = lock.write().unwrap();
        quiet_panic();
    }));
    assert!(lock.is_poisoned());
    lock
}

#[test]
fn rwlock_test_into_inner_poison() {
    everywhere(|| {
        let error = new_poisoned_rwlock(NonCopy(10)).into_inner().unwrap_err();
        assert_eq!(error.into_inner(), NonCopy(10));
    });
}

#[test]
fn rwlock_test_get_mut_poison() {
    everywhere(|| {
        let mut lock = new_poisoned_rwlock(NonCopy(10));
        assert_eq!(*lock.get_mut().unwrap_err().into_inner(), NonCopy(10));
    });
}

#[test]
fn test_rw_arc_poison_wr_and_ww() {
    everywhere(|| {
        let arc = Arc::new(RwLock::new(1));
        let arc2 = arc.clone();
        let _ = thread::spawn(move || {
            let _lock = arc2.write().unwrap();
            quiet_panic();
        })
        .join();
        assert!(arc.read().is_err());
        assert!(arc.write().is_err());
        assert!(arc.is_poisoned());
    });
}

#[test]
fn test_rw_arc_no_poison_rr_and_rw() {
    everywhere(|| {
        let arc = Arc::new(RwLock::new(1));
        let arc2 = arc.clone();
        let _ = thread::spawn(move || {
            let _lock = arc2.read().unwrap();
            quiet_panic();
        })
        .join();
        assert_eq!(*arc.read().unwrap(), 1);
        assert_eq!(*arc.write().unwrap(), 1);
        assert!(!arc.is_poisoned());
    });
}

#[test]
fn rwlock_debug_is_stds() {
    let (ours, theirs) = (RwLock::new(5), ::std::sync::RwLock::new(5));
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    let (our_guard, their_guard) = (ours.write().unwrap(), theirs.write().unwrap());
    assert_eq!(format!("{ours:#?}"), format!("{theirs:#?}"));
    assert_eq!(
        format!("{our_guard:?} {our_guard:3}"),
        format!("{their_guard:?} {their_guard:3}")
    );
}

// once.rs

#[test]
fn smoke_once() {
    everywhere(|| {
        let once = Once::new();
        let mut runs = 0;
        once.call_once(|| runs += 1);
        assert_eq!(runs, 1);
        once.call_once(|| runs += 1);
        assert_eq!(runs, 1);
    });
}

#[test]
fn stampede_once() {
    everywhere(|| {
        let both = Arc::new((Once::new(), AtomicUsize::new(0)));
        let (tx, rx) = channel();
        for _ in 0..10 {
            let (tx, both) = (tx.clone(), both.clone());
            thread::spawn(move || {
                for _ in 0..4 {
                    thread::yield_now();
                }
                both.0
                    .call_once(|| assert_eq!(both.1.fetch_add(1, Relaxed), 0));
                assert_eq!(both.1.load(Relaxed), 1);
                tx.send(()).unwrap();
            });
        }
        both.0
            .call_once(|| assert_eq!(both.1.fetch_add(1, Relaxed), 0));
        assert_eq!(both.1.load(Relaxed), 1);
        for _ in 0..10 {
            rx.recv().unwrap();
        }
    });
}

#[test]
fn poison_bad() {
    everywhere(|| {
        let once = Once::new();
        assert!(panics(|| once.call_once(|| quiet_panic())));
        assert!(panics(|| once.call_once(|| ())));
        let mut called = false;
        once.call_once_force(|state| {
            called = true;
            assert!(state.is_poisoned());
        });
        assert!(called);
        once.call_once(|| ());
    });
}

#[test]
fn wait_for_force_to_finish() {
    everywhere(|| {
        let once = Arc::new(Once::new());
        assert!(panics(|| once.call_once(|| quiet_panic())));
        let (tx1, rx1) = channel();
        let (tx2, rx2) = channel();
        let theirs = once.clone();
        let t1 = thread::spawn(move || {
            theirs.call_once_force(|state| {
                assert!(state.is_poisoned());
                tx1.send(()).unwrap();
                rx2.recv().unwrap();
            });
        });
        rx1.recv().unwrap();
        let t2 = thread::spawn(move || {
            let mut called = false;
            once.call_once(|| called = true);
            assert!(!called);
        });
        tx2.send(()).unwrap();
        assert!(t1.join().is_ok());
        assert!(t2.join().is_ok());
    });
}

#[test]
fn wait() {
    everywhere(|| {
        for _ in 0..50 {
            let value = AtomicBool::new(false);
            let once = Once::new();
            thread::scope(|s| {
                for _ in 0..4 {
                    s.spawn(|| {
                        once.wait();
                        assert!(value.load(Relaxed));
                    });
                }
                once.call_once(|| value.store(true, Relaxed));
            });
        }
    });
}

#[test]
fn wait_on_poisoned() {
    everywhere(|| {
        let once = Once::new();
        assert!(panics(|| once.call_once(|| quiet_panic())));
        assert!(panics(|| once.wait()));
    });
}

#[test]
fn wait_force_on_poisoned() {
    everywhere(|| {
        let once = Once::new();
        thread::scope(|s| {
            assert!(panics(|| once.call_once(|| quiet_panic())));
            s.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                once.call_once_force(|_| ());
            });
            once.wait_force();
        });
    });
}

// once_lock.rs

#[test]
fn sync_once_cell() {
    everywhere(|| {
        let cell = Arc::new(OnceLock::new());
        assert!(cell.get().is_none());
        let theirs = cell.clone();
        spawn_and_wait(move || {
            theirs.get_or_init(|| 92);
            assert_eq!(theirs.get(), Some(&92));
        });
        cell.get_or_init(|| unreachable!("it has a value"));
        assert_eq!(cell.get(), Some(&92));
    });
}

#[test]
fn sync_once_cell_get_mut() {
    let mut c = OnceLock::new();
    assert!(c.get_mut().is_none());
    c.set(90).unwrap();
    *c.get_mut().unwrap() += 2;
    assert_eq!(c.get_mut(), Some(&mut 92));
    assert_eq!(c.set(1), Err(1));
    assert_eq!((c.take(), c.take()), (Some(92), None));
}

#[test]
fn sync_once_cell_drop() {
    everywhere(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (x, theirs) = (OnceLock::new(), drops.clone());
        spawn_and_wait(move || {
            x.get_or_init(|| CountsDrops(theirs.clone()));
            assert_eq!(theirs.load(SeqCst), 0);
            drop(x);
        });
        assert_eq!(drops.load(SeqCst), 1);
    });
}

#[test]
fn clone() {
    let s = OnceLock::new();
    assert!(s.clone().get().is_none());
    s.set("hello".to_string()).unwrap();
    assert_eq!(s.clone().get().map(String::as_str), Some("hello"));
}

#[test]
fn from_impl() {
    assert_eq!(OnceLock::from("value").get(), Some(&"value"));
    assert_ne!(OnceLock::from("foo").get(), Some(&"bar"));
}

#[test]
fn partialeq_impl() {
    assert!(OnceLock::from("value") == OnceLock::from("value"));
    assert!(OnceLock::from("foo") != OnceLock::from("bar"));
    assert!(OnceLock::<String>::new() == OnceLock::new());
    assert!(OnceLock::<String>::new() != OnceLock::from("value".to_owned()));
}

#[test]
fn into_inner() {
    assert_eq!(OnceLock::<String>::new().into_inner(), None);
    let cell = OnceLock::new();
    cell.set("hello".to_string()).unwrap();
    assert_eq!(cell.into_inner(), Some("hello".to_string()));
}

#[test]
fn is_sync_send() {
    fn assert_traits<T: Send + Sync>() {}
    assert_traits::<OnceLock<String>>();
    assert_traits::<LazyLock<String>>();
}

#[test]
fn sync_once_cell_does_not_leak_partially_constructed_boxes() {
    everywhere(|| {
        const MSG: &str = "Hello, World";
        let cell: Arc<OnceLock<String>> = Arc::default();
        let (tx, rx) = channel();
        for _ in 0..10 {
            let (tx, cell) = (tx.clone(), cell.clone());
            thread::spawn(move || {
                loop {
                    if let Some(msg) = cell.get() {
                        return tx.send(msg.clone()).unwrap();
                    }
                }
            });
        }
        for _ in 0..3 {
            let cell = cell.clone();
            thread::spawn(move || {
                let _ = cell.set(MSG.to_owned());
            });
        }
        for _ in 0..10 {
            assert_eq!(rx.recv().unwrap(), MSG);
        }
    });
}

#[test]
fn dropck() {
    let cell = OnceLock::new();
    {
        let s = String::new();
        cell.set(&s).unwrap();
    }
}

// lazy_lock.rs

#[test]
fn sync_lazy_new() {
    everywhere(|| {
        let called = Arc::new(AtomicUsize::new(0));
        let theirs = called.clone();
        let lazy = Arc::new(LazyLock::new(move || {
            theirs.fetch_add(1, SeqCst);
            92
        }));
        assert_eq!(called.load(SeqCst), 0);
        let (lazy2, called2) = (lazy.clone(), called.clone());
        spawn_and_wait(move || {
            assert_eq!(**lazy2 - 30, 62);
            assert_eq!(called2.load(SeqCst), 1);
        });
        assert_eq!(**lazy - 30, 62);
        assert_eq!(called.load(SeqCst), 1);
    });
}

#[test]
fn sync_lazy_default() {
    static CALLED: AtomicUsize = AtomicUsize::new(0);
    struct Foo(u8);
    impl Default for Foo {
        fn default() -> Self {
            CALLED.fetch_add(1, SeqCst);
            Foo(42)
        }
    }
    let lazy: LazyLock<Mutex<Foo>> = <_>::default();
    assert_eq!(CALLED.load(SeqCst), 0);
    assert_eq!(lazy.lock().unwrap().0, 42);
    assert_eq!(CALLED.load(SeqCst), 1);
    lazy.lock().unwrap().0 = 21;
    assert_eq!(lazy.lock().unwrap().0, 21);
    assert_eq!(CALLED.load(SeqCst), 1);
}

#[test]
fn static_sync_lazy() {
    static XS: LazyLock<Vec<i32>> = LazyLock::new(|| vec![1, 2, 3]);
    everywhere(|| {
        spawn_and_wait(|| assert_eq!(&*XS, &vec![1, 2, 3]));
        assert_eq!(&*XS, &vec![1, 2, 3]);
    });
}

#[test]
fn static_sync_lazy_via_fn() {
    fn xs() -> &'static Vec<i32> {
        static XS: OnceLock<Vec<i32>> = OnceLock::new();
        XS.get_or_init(|| vec![1, 2, 3])
    }
    everywhere(|| assert_eq!(xs(), &vec![1, 2, 3]));
}

#[test]
fn lazy_type_inference() {
    let _ = LazyLock::new(|| ());
}

#[test]
fn lazy_force_mut() {
    let s = "abc".to_owned();
    let mut lazy = LazyLock::new(move || s);
    LazyLock::force_mut(&mut lazy);
    LazyLock::force_mut(&mut lazy).clear();
    assert_eq!(LazyLock::force_mut(&mut lazy), "");
    assert_eq!(LazyLock::get_mut(&mut lazy).map(|s| s.len()), Some(0));
}

#[test]
fn lazy_poisoning() {
    everywhere(|| {
        let x: LazyLock<String> = LazyLock::new(|| quiet_panic());
        for _ in 0..2 {
            assert!(panics(|| _ = x.len()));
        }
    });
}

#[test]
#[should_panic(expected = "LazyLock instance has previously been poisoned")]
fn lazy_lock_deref_panic() {
    let lazy: LazyLock<String> = LazyLock::new(|| quiet_panic());
    assert!(panics(|| _ = lazy.len()));
    let _ = &*lazy;
}

#[test]
#[should_panic(expected = "LazyLock instance has previously been poisoned")]
fn lazy_lock_deref_mut_panic() {
    let mut lazy: LazyLock<String> = LazyLock::new(|| quiet_panic());
    assert!(panics(|| LazyLock::force_mut(&mut lazy).clear()));
    let _ = &*lazy;
}

#[test]
#[should_panic(expected = "custom panic message from closure")]
fn lazy_lock_preserves_closure_panic_message() {
    let lazy: LazyLock<String> = LazyLock::new(|| panic!("custom panic message from closure"));
    let _ = &*lazy;
}

#[test]
fn once_and_lazy_debug_is_stds() {
    let (ours, theirs) = (OnceLock::new(), ::std::sync::OnceLock::new());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    ours.set(3).unwrap();
    theirs.set(3).unwrap();
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    let (ours, theirs) = (LazyLock::new(|| 3), ::std::sync::LazyLock::new(|| 3));
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    assert_eq!(*ours, *theirs);
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    let (ours, theirs) = (Once::new(), ::std::sync::Once::new());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
}

// barrier.rs

#[test]
fn test_barrier() {
    everywhere(|| {
        const N: usize = 10;
        let barrier = Arc::new(Barrier::new(N));
        let (tx, rx) = channel();
        for _ in 0..N - 1 {
            let (barrier, tx) = (barrier.clone(), tx.clone());
            thread::spawn(move || tx.send(barrier.wait().is_leader()).unwrap());
        }
        thread::sleep(Duration::from_millis(2));
        // All of them wait.
        assert!(rx.try_recv().is_err());
        let mut leaders = usize::from(barrier.wait().is_leader());
        for _ in 0..N - 1 {
            leaders += usize::from(rx.recv().unwrap());
        }
        assert_eq!(leaders, 1);
    });
}
