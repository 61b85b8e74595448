//! The right to a greenlet's result.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::thread;

use crate::greenlet::Greenlet;
use crate::sched::{self, Id, Shared, SpawnOptions, Spawned};

/// Waits for a greenlet and takes its result; std's [`JoinHandle`](std::thread::JoinHandle).
///
/// Dropping it detaches the greenlet, which runs on.
pub struct JoinHandle<T> {
    spawned: Spawned<T>,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(spawned: Spawned<T>) -> Self {
        Self { spawned }
    }

    /// Spawns a greenlet without any options.
    ///
    /// # Safety
    ///
    /// Those of [`sched::spawn`].
    #[inline]
    pub(crate) unsafe fn spawn<F: FnOnce() -> T>(
        shared: &Arc<Shared>,
        spawned_at: &'static Location<'static>,
        f: F,
    ) -> Self {
        let options = SpawnOptions::new(shared.slot_size, spawned_at);
        // SAFETY: the caller's promise is the same.
        Self::new(unsafe { sched::spawn(shared, options, f) })
    }

    /// Waits until the greenlet has ended, the destructors of its thread-locals included, and
    /// returns its result. In a greenlet it parks; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// `Err` with the payload of the panic that ended the greenlet, as std's. Besides: a
    /// [`Cancelled`](crate::Cancelled) if its runtime was dropped, and an [`std::io::Error`] if it
    /// never ran because there was no memory for its stack.
    ///
    /// With `panic = "abort"` there is no `Err` of the first two kinds: a panic ends the process, and
    /// the join of a greenlet that its runtime's drop has leaked **never returns**. Ask
    /// [`is_finished`](Self::is_finished) before, or join before the drop.
    ///
    /// # Panics
    ///
    /// In the greenlet itself, as std's; and inside [`on_thread_stack`](crate::on_thread_stack). Unwinds with `Cancelled` when the
    /// caller's own runtime is dropped; the greenlet is then detached.
    ///
    /// ```
    /// greenlet::run(|| {
    ///     assert_eq!(greenlet::spawn(|| 6 * 7).join().unwrap(), 42);
    ///     let failed = greenlet::spawn(|| std::panic::resume_unwind(Box::new("no"))).join();
    ///     assert_eq!(failed.unwrap_err().downcast_ref(), Some(&"no"));
    /// });
    /// ```
    pub fn join(self) -> thread::Result<T> {
        self.spawned
            .join(false)
            .unwrap_or_else(|| sched::unwind_cancelled())
    }

    /// Whether the greenlet has ended: then [`join`](Self::join) does not wait.
    pub fn is_finished(&self) -> bool {
        self.spawned.has_ended()
    }

    /// The greenlet's number.
    pub fn id(&self) -> Id {
        self.spawned.cell().id()
    }

    /// The greenlet's name.
    pub fn name(&self) -> Option<&str> {
        self.spawned.cell().name()
    }

    /// A handle to the greenlet.
    pub fn thread(&self) -> &Greenlet {
        Greenlet::from_ref(self.spawned.cell())
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("thread", self.thread())
            .finish_non_exhaustive()
    }
}
