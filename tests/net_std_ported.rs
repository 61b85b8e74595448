//! What std's tests of `std::net::tcp` claim (`library/std/src/net/tcp/tests.rs`), under the same
//! names, of our types.
//!
//! The tests are written anew: channels, which would block a hub, are joins here. Differences in
//! what is claimed are marked with "std:".

mod support;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use greenlet::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use support::sockets::{closed_addr, everywhere, sleep, spawn};

/// Runs `f` with a fresh listener of either IP version.
fn each_ip(f: impl Fn(TcpListener, SocketAddr)) {
    for ip in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(ip).unwrap();
        let addr = listener.local_addr().unwrap();
        f(listener, addr);
    }
}

/// Both ends of a connection.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    (near, far)
}

/// The next byte of `stream`.
fn read_byte(mut stream: impl Read) -> u8 {
    let mut byte = [0];
    assert_eq!(stream.read(&mut byte).unwrap(), 1);
    byte[0]
}

#[track_caller]
fn assert_would_block<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
    }
}

#[test]
fn bind_error() {
    everywhere(|| {
        let error = TcpListener::bind("1.1.1.1:9999").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn connect_error() {
    everywhere(|| {
        let error = TcpStream::connect("0.0.0.0:1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn connect_timeout_to_closed() {
    everywhere(|| {
        let (_taken, addr) = closed_addr();
        let error = TcpStream::connect_timeout(&addr, Duration::from_secs(30)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn listen_localhost() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = spawn(move || {
            let mut stream = TcpStream::connect(("localhost", port)).unwrap();
            stream.write_all(&[144]).unwrap();
        });
        assert_eq!(read_byte(listener.accept().unwrap().0), 144);
        client.join().unwrap();
    });
}

#[test]
fn connect_loopback() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let client = spawn(move || {
                let host = if addr.is_ipv4() { "127.0.0.1" } else { "::1" };
                let mut stream = TcpStream::connect((host, addr.port())).unwrap();
                stream.write_all(&[66]).unwrap();
            });
            assert_eq!(read_byte(listener.accept().unwrap().0), 66);
            client.join().unwrap();
        });
    });
}

#[test]
fn smoke_test() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let client = spawn(move || {
                let mut stream = TcpStream::connect(addr).unwrap();
                stream.write_all(&[99]).unwrap();
                stream.local_addr().unwrap()
            });
            let (stream, peer) = listener.accept().unwrap();
            assert_eq!(read_byte(stream), 99);
            assert_eq!(peer, client.join().unwrap());
        });
    });
}

#[test]
fn read_eof() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let client = spawn(move || drop(TcpStream::connect(addr).unwrap()));
            let mut stream = listener.accept().unwrap().0;
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            client.join().unwrap();
        });
    });
}

#[test]
fn write_close() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let client = spawn(move || drop(TcpStream::connect(addr).unwrap()));
            let mut stream = listener.accept().unwrap().0;
            client.join().unwrap();
            match stream.write(&[0]) {
                Ok(sent) => assert_eq!(sent, 1),
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset
                            | ErrorKind::BrokenPipe
                            | ErrorKind::ConnectionAborted
                    ),
                    "{error}"
                ),
            }
        });
    });
}

#[test]
fn multiple_connect_serial() {
    everywhere(|| {
        each_ip(|listener, addr| {
            const MAX: usize = 10;
            let client = spawn(move || {
                for _ in 0..MAX {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    stream.write_all(&[99]).unwrap();
                }
            });
            for stream in listener.incoming().take(MAX) {
                assert_eq!(read_byte(stream.unwrap()), 99);
            }
            client.join().unwrap();
        });
    });
}

