//! What tests of sockets share.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use greenlet::net::{TcpListener, TcpStream};

pub(crate) use super::child::alone;
use super::hubs::runtime;
pub(crate) use super::hubs::watched as watchdog;

/// Runs `body` wherever the crate's calls may be made: on a plain thread, and in greenlets on 1, 2
/// and 8 hubs.
pub(crate) fn everywhere(body: fn()) {
    let _watchdog = watchdog();
    body();
    in_greenlets(body);
}

/// Runs `body` in greenlets on 1, 2 and 8 hubs.
pub(crate) fn in_greenlets(body: fn()) {
    for hubs in [1, 2, 8] {
        runtime(hubs).run(body);
    }
}

/// A greenlet or a thread.
pub(crate) enum Spawned<T> {
    Greenlet(greenlet::JoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

impl<T> Spawned<T> {
    pub(crate) fn join(self) -> thread::Result<T> {
        match self {
            Self::Greenlet(greenlet) => greenlet.join(),
            Self::Thread(thread) => thread.join(),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Self::Greenlet(greenlet) => greenlet.is_finished(),
            Self::Thread(thread) => thread.is_finished(),
        }
    }
}

/// Runs `f` beside its caller: in a greenlet when the caller is one.
pub(crate) fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Spawned<T> {
    if greenlet::hub_id().is_some() {
        Spawned::Greenlet(greenlet::spawn(f))
    } else {
        Spawned::Thread(thread::spawn(f))
    }
}

pub(crate) fn sleep(duration: Duration) {
    greenlet::sleep(duration);
}

/// Time for what was spawned to come to its wait. Too little makes a test easier to pass.
pub(crate) fn settle() {
    sleep(Duration::from_millis(20));
}

/// Looks again and again, without holding up anybody else.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1));
    }
}

/// Both ends of a connection.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// A listener that answers nobody any more: its queue is full.
pub(crate) struct Silent {
    pub(crate) listener: TcpListener,
    _queue: Vec<TcpStream>,
}

pub(crate) fn silent() -> Silent {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: the call takes numbers only.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let addr = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue does not fill up");
    }
    Silent {
        listener,
        _queue: queue,
    }
}

/// `name`, made into one that no other process uses, nor any other call of this.
pub(crate) fn unique(name: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    format!("{name}-{}-{number}", process::id())
}

/// How many descriptors the process may have open.
pub(crate) fn descriptor_limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is valid for the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0);
    limit
}

pub(crate) fn set_descriptor_limit(limit: libc::rlimit) {
    // SAFETY: the pointer is valid for the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0);
}

/// How many descriptors this process has open.
pub(crate) fn open_descriptors() -> usize {
    super::process::descriptors().len()
}

/// An address that refuses connections for as long as the descriptor lives: it is taken, so
/// that no other test can get it, but nobody listens.
pub(crate) fn closed_addr() -> (OwnedFd, SocketAddr) {
    let addr = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets()),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: the descriptor is fresh and ours; the address is valid for the call.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert_ne!(fd, -1);
        let len = size_of_val(&addr) as libc::socklen_t;
        assert_eq!(libc::bind(fd, (&raw const addr).cast(), len), 0);
        OwnedFd::from_raw_fd(fd)
    };
    let socket = std::net::TcpListener::from(socket);
    let addr = socket.local_addr().unwrap();
    (socket.into(), addr)
}

/// Whether the descriptor has this `O_` flag.
pub(crate) fn has_status_flag(fd: &impl AsRawFd, flag: i32) -> bool {
    // SAFETY: the call takes numbers only.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags, -1);
    flags & flag != 0
}

/// Whether the descriptor is closed on exec.
pub(crate) fn is_closed_on_exec(fd: &impl AsRawFd) -> bool {
    // SAFETY: the call takes numbers only.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
    assert_ne!(flags, -1);
    flags & libc::FD_CLOEXEC != 0
}
