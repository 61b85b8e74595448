//! `trace::serve`: the socket, the requests, and what becomes of both.

mod support;

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use greenlet::trace::{self, Options, serve};
use support::child::{self, none_begins};
use support::process::wait_until;
use support::temp::TempDir;
use support::{on_hubs, runtime, watched};

struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("a server");
        let timeout = Some(Duration::from_secs(30));
        stream.set_read_timeout(timeout).expect("a socket");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, request: &str) {
        let stream = self.0.get_mut();
        writeln!(stream, "{request}").expect("it listens");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers");
        line
    }

    fn ask(&mut self, request: &str) -> String {
        self.send(request);
        let head = self.line();
        let length = head.strip_prefix("ok ").expect(&head).trim();
        let mut content = vec![0; length.parse().expect("a length")];
        self.0.read_exact(&mut content).expect("so much");
        String::from_utf8(content).expect("UTF-8")
    }

    /// Whether the server has closed the connection, read or unread what it has sent.
    fn has_been_dropped(&self) -> bool {
        let mut polled = libc::pollfd {
            fd: self.0.get_ref().as_raw_fd(),
            events: libc::POLLRDHUP,
            revents: 0,
        };
        // SAFETY: one that is there to be read and written.
        assert!(unsafe { libc::poll(&raw mut polled, 1, 0) } >= 0);
        polled.revents != 0
    }

    /// Whether the server has closed the connection, and all it has sent is read.
    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0; 1]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn requests_are_answered_one_after_the_other() {
    let _watchdog = watched();
    let folder = TempDir::new();
    let path = folder.join("top");
    let runtime = runtime(3);
    let server = serve(&path).unwrap();
    assert_eq!(server.path(), path);
    let mut client = Client::connect(&path);
    for _ in 0..3 {
        let metrics = client.ask("metrics");
        let number = runtime.metrics().runtimes[0].runtime;
        let line = format!("greenlet_hubs{{runtime=\"{number}\"}} 3");
        assert!(metrics.lines().any(|it| it == line), "{metrics}");
        let facts = client.ask("info");
        let fact = |key: &str| {
            let mut facts = facts.lines().filter_map(|line| line.split_once('='));
            facts.find(|(it, _)| *it == key).map(|(_, value)| value)
        };
        let process = std::process::id().to_string();
        assert_eq!(fact("process"), Some(process.as_str()));
        assert_eq!(fact("protocol"), Some("1"));
        let uptime: f64 = fact("uptime_seconds").unwrap().parse().unwrap();
        assert!((0.0..3600.0).contains(&uptime));
        assert!(fact("program").unwrap().contains("serve"));
        client.send("make coffee");
        assert!(client.line().starts_with("error no such request"));
    }
    // Without a line's end, too, if nothing follows.
    let mut last = UnixStream::connect(&path).unwrap();
    last.write_all(b"info").unwrap();
    last.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = io::read_to_string(last).unwrap();
    assert!(answer.starts_with("ok "), "{answer}");
}

#[test]
fn a_request_that_does_not_end_closes_the_connection() {
    let _watchdog = watched();
    let folder = TempDir::new();
    let path = folder.join("top");
    let _server = serve(&path).unwrap();
    let mut client = Client::connect(&path);
    let _ = client.0.get_mut().write_all(&[b'x'; 4096]);
    assert!(client.is_closed());
    // Others are not concerned, and bytes that are no text do no harm.
    let mut other = Client::connect(&path);
    let _ = other.0.get_mut().write_all(b"\xff\xfe\n");
    assert!(other.is_closed());
    assert!(Client::connect(&path).ask("info").contains("version="));
}