/// Ten connections, each made before the one before it is written to; `byte` of each says which.
fn connect_interleaved(listener: TcpListener, addr: SocketAddr, byte: fn(usize) -> u8) {
    const MAX: usize = 10;

    fn connect(i: usize, addr: SocketAddr, byte: fn(usize) -> u8) {
        if i == MAX {
            return;
        }
        let connecting = spawn(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            connect(i + 1, addr, byte);
            stream.write_all(&[byte(i)]).unwrap();
        });
        connecting.join().unwrap();
    }

    let server = spawn(move || {
        let mut serving = Vec::new();
        for (i, stream) in listener.incoming().take(MAX).enumerate() {
            let stream = stream.unwrap();
            serving.push(spawn(move || assert_eq!(read_byte(stream), byte(i))));
        }
        for one in serving {
            one.join().unwrap();
        }
    });
    connect(0, addr, byte);
    server.join().unwrap();
}

#[test]
fn multiple_connect_interleaved_greedy_schedule() {
    everywhere(|| each_ip(|listener, addr| connect_interleaved(listener, addr, |i| i as u8)));
}

#[test]
fn multiple_connect_interleaved_lazy_schedule() {
    everywhere(|| each_ip(|listener, addr| connect_interleaved(listener, addr, |_| 99)));
}

#[test]
fn socket_and_peer_name() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let server = spawn(move || listener.accept().unwrap().1);
            let stream = TcpStream::connect(addr).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), addr);
            assert_eq!(stream.local_addr().unwrap(), server.join().unwrap());
        });
    });
}

#[test]
fn partial_read() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let server = spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                stream.write_all(&[10]).unwrap();
                read_byte(stream)
            });
            let mut stream = TcpStream::connect(addr).unwrap();
            assert_eq!(stream.read(&mut [0; 10]).unwrap(), 1);
            stream.write_all(&[1]).unwrap();
            assert_eq!(server.join().unwrap(), 1);
        });
    });
}

#[test]
fn read_vectored() {
    everywhere(|| {
        each_ip(|listener, _| {
            let (mut near, mut far) = pair(&listener);
            near.write_all(&[10, 11, 12]).unwrap();

            let (mut a, mut b, mut c) = ([], [0], [0; 3]);
            let read = far.read_vectored(&mut [
                IoSliceMut::new(&mut a),
                IoSliceMut::new(&mut b),
                IoSliceMut::new(&mut c),
            ]);
            // std: "some implementations" may fill the first buffer only; ours is none of them.
            assert_eq!(read.unwrap(), 3);
            assert_eq!((b, c), ([10], [11, 12, 0]));
        });
    });
}

#[test]
fn write_vectored() {
    everywhere(|| {
        each_ip(|listener, _| {
            let (mut near, mut far) = pair(&listener);
            let bufs: [&[u8]; 3] = [&[], &[10], &[11, 12]];
            assert_eq!(near.write_vectored(&bufs.map(IoSlice::new)).unwrap(), 3);

            let mut buf = [0; 4];
            assert_eq!(far.read(&mut buf).unwrap(), 3);
            assert_eq!(buf, [10, 11, 12, 0]);
        });
    });
}

#[test]
fn double_bind() {
    everywhere(|| {
        each_ip(|_listener, addr| {
            let error = TcpListener::bind(addr).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        });
    });
}

#[test]
fn tcp_clone_smoke() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let client = spawn(move || {
                let mut stream = TcpStream::connect(addr).unwrap();
                assert_eq!(read_byte(&stream), 1);
                stream.write_all(&[2]).unwrap();
            });
            let reader = listener.accept().unwrap().0;
            let mut writer = reader.try_clone().unwrap();
            let writing = spawn(move || writer.write_all(&[1]).unwrap());
            assert_eq!(read_byte(reader), 2);
            writing.join().unwrap();
            client.join().unwrap();
        });
    });
}

#[test]
fn tcp_clone_two_read() {
    everywhere(|| {
        each_ip(|listener, _| {
            let (mut near, far) = pair(&listener);
            let readers = [far.try_clone().unwrap(), far];
            let readers = readers.map(|reader| spawn(move || read_byte(reader)));
            near.write_all(&[1]).unwrap();
            sleep(Duration::from_millis(5));
            near.write_all(&[2]).unwrap();
            let mut bytes = readers.map(|reader| reader.join().unwrap());
            bytes.sort();
            assert_eq!(bytes, [1, 2]);
        });
    });
}

