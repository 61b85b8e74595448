//! A program to look at with `greenlet-top`: slow connections, a lock that many want, and a greenlet that
//! keeps its hub to itself.
//!
//! ```sh
//! cargo run --release --example watched -- /tmp/watched.sock
//! cargo run --release --features top --bin greenlet-top -- /tmp/watched.sock
//! ```
//!
//! It ends with Ctrl-C, or after as many seconds as a second argument says.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, process};

use greenlet::net::{TcpListener, TcpStream};
use greenlet::sync::Mutex;
use greenlet::{Builder, Runtime};

const CONNECTIONS: u64 = 20;
const CONVOY: u64 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let path = arguments
        .next()
        .map_or_else(|| env::temp_dir().join("watched.sock"), PathBuf::from);
    let seconds = match arguments.next() {
        Some(seconds) => seconds.to_string_lossy().parse()?,
        None => 86_400.0,
    };
    let runtime = Runtime::builder()
        .hubs(2)
        // The hog is on purpose.
        .on_blocked(|_| ())
        .build()?;
    let server = greenlet::trace::serve(&path)?;
    println!(
        "process {} serves at {}",
        process::id(),
        server.path().display()
    );
    let result = runtime.try_run(|| watched(Duration::from_secs_f64(seconds)));
    // By Ctrl-C it ends as it should.
    result.unwrap_or(Ok(()))?;
    Ok(())
}

fn watched(time: Duration) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    named("acceptor", move || accept(&listener))?;
    for number in 0..CONNECTIONS {
        named(&format!("client-{number}"), move || {
            // The server is gone when the program ends.
            let _ = send_slowly(TcpStream::connect(address), number);
        })?;
    }
    let lock = Arc::new(Mutex::new(0_u64));
    for number in 0..CONVOY {
        let lock = lock.clone();
        named(&format!("convoy-{number}"), move || join_convoy(&lock))?;
    }
    named("hog", hog)?;
    greenlet::sleep(time);
    Ok(())
}

#[track_caller]
fn named(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Builder::new().name(name.into()).spawn(body).map(drop)
}

/// A greenlet for each connection, which reads what comes.
fn accept(listener: &TcpListener) {
    while let Ok((mut stream, peer)) = listener.accept() {
        let read = move || while stream.read(&mut [0; 16]).is_ok_and(|length| length > 0) {};
        if named(&format!("peer-{}", peer.port()), read).is_err() {
            break;
        }
    }
}

/// Some bytes a second: the greenlet at the other end waits nearly all the time.
fn send_slowly(stream: io::Result<TcpStream>, number: u64) -> io::Result<()> {
    let mut stream = stream?;
    loop {
        stream.write_all(b".")?;
        greenlet::sleep(Duration::from_millis(50 + 17 * number));
    }
}

/// Holds a lock over a wait that all others need.
fn join_convoy(lock: &Mutex<u64>) {
    loop {
        let mut count = lock.lock().expect("nobody panics");
        *count += 1;
        greenlet::sleep(Duration::from_millis(2));
        drop(count);
        greenlet::yield_now();
    }
}

/// Computes for 40 ms, five times a second, and does not yield meanwhile.
fn hog() {
    loop {
        let begun = Instant::now();
        let mut sum = 0_u64;
        while begun.elapsed() < Duration::from_millis(40) {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        greenlet::sleep(Duration::from_millis(160));
    }
}
