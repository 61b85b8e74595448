//! Thousands of connections at once.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use greenlet::Runtime;
use greenlet::net::{ListenerShutdown, Shutdown, SocketAddr, TcpListener, TcpStream};
use support::sockets::{
    alone, descriptor_limit, open_descriptors, set_descriptor_limit, settle, wait_until, watchdog,
};

const CONNECTIONS: usize = 2000;

/// What a peer sends before and after the gate opens.
const HALF: usize = 50;

/// Closed until everybody is there.
#[derive(Debug, Default)]
struct Gate {
    arrived: AtomicUsize,
    open: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        self.arrived.fetch_add(1, Relaxed);
        while !self.open.load(Acquire) {
            greenlet::park();
        }
    }
}

/// Descriptors of the process that are no connection's.
const OTHERS: usize = 64;

/// Lets the process have as many descriptors as it may.
///
/// # Panics
///
/// If that is too little for all connections, of two descriptors each.
fn make_room() {
    let mut limit = descriptor_limit();
    limit.rlim_cur = limit.rlim_max;
    set_descriptor_limit(limit);
    let most = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
    let needed = 2 * CONNECTIONS + OTHERS;
    assert!(
        most >= needed,
        "the hard limit on descriptors is {most}, and this test needs {needed}: `ulimit -Hn`"
    );
}

/// How everybody is let in, and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crowd {
    /// The listener's queue takes them all. Half of them reset their connection in the end.
    HalfReset,
    /// The queue is std's: who finds it full tries again a second later. Nobody resets: after an overflow the
    /// kernel takes a client's packet that arrives behind its reset for a new connection (SYN cookies).
    Queues,
}

impl Crowd {
    fn listener(self) -> TcpListener {
        match self {
            Self::HalfReset => roomy_listener(),
            Self::Queues => short_listener(),
        }
    }

    /// How many of so many connections are reset.
    fn resets(self, connections: usize) -> usize {
        match self {
            Self::HalfReset => connections / 2,
            Self::Queues => 0,
        }
    }
}

/// A listener whose queue takes everybody.
fn roomy_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn short_listener() -> TcpListener {
    let listener = roomy_listener();
    // SAFETY: the call takes numbers only.
    let result = unsafe { libc::listen(listener.as_raw_fd(), 128) };
    assert_eq!(result, 0);
    listener
}

/// The server's end of a connection: echoes.
fn serve(stream: TcpStream) -> io::Result<u64> {
    io::copy(&mut &stream, &mut &stream)
}

/// The client's end.
fn live_and_perhaps_reset(addr: SocketAddr, gate: &Gate, resets: bool) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(&[1; HALF]).unwrap();
    stream.read_exact(&mut [0; HALF]).unwrap();
    gate.pass();
    stream.write_all(&[2; HALF]).unwrap();
    if resets {
        // With half an echo unread or on its way.
        stream.read_exact(&mut [0; HALF / 2]).unwrap();
        stream.set_linger(Some(Duration::ZERO)).unwrap();
        return;
    }
    let mut echo = [0; HALF];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(echo, [2; HALF]);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// All connections from their beginning to their end.
fn round(connections: usize, crowd: Crowd) {
    let listener = crowd.listener();
    let resets = crowd.resets(connections);
    let addr = listener.local_addr().unwrap();
    let listener = Arc::new(listener);
    let gate = Arc::new(Gate::default());
    let accepting = greenlet::spawn({
        let listener = listener.clone();
        move || {
            let mut serving = Vec::new();
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => serving.push(greenlet::spawn(move || serve(stream))),
                    Err(error) if ListenerShutdown::is(&error) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            serving
        }
    });
    let clients: Vec<_> = (0..connections)
        .map(|i| {
            let gate = gate.clone();
            let resets = i % 2 == 0 && i / 2 < resets;
            greenlet::spawn(move || live_and_perhaps_reset(addr, &gate, resets))
        })
        .collect();

    // All at once: each has been connected, accepted and answered.
    wait_until(|| gate.arrived.load(Relaxed) == connections);
    assert!(open_descriptors() >= 2 * connections);
    assert!(greenlet::stats().unwrap().greenlets as usize >= 2 * connections);
    gate.open.store(true, Release);
    for client in &clients {
        client.thread().unpark();
    }
    for client in clients {
        client.join().unwrap();
    }

    listener.shutdown().unwrap();
    let serving = accepting.join().unwrap();
    assert_eq!(serving.len(), connections);
    let (mut well, mut reset) = (0, 0);
    for served in serving {
        match served.join().unwrap() {
            Ok(bytes) => well += usize::from(bytes == 2 * HALF as u64),
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                    "{kind:?}"
                );
                reset += 1;
            }
        }
    }
    assert_eq!((well, reset), (connections - resets, resets));
}

/// Rounds on a runtime of its own, after each of which nothing is left.
fn rounds_on(hubs: usize, rounds: usize, crowd: Crowd) {
    let _watchdog = watchdog();
    make_room();
    let runtime = Runtime::builder().hubs(hubs).build().unwrap();
    runtime.run(|| {
        round(8, crowd);
        let before = open_descriptors();
        for _ in 0..rounds {
            round(CONNECTIONS, crowd);
            assert_eq!(open_descriptors(), before);
            // The end of a greenlet is counted a little after its join.
            wait_until(|| greenlet::stats().unwrap().greenlets == 1);
            assert_eq!(greenlet::stats().unwrap().descriptors, 0);
        }
    });
    wait_until(|| runtime.stats().greenlets == 0);
}

#[test]
fn two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_one_hub() {
    alone(
        "two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_one_hub",
        || rounds_on(1, 3, Crowd::HalfReset),
    );
}

#[test]
fn two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_two_hubs() {
    alone(
        "two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_two_hubs",
        || rounds_on(2, 3, Crowd::HalfReset),
    );
}

#[test]
fn two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_eight_hubs() {
    alone(
        "two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_eight_hubs",
        || rounds_on(8, 3, Crowd::HalfReset),
    );
}

#[test]
fn a_listener_s_queue_that_is_too_short_makes_connecting_slow_but_not_impossible() {
    alone(
        "a_listener_s_queue_that_is_too_short_makes_connecting_slow_but_not_impossible",
        || rounds_on(1, 1, Crowd::Queues),
    );
}

#[test]
fn dropping_the_runtime_closes_all_connections() {
    alone("dropping_the_runtime_closes_all_connections", || {
        let _watchdog = watchdog();
        make_room();
        let connections = CONNECTIONS / 2;
        // The first run opens what the process keeps.
        Runtime::builder().hubs(1).build().unwrap().run(|| ());
        for hubs in [1, 2, 8] {
            let before = open_descriptors();
            let runtime = Runtime::builder().hubs(hubs).build().unwrap();
            runtime.run(move || {
                let listener = roomy_listener();
                let addr = listener.local_addr().unwrap();
                let waiting = Arc::new(AtomicUsize::new(0));
                for _ in 0..connections {
                    let waiting = waiting.clone();
                    greenlet::spawn(move || {
                        let mut stream = TcpStream::connect(addr).unwrap();
                        waiting.fetch_add(1, Relaxed);
                        stream.read(&mut [0])
                    });
                }
                greenlet::spawn(move || {
                    for stream in listener.incoming() {
                        greenlet::spawn(move || serve(stream.unwrap()));
                    }
                });
                wait_until(|| waiting.load(Relaxed) == connections);
                // Accepted, too.
                wait_until(|| open_descriptors() > 2 * connections);
                settle();
            });
            drop(runtime);
            assert_eq!(open_descriptors(), before);
        }
    });
}
