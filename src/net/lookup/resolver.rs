//! Who asks for a name, once for all that want to know at the same time.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::cache::Cache;
use super::pending::{Pending, timed_out};
use crate::blocking;
use crate::lock::StaticMutex;
use crate::sched;
use crate::sys::clock;

/// Blocks its thread until it knows the addresses of a name.
type Ask = fn(&str) -> io::Result<Vec<SocketAddr>>;

#[derive(Debug)]
pub(super) struct Resolver {
    ask: Ask,
    state: StaticMutex<State>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    /// Lookups that go on. Each one goes when it has its answer, in the moment in which the answer
    /// comes into the cache.
    pending: BTreeMap<String, Arc<Pending>>,
    /// The process that began those lookups; 0 before the first. A forked child has none of the
    /// threads that would answer them.
    process: u32,
}

impl Resolver {
    pub(super) const fn new(ask: Ask) -> Self {
        Self {
            ask,
            state: StaticMutex::new(State {
                cache: Cache::new(),
                pending: BTreeMap::new(),
                process: 0,
            }),
        }
    }

    pub(super) fn set_ttl(&self, ttl: Duration) {
        self.state.lock().cache.set_ttl(ttl);
    }

    /// The addresses of `host`, from the cache or from the system.
    pub(super) fn resolve(
        &'static self,
        host: &str,
        deadline: Option<Instant>,
    ) -> io::Result<Vec<SocketAddr>> {
        let deadline = deadline.map(clock::at);
        loop {
            match self.answer(host, deadline)? {
                Answer::Found(addrs) => return Ok(addrs.to_vec()),
                Answer::Failed(failure) => return Err(failure.to_error()),
                Answer::Abandoned => {}
            }
        }
    }

    fn answer(&'static self, host: &str, deadline: Option<u64>) -> io::Result<Answer> {
        let (pending, begun) = {
            let mut state = self.state.lock();
            if let Some(answer) = state.cache.get(host, clock::now()) {
                return Ok(answer);
            }
            state.join_or_begin(host)
        };
        if !begun {
            return pending.wait(deadline);
        }
        let lookup = Lookup {
            resolver: self,
            host: host.to_owned(),
            pending: pending.clone(),
            answer: Answer::Abandoned,
        };
        if deadline.is_none() && !sched::on_greenlet() {
            // A plain thread that has the time asks for itself.
            return Ok(lookup.run());
        }
        // The pool may be so busy that there is no place.
        if !blocking::start(deadline, Box::new(move || drop(lookup.run()))) {
            return Err(timed_out());
        }
        pending.wait(deadline)
    }
}

impl State {
    /// The lookup of `host` that goes on; or a new one, which the caller has begun (true).
    fn join_or_begin(&mut self, host: &str) -> (Arc<Pending>, bool) {
        if self.cache.is_off() {
            return (Arc::default(), true);
        }
        let process = process::id();
        if self.process != process {
            self.process = process;
            self.pending.clear();
        }
        if let Some(pending) = self.pending.get(host) {
            return (pending.clone(), false);
        }
        let pending = Arc::<Pending>::default();
        self.pending.insert(host.to_owned(), pending.clone());
        (pending, true)
    }
}

/// A lookup that was begun, and ends when this is dropped: also if nobody ever asks, because who was
/// to do so was cancelled, or had no more time.
struct Lookup {
    resolver: &'static Resolver,
    host: String,
    pending: Arc<Pending>,
    answer: Answer,
}

impl Lookup {
    fn run(mut self) -> Answer {
        self.answer = (self.resolver.ask)(&self.host).into();
        self.answer.clone()
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        {
            let mut state = self.resolver.state.lock();
            state.cache.insert(&self.host, &self.answer, clock::now());
            let is_this = |pending: &mut Arc<Pending>| Arc::ptr_eq(pending, &self.pending);
            if state.pending.get_mut(&self.host).is_some_and(is_this) {
                state.pending.remove(&self.host);
            }
        }
        self.pending.complete(self.answer.clone());
    }
}
