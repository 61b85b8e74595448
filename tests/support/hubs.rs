//! Runtimes of different sizes, and moves between their hubs.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use greenlet::{Builder, Runtime};

use super::watchdog::Watchdog;

/// One hub, where nothing moves; two, which is what the machine has; more than it has.
const HUBS: [usize; 3] = [1, 2, 8];

/// No test takes this long, not on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(60);

/// A watchdog for the present test.
pub(crate) fn watched() -> Watchdog {
    Watchdog::arm(LIMIT, thread::current().name().unwrap_or("of this thread"))
}

/// A runtime that the monitor leaves alone: it would make good for a wake-up that was lost, and it
/// opens descriptors where a test counts them.
pub(crate) fn runtime(hubs: usize) -> Runtime {
    Runtime::builder()
        .hubs(hubs)
        .blocked_after(Duration::from_secs(3600))
        .build()
        .expect("a runtime")
}

/// Runs `body` beside fresh runtimes of 1, 2 and 8 hubs, each watched up to its end.
pub(crate) fn with_hubs(body: impl Fn(&Runtime)) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    for hubs in HUBS {
        let _watchdog = Watchdog::arm(LIMIT, &format!("{test}, on {hubs} hubs"));
        let runtime = runtime(hubs);
        body(&runtime);
    }
}

/// Runs `body`, which is told the number of hubs, in a greenlet of runtimes of 1, 2 and 8 hubs.
pub(crate) fn on_hubs(body: impl Fn(usize) + Sync) {
    with_hubs(|runtime| runtime.run(|| body(runtime.hubs())));
}

/// Takes the calling greenlet to hub `to`, by a park that a greenlet pinned there ends: who was
/// woken runs next, on the hub of who woke it.
pub(crate) fn go_to_hub(to: usize) {
    while greenlet::hub_id() != Some(to) {
        let me = greenlet::current();
        let waker = Builder::new().hub(to).spawn(move || me.unpark());
        greenlet::park();
        drop(waker.expect("the hub exists"));
    }
}

/// How a greenlet lets others run in the middle of something.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// By yields and a park; it comes back to where the scheduler likes.
    Anyhow,
    /// By parks that take it to the next hub, of so many, and not back.
    Moving(usize),
}

impl Wait {
    pub(crate) fn now(self) {
        match self {
            Self::Anyhow => {
                greenlet::yield_now();
                greenlet::sleep(Duration::from_micros(10));
                greenlet::yield_now();
            }
            Self::Moving(hubs) => {
                let hub = greenlet::hub_id().expect("it is a greenlet");
                go_to_hub((hub + 1) % hubs);
            }
        }
    }
}

/// Runs `body` on 1, 2 and 8 hubs: without moves, with those that happen, and with moves at every
/// wait.
pub(crate) fn with_and_without_moves(body: impl Fn(Wait) + Sync) {
    on_hubs(|hubs| {
        body(Wait::Anyhow);
        if hubs > 1 {
            body(Wait::Moving(hubs));
        }
    });
}

/// Runs `body` in `count` greenlets at once, each of which is told its number.
pub(crate) fn at_once(count: usize, body: impl Fn(usize) + Send + Sync + 'static) {
    let body = Arc::new(body);
    let greenlets: Vec<_> = (0..count)
        .map(|number| {
            let body = body.clone();
            greenlet::spawn(move || body(number))
        })
        .collect();
    greenlets
        .into_iter()
        .for_each(|greenlet| greenlet.join().unwrap());
}
