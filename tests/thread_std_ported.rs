//! What std's tests of `std::thread` claim (`library/std/src/thread/tests.rs`), under the same names,
//! of our `thread`: on plain threads and in greenlets.
//!
//! Left out: what only miri can see.

mod support;

use std::any::Any;
use std::ffi::CStr;
use std::panic::{panic_any, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};

use greenlet::thread::{self, Builder, Scope, ThreadId};
use greenlet::time::Duration;
use support::Flag;
use support::sockets::everywhere;

#[test]
fn test_unnamed_thread() {
    everywhere(|| {
        let name = thread::spawn(|| thread::current().name().map(String::from));
        assert_eq!(name.join().unwrap(), None);
    });
}

#[test]
fn test_named_thread_truncation() {
    everywhere(|| {
        let long = ["test_named_thread_truncation"; 20].join(" ");
        let expected = long.clone();
        let named = Builder::new().name(long).spawn(move || {
            assert_eq!(thread::current().name(), Some(&*expected));
            let mut name = vec![0u8; expected.len() + 1];
            // SAFETY: there is room for as many bytes as it says.
            let result = unsafe {
                let this = libc::pthread_self();
                libc::pthread_getname_np(this, name.as_mut_ptr().cast(), name.len())
            };
            assert_eq!(result, 0);
            let name = CStr::from_bytes_until_nul(&name).unwrap().to_bytes();
            assert!(!name.is_empty() && expected.as_bytes().starts_with(name));
        });
        named.unwrap().join().unwrap();
    });
}

#[test]
fn test_named_thread() {
    everywhere(|| {
        let named = Builder::new().name("ada lovelace".into());
        let name = named.spawn(|| thread::current().name().map(String::from));
        assert_eq!(name.unwrap().join().unwrap().unwrap(), "ada lovelace");
    });
}

#[test]
#[should_panic(expected = "null bytes")]
fn test_invalid_named_thread() {
    let _ = Builder::new().name("ada l\0velace".into()).spawn(|| {});
}

#[test]
fn test_is_finished() {
    everywhere(|| {
        let flag = Arc::new(Flag::default());
        let waiting = thread::spawn({
            let flag = flag.clone();
            move || {
                flag.wait();
                1234
            }
        });
        assert!(!waiting.is_finished());
        flag.raise();
        while !waiting.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(waiting.join().unwrap(), 1234);
    });
}

#[test]
fn test_spawn_sched() {
    /// A chain of threads, each of which starts the next.
    fn start(left: u32, last: Arc<Flag>) {
        thread::spawn(move || match left {
            0 => last.raise(),
            _ => start(left - 1, last),
        });
    }
    everywhere(|| {
        let last = Arc::new(Flag::default());
        start(10, last.clone());
        last.wait();
    });
}

#[test]
fn test_avoid_copying_the_body_spawn() {
    everywhere(|| {
        let boxed = Box::new(1);
        let before = &raw const *boxed as usize;
        let after = thread::spawn(move || &raw const *boxed as usize);
        assert_eq!(after.join().unwrap(), before);
    });
}

