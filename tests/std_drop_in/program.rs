// A program that was written against std, and knows nothing of greenlets. It is compiled twice: as it
// is, and with one `use` before it.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError, TrySendError};
use std::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Everything, in a folder that is its own; answers with what it has seen.
pub(crate) fn run(folder: &Path) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut seen = String::new();
    writeln!(seen, "store: {:?}", store()?)?;
    writeln!(seen, "datagrams: {}", datagrams()?)?;
    writeln!(seen, "local: {}", local_sockets(folder)?)?;
    writeln!(seen, "files: {}", files(folder)?)?;
    writeln!(seen, "children: {}", children()?)?;
    writeln!(seen, "locks: {:?}", locks())?;
    writeln!(seen, "channels: {}", channels())?;
    writeln!(seen, "threads: {:?}", threads())?;
    Ok(seen)
}

/// A key-value store, with a thread for each connection.
fn store() -> io::Result<Vec<String>> {
    type Values = Arc<RwLock<HashMap<String, String>>>;

    fn serve(stream: TcpStream, values: &Values) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut answers = stream.try_clone()?;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            match line.split_once('=') {
                Some((key, value)) => {
                    let mut values = values.write().unwrap_or_else(PoisonError::into_inner);
                    values.insert(key.to_owned(), value.to_owned());
                    writeln!(answers, "ok")?;
                }
                None => {
                    let values = values.read().unwrap();
                    let value = values.get(&line).map_or("none", String::as_str);
                    writeln!(answers, "{value}")?;
                }
            }
        }
        Ok(())
    }

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr: SocketAddr = listener.local_addr()?;
    let values = Values::default();
    let server: JoinHandle<io::Result<()>> = thread::spawn({
        let values = values.clone();
        move || {
            for stream in listener.incoming().take(8) {
                let (stream, values) = (stream?, values.clone());
                thread::spawn(move || serve(stream, &values));
            }
            Ok(())
        }
    });
    let clients: Vec<_> = (0..8)
        .map(|n| {
            thread::spawn(move || -> io::Result<String> {
                let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(20))?;
                writeln!(stream, "key{n}=value{n}\nkey{n}\nnothing")?;
                stream.shutdown(std::net::Shutdown::Write)?;
                let mut answers = String::new();
                stream.read_to_string(&mut answers)?;
                Ok(answers.replace('\n', " "))
            })
        })
        .collect();
    server.join().unwrap()?;
    let answers = clients.into_iter().map(|client| client.join().unwrap());
    let answers = answers.collect::<io::Result<Vec<_>>>()?;
    let values = values.read().unwrap();
    assert_eq!(values.len(), 8);
    Ok(answers)
}

fn datagrams() -> io::Result<String> {
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    let to = receiver.local_addr()?.to_socket_addrs()?.next().unwrap();
    let sender = UdpSocket::bind("localhost:0").or_else(|_| UdpSocket::bind("127.0.0.1:0"))?;
    receiver.set_read_timeout(Some(Duration::from_millis(5)))?;
    let mut buffer = [0; 16];
    let nothing = receiver.recv_from(&mut buffer).unwrap_err();
    receiver.set_read_timeout(None)?;
    let sends = thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        sender.send_to(b"datagram", to)
    });
    let (length, from) = receiver.recv_from(&mut buffer)?;
    sends.join().unwrap()?;
    assert!(from.ip().is_loopback());
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    Ok(format!("{:?} {text}", nothing.kind()))
}

fn local_sockets(folder: &Path) -> io::Result<String> {
    let (mut near, far) = UnixStream::pair()?;
    let fd: OwnedFd = far.into();
    let mut far = UnixStream::from(fd);
    let reads = thread::spawn(move || {
        let mut text = String::new();
        far.read_to_string(&mut text).map(|_| text)
    });
    near.write_all(b"stream")?;
    drop(near);
    let path = folder.join("datagram");
    let bound = UnixDatagram::bind(&path)?;
    UnixDatagram::unbound()?.send_to(b"datagram", &path)?;
    let mut buffer = [0; 16];
    let length = bound.recv(&mut buffer)?;
    Ok(format!("{} {length}", reads.join().unwrap()?))
}

