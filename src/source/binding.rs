//! The registration of a descriptor with the reactor of a runtime that runs.

use std::io;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

use crate::interest::Interest;
use crate::lock::Mutex;
use crate::reactor::Registration;
use crate::sched;

/// At most one registration that is alive. A descriptor that outlives its runtime registers again
/// with the next one in which somebody waits for it.
#[derive(Debug, Default)]
pub(super) struct Binding {
    /// With the first runtime: for nearly every descriptor the only one.
    first: OnceLock<Arc<Registration>>,
    /// The latest, once the first one's reactor has ended. Also held while a registration is added.
    later: Mutex<Option<Arc<Registration>>>,
}

/// A registration whose reactor ran when it was asked for.
#[derive(Debug)]
pub(super) enum Bound<'a> {
    First(&'a Registration),
    Later(Arc<Registration>),
}

impl Deref for Bound<'_> {
    type Target = Registration;

    #[inline]
    fn deref(&self) -> &Registration {
        match self {
            Self::First(registration) => registration,
            Self::Later(registration) => registration,
        }
    }
}

impl Binding {
    /// The registration in a reactor that runs, if there is one.
    #[inline]
    pub(super) fn get(&self) -> Option<Bound<'_>> {
        let first = self.first.get()?;
        if first.is_dead() {
            self.get_later()
        } else {
            Some(Bound::First(first))
        }
    }

    #[cold]
    fn get_later(&self) -> Option<Bound<'_>> {
        let later = self.later.lock();
        let living = later.as_ref().filter(|later| !later.is_dead())?;
        Some(Bound::Later(living.clone()))
    }

    /// The same; makes one with the reactor of the calling greenlet's runtime if there is none.
    #[inline]
    pub(super) fn get_or_register(&self, fd: BorrowedFd<'_>) -> io::Result<Bound<'_>> {
        match self.get() {
            Some(bound) => Ok(bound),
            None => self.register(fd),
        }
    }

    #[cold]
    fn register(&self, fd: BorrowedFd<'_>) -> io::Result<Bound<'_>> {
        let mut later = self.later.lock();
        let first = self.first.get();
        let latest = later.as_ref().or(first);
        // Somebody else was faster.
        if let Some(living) = latest.filter(|latest| !latest.is_dead()) {
            return Ok(Bound::Later(living.clone()));
        }
        let runtime = sched::runtime().expect("a greenlet has a runtime");
        let registration = runtime.reactor.register(fd, latest.map_or(0, beyond))?;
        if first.is_none() {
            return Ok(Bound::First(self.first.get_or_init(|| registration)));
        }
        *later = Some(registration.clone());
        Ok(Bound::Later(registration))
    }
}

/// A count of edges that this registration does not come to, nor any before it: so no count of theirs
/// is mistaken for the next one's.
fn beyond(latest: &Arc<Registration>) -> usize {
    const ROOM: usize = 1 << 40;
    (latest.edges(Interest::Read) / ROOM + 1) * ROOM
}
