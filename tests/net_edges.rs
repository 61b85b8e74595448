//! What happens to a socket at the same time, or in an order that one does not think of first:
//! data and its end in one edge, several who wait, time-outs, runtimes that come and go.

mod support;

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenlet::Runtime;
use greenlet::net::{ListenerShutdown, Shutdown, SocketAddr, TcpListener, TcpStream};
use support::sockets::{
    closed_addr, everywhere, has_status_flag, in_greenlets, pair, settle, sleep, spawn, wait_until,
    watchdog,
};

/// More than the kernel takes of one write before somebody reads.
const MUCH: usize = 16 << 20;

/// A buffer that no read here fills, so that every read is a short one.
const LARGE: usize = 4096;

/// Numbers without a pattern that anything could fall in with; each run has the same ones.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn runtime(hubs: usize) -> Runtime {
    Runtime::builder().hubs(hubs).build().unwrap()
}

#[track_caller]
fn assert_kind<T: Debug>(result: io::Result<T>, kind: ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}

/// Lets `stream` wait and be read short once, which is what the shortcut of later reads needs.
fn read_short(near: &TcpStream, far: &TcpStream) {
    let peer = near.try_clone().unwrap();
    let writing = spawn(move || {
        settle();
        (&peer).write_all(b"a").unwrap();
    });
    assert_eq!((&*far).read(&mut [0; LARGE]).unwrap(), 1);
    writing.join().unwrap();
}

/// All that comes, in reads that are too large.
fn read_all(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buf = [0; LARGE];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(all),
            length => all.extend_from_slice(&buf[..length]),
        }
    }
}

fn reset(stream: TcpStream) {
    stream.set_linger(Some(Duration::ZERO)).unwrap();
}

// Several events, one edge.

#[test]
fn data_and_the_end_in_one_edge_are_both_read() {
    everywhere(|| {
        for i in 0..200 {
            let (mut near, far) = pair();
            let begun = Arc::new(AtomicBool::new(false));
            let reading = spawn({
                let begun = begun.clone();
                move || {
                    (&far).read_exact(&mut [0]).unwrap();
                    begun.store(true, Relaxed);
                    read_all(&far).unwrap()
                }
            });
            near.write_all(b"a").unwrap();
            // Half of the times the reader is on its way, half of the times it waits.
            if i % 2 == 0 {
                wait_until(|| begun.load(Relaxed));
            }
            near.write_all(b"last words").unwrap();
            drop(near);
            assert_eq!(reading.join().unwrap(), b"last words");
        }
    });
}

#[test]
fn the_end_that_comes_alone_after_a_short_read_is_read() {
    everywhere(|| {
        let (near, far) = pair();
        read_short(&near, &far);
        let reading = spawn(move || (read_all(&far).unwrap(), far));
        settle();
        drop(near);
        let (read, mut far) = reading.join().unwrap();
        assert_eq!(read, b"");
        // And again, as often as one asks.
        for _ in 0..10 {
            assert_eq!(far.read(&mut [0; LARGE]).unwrap(), 0);
        }
    });
}

