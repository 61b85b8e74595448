//! Every kind of socket while signals interrupt whatever the kernel does, and descriptors that are
//! closed under their waiters.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenlet::net::{
    TcpListener, TcpStream, UdpSocket, WaitFor, lookup_host, select, wait_readable, wait_writable,
};
use greenlet::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use support::process::wait_until;
use support::sockets::{self, alone, everywhere, settle, silent, spawn};
use support::storm;
use support::temp::TempDir;

/// More than sockets hold.
const MUCH: usize = 4 << 20;

/// Time enough for some signals.
const WHILE: Duration = Duration::from_millis(30);

/// Bytes that tell where they belong.
fn text() -> Vec<u8> {
    (0..MUCH).map(|at| (at / 7) as u8).collect()
}

/// Sends much from `near` to `far`, a little at a time at first, and waits for it all.
fn transfer<S>(near: S, far: S)
where
    S: Read + Write + Send + 'static,
{
    let (mut near, mut far) = (near, far);
    let writing = spawn(move || {
        for byte in 0..20 {
            near.write_all(&[byte]).unwrap();
            sockets::sleep(Duration::from_millis(2));
        }
        near.write_all(&text()).unwrap();
        let mut end = Vec::new();
        near.read_to_end(&mut end).unwrap();
        end
    });
    let mut first = [0; 20];
    far.read_exact(&mut first).unwrap();
    assert_eq!(first.to_vec(), Vec::from_iter(0..20));
    let mut all = vec![0; MUCH];
    // Slower than it is sent, so that the writer waits.
    for part in all.chunks_mut(MUCH / 16) {
        sockets::sleep(Duration::from_millis(2));
        far.read_exact(part).unwrap();
    }
    assert!(all == text());
    far.write_all(b"end").unwrap();
    drop(far);
    assert_eq!(writing.join().unwrap(), b"end");
}

/// `wait` fails with `kind` after `WHILE`, and not before.
fn takes_its_time<T>(kind: ErrorKind, wait: impl FnOnce() -> io::Result<T>) {
    let start = Instant::now();
    match wait() {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
    let waited = start.elapsed();
    assert!(waited >= WHILE, "{waited:?}");
}

fn in_a_storm(test: &str, body: fn()) {
    alone(test, || {
        let storm = storm::begin();
        wait_until("it has begun", || storm.count() > 0);
        let before = storm.count();
        everywhere(body);
        assert!(storm.count() > before, "{before}");
    });
}

#[test]
fn tcp_loses_nothing_in_a_storm_of_signals() {
    in_a_storm("tcp_loses_nothing_in_a_storm_of_signals", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = spawn(move || listener.accept().unwrap().0);
        sockets::sleep(WHILE);
        let near = TcpStream::connect_timeout(&addr, Duration::from_secs(60)).unwrap();
        transfer(near, accepting.join().unwrap());
    });
}

#[test]
fn unix_streams_lose_nothing_in_a_storm_of_signals() {
    in_a_storm("unix_streams_lose_nothing_in_a_storm_of_signals", || {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let accepting = spawn(move || listener.accept().unwrap().0);
        sockets::sleep(WHILE);
        transfer(
            UnixStream::connect(&path).unwrap(),
            accepting.join().unwrap(),
        );
    });
}

#[test]
fn messages_arrive_in_a_storm_of_signals() {
    in_a_storm("messages_arrive_in_a_storm_of_signals", || {
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = far.local_addr().unwrap();
        let receiving = spawn(move || {
            for number in 0..30 {
                let mut message = [0; 8];
                assert_eq!(far.recv_from(&mut message).unwrap().0, 1);
                assert_eq!(message[0], number);
            }
        });
        let near = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..30 {
            sockets::sleep(Duration::from_millis(1));
            near.send_to(&[number], addr).unwrap();
        }
        receiving.join().unwrap();

        let (near, far) = UnixDatagram::pair().unwrap();
        let sending = spawn(move || {
            for number in 0..2000_u32 {
                near.send(&[number.to_ne_bytes(); 256].concat()).unwrap();
            }
        });
        for number in 0..2000_u32 {
            let mut message = [0; 4];
            if number % 100 == 0 {
                sockets::sleep(Duration::from_millis(1));
            }
            assert_eq!(far.recv(&mut message).unwrap(), 4);
            assert_eq!(u32::from_ne_bytes(message), number);
        }
        sending.join().unwrap();
    });
}

