//! One connection: requests and answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::State;
use super::program;
use super::stream::{self, Subscription};
use crate::metrics::metrics;
use crate::record::OwnThread;
use crate::sched::DumpOptions;

/// No request is longer.
const LONGEST_REQUEST: u64 = 256;

/// So many greenlets are in a dump.
const MOST_GREENLETS: usize = 100_000;

/// Who has connected.
pub(super) struct Client {
    stream: Arc<UnixStream>,
    state: Arc<State>,
}

impl Client {
    pub(super) fn new(stream: Arc<UnixStream>, state: Arc<State>) -> Self {
        Self { stream, state }
    }

    /// Answers one request after the other, until the client has no more, or takes no answer.
    pub(super) fn answer_all(self) {
        let _own = OwnThread::count();
        let mut requests = BufReader::new(&*self.stream);
        loop {
            let mut request = String::new();
            let mut limited = requests.by_ref().take(LONGEST_REQUEST);
            match limited.read_line(&mut request) {
                Ok(length) if length > 0 => {}
                _ => break,
            }
            let is_whole = request.ends_with('\n') || (request.len() as u64) < LONGEST_REQUEST;
            if !is_whole || self.answer(request.trim()).is_err() {
                break;
            }
        }
        // The thread that accepts has the socket, too.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn answer(&self, request: &str) -> io::Result<()> {
        match request {
            "info" => self.send(program::facts().as_bytes()),
            "metrics" => self.send(metrics().prometheus().as_bytes()),
            "dump" => self.send(dump().as_bytes()),
            "trace" => self.send_trace(),
            _ => self.refuse("no such request: info, metrics, dump or trace"),
        }
    }

    fn send(&self, content: &[u8]) -> io::Result<()> {
        let mut stream = &*self.stream;
        writeln!(stream, "ok {}", content.len())?;
        stream.write_all(content)
    }

    fn refuse(&self, why: &str) -> io::Result<()> {
        let mut stream = &*self.stream;
        writeln!(stream, "error {why}")
    }

    /// Sends a trace until the client goes: after this it can make no more requests.
    fn send_trace(&self) -> io::Result<()> {
        let subscription = match Subscription::begin() {
            Ok(subscription) => subscription,
            Err(error) => return self.refuse(&format!("recording cannot be switched on: {error}")),
        };
        writeln!(&*self.stream, "ok stream")?;
        stream::send(&self.state, &self.stream, &subscription)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

fn dump() -> String {
    let options = DumpOptions::new().max_greenlets(MOST_GREENLETS);
    options.take().to_json()
}
