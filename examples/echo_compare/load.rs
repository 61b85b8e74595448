//! The load generator: connections that send a request as soon as the last one is answered.
//!
//! It is a plain epoll loop, so that it costs little and is the same for both servers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

const MESSAGE: [u8; 64] = [b'x'; 64];

/// A server that answers nobody for so long is broken.
const PATIENCE_MS: libc::c_int = 5_000;

/// Connections to one server, each of which has a request on its way.
#[derive(Debug)]
pub(crate) struct Load {
    epoll: OwnedFd,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// How much of the answer has come.
    received: usize,
}

impl Load {
    pub(crate) fn connect(server: SocketAddr, connections: usize) -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is new, and nobody else's.
        let epoll = unsafe {
            match libc::epoll_create1(libc::EPOLL_CLOEXEC) {
                -1 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        let mut load = Self {
            epoll,
            connections: Vec::with_capacity(connections),
        };
        for _ in 0..connections {
            load.add(TcpStream::connect(server)?)?;
        }
        Ok(load)
    }

    fn add(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: self.connections.len() as u64,
        };
        let (epoll, fd) = (self.epoll.as_raw_fd(), stream.as_raw_fd());
        // SAFETY: both descriptors are open, and the event lives until the call returns.
        if unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) } == -1 {
            return Err(io::Error::last_os_error());
        }
        stream.write_all(&MESSAGE)?;
        self.connections.push(Connection {
            stream,
            received: 0,
        });
        Ok(())
    }

    /// Keeps the server busy for `time`; how many requests it has answered.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<u64> {
        let mut answered = 0;
        let started = Instant::now();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        while started.elapsed() < time {
            for event in self.wait(&mut events)? {
                answered += self.connections[event.u64 as usize].advance()?;
            }
        }
        Ok(answered)
    }

    /// Waits until answers have come.
    fn wait<'a>(&self, events: &'a mut [libc::epoll_event]) -> io::Result<&'a [libc::epoll_event]> {
        let (epoll, length) = (self.epoll.as_raw_fd(), events.len() as libc::c_int);
        // SAFETY: the kernel writes at most so many events as there is room for.
        match unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), length, PATIENCE_MS) } {
            -1 => Err(io::Error::last_os_error()),
            0 => Err(io::Error::other("the server does not answer")),
            ready => Ok(&events[..ready as usize]),
        }
    }
}

impl Connection {
    /// Reads what has come; when the answer is whole, sends the next request. How many answers
    /// that were: one or none.
    fn advance(&mut self) -> io::Result<u64> {
        let mut buffer = [0; MESSAGE.len()];
        let missing = &mut buffer[self.received..];
        self.received += match self.stream.read(missing) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if self.received < MESSAGE.len() {
            return Ok(0);
        }
        self.received = 0;
        self.stream.write_all(&MESSAGE)?;
        Ok(1)
    }
}