#[test]
fn test_child_doesnt_ref_parent() {
    /// Ends once so many generations have begun.
    static BORN: AtomicU32 = AtomicU32::new(0);
    fn child(generation: u32) {
        BORN.fetch_add(1, Relaxed);
        if generation < 8000 {
            thread::spawn(move || child(generation + 1));
        }
    }
    everywhere(|| {
        BORN.store(0, Relaxed);
        child(0);
        while BORN.load(Relaxed) <= 8000 {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// The payload of a thread that ends with it, without a message.
fn payload<T: Any + Send>(value: T) -> Box<dyn Any + Send> {
    let ended: thread::Result<()> = thread::spawn(|| resume_unwind(Box::new(value))).join();
    ended.unwrap_err()
}

#[test]
fn test_try_panic_message_string_literal() {
    everywhere(|| {
        let payload = payload("static string");
        assert_eq!(*payload.downcast::<&str>().unwrap(), "static string");
    });
}

#[test]
fn test_try_panic_any_message_owned_str() {
    everywhere(|| {
        let payload = payload("owned string".to_string());
        assert_eq!(*payload.downcast::<String>().unwrap(), "owned string");
    });
}

#[test]
fn test_try_panic_any_message_any() {
    everywhere(|| {
        let payload = payload(Box::new(413_u16) as Box<dyn Any + Send>);
        let inner = payload.downcast::<Box<dyn Any + Send>>().unwrap();
        assert_eq!(*inner.downcast::<u16>().unwrap(), 413);
    });
}

#[test]
fn test_try_panic_any_message_unit_struct() {
    struct Juju;
    everywhere(|| {
        assert!(payload(Juju).is::<Juju>());
        // Told on standard error, as panics are.
        let ended: thread::Result<()> = thread::spawn(|| panic_any(Juju)).join();
        assert!(ended.unwrap_err().is::<Juju>());
    });
}

#[test]
fn test_park_unpark_before() {
    everywhere(|| {
        for _ in 0..10 {
            thread::current().unpark();
            thread::park();
        }
    });
}

#[test]
fn test_park_unpark_called_other_thread() {
    everywhere(|| {
        for _ in 0..10 {
            let parked = thread::current();
            let unparks = thread::spawn(move || {
                thread::sleep(Duration::from_millis(2));
                parked.unpark();
            });
            thread::park();
            unparks.join().unwrap();
        }
    });
}

#[test]
fn test_park_timeout_unpark_before() {
    everywhere(|| {
        for _ in 0..10 {
            thread::current().unpark();
            thread::park_timeout(Duration::from_millis(u32::MAX.into()));
        }
    });
}

#[test]
fn test_park_timeout_unpark_not_called() {
    everywhere(|| {
        for _ in 0..10 {
            thread::park_timeout(Duration::from_millis(1));
        }
    });
}

#[test]
fn test_park_timeout_unpark_called_other_thread() {
    everywhere(|| {
        for _ in 0..10 {
            let parked = thread::current();
            let unparks = thread::spawn(move || {
                thread::sleep(Duration::from_millis(2));
                parked.unpark();
            });
            thread::park_timeout(Duration::from_millis(u32::MAX.into()));
            unparks.join().unwrap();
        }
    });
}

#[test]
fn test_size_of_option_thread_id() {
    assert_eq!(size_of::<Option<ThreadId>>(), size_of::<ThreadId>());
}

#[test]
fn test_thread_id_equal() {
    everywhere(|| assert_eq!(thread::current().id(), thread::current().id()));
}

#[test]
fn test_thread_id_not_equal() {
    everywhere(|| {
        let other = thread::spawn(|| thread::current().id());
        assert_ne!(other.join().unwrap(), thread::current().id());
    });
}

#[test]
fn test_scoped_threads_drop_result_before_join() {
    struct SpawnsWhenDropped<'scope, 'env>(&'scope Scope<'scope, 'env>, &'env AtomicBool);
    impl Drop for SpawnsWhenDropped<'_, '_> {
        fn drop(&mut self) {
            let finished = self.1;
            thread::sleep(Duration::from_millis(2));
            self.0.spawn(move || {
                thread::sleep(Duration::from_millis(2));
                finished.store(true, Relaxed);
            });
        }
    }
    everywhere(|| {
        let finished = &AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(2));
                SpawnsWhenDropped(scope, finished)
            });
        });
        assert!(finished.load(Relaxed));
    });
}

#[test]
fn test_scoped_threads_nll() {
    // That this compiles, with a match that only borrows, is the claim.
    #[allow(clippy::match_single_binding)]
    fn borrow(x: &u8) {
        thread::scope(|scope| {
            scope.spawn(|| match x {
                _ => (),
            });
        });
    }
    everywhere(|| borrow(&42));
}