#[test]
fn tcp_clone_two_write() {
    everywhere(|| {
        each_ip(|listener, _| {
            let (mut near, far) = pair(&listener);
            let writers = [(far.try_clone().unwrap(), 1), (far, 2)];
            let writers =
                writers.map(|(mut stream, byte)| spawn(move || stream.write_all(&[byte])));
            let mut bytes = [0; 2];
            near.read_exact(&mut bytes).unwrap();
            bytes.sort();
            assert_eq!(bytes, [1, 2]);
            let _: [(); 2] = writers.map(|writer| writer.join().unwrap().unwrap());
        });
    });
}

#[test]
fn shutdown_smoke() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let server = spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
                stream.write_all(&[1]).unwrap();
            });
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert!(stream.write(&[1]).is_err());
            assert_eq!(read_byte(stream), 1);
            server.join().unwrap();
        });
    });
}

#[test]
fn close_readwrite_smoke() {
    everywhere(|| {
        each_ip(|listener, _| {
            let (mut stream, _far) = pair(&listener);
            let before = stream.try_clone().unwrap();

            stream.shutdown(Shutdown::Write).unwrap();
            assert!(stream.write(&[0]).is_err());
            stream.shutdown(Shutdown::Read).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);

            // It holds for clones, whether they were made before or after.
            for mut clone in [before, stream.try_clone().unwrap()] {
                assert!(clone.write(&[0]).is_err());
                assert_eq!(clone.read(&mut [0]).unwrap(), 0);
                // Once more does no harm.
                clone.shutdown(Shutdown::Read).unwrap();
                clone.shutdown(Shutdown::Write).unwrap();
            }
        });
    });
}

#[test]
fn close_read_wakes_up() {
    everywhere(|| {
        each_ip(|listener, _| {
            let (stream, _far) = pair(&listener);
            let mut clone = stream.try_clone().unwrap();
            let reading = spawn(move || clone.read(&mut [0]).unwrap());
            // std does not wait here, so the shutdown may come before the read.
            sleep(Duration::from_millis(20));
            stream.shutdown(Shutdown::Read).unwrap();
            assert_eq!(reading.join().unwrap(), 0);
        });
    });
}

#[test]
fn clone_while_reading() {
    everywhere(|| {
        each_ip(|listener, _| {
            let (mut near, far) = pair(&listener);
            let clone = far.try_clone().unwrap();
            let reading = spawn(move || read_byte(clone));
            sleep(Duration::from_millis(20));
            let _another = far.try_clone().unwrap();
            near.write_all(&[7]).unwrap();
            assert_eq!(reading.join().unwrap(), 7);
        });
    });
}

#[test]
fn clone_accept_smoke() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let clone = listener.try_clone().unwrap();
            let clients = [(); 2].map(|()| spawn(move || TcpStream::connect(addr).unwrap()));
            listener.accept().unwrap();
            clone.accept().unwrap();
            let _: [TcpStream; 2] = clients.map(|client| client.join().unwrap());
        });
    });
}

#[test]
fn clone_accept_concurrent() {
    everywhere(|| {
        each_ip(|listener, addr| {
            let listeners = [listener.try_clone().unwrap(), listener];
            let accepting = listeners.map(|one| spawn(move || one.accept().unwrap().1));
            let clients = [(); 2].map(|()| spawn(move || TcpStream::connect(addr).unwrap()));
            let clients = clients.map(|client| client.join().unwrap().local_addr().unwrap());
            let accepted = accepting.map(|one| one.join().unwrap());
            assert!(clients.iter().all(|client| accepted.contains(client)));
        });
    });
}

