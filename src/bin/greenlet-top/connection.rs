//! The program that is looked at: requests and answers, over its socket.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

/// So long a program may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often metrics are asked for.
const PERIOD: Duration = Duration::from_secs(1);

/// So many pieces of a trace wait for the screen; then the program sees that this one is slow.
const PIECES: usize = 256;

/// Requests, one after the other.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<UnixStream>);

impl Connection {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn ask(&mut self, request: &str) -> io::Result<String> {
        let head = self.send(request)?;
        let length = head.strip_prefix("ok ").and_then(|it| it.parse().ok());
        let length: usize = length.ok_or_else(|| other(&head))?;
        let mut content = Vec::new();
        self.0
            .by_ref()
            .take(length as u64)
            .read_to_end(&mut content)?;
        if content.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(content).map_err(|_| other("an answer that is no text"))
    }

    /// A request whose answer does not end.
    pub(crate) fn stream(mut self) -> io::Result<BufReader<UnixStream>> {
        let head = self.send("trace")?;
        if head != "ok stream" {
            return Err(other(&head));
        }
        // An idle program has nothing to tell.
        self.0.get_ref().set_read_timeout(None)?;
        Ok(self.0)
    }

    /// Answers the first line.
    fn send(&mut self, request: &str) -> io::Result<String> {
        writeln!(self.0.get_mut(), "{request}")?;
        let mut head = String::new();
        if self.0.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let head = head.trim_end();
        match head.strip_prefix("error ") {
            Some(error) => Err(other(error)),
            None => Ok(head.to_owned()),
        }
    }
}

fn other(what: &str) -> io::Error {
    io::Error::other(format!("it answers: {what}"))
}

/// What comes from the program.
#[derive(Debug)]
pub(crate) enum News {
    /// A connection was made: what the program is.
    Begun(String),
    /// A piece of the trace.
    Trace(Vec<u8>),
    Metrics(String),
    Dump(Result<String, String>),
    /// There is no connection, or no trace; why.
    Gone(String),
}

/// Threads that ask, and the way to have them ask for a dump.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) news: Receiver<News>,
    dumps: Sender<()>,
}

impl Asker {
    /// Connects, and again when the connection is lost.
    pub(crate) fn start(path: &Path) -> Self {
        let (sender, news) = mpsc::sync_channel(PIECES);
        let (dumps, wanted) = mpsc::channel();
        let trace = (path.to_owned(), sender.clone());
        thread::spawn(move || follow(&trace.0, &trace.1));
        let path = path.to_owned();
        thread::spawn(move || ask_for_dumps(&path, &wanted, &sender));
        Self { news, dumps }
    }

    /// Wants a dump, which comes as news.
    pub(crate) fn dump(&self) {
        // The thread ends with the program only.
        let _ = self.dumps.send(());
    }
}

/// Follows the trace, and asks for metrics beside it. Ends when nobody listens.
fn follow(path: &Path, news: &SyncSender<News>) {
    loop {
        let why = match follow_once(path, news) {
            Ok(()) => return,
            Err(error) => explain(path, &error),
        };
        if news.send(News::Gone(why)).is_err() {
            return;
        }
        thread::sleep(PERIOD);
    }
}

fn follow_once(path: &Path, news: &SyncSender<News>) -> io::Result<()> {
    let mut requests = Connection::open(path)?;
    let facts = requests.ask("info")?;
    let mut trace = Connection::open(path)?.stream()?;
    if news.send(News::Begun(facts)).is_err() {
        return Ok(());
    }
    let for_metrics = news.clone();
    thread::spawn(move || {
        // The one that follows the trace tells what is wrong.
        while let Ok(metrics) = requests.ask("metrics") {
            if for_metrics.send(News::Metrics(metrics)).is_err() {
                break;
            }
            thread::sleep(PERIOD);
        }
    });
    let mut piece = vec![0; 1 << 16];
    loop {
        let length = trace.read(&mut piece)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if news.send(News::Trace(piece[..length].to_vec())).is_err() {
            return Ok(());
        }
    }
}

fn ask_for_dumps(path: &Path, wanted: &Receiver<()>, news: &SyncSender<News>) {
    while wanted.recv().is_ok() {
        // Several that were wanted meanwhile are one.
        while wanted.try_recv().is_ok() {}
        let dump = Connection::open(path).and_then(|mut it| it.ask("dump"));
        let dump = dump.map_err(|error| explain(path, &error));
        if news.send(News::Dump(dump)).is_err() {
            return;
        }
    }
}

/// What is wrong, for people.
pub(crate) fn explain(path: &Path, error: &io::Error) -> String {
    let is_socket = fs::metadata(path).is_ok_and(|there| there.file_type().is_socket());
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("{path}: no such socket; is the program running?"),
        io::ErrorKind::ConnectionRefused if is_socket => {
            format!("{path}: nobody listens; the program has ended")
        }
        io::ErrorKind::ConnectionRefused => format!("{path}: this is no socket"),
        io::ErrorKind::PermissionDenied => {
            format!("{path}: permission denied; only the program's own user may connect")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            format!("{path}: the connection was closed")
        }
        _ => format!("{path}: {error}"),
    }
}
