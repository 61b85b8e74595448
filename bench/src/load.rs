//! The load generator for servers of all peers: connections that send a request as soon as the last
//! one is answered. It is a plain epoll loop, so that it costs little.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::args::LoadOrder;
use crate::cpu;
use crate::memory;
use crate::peers::{Recording, Value};
use crate::report;
use crate::rows::Row;

const MESSAGE: [u8; 64] = [b'x'; 64];

/// A server that answers nobody for so long is broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a way of recording is measured before it is the next one's turn. Short, so that there are many: one
/// differs from the next by a tenth, however long they are. Some of the kernel's ticks, by which it counts the time of
/// another process.
const TURN: Duration = Duration::from_millis(40);

/// How long it takes a server to answer what is on its way.
const REST: Duration = Duration::from_millis(20);

/// What that gives: of each way, by the processor's time and by the wall's.
const RECORDED: [&str; 4] = [
    "echo_traced.flight",
    "echo_traced.flight.wall",
    "echo_traced.stream",
    "echo_traced.stream.wall",
];

/// Latencies that are longer count as this.
const LONGEST_NS: u64 = 100_000_000_000;

/// How long the server may get warm.
const WARM_UP: Duration = Duration::from_millis(300);

/// So many connections come and go before the server's memory is looked at.
const FIRST_CONNECTIONS: usize = 16;

/// Puts load on a server; what it has cost that server.
pub(crate) fn run(order: &LoadOrder) -> io::Result<Vec<Value>> {
    match order.job.row {
        Row::Echo => echo(order),
        Row::EchoTraced => echo_traced(order),
        Row::Conns => idle_connections(order),
        _ => Err(io::Error::other("this row has no server")),
    }
}

fn echo(order: &LoadOrder) -> io::Result<Vec<Value>> {
    let mut load = Load::connect(order.server, order.job.params.get("c"))?;
    load.run(WARM_UP.min(order.job.time))?;
    load.latencies.reset();

    let (started, before) = (Instant::now(), cpu::time_of(order.process)?);
    load.run(order.job.time)?;
    let (took, after) = (started.elapsed(), cpu::time_of(order.process)?);
    let requests = load.latencies.len() as f64;
    Ok(vec![
        ("echo.cpu", (after - before).as_secs_f64() * 1e9 / requests),
        (
            "echo.p99",
            load.latencies.value_at_quantile(0.99) as f64 / 1e3,
        ),
        ("echo.rate", requests / took.as_secs_f64()),
    ])
}

/// Takes turns within one process: processes differ by more than what recording costs.
fn echo_traced(order: &LoadOrder) -> io::Result<Vec<Value>> {
    let mut control = TcpStream::connect(order.server)?;
    control.set_read_timeout(Some(PATIENCE))?;
    let mut load = Load::connect(order.server, order.job.params.get("c"))?;
    let turns = (order.job.time.div_duration_f64(TURN) as usize).max(2);
    let mut switch = |recording: Recording| {
        control.write_all(&[recording.word(); MESSAGE.len()])?;
        // It is answered before the others are asked again: they wait.
        control.read_exact(&mut [0; MESSAGE.len()])
    };
    let processor = || cpu::time_of(order.process);
    // What a request costs: the server's processor time, and the wall's.
    let mut cost = |recording: Recording| {
        switch(recording)?;
        load.latencies.reset();
        load.run(TURN)?;
        let requests_before = load.latencies.len() as f64;
        load.latencies.reset();
        let (started, before) = (Instant::now(), processor()?);
        load.run(TURN)?;
        let (wall, after) = (started.elapsed(), processor()?);
        let requests = load.latencies.len() as f64;
        let mut times = [after - before, wall].map(|time| time.as_secs_f64());
        if recording == Recording::Stream {
            // A turn is shorter than what the stream's thread waits for: it writes what came in all of it when it is to
            // end. Whoever has no processor to spare loses that time by the wall, too.
            thread::sleep(REST);
            let rested = processor()?;
            switch(Recording::Off)?;
            let writing = (processor()? - rested).as_secs_f64();
            let all_requests = requests_before + requests + load.connections.len() as f64;
            let share = requests / all_requests;
            times = times.map(|time| time + writing * share);
        }
        Ok::<_, io::Error>(times.map(|time| time / requests))
    };
    let mut ratios = [const { Vec::new() }; RECORDED.len()];
    let mut before = cost(Recording::Off)?;
    for turn in 0..turns {
        // Before and after, and in both orders, so that what changes meanwhile does so on all sides.
        let recorded = match turn % 2 {
            0 => [cost(Recording::Flight)?, cost(Recording::Stream)?],
            _ => {
                let streamed = cost(Recording::Stream)?;
                [cost(Recording::Flight)?, streamed]
            }
        };
        let after = cost(Recording::Off)?;
        for (place, recorded) in recorded.concat().into_iter().enumerate() {
            let off = f64::midpoint(before[place % 2], after[place % 2]);
            ratios[place].push(recorded / off);
        }
        before = after;
    }
    let means = ratios.iter_mut().map(|ratios| report::midmean(ratios));
    Ok(RECORDED.into_iter().zip(means).collect())
}

