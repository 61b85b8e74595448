//! What std's tests of `std::net::udp` claim (`library/std/src/net/udp/tests.rs`), under the same
//! names, of our type.
//!
//! The tests are written anew: channels, which would block a hub, are joins here.

mod support;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use greenlet::net::UdpSocket;
use support::sockets::{everywhere, spawn};

/// Runs `f` with two sockets of either IP version.
fn each_ip(f: impl Fn(UdpSocket, UdpSocket)) {
    for ip in ["127.0.0.1:0", "[::1]:0"] {
        f(UdpSocket::bind(ip).unwrap(), UdpSocket::bind(ip).unwrap());
    }
}

#[track_caller]
fn assert_would_block<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
    }
}

/// Receives nothing, until the time-out of `socket` passes.
fn times_out(socket: &UdpSocket, timeout: Duration) {
    let start = Instant::now();
    assert_would_block(socket.recv_from(&mut [0; 10]));
    assert!(start.elapsed() >= timeout - Duration::from_millis(10));
}

#[test]
fn bind_error() {
    everywhere(|| {
        let error = UdpSocket::bind("1.1.1.1:9999").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn socket_smoke_test_ip4() {
    everywhere(|| {
        each_ip(|server, client| {
            let server_ip = server.local_addr().unwrap();
            let client_ip = client.local_addr().unwrap();
            let sending = spawn(move || client.send_to(&[99], server_ip).unwrap());
            let mut buf = [0];
            let (length, sender) = server.recv_from(&mut buf).unwrap();
            assert_eq!((length, buf[0], sender), (1, 99, client_ip));
            assert_eq!(sending.join().unwrap(), 1);
        });
    });
}

#[test]
fn socket_and_peer_name() {
    everywhere(|| {
        each_ip(|sock1, sock2| {
            let addr1 = sock1.local_addr().unwrap();
            let addr2 = sock2.local_addr().unwrap();
            let error = sock1.peer_addr().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
            assert!(addr1.ip() == Ipv4Addr::LOCALHOST || addr1.ip() == Ipv6Addr::LOCALHOST);
            sock1.connect(addr2).unwrap();
            sock2.connect(addr1).unwrap();
            assert_eq!(sock1.peer_addr().unwrap(), addr2);
            assert_eq!(sock2.peer_addr().unwrap(), addr1);
        });
    });
}

#[test]
fn udp_clone_smoke() {
    everywhere(|| {
        each_ip(|sock1, sock2| {
            let addr1 = sock1.local_addr().unwrap();
            let addr2 = sock2.local_addr().unwrap();
            let answering = spawn(move || {
                let mut buf = [0, 0];
                assert_eq!(sock2.recv_from(&mut buf).unwrap(), (1, addr1));
                assert_eq!(buf[0], 1);
                sock2.send_to(&[2], addr1).unwrap();
            });
            let sock3 = sock1.try_clone().unwrap();
            let asking = spawn(move || sock3.send_to(&[1], addr2).unwrap());
            let mut buf = [0, 0];
            assert_eq!(sock1.recv_from(&mut buf).unwrap(), (1, addr2));
            asking.join().unwrap();
            answering.join().unwrap();
        });
    });
}

#[test]
fn udp_clone_two_read() {
    everywhere(|| {
        each_ip(|sock1, sock2| {
            let addr1 = sock1.local_addr().unwrap();
            let sock3 = sock1.try_clone().unwrap();
            let reading = spawn(move || sock3.recv_from(&mut [0, 0]).unwrap().0);
            let sending = spawn(move || {
                sock2.send_to(&[1], addr1).unwrap();
                sock2.send_to(&[2], addr1).unwrap();
            });
            assert_eq!(sock1.recv_from(&mut [0, 0]).unwrap().0, 1);
            assert_eq!(reading.join().unwrap(), 1);
            sending.join().unwrap();
        });
    });
}

#[test]
fn udp_clone_two_write() {
    everywhere(|| {
        each_ip(|sock1, sock2| {
            let addr2 = sock2.local_addr().unwrap();
            let reading = spawn(move || sock2.recv_from(&mut [0, 1]).unwrap().0);
            let sock3 = sock1.try_clone().unwrap();
            let writing = spawn(move || sock3.send_to(&[1], addr2).is_ok());
            let written = sock1.send_to(&[2], addr2).is_ok();
            assert!(writing.join().unwrap() || written);
            assert_eq!(reading.join().unwrap(), 1);
        });
    });
}

#[test]
fn debug() {
    everywhere(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (addr, fd) = (socket.local_addr().unwrap(), socket.as_raw_fd());
        let expected = format!("UdpSocket {{ addr: {addr:?}, fd: {fd:?} }}");
        assert_eq!(format!("{socket:?}"), expected);
    });
}

#[test]
fn timeouts() {
    everywhere(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let long = Some(Duration::new(15410, 0));
        assert_eq!(socket.read_timeout().unwrap(), None);
        socket.set_read_timeout(long).unwrap();
        assert_eq!(socket.read_timeout().unwrap(), long);
        assert_eq!(socket.write_timeout().unwrap(), None);
        socket.set_write_timeout(long).unwrap();
        assert_eq!(socket.write_timeout().unwrap(), long);
        socket.set_read_timeout(None).unwrap();
        assert_eq!(socket.read_timeout().unwrap(), None);
        socket.set_write_timeout(None).unwrap();
        assert_eq!(socket.write_timeout().unwrap(), None);
    });
}

/// std: a second instead of a tenth.
#[test]
fn test_read_timeout() {
    everywhere(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let timeout = Duration::from_millis(100);
        socket.set_read_timeout(Some(timeout)).unwrap();
        times_out(&socket, timeout);
    });
}

