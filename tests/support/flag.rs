//! What greenlets and threads wait for: a flag, and each other.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use greenlet::Greenlet;

/// Down at first, and up for good once it was raised.
///
/// Waiting uses the token of `park`: a test that parks for other reasons checks those in a loop.
#[derive(Debug, Default)]
pub(crate) struct Flag {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    up: bool,
    waiting: Vec<Greenlet>,
}

impl Flag {
    pub(crate) fn raise(&self) {
        let waiting = {
            let mut state = self.state.lock().unwrap();
            state.up = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.iter().for_each(Greenlet::unpark);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state.lock().unwrap().up
    }

    pub(crate) fn wait(&self) {
        {
            let mut state = self.state.lock().unwrap();
            if state.up {
                return;
            }
            state.waiting.push(greenlet::current());
        }
        while !self.is_up() {
            greenlet::park();
        }
    }
}

/// Lets nobody pass before all have come. Good for one time.
#[derive(Debug)]
pub(crate) struct Barrier {
    missing: AtomicUsize,
    complete: Flag,
}

impl Barrier {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            missing: AtomicUsize::new(count),
            complete: Flag::default(),
        }
    }

    pub(crate) fn wait(&self) {
        if self.missing.fetch_sub(1, SeqCst) == 1 {
            self.complete.raise();
        }
        self.complete.wait();
    }
}
