//! The live view: a Unix socket that tells whoever connects how the program is doing.
//!
//! | file | noun |
//! |---|---|
//! | `socket` | the listening socket, and its place in the file system |
//! | `client` | one connection: requests and answers |
//! | `stream` | a trace that is sent while it is recorded |
//! | `program` | what the process is |
//!
//! It runs on OS threads of its own, which wake no greenlet: one that accepts, and one for each
//! connection. `docs/live.md` has the protocol.

mod client;
mod program;
mod socket;
mod stream;

use std::fmt;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::client::Client;
use self::socket::Socket;
pub(super) use self::stream::{give_way, is_for_clients};
use crate::blocking;
use crate::lock::StaticMutex;
use crate::record::OwnThread;
use crate::sys::event_fd::EventFd;
use crate::sys::poll::{self, Polled};

/// So many may be connected at a time.
const MOST_CLIENTS: usize = 8;

/// A client that takes nothing for twice as long is dropped: the kernel takes some of what is to be sent, and
/// says so after this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// After accepting has failed, as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// An open socket for the live view; see [`serve`]. Dropping it closes the connections and removes the
/// socket's file.
pub struct Server {
    path: PathBuf,
    state: Arc<State>,
    /// In a forked child there is no such thread, and the file is its parent's.
    process: u32,
    thread: Option<JoinHandle<()>>,
}

/// Opens a Unix socket at `path` for the live view, which `greenlet-top` shows: whoever connects can ask
/// for the metrics, for a dump of all greenlets, and for a trace while it is recorded. While nobody
/// asks, it costs nothing but a thread that waits.
///
/// Only the process's own user can connect: the file has the mode 0600. Up to eight may at a time. A file
/// that a process has left which is gone is replaced.
///
/// The variable `GREENLET_TOP` does the same for programs that do not call this: see
/// [`_documentation::environment`](crate::_documentation::environment). The protocol is in
/// [`_documentation::live`](crate::_documentation::live).
///
/// The threads that it runs on count as the crate's own: they neither hide a deadlock nor keep the program
/// from ending. A program that ends without dropping the `Server` leaves the file behind.
///
/// # Errors
///
/// - `AddrInUse`: another process, or this one, serves there already; or something else is at
///   `path`, which is left alone.
/// - `NotFound`, `PermissionDenied` and whatever else the file system has to say about `path`.
/// - `InvalidInput`: `path` is too long for a socket, some 100 bytes, or has a NUL in it.
/// - Whatever the system says when it refuses a descriptor or a thread.
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// # let folder = std::env::temp_dir().join(format!("greenlet-serve-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("top.sock");
/// let server = greenlet::trace::serve(&path)?;
///
/// let mut client = UnixStream::connect(server.path())?;
/// client.write_all(b"metrics\n")?;
/// client.shutdown(std::net::Shutdown::Write)?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("ok "));
/// assert!(answer.contains("greenlet_blocking_threads"));
/// # drop(server);
/// # std::fs::remove_dir_all(folder)?;
/// # std::io::Result::Ok(())
/// ```
pub fn serve(path: impl AsRef<Path>) -> io::Result<Server> {
    let path = path.as_ref();
    // OS threads are to be started by OS threads.
    blocking::offload(|| Server::open(path))
}

impl Server {
    fn open(path: &Path) -> io::Result<Self> {
        let socket = Socket::open(path)?;
        let state = Arc::new(State {
            end: EventFd::new()?,
            clients: StaticMutex::new(Vec::new()),
        });
        let own = state.clone();
        let thread = thread::Builder::new()
            .name("greenlet-top".into())
            .spawn(move || own.accept_all(&socket))?;
        Ok(Self {
            path: path.into(),
            state,
            process: process::id(),
            thread: Some(thread),
        })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process != process::id() {
            return;
        }
        self.state.end.signal();
        let thread = self.thread.take();
        blocking::offload_drop(|| {
            // It has told the panic already.
            let _ = thread.map(JoinHandle::join);
        });
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What the threads of a server share.
#[derive(Debug)]
struct State {
    /// Readable when the server is being dropped.
    end: EventFd,
    clients: StaticMutex<Vec<Connection>>,
}

/// A client, as the thread that accepts sees it.
#[derive(Debug)]
struct Connection {
    stream: Arc<UnixStream>,
    thread: JoinHandle<()>,
}

impl State {
    /// Accepts connections until the server is dropped. The socket's file is removed with it.
    fn accept_all(self: &Arc<Self>, socket: &Socket) {
        let _own = OwnThread::count();
        while !self.is_ending_within(socket.as_fd(), None) {
            match socket.accept() {
                Ok(stream) => self.welcome(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => thread::sleep(PAUSE),
            }
        }
        for connection in self.clients.lock().drain(..) {
            let _ = connection.stream.shutdown(Shutdown::Both);
            let _ = connection.thread.join();
        }
    }

    /// Waits until there is something to read, or the time is over. Answers whether the server is being
    /// dropped.
    fn is_ending_within(&self, fd: impl AsFd, timeout: Option<Duration>) -> bool {
        let mut both = [
            Polled::new(self.end.as_fd(), libc::POLLIN),
            Polled::new(fd.as_fd(), libc::POLLIN),
        ];
        // A signal may end the wait, too; then there is nothing to read.
        let _ = poll::poll_all(&mut both, timeout);
        both[0].is_ready()
    }

    fn welcome(self: &Arc<Self>, stream: UnixStream) {
        let mut clients = self.clients.lock();
        clients.retain(|connection| !connection.thread.is_finished());
        let _ = stream.set_write_timeout(Some(PATIENCE));
        if clients.len() == MOST_CLIENTS {
            let _ = (&stream).write_all(b"error too many connections\n");
            return;
        }
        let stream = Arc::new(stream);
        let client = Client::new(stream.clone(), self.clone());
        let thread = thread::Builder::new()
            .name("greenlet-top".into())
            .spawn(move || client.answer_all());
        if let Ok(thread) = thread {
            clients.push(Connection { stream, thread });
        }
    }
}

/// Opens the socket that `GREENLET_TOP` names, if it does, for as long as any runtime holds on to it.
/// `%p` in the name stands for the number of the process.
///
/// That it cannot be opened is told on standard error, and no reason not to go on.
pub(crate) fn serve_by_environment() -> Option<Arc<Server>> {
    static OPEN: StaticMutex<Weak<Server>> = StaticMutex::new(Weak::new());
    let name = std::env::var_os("GREENLET_TOP").filter(|name| !name.is_empty())?;
    let mut open = OPEN.lock();
    let of_this_process = |server: &Arc<Server>| server.process == process::id();
    if let Some(server) = open.upgrade().filter(of_this_process) {
        return Some(server);
    }
    let path = socket::path_of(&name, process::id());
    match Server::open(&path) {
        Ok(server) => {
            let server = Arc::new(server);
            *open = Arc::downgrade(&server);
            Some(server)
        }
        Err(error) => {
            // Not `eprintln`, which panics when standard error cannot be written.
            let _ = writeln!(
                io::stderr(),
                "greenlet: GREENLET_TOP={}: {error}",
                path.display()
            );
            None
        }
    }
}