#[test]
fn a_reset_that_comes_alone_after_a_short_read_is_an_error() {
    everywhere(|| {
        for waits in [false, true] {
            let (near, far) = pair();
            read_short(&near, &far);
            let reading = spawn(move || read_all(&far));
            if waits {
                settle();
            }
            reset(near);
            assert_kind(reading.join().unwrap(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn data_and_a_reset_in_one_edge_end_in_the_reset() {
    everywhere(|| {
        for _ in 0..50 {
            let (mut near, far) = pair();
            let reading = spawn(move || {
                (&far).read_exact(&mut [0]).unwrap();
                read_all(&far)
            });
            near.write_all(b"a").unwrap();
            near.write_all(b"last words").unwrap();
            reset(near);
            assert_kind(reading.join().unwrap(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn after_a_half_close_much_goes_the_other_way() {
    everywhere(|| {
        let (near, far) = pair();
        read_short(&near, &far);
        let answering = spawn(move || {
            let question = read_all(&far).unwrap();
            (&far).write_all(&vec![7; MUCH]).unwrap();
            question
        });
        settle();
        (&near).write_all(b"question").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let answer = read_all(&near).unwrap();
        assert_eq!(answering.join().unwrap(), b"question");
        assert!(answer == vec![7; MUCH]);
    });
}

#[test]
fn what_a_full_read_leaves_behind_is_read_without_waiting_for_more() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        read_short(&near, &far);
        let mut buf = [0; 64];
        for length in [63, 64, 65, 127, 128, 129, 640] {
            near.write_all(&vec![1; length]).unwrap();
            let mut read = 0;
            while read < length {
                read += far.read(&mut buf).unwrap();
            }
            assert_eq!(read, length);
        }
    });
}

#[test]
fn a_peek_does_not_make_the_socket_look_empty() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        read_short(&near, &far);
        for _ in 0..20 {
            near.write_all(b"abc").unwrap();
            for _ in 0..3 {
                assert!((1..=3).contains(&far.peek(&mut [0; LARGE]).unwrap()));
            }
            far.read_exact(&mut [0; 3]).unwrap();
        }
        drop(near);
        assert_eq!(far.peek(&mut [0; LARGE]).unwrap(), 0);
        assert_eq!(far.read(&mut [0; LARGE]).unwrap(), 0);
    });
}

fn send_urgent(stream: &TcpStream, byte: u8) {
    let bytes = [byte];
    // SAFETY: the pointer is valid for the call and for the length that is given.
    let sent = unsafe { libc::send(stream.as_raw_fd(), bytes.as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
}

fn keep_urgent_inline(stream: &TcpStream) {
    let on: libc::c_int = 1;
    // SAFETY: the pointer is valid for the call and for the length that is given.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_OOBINLINE,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}

#[test]
fn what_comes_behind_urgent_data_is_read_too() {
    everywhere(|| {
        // The kernel ends a read at urgent data, so it is short though there is more.
        for (inline, expected) in [(false, "beforeafter"), (true, "before!after")] {
            for waits in [false, true] {
                let (near, far) = pair();
                if inline {
                    keep_urgent_inline(&far);
                }
                read_short(&near, &far);
                let reading = spawn(move || {
                    let mut text = vec![0; expected.len()];
                    let mut read = 0;
                    while read < text.len() {
                        // As large as any, so that only the mark can make it short.
                        let mut buf = [0; LARGE];
                        let length = (&far).read(&mut buf).unwrap();
                        assert_ne!(length, 0);
                        text[read..read + length].copy_from_slice(&buf[..length]);
                        read += length;
                    }
                    String::from_utf8(text).unwrap()
                });
                if waits {
                    settle();
                }
                (&near).write_all(b"before").unwrap();
                send_urgent(&near, b'!');
                (&near).write_all(b"after").unwrap();
                assert_eq!(reading.join().unwrap(), expected);
            }
        }
    });
}

#[test]
fn bursts_of_all_sizes_arrive_whole_in_both_directions() {
    /// Writes `length` bytes in bursts, with and without pauses.
    fn send(mut stream: &TcpStream, mut random: Random, length: usize) {
        let data: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let mut rest = &data[..];
        while !rest.is_empty() {
            let burst = (1 + random.below(2000)).min(rest.len());
            stream.write_all(&rest[..burst]).unwrap();
            rest = &rest[burst..];
            if random.below(3) == 0 {
                greenlet::yield_now();
            }
        }
        stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads to the end, in reads of all sizes.
    fn receive(mut stream: &TcpStream, mut random: Random) -> usize {
        let (mut length, mut buf) = (0, [0; LARGE]);
        loop {
            let wanted = 1 + random.below(LARGE);
            let read = stream.read(&mut buf[..wanted]).unwrap();
            for byte in &buf[..read] {
                assert_eq!(usize::from(*byte), length % 251);
                length += 1;
            }
            if read == 0 {
                return length;
            }
        }
    }

    everywhere(|| {
        const LENGTH: usize = 300_000;
        let all: Vec<_> = (1..4)
            .flat_map(|seed| {
                let (near, far) = pair();
                [near, far].map(|end| {
                    let end = Arc::new(end);
                    let clone = end.clone();
                    let sending = spawn(move || send(&clone, Random(seed), LENGTH));
                    let receiving = spawn(move || receive(&end, Random(seed + 10)));
                    (sending, receiving)
                })
            })
            .collect();
        for (sending, receiving) in all {
            sending.join().unwrap();
            assert_eq!(receiving.join().unwrap(), LENGTH);
        }
    });
}

// Several who wait.

#[test]
fn a_reader_that_leaves_data_behind_wakes_the_next() {
    everywhere(|| {
        for _ in 0..10 {
            let (mut near, far) = pair();
            let far = Arc::new(far);
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let far = far.clone();
                    spawn(move || {
                        let mut byte = [0];
                        (&*far).read_exact(&mut byte).unwrap();
                        byte[0]
                    })
                })
                .collect();
            settle();
            near.write_all(&[1, 2, 3, 4]).unwrap();
            let mut bytes: Vec<u8> = readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .collect();
            bytes.sort();
            assert_eq!(bytes, [1, 2, 3, 4]);
        }
    });
}

#[test]
fn a_writer_that_leaves_room_behind_wakes_the_next() {
    everywhere(|| {
        let (near, far) = pair();
        near.set_nonblocking(true).unwrap();
        let mut filled = 0;
        while let Ok(sent) = (&near).write(&vec![0; MUCH]) {
            filled += sent;
        }
        near.set_nonblocking(false).unwrap();
        let near = Arc::new(near);
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let near = near.clone();
                spawn(move || (&*near).write_all(&[1]).unwrap())
            })
            .collect();
        settle();
        let mut all = vec![0; filled + writers.len()];
        (&far).read_exact(&mut all).unwrap();
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(all.iter().filter(|byte| **byte == 1).count(), 4);
    });
}

#[test]
fn one_edge_for_many_connections_is_enough_for_many_acceptors() {
    everywhere(|| {
        const CONNECTIONS: usize = 20;
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let addr = listener.local_addr().unwrap();
        let clone = Arc::new(listener.try_clone().unwrap());
        let accepting: Vec<_> = (0..CONNECTIONS)
            .map(|i| {
                let listener = [&listener, &clone][i % 2].clone();
                spawn(move || listener.accept().unwrap().1)
            })
            .collect();
        settle();
        // No greenlet runs on one hub before all are there.
        let near: Vec<_> = (0..CONNECTIONS)
            .map(|_| std::net::TcpStream::connect(addr).unwrap())
            .collect();
        let mut peers: Vec<SocketAddr> = accepting
            .into_iter()
            .map(|one| one.join().unwrap())
            .collect();
        let mut expected: Vec<_> = near.iter().map(|near| near.local_addr().unwrap()).collect();
        peers.sort();
        expected.sort();
        assert_eq!(peers, expected);
    });
}

/// Tokens that the readers have got, in order.
fn tokens_of(readers: Vec<support::sockets::Spawned<Vec<u8>>>) -> Vec<u8> {
    let mut tokens: Vec<u8> = readers
        .into_iter()
        .flat_map(|reader| reader.join().unwrap())
        .collect();
    tokens.sort();
    tokens
}

#[test]
fn readers_and_writers_on_one_stream_and_its_clones_pass_each_byte_once() {
    everywhere(|| {
        const WRITERS: u8 = 5;
        const EACH: usize = 200;
        let (near, far) = pair();
        let (near, far) = (Arc::new(near), Arc::new(far));
        let share = |stream: &Arc<TcpStream>, i: u8| match i % 2 {
            0 => stream.clone(),
            _ => Arc::new(stream.try_clone().unwrap()),
        };
        let readers: Vec<_> = (0..6)
            .map(|i| {
                let far = share(&far, i);
                spawn(move || {
                    let (mut tokens, mut buf) = (Vec::new(), [0; LARGE]);
                    loop {
                        // Some leave data behind, some read short.
                        let wanted = if i < 3 { 2 } else { LARGE };
                        match (&*far).read(&mut buf[..wanted]).unwrap() {
                            0 => return tokens,
                            length => tokens.extend_from_slice(&buf[..length]),
                        }
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|i| {
                let near = share(&near, i);
                spawn(move || {
                    for round in 0..EACH {
                        (&*near).write_all(&[i]).unwrap();
                        if round % 16 == usize::from(i) {
                            sleep(Duration::from_micros(300));
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        near.shutdown(Shutdown::Write).unwrap();
        let expected: Vec<u8> = (0..WRITERS).flat_map(|i| [i; EACH]).collect();
        assert!(tokens_of(readers) == expected);
    });
}

#[test]
fn greenlets_and_plain_threads_on_one_stream_read_each_byte_once() {
    let _watchdog = watchdog();
    in_greenlets(|| {
        const TOKENS: u8 = 250;
        let (mut near, far) = pair();
        let far = Arc::new(far);
        let read = |far: Arc<TcpStream>| {
            let (mut tokens, mut buf) = (Vec::new(), [0; 3]);
            loop {
                match (&*far).read(&mut buf).unwrap() {
                    0 => return tokens,
                    length => tokens.extend_from_slice(&buf[..length]),
                }
            }
        };
        let mut readers = Vec::new();
        for _ in 0..3 {
            let (here, there) = (far.clone(), far.clone());
            readers.push(spawn(move || read(here)));
            readers.push(support::sockets::Spawned::Thread(thread::spawn(
                move || read(there),
            )));
        }
        for token in 0..TOKENS {
            near.write_all(&[token]).unwrap();
            if token % 5 == 0 {
                sleep(Duration::from_micros(300));
            }
        }
        near.shutdown(Shutdown::Write).unwrap();
        // On one hub, joining a thread would keep the greenlets from reading.
        wait_until(|| readers.iter().all(support::sockets::Spawned::is_finished));
        assert_eq!(tokens_of(readers), Vec::from_iter(0..TOKENS));
    });
}

/// Whether the greenlet is parked for this reason: its descriptor is known to the reactor, and
/// its time-out has begun.
fn waits_for<T>(reason: &str, greenlet: &greenlet::JoinHandle<T>) -> bool {
    format!("{:?}", greenlet.thread()).contains(reason)
}

#[test]
fn a_reader_whose_time_is_up_passes_its_edge_on() {
    let _watchdog = watchdog();
    for hubs in [1, 2, 8] {
        runtime(hubs).run(|| {
            let mut random = Random(42);
            let (mut near, far) = pair();
            let far = Arc::new(far);
            let (mut expired, mut read) = (0, 0);
            for _ in 0..60 {
                let start = |timeout| {
                    far.set_read_timeout(timeout).unwrap();
                    let far = far.clone();
                    let reading = greenlet::spawn(move || (&*far).read(&mut [0]));
                    // The time-out is shared, so the next one must not set it too early.
                    wait_until(|| waits_for("to read", &reading) || reading.is_finished());
                    reading
                };
                let hurried = start(Some(Duration::from_millis(3)));
                let patient = start(None);
                sleep(Duration::from_micros(1500 + random.below(2000) as u64));
                near.write_all(&[0]).unwrap();
                match hurried.join().unwrap() {
                    Ok(length) => {
                        assert_eq!(length, 1);
                        read += 1;
                        near.write_all(&[0]).unwrap();
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        expired += 1;
                    }
                }
                assert_eq!(patient.join().unwrap().unwrap(), 1);
            }
            assert_eq!(expired + read, 60);
        });
    }
}

#[test]
fn a_reader_whose_runtime_ends_passes_its_edge_on() {
    let _watchdog = watchdog();
    for hubs in [1, 2, 8] {
        let other = runtime(hubs);
        for round in 0..20 {
            let (mut near, far) = pair();
            let far = Arc::new(far);
            let ending = runtime(hubs);
            let read = |far: &Arc<TcpStream>| {
                let far = far.clone();
                move || (&*far).read(&mut [0])
            };
            // The first to wait registers the stream with the runtime that ends.
            let cancelled = ending.spawn(read(&far));
            wait_until(|| ending.stats().parks > 0);
            let parks = other.stats().parks;
            let patient = other.spawn(read(&far));
            wait_until(|| other.stats().parks > parks);
            let dropping = thread::spawn(move || drop(ending));
            if round % 2 == 0 {
                thread::yield_now();
            }
            near.write_all(&[0]).unwrap();
            if let Ok(read) = cancelled.join() {
                assert_eq!(read.unwrap(), 1);
                near.write_all(&[0]).unwrap();
            }
            assert_eq!(patient.join().unwrap().unwrap(), 1);
            dropping.join().unwrap();
        }
    }
}

// Time-outs.

#[test]
fn a_read_time_out_fires_again_and_again_and_the_stream_works_on() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        read_short(&near, &far);
        far.set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        for i in 0..5 {
            for _ in 0..3 {
                assert_kind(far.read(&mut [0; LARGE]), ErrorKind::WouldBlock);
                assert_kind(far.peek(&mut [0; LARGE]), ErrorKind::WouldBlock);
            }
            near.write_all(&[i]).unwrap();
            let mut byte = [0];
            wait_until(|| far.read(&mut byte).is_ok());
            assert_eq!(byte, [i]);
        }
    });
}

#[test]
fn the_time_out_of_a_read_that_got_data_ends_no_later_read() {
    everywhere(|| {
        let (mut near, far) = pair();
        let far = Arc::new(far);
        for _ in 0..5 {
            far.set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            let has_read = Arc::new(AtomicBool::new(false));
            let reading = spawn({
                let (far, has_read) = (far.clone(), has_read.clone());
                move || {
                    let first = loop {
                        // The writer may be late.
                        match (&*far).read(&mut [0; LARGE]) {
                            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                            first => break first.unwrap(),
                        }
                    };
                    far.set_read_timeout(None).unwrap();
                    has_read.store(true, Relaxed);
                    (first, (&*far).read(&mut [0; LARGE]))
                }
            });
            sleep(Duration::from_millis(5));
            near.write_all(&[0]).unwrap();
            wait_until(|| has_read.load(Relaxed));
            sleep(Duration::from_millis(120));
            assert!(!reading.is_finished());
            near.write_all(&[0]).unwrap();
            let (first, second) = reading.join().unwrap();
            assert_eq!((first, second.unwrap()), (1, 1));
        }
    });
}

#[test]
fn a_time_out_beside_data_that_keeps_coming_does_not_fire() {
    everywhere(|| {
        let (near, far) = pair();
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let echoing = spawn(move || io::copy(&mut &far, &mut &far).unwrap());
        near.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        for _ in 0..500 {
            (&near).write_all(&[0; 10]).unwrap();
            (&near).read_exact(&mut [0; 10]).unwrap();
        }
        drop(near);
        assert_eq!(echoing.join().unwrap(), 5000);
    });
}

#[test]
fn a_time_out_as_long_as_can_be_is_none() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        far.set_read_timeout(Some(Duration::MAX)).unwrap();
        let reading = spawn(move || far.read(&mut [0; LARGE]));
        settle();
        near.write_all(&[0]).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn a_write_time_out_fires_and_the_stream_works_on() {
    everywhere(|| {
        let (near, far) = pair();
        near.set_write_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let mut sent = 0;
        wait_until(|| match (&near).write(&vec![0; MUCH]) {
            Ok(length) => {
                sent += length;
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                true
            }
        });
        let reading = spawn(move || read_all(&far).unwrap().len());
        wait_until(|| (&near).write(&[0]).is_ok());
        drop(near);
        assert_eq!(reading.join().unwrap(), sent + 1);
    });
}

#[test]
fn many_readers_of_one_stream_time_out_each_in_its_time() {
    everywhere(|| {
        let (mut near, far) = pair();
        let far = Arc::new(far);
        let readers: Vec<_> = (1..=20)
            .map(|i| {
                let timeout = Duration::from_millis(2 * i);
                far.set_read_timeout(Some(timeout)).unwrap();
                let far = far.clone();
                let reading = spawn(move || {
                    let start = Instant::now();
                    let result = (&*far).read(&mut [0]);
                    (result, start.elapsed())
                });
                greenlet::yield_now();
                reading
            })
            .collect();
        for reader in readers {
            let (result, waited) = reader.join().unwrap();
            assert_kind(result, ErrorKind::WouldBlock);
            assert!(waited >= Duration::from_millis(1), "{waited:?}");
        }
        near.write_all(&[0]).unwrap();
        assert_eq!((&*far).read(&mut [0]).unwrap(), 1);
    });
}

#[test]
fn many_connect_timeouts_to_a_full_listener_fire_at_once() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // SAFETY: the call takes numbers only.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let addr = listener.local_addr().unwrap();
        let connect = move |timeout| TcpStream::connect_timeout(&addr, timeout);
        let mut queue = Vec::new();
        while let Ok(stream) = connect(Duration::from_millis(50)) {
            queue.push(stream);
            assert!(queue.len() < 100, "the queue does not fill up");
        }
        let start = Instant::now();
        let connecting: Vec<_> = (0..100)
            .map(|_| spawn(move || connect(Duration::from_millis(100)).map(drop)))
            .collect();
        for one in connecting {
            assert_kind(one.join().unwrap(), ErrorKind::TimedOut);
        }
        let waited = start.elapsed();
        assert!(waited < Duration::from_millis(100 * 100 / 2), "{waited:?}");
        // The listener works on. Some of those who have given up may be in its queue, too.
        let listener = Arc::new(listener);
        let accepting = spawn({
            let listener = listener.clone();
            move || {
                for mut stream in listener.incoming().flatten() {
                    // Who has given up does not care.
                    let _ = stream.write(&[1]);
                }
            }
        });
        let mut patient = connect(Duration::from_secs(20)).unwrap();
        patient.read_exact(&mut [0]).unwrap();
        listener.shutdown().unwrap();
        accepting.join().unwrap();
    });
}

// From runtime to runtime.

#[test]
fn a_stream_goes_on_in_another_runtime_when_its_first_was_dropped() {
    let _watchdog = watchdog();
    for hubs in [1, 2, 8] {
        let (mut near, mut far) = runtime(hubs).run(|| {
            let (near, far) = pair();
            read_short(&near, &far);
            read_short(&far, &near);
            (near, far)
        });
        for _ in 0..5 {
            (near, far) = runtime(hubs).run(|| {
                let writing = spawn(move || {
                    settle();
                    near.write_all(&vec![1; MUCH]).unwrap();
                    near
                });
                // Reader and writer wait, both.
                far.read_exact(&mut vec![0; MUCH]).unwrap();
                (writing.join().unwrap(), far)
            });
        }
        // And outside of any.
        near.write_all(&[1]).unwrap();
        far.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_stream_registered_with_a_runtime_that_is_dropped_meanwhile_wakes_those_of_another() {
    let _watchdog = watchdog();
    for hubs in [1, 2, 8] {
        let other = runtime(hubs);
        let first = runtime(hubs);
        let (near, far) = first.run(|| {
            let (near, far) = pair();
            read_short(&near, &far);
            (near, far)
        });
        let parks = other.stats().parks;
        let reading = other.spawn(move || {
            let read = read_all(&far).unwrap();
            (&far).write_all(&read).unwrap();
        });
        wait_until(|| other.stats().parks > parks);
        drop(first);
        thread::sleep(Duration::from_millis(5));
        (&near).write_all(b"still here").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&near).unwrap(), b"still here");
        reading.join().unwrap();
    }
}

#[test]
fn a_stream_moves_between_two_living_runtimes_and_a_thread() {
    let _watchdog = watchdog();
    for hubs in [1, 2, 8] {
        let runtimes = [runtime(hubs), runtime(hubs)];
        let (near, mut far) = pair();
        let echoing = thread::spawn(move || io::copy(&mut &near, &mut &near).unwrap());
        for i in 0..100 {
            let talk = move || {
                far.write_all(&[i]).unwrap();
                let mut echo = [0];
                far.read_exact(&mut echo).unwrap();
                assert_eq!(echo, [i]);
                far
            };
            far = match i % 3 {
                2 => thread::spawn(talk).join().unwrap(),
                i => runtimes[usize::from(i)].spawn(talk).join().unwrap(),
            };
        }
        drop(far);
        assert_eq!(echoing.join().unwrap(), 100);
    }
}

#[test]
fn greenlets_of_two_runtimes_and_threads_accept_each_connection_once_until_the_shutdown() {
    let _watchdog = watchdog();
    for hubs in [1, 2, 8] {
        const CONNECTIONS: usize = 100;
        let runtimes = [runtime(hubs), runtime(hubs)];
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let addr = listener.local_addr().unwrap();
        let (peers, accepted) = mpsc::channel();
        let accept = || {
            let (listener, peers) = (listener.clone(), peers.clone());
            move || loop {
                match listener.accept() {
                    Ok((_, peer)) => peers.send(peer).unwrap(),
                    Err(error) => return ListenerShutdown::is(&error),
                }
            }
        };
        let mut accepting = Vec::new();
        for _ in 0..2 {
            accepting.push(support::sockets::Spawned::Greenlet(
                runtimes[0].spawn(accept()),
            ));
            accepting.push(support::sockets::Spawned::Greenlet(
                runtimes[1].spawn(accept()),
            ));
            accepting.push(support::sockets::Spawned::Thread(thread::spawn(accept())));
        }
        let near: Vec<_> = (0..CONNECTIONS)
            .map(|_| std::net::TcpStream::connect(addr).unwrap())
            .collect();
        let mut connected: Vec<_> = near.iter().map(|near| near.local_addr().unwrap()).collect();
        let mut peers: Vec<SocketAddr> = (0..CONNECTIONS)
            .map(|_| accepted.recv_timeout(Duration::from_secs(20)).unwrap())
            .collect();
        peers.sort();
        connected.sort();
        assert_eq!(peers, connected);
        listener.shutdown().unwrap();
        for one in accepting {
            assert!(one.join().unwrap(), "another error than the shutdown");
        }
        assert!(accepted.try_recv().is_err());
    }
}

// Closing.

#[test]
fn a_shutdown_by_a_thread_wakes_all_readers_and_writers_of_all_clones() {
    everywhere(|| {
        let (near, _far) = pair();
        let clone = Arc::new(near.try_clone().unwrap());
        let near = Arc::new(near);
        let streams = [&near, &near, &clone, &clone];
        let readers = streams.map(|stream| {
            let stream = stream.clone();
            spawn(move || (&*stream).read(&mut [0; LARGE]))
        });
        let writers = streams.map(|stream| {
            let stream = stream.clone();
            spawn(move || (&*stream).write_all(&vec![0; MUCH]))
        });
        settle();
        thread::spawn(move || near.shutdown(Shutdown::Both).unwrap());
        for reader in readers {
            assert_eq!(reader.join().unwrap().unwrap(), 0);
        }
        for writer in writers {
            assert_kind(writer.join().unwrap(), ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn a_shutdown_in_the_middle_of_connections_ends_every_accept_with_the_named_error() {
    everywhere(|| {
        for _ in 0..4 {
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            let addr = listener.local_addr().unwrap();
            let accepting: Vec<_> = (0..4)
                .map(|_| {
                    let listener = listener.clone();
                    spawn(move || listener.incoming().find_map(Result::err).unwrap())
                })
                .collect();
            let connecting = thread::spawn(move || {
                // Until nobody answers any more.
                while std::net::TcpStream::connect(addr).is_ok() {}
            });
            sleep(Duration::from_millis(2));
            listener.shutdown().unwrap();
            for one in accepting {
                let error = one.join().unwrap();
                assert!(ListenerShutdown::is(&error), "{error}");
            }
            wait_until(|| connecting.is_finished());
        }
    });
}

#[test]
fn many_refused_connections_are_as_many_errors() {
    everywhere(|| {
        let (_taken, closed) = closed_addr();
        let connecting: Vec<_> = (0..200)
            .map(|_| spawn(move || TcpStream::connect(closed)))
            .collect();
        for one in connecting {
            assert_kind(one.join().unwrap(), ErrorKind::ConnectionRefused);
        }
    });
}

// Fairness.

#[test]
fn a_greenlet_that_never_waits_for_its_socket_starves_nobody_on_its_hub() {
    let _watchdog = watchdog();
    runtime(1).run(|| {
        let (mut near, far) = pair();
        near.write_all(&[0]).unwrap();
        let done = Arc::new(AtomicBool::new(false));
        // Always readable, and never read.
        let greedy = spawn({
            let done = done.clone();
            move || {
                while !done.load(Relaxed) {
                    far.peek(&mut [0]).unwrap();
                }
            }
        });
        let ticking = spawn(|| (0..20).for_each(|_| sleep(Duration::from_millis(1))));
        let (mut ping, pong) = pair();
        let echoing = spawn(move || io::copy(&mut &pong, &mut &pong).unwrap());
        for _ in 0..100 {
            ping.write_all(&[0]).unwrap();
            ping.read_exact(&mut [0]).unwrap();
        }
        drop(ping);
        echoing.join().unwrap();
        ticking.join().unwrap();
        assert!(!greedy.is_finished());
        done.store(true, Relaxed);
        greedy.join().unwrap();
    });
}

#[test]
fn a_reader_and_a_writer_that_keep_each_other_busy_starve_nobody_on_their_hub() {
    let _watchdog = watchdog();
    runtime(1).run(|| {
        let (mut near, mut far) = pair();
        let done = Arc::new(AtomicBool::new(false));
        let writing = spawn({
            let done = done.clone();
            move || {
                while !done.load(Relaxed) {
                    near.write_all(&[0; 10_000]).unwrap();
                }
            }
        });
        let reading = spawn(move || io::copy(&mut far, &mut io::sink()).unwrap());
        (0..20).for_each(|_| sleep(Duration::from_millis(1)));
        assert!(!writing.is_finished());
        done.store(true, Relaxed);
        writing.join().unwrap();
        assert!(reading.join().unwrap() > 0);
    });
}

#[test]
fn a_listener_that_is_never_empty_keeps_no_timer_waiting() {
    let _watchdog = watchdog();
    for hubs in [1, 2] {
        runtime(hubs).run(|| {
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            let addr = listener.local_addr().unwrap();
            let connecting: Vec<_> = (0..2)
                .map(|_| {
                    thread::spawn(move || {
                        let mut count = 0;
                        while let Ok(stream) = std::net::TcpStream::connect(addr) {
                            // No TIME_WAIT: the ports do not run out.
                            reset(stream.into());
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            let accepting = spawn({
                let listener = listener.clone();
                move || {
                    let served: Vec<_> = listener
                        .incoming()
                        .map_while(Result::ok)
                        .map(|mut stream| spawn(move || drop(stream.read(&mut [0]))))
                        .collect();
                    let count = served.len();
                    served.into_iter().for_each(|one| one.join().unwrap());
                    count
                }
            });
            (0..50).for_each(|_| sleep(Duration::from_millis(1)));
            listener.shutdown().unwrap();
            assert!(accepting.join().unwrap() > 0);
            wait_until(|| connecting.iter().all(thread::JoinHandle::is_finished));
        });
    }
}

// Conversions.

/// Whether any epoll of this process watches the descriptor.
fn is_watched(fd: &impl AsRawFd) -> bool {
    let fd = fd.as_raw_fd().to_string();
    std::fs::read_dir("/proc/self/fdinfo")
        .unwrap()
        // Those of other tests may be gone by now.
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .any(|info| {
            info.lines()
                .filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next())
                .any(|watched| watched == fd)
        })
}

#[test]
fn a_stream_that_became_std_s_is_in_no_reactor_and_blocks_and_can_come_back() {
    let _watchdog = watchdog();
    in_greenlets(|| {
        let (near, mut far) = pair();
        for round in 0..3 {
            read_short(&near, &far);
            // It was data that came late, or this wait, that made it known to the reactor.
            far.set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            assert_kind((&far).read(&mut [0]), ErrorKind::WouldBlock);
            far.set_read_timeout(None).unwrap();
            assert!(is_watched(&far));
            let std = match round {
                0 => std::net::TcpStream::from(far),
                1 => OwnedFd::from(far).into(),
                // SAFETY: `into_raw_fd` has just given up the descriptor.
                _ => unsafe { std::net::TcpStream::from_raw_fd(far.into_raw_fd()) },
            };
            assert!(!is_watched(&std));
            assert!(!has_status_flag(&std, libc::O_NONBLOCK));

            // It waits in the kernel.
            let peer = near.try_clone().unwrap();
            let writing = thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                (&peer).write_all(b"b").unwrap();
            });
            assert_eq!((&std).read(&mut [0; LARGE]).unwrap(), 1);
            writing.join().unwrap();

            // Another runtime may have it.
            let std = thread::spawn(move || {
                runtime(1).run(move || {
                    let (spare, ours) = (std.try_clone().unwrap(), TcpStream::from(std));
                    ours.set_read_timeout(Some(Duration::from_millis(5)))
                        .unwrap();
                    assert_kind((&ours).read(&mut [0]), ErrorKind::WouldBlock);
                    ours.set_read_timeout(None).unwrap();
                    assert!(is_watched(&ours) && !is_watched(&spare));
                    std::net::TcpStream::from(ours)
                })
            });
            far = std.join().unwrap().into();
        }
        read_short(&near, &far);
    });
}

#[test]
fn a_listener_that_became_std_s_is_in_no_reactor_and_blocks_and_can_come_back() {
    let _watchdog = watchdog();
    in_greenlets(|| {
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        for _ in 0..3 {
            let accepting = greenlet::spawn(move || listener.accept().map(|_| listener));
            wait_until(|| waits_for("for a connection", &accepting));
            TcpStream::connect(addr).unwrap();
            listener = accepting.join().unwrap().unwrap();
            assert!(is_watched(&listener));

            let std = std::net::TcpListener::from(listener);
            assert!(!is_watched(&std));
            assert!(!has_status_flag(&std, libc::O_NONBLOCK));
            let connecting = thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                std::net::TcpStream::connect(addr).map(drop)
            });
            std.accept().unwrap();
            connecting.join().unwrap().unwrap();
            listener = std.into();
        }
    });
}
