//! Nobody starves: yields, descriptors, timers and spawns from outside keep one hub busy in turn, and
//! each of the others goes on beside it.
//!
//! What is waited for must happen a number of times while the hub is kept busy, and the hub is kept
//! busy until it has: a test that starves somebody does not end, and its watchdog says so.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Duration;

use greenlet::Runtime;
use greenlet::net::{TcpListener, TcpStream};
use support::sockets::pair;
use support::{runtime, watched};

/// So often must it happen.
const TIMES: usize = 50;

/// What keeps a hub busy, and what is to happen beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Yields,
    Descriptors,
    Timers,
    Injector,
}

const KINDS: [Kind; 4] = [
    Kind::Yields,
    Kind::Descriptors,
    Kind::Timers,
    Kind::Injector,
];

impl Kind {
    /// How many of its kind keep a hub busy.
    fn crowd(self) -> usize {
        match self {
            Self::Yields => 100,
            Self::Descriptors => 10,
            Self::Timers => 1000,
            Self::Injector => 1,
        }
    }

    /// Does it until `stop`, and counts in `steps`: in a greenlet, but for `Injector`, which is the
    /// work of a plain thread.
    fn repeat(self, runtime: &Runtime, stop: &AtomicBool, steps: &Arc<AtomicUsize>) {
        // There is always something to read, so no read waits.
        let mut ends = (self == Self::Descriptors).then(pair);
        let live = Arc::new(AtomicUsize::new(0));
        while !stop.load(Relaxed) {
            match self {
                Self::Yields => greenlet::yield_now(),
                Self::Timers => greenlet::sleep(Duration::from_nanos(1)),
                Self::Descriptors => {
                    let (near, far) = ends.as_mut().expect("two ends");
                    near.write_all(&[0; 64]).unwrap();
                    far.read_exact(&mut [0; 64]).unwrap();
                }
                Self::Injector if live.load(Relaxed) < 500 => {
                    let (live, steps) = (live.clone(), steps.clone());
                    live.fetch_add(1, Relaxed);
                    drop(runtime.spawn(move || {
                        live.fetch_sub(1, Relaxed);
                        steps.fetch_add(1, SeqCst);
                    }));
                    continue;
                }
                Self::Injector => continue,
            }
            steps.fetch_add(1, SeqCst);
        }
    }

    /// Lets so many of the kind repeat it.
    fn start(
        self,
        runtime: &Arc<Runtime>,
        count: usize,
        stop: &Arc<AtomicBool>,
        steps: &Arc<AtomicUsize>,
    ) -> Option<thread::JoinHandle<()>> {
        let repeat = || {
            let (runtime, stop, steps) = (runtime.clone(), stop.clone(), steps.clone());
            // By a pointer that does not own it: a greenlet must not be the last one to drop it.
            let runtime = Arc::downgrade(&runtime);
            move || {
                if let Some(runtime) = runtime.upgrade() {
                    self.repeat(&runtime, &stop, &steps);
                }
            }
        };
        if self == Self::Injector {
            return Some(thread::spawn(repeat()));
        }
        (0..count).for_each(|_| drop(runtime.spawn(repeat())));
        None
    }
}

#[test]
fn whatever_keeps_a_hub_busy_everything_else_goes_on() {
    for busy in KINDS {
        for other in KINDS {
            if busy == other {
                continue;
            }
            let _watchdog = watched();
            let runtime = Arc::new(runtime(1));
            let (stop, busy_steps, steps) = <(Arc<AtomicBool>, Arc<AtomicUsize>, _)>::default();
            let mut threads =
                Vec::from_iter(busy.start(&runtime, busy.crowd(), &stop, &busy_steps));
            while busy_steps.load(SeqCst) < busy.crowd() {
                thread::sleep(Duration::from_millis(1));
            }
            threads.extend(other.start(&runtime, 1, &stop, &steps));
            let busy_before = busy_steps.load(SeqCst);
            // It happens, and so does what keeps the hub busy.
            while steps.load(SeqCst) < TIMES || busy_steps.load(SeqCst) == busy_before {
                thread::sleep(Duration::from_micros(100));
            }
            stop.store(true, SeqCst);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            while runtime.stats().greenlets > 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Echoes until the end; answers with the hubs that it ran on, and how often on each.
fn echo(mut stream: TcpStream) -> BTreeMap<usize, usize> {
    let mut hubs = BTreeMap::new();
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        // Some work, so that there is something to spread.
        for n in 0..2000 {
            std::hint::black_box(n);
        }
        *hubs.entry(greenlet::hub_id().unwrap()).or_default() += 1;
        stream.write_all(&buffer[..length]).unwrap();
    }
    hubs
}

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 50;

/// Echoes on connections that one greenlet accepts: how many on each hub.
fn echoes_by_hub() -> BTreeMap<usize, usize> {
    let server = runtime(2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = server.spawn(move || {
        let handles: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (stream, _) = listener.accept().unwrap();
                greenlet::spawn(move || echo(stream))
            })
            .collect();
        let mut sums = BTreeMap::<usize, usize>::new();
        for (hub, count) in handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap())
        {
            *sums.entry(hub).or_default() += count;
        }
        sums
    });
    let mut clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| std::net::TcpStream::connect(address).unwrap())
        .collect();
    for _ in 0..ROUNDS {
        for client in &mut clients {
            client.write_all(&[1; 64]).unwrap();
        }
        for client in &mut clients {
            client.read_exact(&mut [0; 64]).unwrap();
        }
    }
    drop(clients);
    let sums = accepting.join().unwrap();
    assert_eq!(sums.values().sum::<usize>(), CONNECTIONS * ROUNDS);
    sums
}

#[test]
fn the_connections_of_one_accept_loop_are_spread_over_the_hubs() {
    let _watchdog = watched();
    let least = CONNECTIONS * ROUNDS / 10;
    // On a busy machine a hub may come too late; one that never takes its part does so each time.
    let mut tries = (0..10).map(|_| echoes_by_hub());
    let spread = |sums: &BTreeMap<_, _>| sums.len() == 2 && sums.values().all(|sum| *sum >= least);
    assert!(tries.any(|sums| spread(&sums)), "{:?}", echoes_by_hub());
}