fn files(folder: &Path) -> io::Result<String> {
    let path = folder.join("file");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    file.write_all(b"one\ntwo\nthree\n")?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(4))?;
    let lines: Vec<String> = BufReader::new(&file).lines().collect::<Result<_, _>>()?;
    let mut word = [0; 3];
    file.read_exact_at(&mut word, 0)?;
    let mode = file.metadata()?.permissions().mode() & 0o200;
    let copied = fs::copy(&path, folder.join("copy"))?;
    let missing = File::open(folder.join("missing")).unwrap_err();
    let mut names: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    names.sort();
    fs::remove_file(&path)?;
    assert!(file.as_raw_fd() > 2 && !path.exists() && !fs::exists(&path)?);
    Ok(format!(
        "{lines:?} {word:?} {mode} {copied} {:?} {names:?}",
        missing.kind()
    ))
}

fn children() -> io::Result<String> {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::piped()).arg0("tac");
    let mut cat = cat.spawn()?;
    cat.stdin.take().unwrap().write_all(b"through a pipe")?;
    let output = cat.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut sleeps = Command::new("sleep").arg("100").spawn()?;
    assert!(sleeps.try_wait()?.is_none());
    sleeps.kill()?;
    let signal = sleeps.wait()?.signal();
    let code = Command::new("sh").args(["-c", "exit 3"]).status()?.code();
    Ok(format!("{text} {signal:?} {code:?}"))
}

fn locks() -> Vec<usize> {
    static STARTED: Once = Once::new();
    static NAME: OnceLock<String> = OnceLock::new();
    static COUNT: LazyLock<AtomicUsize> = LazyLock::new(|| {
        thread::sleep(Duration::from_millis(2));
        AtomicUsize::new(0)
    });
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let barrier = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (pair, barrier) = (pair.clone(), barrier.clone());
            thread::spawn(move || {
                STARTED.call_once(|| thread::sleep(Duration::from_millis(2)));
                NAME.get_or_init(|| "name".to_owned());
                COUNT.fetch_add(1, Ordering::Relaxed);
                let leads = barrier.wait().is_leader();
                *pair.0.lock().unwrap() += 1;
                pair.1.notify_all();
                usize::from(leads)
            })
        })
        .collect();
    let all = pair
        .1
        .wait_while(pair.0.lock().unwrap(), |count| *count < 4);
    let all = *all.unwrap();
    let leaders = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    let never = pair
        .1
        .wait_timeout(pair.0.lock().unwrap(), Duration::from_millis(2));
    let timed_out = usize::from(never.unwrap().1.timed_out());
    let poisoned = Mutex::new(0);
    let panicked = thread::scope(|scope| {
        let panics = || {
            let _guard = poisoned.lock();
            std::panic::resume_unwind(Box::new("with the lock"));
        };
        scope.spawn(panics).join().is_err()
    });
    assert!(panicked && poisoned.is_poisoned() && poisoned.try_lock().is_err());
    vec![
        all,
        leaders,
        timed_out,
        NAME.get().unwrap().len(),
        COUNT.load(Ordering::Relaxed) % 4,
    ]
}

fn channels() -> String {
    let (sender, receiver) = mpsc::sync_channel(1);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.send(0).unwrap();
    assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
    let numbers = thread::spawn(move || (1..100).try_for_each(|n| sender.send(n)));
    let sum: i32 = receiver.iter().sum();
    numbers.join().unwrap().unwrap();
    let (sender, receiver) = mpsc::channel::<i32>();
    let late = receiver.recv_timeout(Duration::from_millis(2));
    assert_eq!(late, Err(RecvTimeoutError::Timeout));
    drop(receiver);
    format!("{sum} {:?}", sender.send(7))
}

fn threads() -> Vec<String> {
    thread_local!(static MINE: Cell<u32> = const { Cell::new(0) });
    MINE.set(1);
    let named = thread::Builder::new().name("named".into()).spawn(|| {
        thread::park();
        format!("{:?} {}", thread::current().name(), MINE.get())
    });
    let named = named.unwrap();
    named.thread().unpark();
    let mut numbers = [1, 2, 3];
    thread::scope(|scope| {
        for number in &mut numbers {
            scope.spawn(|| *number *= 2);
        }
    });
    let start = Instant::now();
    thread::park_timeout(Duration::from_millis(2));
    thread::yield_now();
    assert!(start.elapsed() < Duration::from_secs(20));
    vec![named.join().unwrap(), format!("{numbers:?} {}", MINE.get())]
}
