//! Functions that run at each signal.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};

use super::Signal;
use super::listener::listen;
use crate::sched::signals;
use crate::spawn;

/// Has `f` run at each `signal` that comes from now on, in a greenlet of its own: in the runtime of the
/// caller or, outside of any, in the default one.
///
/// It is one greenlet, so `f` is never called twice at once: signals that come while it runs are counted,
/// and it is called for each. `f` may wait. It ends with the answer's drop, with its runtime, or with a panic
/// of `f`.
///
/// # Errors
///
/// Those of [`listen`].
///
/// # Panics
///
/// Those of [`spawn`](crate::spawn()).
///
/// ```
/// use greenlet::signal::{self, Signal};
///
/// greenlet::run(|| {
///     let (sender, receiver) = greenlet::sync::mpsc::channel();
///     let handler = signal::on(Signal::USER_1, move || sender.send("it came").unwrap());
///     # assert_eq!(unsafe { libc::kill(libc::getpid(), Signal::USER_1.as_raw()) }, 0);
///     # while receiver.try_recv().is_err() { greenlet::yield_now() }
///     drop(handler.unwrap());
/// });
/// ```
pub fn on<F>(signal: Signal, mut f: F) -> io::Result<Handler>
where
    F: FnMut() + Send + 'static,
{
    let signals = listen(&[signal])?;
    let over = Arc::new(AtomicBool::new(false));
    let handler = Handler {
        signal,
        over: over.clone(),
    };
    // Acquire: pairs with the Release of the drop.
    let is_over = move || over.load(Acquire);
    spawn::spawn(move || {
        while !is_over()
            && let Ok(Some(_)) = signals.wait_unless(None, &is_over)
        {
            f();
        }
    });
    Ok(handler)
}

/// While it lives, a function runs at each signal; by [`on`].
///
/// Its drop waits for nothing: the function may still be running for a signal that has come before.
/// [`forget`](std::mem::forget) it to keep the function for good.
#[must_use = "a handler that is dropped at once handles nothing"]
pub struct Handler {
    signal: Signal,
    over: Arc<AtomicBool>,
}

impl Handler {
    /// The signal.
    pub fn signal(&self) -> Signal {
        self.signal
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the greenlet.
        self.over.store(true, Release);
        signals::wake();
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("signal", &self.signal)
            .finish_non_exhaustive()
    }
}