#[test]
fn debug() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        assert_eq!(
            format!("{listener:?}"),
            format!(
                "TcpListener {{ addr: {addr}, fd: {} }}",
                listener.as_raw_fd()
            ),
        );

        let stream = TcpStream::connect(addr).unwrap();
        let local = stream.local_addr().unwrap();
        assert_eq!(
            format!("{stream:?}"),
            format!(
                "TcpStream {{ addr: {local}, peer: {addr}, fd: {} }}",
                stream.as_raw_fd()
            ),
        );
    });
}

#[test]
fn timeouts() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let timeout = Some(Duration::from_secs(15410));

        assert_eq!(stream.read_timeout().unwrap(), None);
        stream.set_read_timeout(timeout).unwrap();
        assert_eq!(stream.read_timeout().unwrap(), timeout);

        assert_eq!(stream.write_timeout().unwrap(), None);
        stream.set_write_timeout(timeout).unwrap();
        assert_eq!(stream.write_timeout().unwrap(), timeout);

        stream.set_read_timeout(None).unwrap();
        assert_eq!(stream.read_timeout().unwrap(), None);
        stream.set_write_timeout(None).unwrap();
        assert_eq!(stream.write_timeout().unwrap(), None);
    });
}

/// Reads from a stream to which nothing comes, and expects the read time-out of 300 ms.
fn assert_read_times_out(mut stream: &TcpStream) {
    let start = Instant::now();
    assert_would_block(stream.read_exact(&mut [0; 10]));
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(280), "{waited:?}");
}

#[test]
fn test_read_timeout() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (stream, _far) = pair(&listener);
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        assert_read_times_out(&stream);
    });
}

#[test]
fn test_read_with_timeout() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut stream, mut far) = pair(&listener);
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        far.write_all(b"hello world").unwrap();

        let mut heard = [0; 11];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello world");
        assert_read_times_out(&stream);
    });
}

#[test]
fn test_timeout_zero_duration() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let stream = TcpStream::connect(addr).unwrap();
        for error in [
            stream.set_write_timeout(Some(Duration::ZERO)).unwrap_err(),
            stream.set_read_timeout(Some(Duration::ZERO)).unwrap_err(),
            TcpStream::connect_timeout(&addr, Duration::ZERO).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn linger() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for linger in [
            None,
            Some(Duration::from_secs(1)),
            Some(Duration::ZERO),
            None,
        ] {
            stream.set_linger(linger).unwrap();
            assert_eq!(stream.linger().unwrap(), linger);
        }
    });
}

#[test]
fn nodelay() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!stream.nodelay().unwrap());
        for nodelay in [true, false] {
            stream.set_nodelay(nodelay).unwrap();
            assert_eq!(stream.nodelay().unwrap(), nodelay);
        }
    });
}

#[test]
fn ttl() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_ttl(100).unwrap();
        assert_eq!(listener.ttl().unwrap(), 100);

        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_ttl(100).unwrap();
        assert_eq!(stream.ttl().unwrap(), 100);
    });
}

#[test]
fn set_nonblocking() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_would_block(listener.accept());
        listener.set_nonblocking(false).unwrap();

        let (mut stream, _far) = pair(&listener);
        stream.set_nonblocking(false).unwrap();
        stream.set_nonblocking(true).unwrap();
        assert_would_block(stream.read(&mut [0]));
    });
}

#[test]
fn peek() {
    everywhere(|| {
        each_ip(|listener, _| {
            let (mut stream, mut far) = pair(&listener);
            far.write_all(&[1, 3, 3, 7]).unwrap();

            let mut buf = [0; 10];
            for _ in 0..3 {
                assert_eq!(stream.peek(&mut buf).unwrap(), 4);
                assert_eq!(buf[..4], [1, 3, 3, 7]);
            }
            assert_eq!(stream.read(&mut buf).unwrap(), 4);

            stream.set_nonblocking(true).unwrap();
            assert_would_block(stream.peek(&mut buf));
        });
    });
}

#[test]
fn connect_timeout_valid() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        TcpStream::connect_timeout(&addr, Duration::from_secs(2)).unwrap();
    });
}
