//! What a greenlet is to be like.

use std::io;
use std::panic::Location;
use std::sync::Arc;

use crate::join_handle::JoinHandle;
use crate::sched::{self, Shared, SpawnOptions};
use crate::stack;

/// Spawns a greenlet with a name, a stack size or a hub of its own; std's
/// [`thread::Builder`](std::thread::Builder).
///
/// ```
/// greenlet::run(|| {
///     let worker = greenlet::Builder::new()
///         .name("worker".into())
///         .stack_size(1 << 20)
///         .hub(0)
///         .spawn(|| greenlet::hub_id())?;
///     assert_eq!(worker.join().unwrap(), Some(0));
///     Ok::<(), std::io::Error>(())
/// })
/// # .unwrap()
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before `spawn`"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    hub: Option<usize>,
}

impl Builder {
    /// No name, the runtime's stack size, any hub.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the greenlet, for messages and reports. The name must not contain null bytes. `std::thread::current().name()` stays `None`,
    /// because only std can set that; ask [`current`](crate::current).
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the size of the stack in bytes of address space: the guard page and the thread-locals
    /// are part of it, and it is rounded up to a power of two. Only pages that are touched cost
    /// memory.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Pins the greenlet to a hub, for life.
    pub fn hub(mut self, hub: usize) -> Self {
        self.hub = Some(hub);
        self
    }

    /// # Safety
    ///
    /// Those of [`sched::spawn`].
    pub(crate) unsafe fn spawn_in<F, T>(
        self,
        shared: &Arc<Shared>,
        spawned_at: &'static Location<'static>,
        reserve: bool,
        f: F,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T,
    {
        // A size that was asked for may be one that cannot be had.
        let reserve = reserve || self.stack_size.is_some();
        let mut options = self.options(shared, spawned_at)?;
        if reserve {
            options.ground = Some(shared.reserve_ground(options.slot_size)?);
        }
        // SAFETY: the caller's promise; `shared` is borrowed over the call.
        Ok(JoinHandle::new(unsafe { sched::spawn(shared, options, f) }))
    }

    fn options(
        self,
        shared: &Shared,
        spawned_at: &'static Location<'static>,
    ) -> io::Result<SpawnOptions> {
        let slot_size = match self.stack_size {
            None => shared.slot_size,
            Some(size) => slot_size(shared, size)?,
        };
        if let Some(hub) = self.hub.filter(|hub| *hub >= shared.hub_count()) {
            let message = format!(
                "there is no hub {hub}: the runtime has {}",
                shared.hub_count()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let name = self.name.map(String::into_boxed_str);
        if name.as_ref().is_some_and(|name| name.contains('\0')) {
            panic!("thread name may not contain interior null bytes");
        }
        Ok(SpawnOptions {
            name,
            hub: self.hub,
            ..SpawnOptions::new(slot_size, spawned_at)
        })
    }
}

fn slot_size(shared: &Shared, size: usize) -> io::Result<usize> {
    if size < stack::MIN_SIZE {
        let message = format!(
            "a stack needs at least {} bytes, not {size}",
            stack::MIN_SIZE
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    shared.slot_size_for(size).ok_or_else(|| {
        let message = format!("a stack of {size} bytes does not fit into the address space");
        io::Error::new(io::ErrorKind::OutOfMemory, message)
    })
}