#[test]
fn time_outs_and_deadlines_hold_in_a_storm_of_signals() {
    in_a_storm("time_outs_and_deadlines_hold_in_a_storm_of_signals", || {
        let (tcp, _far) = sockets::pair();
        let (unix, _far) = UnixStream::pair().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        tcp.set_read_timeout(Some(WHILE)).unwrap();
        unix.set_read_timeout(Some(WHILE)).unwrap();
        udp.set_read_timeout(Some(WHILE)).unwrap();
        takes_its_time(ErrorKind::WouldBlock, || (&tcp).read(&mut [0]));
        takes_its_time(ErrorKind::WouldBlock, || (&unix).read(&mut [0]));
        takes_its_time(ErrorKind::WouldBlock, || udp.recv(&mut [0]));
        takes_its_time(ErrorKind::TimedOut, || {
            wait_readable(&udp, Some(Instant::now() + WHILE))
        });
        let silent = silent();
        let addr = silent.listener.local_addr().unwrap();
        takes_its_time(ErrorKind::TimedOut, || {
            TcpStream::connect_timeout(&addr, WHILE)
        });
        takes_its_time(ErrorKind::TimedOut, || {
            let deadline = Some(Instant::now() + WHILE);
            TcpStream::connect_happy_eyeballs(&[addr; 2], deadline)
        });
    });
}

#[test]
fn foreign_descriptors_and_names_are_waited_for_in_a_storm_of_signals() {
    in_a_storm(
        "foreign_descriptors_and_names_are_waited_for_in_a_storm_of_signals",
        || {
            let (mut reader, mut writer) = io::pipe().unwrap();
            let waiting = spawn(move || {
                for number in 0..20 {
                    let (_other, none) = io::pipe().unwrap();
                    let all = [WaitFor::readable(&reader), WaitFor::readable(&none)];
                    let ready = select(&all, None).unwrap();
                    assert_eq!(ready[0], 0);
                    let mut byte = [0];
                    reader.read_exact(&mut byte).unwrap();
                    assert_eq!(byte, [number]);
                }
            });
            for number in 0..20 {
                sockets::sleep(Duration::from_millis(2));
                wait_writable(&writer, None).unwrap();
                writer.write_all(&[number]).unwrap();
            }
            waiting.join().unwrap();
            assert!(!lookup_host("localhost", None).unwrap().is_empty());
        },
    );
}

#[test]
fn a_descriptor_that_is_closed_under_its_reader_ends_the_read_at_its_time_out() {
    fn closed_under<S>(socket: S, read: fn(&S) -> io::Result<usize>)
    where
        S: AsRawFd + Send + Sync + 'static,
    {
        let socket = Arc::new(socket);
        let reading = spawn({
            let socket = socket.clone();
            move || read(&socket)
        });
        settle();
        // SAFETY: what is tested is that the promise is broken; the socket is not dropped below.
        assert_eq!(unsafe { libc::close(socket.as_raw_fd()) }, 0);
        let error = reading.join().unwrap().unwrap_err();
        let is_closed = error.raw_os_error() == Some(libc::EBADF);
        assert!(
            is_closed || error.kind() == ErrorKind::WouldBlock,
            "{error}"
        );
        mem::forget(socket);
    }

    alone(
        "a_descriptor_that_is_closed_under_its_reader_ends_the_read_at_its_time_out",
        || {
            everywhere(|| {
                let timeout = Some(Duration::from_millis(100));
                let (tcp, _far) = sockets::pair();
                tcp.set_read_timeout(timeout).unwrap();
                closed_under(tcp, |mut tcp| tcp.read(&mut [0]));
                let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
                udp.set_read_timeout(timeout).unwrap();
                closed_under(udp, |udp| udp.recv(&mut [0]));
                let (unix, _far) = UnixStream::pair().unwrap();
                unix.set_read_timeout(timeout).unwrap();
                closed_under(unix, |mut unix| unix.read(&mut [0]));
                // Others are none the worse for it.
                let (mut near, mut far) = sockets::pair();
                let reading = spawn(move || far.read(&mut [0]).unwrap());
                settle();
                near.write_all(b"x").unwrap();
                assert_eq!(reading.join().unwrap(), 1);
                near.shutdown(Shutdown::Both).unwrap();
            });
        },
    );
}
