//! Work of every kind, for what is recorded of it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use greenlet::net::{TcpListener, TcpStream};
use greenlet::sync::{Barrier, Mutex, mpsc};

/// Greenlets that yield, sleep, wait for each other, for sockets and for the blocking pool, and move.
/// When this returns all have ended.
pub(crate) fn work(rounds: usize) {
    let convoy = Arc::new(Mutex::new(0));
    let barrier = Arc::new(Barrier::new(8));
    let (sender, receiver) = mpsc::sync_channel(4);
    let mut greenlets = Vec::new();
    for number in 0..8 {
        let (convoy, barrier, sender) = (convoy.clone(), barrier.clone(), sender.clone());
        let greenlet = greenlet::Builder::new().name(format!("worker {number}"));
        let greenlet = greenlet.spawn(move || {
            for round in 0..rounds {
                let mut count = convoy.lock().unwrap();
                greenlet::yield_now();
                *count += 1;
                drop(count);
                sender.send(round).unwrap();
                barrier.wait();
                if round % 16 == number {
                    greenlet::sleep(Duration::from_micros(200));
                    greenlet::blocking(|| std::thread::sleep(Duration::from_micros(50)));
                    greenlet::spawn(greenlet::yield_now).join().unwrap();
                }
            }
        });
        greenlets.push(greenlet.unwrap());
    }
    drop(sender);
    greenlets.push(greenlet::spawn(move || {
        assert_eq!(receiver.iter().count(), 8 * rounds);
    }));
    greenlets.push(greenlet::spawn(move || echo(rounds)));
    for greenlet in greenlets {
        greenlet.join().unwrap();
    }
    assert_eq!(*convoy.lock().unwrap(), 8 * rounds);
}

fn echo(rounds: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = greenlet::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 16];
        while stream.read_exact(&mut buffer).is_ok() {
            stream.write_all(&buffer).unwrap();
        }
    });
    let mut buffer = [7; 16];
    for _ in 0..rounds {
        client.write_all(&buffer).unwrap();
        client.read_exact(&mut buffer).unwrap();
    }
    drop(client);
    server.join().unwrap();
}
