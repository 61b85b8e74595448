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

/// The queue of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    /// Takes everybody.
    Roomy,
    /// As std's: who finds it full tries again a second later.
    Short,
}

impl Queue {
    fn listener(self) -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if self == Self::Short {
            // SAFETY: the call takes numbers only.
            let result = unsafe { libc::listen(listener.as_raw_fd(), 128) };
            assert_eq!(result, 0);
        }
        listener
    }
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
fn round(connections: usize, queue: Queue) {
    let listener = queue.listener();
    let addr = listener.local_addr().unwrap();
    let listener = Arc::new(listener);
    let gate = Arc::new(Gate::default());
    let accepting = greenlet::spawn({
        let listener = listener.clone();
        move || {
            let mut serving = Vec::new();
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => {
                        let descriptor = stream.as_raw_fd();
                        serving.push((descriptor, greenlet::spawn(move || serve(stream))));
                    }
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
            greenlet::spawn(move || live_and_perhaps_reset(addr, &gate, i % 2 == 0))
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
    // After an overflow the kernel may take a packet that comes behind the end of a connection for a new
    // one (SYN cookies). Nobody is at its other end.
    assert!(serving.len() >= connections, "{}", serving.len());
    let ghosts = serving.len() - connections;
    assert!(ghosts == 0 || queue == Queue::Short, "{ghosts}");
    wait_until(|| {
        serving
            .iter()
            .filter(|(_, served)| served.is_finished())
            .count()
            >= connections
    });
    for (descriptor, _) in serving.iter().filter(|(_, served)| !served.is_finished()) {
        // SAFETY: takes numbers only. The descriptor is a ghost's, or of a connection that was reset.
        unsafe { libc::shutdown(*descriptor, libc::SHUT_RDWR) };
    }
    let (mut well, mut reset, mut empty) = (0, 0, 0);
    for (_, served) in serving {
        match served.join().unwrap() {
            Ok(bytes) if bytes == 2 * HALF as u64 => well += 1,
            Ok(_) => empty += 1,
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
    assert_eq!(
        (well, reset + empty),
        (connections / 2, connections - connections / 2 + ghosts)
    );
    assert!(empty <= ghosts, "{empty} of {ghosts}");
}

/// Rounds on a runtime of its own, after each of which nothing is left.
fn rounds_on(hubs: usize, rounds: usize, queue: Queue) {
    let _watchdog = watchdog();
    make_room();
    let runtime = Runtime::builder().hubs(hubs).build().unwrap();
    runtime.run(|| {
        round(8, queue);
        let before = open_descriptors();
        for _ in 0..rounds {
            round(CONNECTIONS, queue);
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
        || rounds_on(1, 3, Queue::Roomy),
    );
}

#[test]
fn two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_two_hubs() {
    alone(
        "two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_two_hubs",
        || rounds_on(2, 3, Queue::Roomy),
    );
}

#[test]
fn two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_eight_hubs() {
    alone(
        "two_thousand_connections_half_of_them_reset_leave_nothing_behind_on_eight_hubs",
        || rounds_on(8, 3, Queue::Roomy),
    );
}

#[test]
fn a_listener_s_queue_that_is_too_short_makes_connecting_slow_but_not_impossible() {
    alone(
        "a_listener_s_queue_that_is_too_short_makes_connecting_slow_but_not_impossible",
        || rounds_on(1, 1, Queue::Short),
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
                let listener = Queue::Roomy.listener();
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