#[test]
fn test_read_with_timeout() {
    everywhere(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let timeout = Duration::from_millis(100);
        socket.set_read_timeout(Some(timeout)).unwrap();
        socket.send_to(b"hello world", addr).unwrap();
        let mut buf = [0; 11];
        socket.recv_from(&mut buf).unwrap();
        assert_eq!(&buf, b"hello world");
        times_out(&socket, timeout);
    });
}

#[test]
fn test_timeout_zero_duration() {
    everywhere(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let zero = Some(Duration::ZERO);
        let error = socket.set_write_timeout(zero).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = socket.set_read_timeout(zero).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn connect_send_recv() {
    everywhere(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(socket.local_addr().unwrap()).unwrap();
        socket.send(b"hello world").unwrap();
        let mut buf = [0; 11];
        socket.recv(&mut buf).unwrap();
        assert_eq!(&buf, b"hello world");
    });
}

#[test]
fn connect_send_peek_recv() {
    everywhere(|| {
        each_ip(|socket, _| {
            socket.connect(socket.local_addr().unwrap()).unwrap();
            socket.send(b"hello world").unwrap();
            for _ in 1..3 {
                let mut buf = [0; 11];
                assert_eq!(socket.peek(&mut buf).unwrap(), 11);
                assert_eq!(&buf, b"hello world");
            }
            let mut buf = [0; 11];
            assert_eq!(socket.recv(&mut buf).unwrap(), 11);
            assert_eq!(&buf, b"hello world");
        });
    });
}

#[test]
fn peek_from() {
    everywhere(|| {
        each_ip(|socket, _| {
            let addr = socket.local_addr().unwrap();
            socket.send_to(b"hello world", addr).unwrap();
            for _ in 1..3 {
                let mut buf = [0; 11];
                assert_eq!(socket.peek_from(&mut buf).unwrap(), (11, addr));
                assert_eq!(&buf, b"hello world");
            }
            let mut buf = [0; 11];
            assert_eq!(socket.recv_from(&mut buf).unwrap(), (11, addr));
            assert_eq!(&buf, b"hello world");
        });
    });
}

#[test]
fn ttl() {
    everywhere(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_ttl(100).unwrap();
        assert_eq!(socket.ttl().unwrap(), 100);
    });
}

#[test]
fn set_nonblocking() {
    everywhere(|| {
        each_ip(|socket, _| {
            let addr = socket.local_addr().unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.set_nonblocking(false).unwrap();
            socket.connect(addr).unwrap();
            socket.set_nonblocking(false).unwrap();
            socket.set_nonblocking(true).unwrap();
            assert_would_block(socket.recv(&mut [0]));
        });
    });
}

#[test]
fn send_datagram_larger_than_c_int_max() {
    everywhere(|| {
        // Never touched, so it takes no memory.
        let data = vec![0; libc::c_int::MAX as usize + 1];
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        socket.send_to(&data, addr).unwrap_err();
        socket.connect(addr).unwrap();
        socket.send(&data).unwrap_err();
    });
}
