//! A storm of signals: SIGUSR1, a thousand times a second, to the whole process.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Duration;

/// How many signals were handled.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// While it lives, signals come.
#[derive(Debug)]
#[must_use = "a storm that is dropped at once is none"]
pub(crate) struct Storm {
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Installs a handler without `SA_RESTART`, so that calls end with `EINTR`. The handler stays.
pub(crate) fn begin() -> Storm {
    extern "C" fn handle(_: libc::c_int) {
        HANDLED.fetch_add(1, Relaxed);
    }

    // SAFETY: the action is valid, and the handler only counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        let result = libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        assert_eq!(result, 0);
    }
    let over = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let over = over.clone();
        move || {
            while !over.load(Relaxed) {
                // SAFETY: the signal goes to this process, which handles it.
                unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    Storm {
        over,
        thread: Some(thread),
    }
}

impl Storm {
    /// How many signals have come.
    pub(crate) fn count(&self) -> usize {
        HANDLED.load(Relaxed)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it sends signals only");
        }
    }
}