fn idle_connections(order: &LoadOrder) -> io::Result<Vec<Value>> {
    let server = order.process.to_string();
    let first = connect_and_ask(order.server, FIRST_CONNECTIONS)?;
    let before = memory::resident(&server)?;
    let idle = connect_and_ask(order.server, order.job.params.get("n"))?;
    let after = memory::resident(&server)?;
    let bytes = (after - before) / idle.len() as f64;
    drop(first);
    Ok(vec![("conns.bytes", bytes)])
}

/// Opens connections, one after the other; each has a request answered, and is idle then.
fn connect_and_ask(server: SocketAddr, connections: usize) -> io::Result<Vec<TcpStream>> {
    let connect = |_| {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&MESSAGE)?;
        stream.read_exact(&mut [0; MESSAGE.len()])?;
        Ok(stream)
    };
    (0..connections).map(connect).collect()
}

/// Connections to one server, each of which has a request on its way.
#[derive(Debug)]
struct Load {
    epoll: Epoll,
    connections: Vec<Connection>,
    /// Nanoseconds from request to answer.
    latencies: Histogram<u64>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// When the request was sent.
    asked: Instant,
    /// How much of the answer has come.
    received: usize,
}

impl Load {
    fn connect(server: SocketAddr, connections: usize) -> io::Result<Self> {
        let mut load = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            connections: Vec::with_capacity(connections),
            latencies: Histogram::new_with_max(LONGEST_NS, 3).map_err(io::Error::other)?,
        };
        for _ in 0..connections {
            load.add(TcpStream::connect(server)?)?;
        }
        Ok(load)
    }

    fn add(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let place = self.connections.len() as u64;
        self.epoll
            .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, place))?;
        stream.write_all(&MESSAGE)?;
        let asked = Instant::now();
        self.connections.push(Connection {
            stream,
            asked,
            received: 0,
        });
        Ok(())
    }

    /// Keeps the server busy for `time`.
    fn run(&mut self, time: Duration) -> io::Result<()> {
        let started = Instant::now();
        let mut events = [EpollEvent::empty(); 256];
        while started.elapsed() < time {
            let patience = u16::try_from(PATIENCE.as_millis()).map_err(io::Error::other)?;
            let ready = self.epoll.wait(&mut events, patience)?;
            if ready == 0 {
                return Err(io::Error::other("the server does not answer"));
            }
            for event in &events[..ready] {
                let connection = &mut self.connections[event.data() as usize];
                if let Some(latency) = connection.advance()? {
                    self.latencies.saturating_record(latency.as_nanos() as u64);
                }
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Reads what has come. When the answer is whole, sends the next request; how long the last one
    /// took.
    fn advance(&mut self) -> io::Result<Option<Duration>> {
        let mut buffer = [0; MESSAGE.len()];
        self.received += match self.stream.read(&mut buffer[self.received..]) {
            Ok(0) => return Err(io::Error::other("the server has hung up")),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if self.received < MESSAGE.len() {
            return Ok(None);
        }
        let now = Instant::now();
        let latency = now - self.asked;
        (self.received, self.asked) = (0, now);
        self.stream.write_all(&MESSAGE)?;
        Ok(Some(latency))
    }
}