#[test]
fn only_the_user_may_connect_and_the_file_is_removed_with_the_server() {
    let _watchdog = watched();
    let folder = TempDir::new();
    let path = folder.join("top");
    let server = serve(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = Client::connect(&path);
    client.ask("info");
    drop(server);
    assert!(!path.exists());
    assert!(client.is_closed());
}

#[test]
fn a_server_in_the_same_place_is_refused_and_a_stale_one_replaced() {
    let _none_begins = none_begins();
    let _watchdog = watched();
    let folder = TempDir::new();
    let path = folder.join("top");
    let server = serve(&path).unwrap();
    let error = serve(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(Client::connect(&path).ask("info").contains("process="));
    drop(server);

    // As a process leaves it that was killed.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = serve(&path).unwrap();
    assert!(Client::connect(&path).ask("info").contains("process="));

    // One that took the place later is not removed.
    fs::remove_file(&path).unwrap();
    let other = serve(&path).unwrap();
    drop(server);
    assert!(Client::connect(&path).ask("info").contains("process="));
    drop(other);
    assert!(!path.exists());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let _watchdog = watched();
    let folder = TempDir::new();
    let path = folder.join("top");
    fs::write(&path, "mine").unwrap();
    let error = serve(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let nowhere = path.join("x");
    assert!(serve(&nowhere).is_err());
    let missing = serve(path.with_file_name("no-folder").join("x")).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let long = serve(path.with_file_name("x".repeat(200))).unwrap_err();
    assert_eq!(long.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn eight_may_be_connected() {
    let _watchdog = watched();
    let folder = TempDir::new();
    let path = folder.join("top");
    let _server = serve(&path).unwrap();
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(&path)).collect();
    for client in &mut clients {
        client.ask("info");
    }
    assert_eq!(
        Client::connect(&path).line(),
        "error too many connections\n"
    );
    clients.pop();
    wait_until("there is a place", || {
        let mut client = Client::connect(&path);
        let stream = client.0.get_mut();
        // It may be refused before it is read.
        let _ = stream.write_all(b"info\n");
        client.line().starts_with("ok ")
    });
}

#[test]
fn greenlets_may_serve_and_be_clients() {
    on_hubs(|_| {
        let folder = TempDir::new();
        let path = folder.join("top");
        let server = serve(&path).unwrap();
        let mut stream = greenlet::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.write_all(b"info\n").unwrap();
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ok ");
        drop(server);
        assert!(!path.exists());
    });
}

#[test]
fn a_trace_is_streamed_and_recording_ends_with_the_client() {
    const NAME: &str = "a_trace_is_streamed_and_recording_ends_with_the_client";
    child::alone(NAME, || {
        let _watchdog = watched();
        let folder = TempDir::new();
        let path = folder.join("top");
        let runtime = runtime(2);
        let _server = serve(&path).unwrap();
        let mut clients = [Client::connect(&path), Client::connect(&path)];
        for client in &mut clients {
            client.send("trace");
            assert_eq!(client.line(), "ok stream\n");
            let mut magic = [0; 8];
            client.0.read_exact(&mut magic).unwrap();
            assert_eq!(&magic, b"GREENLET");
        }
        for client in &mut clients {
            runtime.run(|| (0..10_000).for_each(|_| greenlet::yield_now()));
            // Ten thousand runs are at least two words each.
            let mut some = vec![0; 160_000];
            client.0.read_exact(&mut some).unwrap();
        }
        let [first, second] = clients;
        drop(first);
        thread::sleep(Duration::from_millis(200));
        let mut second = second;
        runtime.run(|| (0..10_000).for_each(|_| greenlet::yield_now()));
        second.0.read_exact(&mut vec![0; 160_000]).unwrap();
        drop(second);
        // Whoever asks now gets a trace that has begun anew: its first block is a few kilobytes.
        wait_until("recording has ended", || {
            let mut again = Client::connect(&path);
            again.send("metrics");
            thread::sleep(Duration::from_millis(20));
            again.line().starts_with("ok ")
        });
    });
}

/// Nothing that was recorded before is sent, as that a greenlet was spawned.
#[cfg(feature = "analysis")]
#[test]
fn who_comes_while_recording_is_on_is_told_of_the_greenlets_that_are_there() {
    use greenlet::trace::Event;
    use greenlet::trace::analysis::Stream;

    const NAME: &str = "who_comes_while_recording_is_on_is_told_of_the_greenlets_that_are_there";
    child::alone(NAME, || {
        let _watchdog = watched();
        let folder = TempDir::new();
        let path = folder.join("top");
        let _server = serve(&path).unwrap();
        trace::start(Options::flight()).unwrap();
        let waiting = |stream: &Stream, event: &Event| match event {
            Event::Status { name, .. } => stream.text(*name) == Some("waiting"),
            _ => false,
        };
        runtime(1).run(|| {
            let waits = greenlet::Builder::new().name("waiting".into());
            let waits = waits.spawn(greenlet::park).unwrap();
            // What tells of it is some blocks old.
            (0..100_000).for_each(|_| greenlet::yield_now());
            let mut client = Client::connect(&path);
            client.send("trace");
            assert_eq!(client.line(), "ok stream\n");
            let (mut stream, mut piece) = (Stream::new(), vec![0; 4096]);
            loop {
                let length = client.0.read(&mut piece).expect("a trace");
                assert!(length > 0, "nobody was told of");
                stream.feed(&piece[..length]).unwrap();
                if (stream.take().iter()).any(|record| waiting(&stream, &record.event)) {
                    break;
                }
                (0..1000).for_each(|_| greenlet::yield_now());
            }
            waits.thread().unpark();
            waits.join().unwrap();
        });
    });
}

#[test]
fn a_client_that_reads_nothing_is_dropped_and_slows_nobody() {
    const NAME: &str = "a_client_that_reads_nothing_is_dropped_and_slows_nobody";
    child::alone(NAME, || {
        let _watchdog = watched();
        let folder = TempDir::new();
        let path = folder.join("top");
        let runtime = runtime(1);
        let _server = serve(&path).unwrap();
        let mut slow = Client::connect(&path);
        slow.send("trace");
        assert_eq!(slow.line(), "ok stream\n");
        let mut longest = Duration::ZERO;
        // As many switches as it takes to fill the socket's buffer, and then until it is noticed.
        while !slow.has_been_dropped() {
            let round = std::time::Instant::now();
            runtime.run(|| (0..20_000).for_each(|_| greenlet::yield_now()));
            longest = longest.max(round.elapsed());
        }
        assert!(longest < Duration::from_secs(2), "{longest:?}");
        // The connection ends after what is in the buffer, which is not a whole second's events.
        let read = io::copy(&mut slow.0, &mut io::sink()).expect("the end");
        assert!(read < 8 << 20, "{read} bytes");
        // And others are served.
        assert!(Client::connect(&path).ask("info").contains("version="));
    });
}

#[test]
fn the_environment_opens_a_socket_while_there_is_a_runtime() {
    const NAME: &str = "the_environment_opens_a_socket_while_there_is_a_runtime";
    let folder = TempDir::new();
    let pattern = folder.join("env-%p");
    let pattern = pattern.to_str().unwrap();
    child::passes(NAME, &[("GREENLET_TOP", pattern)], || {
        let _watchdog = watched();
        let path = env::var("GREENLET_TOP").unwrap();
        let path = PathBuf::from(path.replace("%p", &std::process::id().to_string()));
        assert!(!path.exists());
        let first = runtime(1);
        let second = runtime(1);
        drop(first);
        assert!(Client::connect(&path).ask("info").contains("process="));
        drop(second);
        assert!(!path.exists());
        runtime(1).run(|| assert!(path.exists()));
        assert!(!path.exists());
    });
}

#[test]
fn a_socket_that_cannot_be_opened_is_told_and_the_program_goes_on() {
    const NAME: &str = "a_socket_that_cannot_be_opened_is_told_and_the_program_goes_on";
    let variables = [("GREENLET_TOP", "/nowhere/at/all")];
    let stderr = child::passes(NAME, &variables, || {
        let _watchdog = watched();
        assert_eq!(runtime(1).run(|| 7), 7);
    });
    if let Some(stderr) = stderr {
        let line = "greenlet: GREENLET_TOP=/nowhere/at/all: ";
        assert!(stderr.contains(line), "{stderr}");
    }
}

/// Somebody looks, and the program wants to record: it may, and who looks sees that from then on.
#[test]
fn the_program_may_record_while_somebody_looks() {
    const NAME: &str = "the_program_may_record_while_somebody_looks";
    child::alone(NAME, || {
        let _watchdog = watched();
        let folder = TempDir::new();
        let path = folder.join("top");
        let runtime = runtime(1);
        let _server = serve(&path).unwrap();
        let mut first = Client::connect(&path);
        first.send("trace");
        assert_eq!(first.line(), "ok stream\n");
        let file = folder.join("trace");
        trace::start(Options::stream(&file)).unwrap();
        // Its stream ends, after what was recorded for it.
        io::copy(&mut first.0, &mut io::sink()).expect("the end");
        let mut second = Client::connect(&path);
        second.send("trace");
        assert_eq!(second.line(), "ok stream\n");
        runtime.run(|| (0..10_000).for_each(|_| greenlet::yield_now()));
        second.0.read_exact(&mut vec![0; 160_000]).unwrap();
        drop(second);
        thread::sleep(Duration::from_millis(200));
        // It is not the one who looked that has switched it on.
        assert!(trace::is_on());
        let summary = trace::stop().unwrap().expect("it was on");
        assert!(summary.events >= 20_000);
        assert!(!trace::is_on());
    });
}
