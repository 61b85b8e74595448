//! What std's tests of `std::os::unix::net` claim (`library/std/src/os/unix/net/tests.rs`), under the
//! same names, of our types.
//!
//! The tests are written anew. Those of `SocketAncillary`, which is not stable, are of our
//! `send_with_fds` and `recv_with_fds`.

mod support;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use greenlet::os::linux::net::SocketAddrExt;
use greenlet::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use support::sockets::{self, everywhere, spawn};
use support::temp::TempDir;

/// The longest path that a socket has, with its NUL.
const SUN_PATH_MAX_LEN: usize = 108;

#[track_caller]
fn assert_kind<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

/// An abstract name that no other process uses, nor any other call of this.
fn abstract_name(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(sockets::unique(name)).unwrap()
}

fn read_exactly<const N: usize>(mut stream: impl Read) -> [u8; N] {
    let mut buf = [0; N];
    assert_eq!(stream.read(&mut buf).unwrap(), N);
    buf
}

/// Sends `hello` through `connect`, and gets `world!` from who accepts.
fn hello_world(listener: UnixListener, connect: impl FnOnce() -> UnixStream) {
    let serving = spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        assert_eq!(&read_exactly::<5>(&mut stream), b"hello");
        stream.write_all(b"world!").unwrap();
    });
    let mut stream = connect();
    stream.write_all(b"hello").unwrap();
    let mut buf = Vec::new();
    stream.read_to_end(&mut buf).unwrap();
    assert_eq!(buf, b"world!");
    drop(stream);
    serving.join().unwrap();
}

/// Accepts two connections one after the other, and reads a byte of each.
fn two_connections(listener: UnixListener, connect: impl Fn() -> UnixStream) {
    let serving = spawn(move || {
        for stream in listener.incoming().take(2) {
            read_exactly::<1>(stream.unwrap());
        }
    });
    for _ in 0..2 {
        connect().write_all(&[0]).unwrap();
    }
    serving.join().unwrap();
}

#[test]
fn sock_addr_from_pathname() {
    let address = SocketAddr::from_pathname("/path/to/socket").unwrap();
    assert_eq!(address.as_pathname(), Some(Path::new("/path/to/socket")));
}

#[test]
fn basic() {
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let local = listener.local_addr().unwrap();
        assert_eq!(local.as_pathname(), Some(&*path));
        hello_world(listener, || {
            let stream = UnixStream::connect(&path).unwrap();
            assert_eq!(stream.peer_addr().unwrap().as_pathname(), Some(&*path));
            stream
        });
    });
}

#[test]
fn vectored() {
    everywhere(|| {
        let (mut s1, mut s2) = UnixStream::pair().unwrap();
        let words = [b"hello".as_slice(), b" ", b"world!"].map(IoSlice::new);
        assert_eq!(s1.write_vectored(&words).unwrap(), 12);
        let (mut buf1, mut buf2) = ([0; 6], [0; 7]);
        let mut bufs = [IoSliceMut::new(&mut buf1), IoSliceMut::new(&mut buf2)];
        assert_eq!(s2.read_vectored(&mut bufs).unwrap(), 12);
        assert_eq!((&buf1, &buf2), (b"hello ", b"world!\0"));
    });
}

#[test]
fn pair() {
    everywhere(|| {
        let (mut s1, mut s2) = UnixStream::pair().unwrap();
        assert!(s1.local_addr().unwrap().is_unnamed());
        assert!(s2.peer_addr().unwrap().is_unnamed());
        let answering = spawn(move || {
            assert_eq!(&read_exactly::<5>(&mut s1), b"hello");
            s1.write_all(b"world!").unwrap();
        });
        s2.write_all(b"hello").unwrap();
        let mut buf = Vec::new();
        s2.read_to_end(&mut buf).unwrap();
        assert_eq!(buf, b"world!");
        drop(s2);
        answering.join().unwrap();
    });
}

#[test]
fn try_clone() {
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(b"hello").unwrap();
            stream.write_all(b"world").unwrap();
        });
        let stream = UnixStream::connect(&path).unwrap();
        let clone = stream.try_clone().unwrap();
        assert_eq!(&read_exactly::<5>(stream), b"hello");
        assert_eq!(&read_exactly::<5>(clone), b"world");
        serving.join().unwrap();
    });
}

#[test]
fn iter() {
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        two_connections(listener, || UnixStream::connect(&path).unwrap());
    });
}

#[test]
fn long_path() {
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("a".repeat(SUN_PATH_MAX_LEN));
        assert_kind(UnixStream::connect(&path), ErrorKind::InvalidInput);
        assert_kind(UnixListener::bind(&path), ErrorKind::InvalidInput);
        assert_kind(UnixDatagram::bind(&path), ErrorKind::InvalidInput);
    });
}

#[test]
fn timeouts() {
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        let long = Some(Duration::new(15410, 0));
        assert_eq!(stream.read_timeout().unwrap(), None);
        stream.set_read_timeout(long).unwrap();
        assert_eq!(stream.read_timeout().unwrap(), long);
        assert_eq!(stream.write_timeout().unwrap(), None);
        stream.set_write_timeout(long).unwrap();
        assert_eq!(stream.write_timeout().unwrap(), long);
        stream.set_read_timeout(None).unwrap();
        assert_eq!(stream.read_timeout().unwrap(), None);
        stream.set_write_timeout(None).unwrap();
        assert_eq!(stream.write_timeout().unwrap(), None);
    });
}

/// std: a second instead of a tenth.
#[test]
fn test_read_timeout() {
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut stream = UnixStream::connect(&path).unwrap();
        let timeout = Duration::from_millis(100);
        stream.set_read_timeout(Some(timeout)).unwrap();
        assert_kind(stream.read_exact(&mut [0; 10]), ErrorKind::WouldBlock);
    });
}

#[test]
fn test_read_with_timeout() {
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut stream = UnixStream::connect(&path).unwrap();
        let timeout = Duration::from_millis(100);
        stream.set_read_timeout(Some(timeout)).unwrap();
        let mut other_end = listener.accept().unwrap().0;
        other_end.write_all(b"hello world").unwrap();
        assert_eq!(&read_exactly::<11>(&mut stream), b"hello world");
        assert_kind(stream.read_exact(&mut [0; 10]), ErrorKind::WouldBlock);
    });
}

#[test]
fn test_unix_stream_timeout_zero_duration() {
    everywhere(|| {
        let (stream, _other) = UnixStream::pair().unwrap();
        let zero = Some(Duration::ZERO);
        assert_kind(stream.set_write_timeout(zero), ErrorKind::InvalidInput);
        assert_kind(stream.set_read_timeout(zero), ErrorKind::InvalidInput);
    });
}

#[test]
fn test_unix_datagram() {
    everywhere(|| {
        let directory = TempDir::new();
        let [path1, path2] = ["sock1", "sock2"].map(|name| directory.path().join(name));
        let sock1 = UnixDatagram::bind(path1).unwrap();
        let sock2 = UnixDatagram::bind(&path2).unwrap();
        sock1.send_to(b"hello world", &path2).unwrap();
        let mut buf = [0; 11];
        sock2.recv_from(&mut buf).unwrap();
        assert_eq!(&buf, b"hello world");
    });
}

#[test]
fn test_unnamed_unix_datagram() {
    everywhere(|| {
        let directory = TempDir::new();
        let path1 = directory.path().join("sock1");
        let sock1 = UnixDatagram::bind(&path1).unwrap();
        let sock2 = UnixDatagram::unbound().unwrap();
        sock2.send_to(b"hello world", &path1).unwrap();
        let mut buf = [0; 11];
        let (length, addr) = sock1.recv_from(&mut buf).unwrap();
        assert_eq!(length, 11);
        assert!(addr.is_unnamed());
        assert_eq!(&buf, b"hello world");
    });
}

#[test]
fn test_unix_datagram_connect_to_recv_addr() {
    everywhere(|| {
        let directory = TempDir::new();
        let [path1, path2] = ["sock1", "sock2"].map(|name| directory.path().join(name));
        let sock1 = UnixDatagram::bind(path1).unwrap();
        let sock2 = UnixDatagram::bind(&path2).unwrap();
        let sock1_addr = sock1.local_addr().unwrap();
        sock2.send_to_addr(b"hello world", &sock1_addr).unwrap();
        let (_, addr) = sock1.recv_from(&mut [0; 11]).unwrap();
        assert_eq!(addr.as_pathname(), Some(&*path2));

        // The sender sends to itself.
        sock2.connect_addr(&addr).unwrap();
        sock2.send(b"hello back").unwrap();
        let mut buf = [0; 10];
        assert_eq!(sock2.recv(&mut buf).unwrap(), 10);
        assert_eq!(&buf, b"hello back");
    });
}

#[test]
fn test_connect_unix_datagram() {
    everywhere(|| {
        let directory = TempDir::new();
        let [path1, path2] = ["sock1", "sock2"].map(|name| directory.path().join(name));
        let bsock1 = UnixDatagram::bind(&path1).unwrap();
        let bsock2 = UnixDatagram::bind(&path2).unwrap();
        let sock = UnixDatagram::unbound().unwrap();
        sock.connect(&path1).unwrap();
        sock.send(b"hello there").unwrap();
        let mut buf = [0; 11];
        let (length, addr) = bsock1.recv_from(&mut buf).unwrap();
        assert_eq!(length, 11);
        assert!(addr.is_unnamed());
        assert_eq!(&buf, b"hello there");
        sock.connect(&path2).unwrap();
        sock.send(b"hello there").unwrap();
        bsock2.recv_from(&mut buf).unwrap();
    });
}

#[test]
fn test_unix_datagram_recv() {
    everywhere(|| {
        let directory = TempDir::new();
        let path1 = directory.path().join("sock1");
        let sock1 = UnixDatagram::bind(&path1).unwrap();
        let sock2 = UnixDatagram::unbound().unwrap();
        sock2.connect(&path1).unwrap();
        sock2.send(b"hello world").unwrap();
        let mut buf = [0; 11];
        assert_eq!(sock1.recv(&mut buf).unwrap(), 11);
        assert_eq!(&buf, b"hello world");
    });
}

#[test]
fn datagram_pair() {
    everywhere(|| {
        let (s1, s2) = UnixDatagram::pair().unwrap();
        let answering = spawn(move || {
            let mut buf = [0; 5];
            s1.recv(&mut buf).unwrap();
            assert_eq!(&buf, b"hello");
            s1.send(b"world!").unwrap();
        });
        s2.send(b"hello").unwrap();
        let mut buf = [0; 6];
        s2.recv(&mut buf).unwrap();
        assert_eq!(&buf, b"world!");
        drop(s2);
        answering.join().unwrap();
    });
}

#[test]
fn test_unix_datagram_timeout_zero_duration() {
    everywhere(|| {
        let directory = TempDir::new();
        let datagram = UnixDatagram::bind(directory.path().join("sock")).unwrap();
        let zero = Some(Duration::ZERO);
        assert_kind(datagram.set_write_timeout(zero), ErrorKind::InvalidInput);
        assert_kind(datagram.set_read_timeout(zero), ErrorKind::InvalidInput);
    });
}

#[test]
fn abstract_socket_addr_debug() {
    let addr = SocketAddr::from_abstract_name(b"\0hello\x01\t\n\x7f\xff").unwrap();
    let shown = format!("{addr:?}");
    assert_eq!(shown, r#""\0hello\x01\t\n\x7f\xff" (abstract)"#);
}

#[test]
fn abstract_namespace_not_allowed_connect() {
    everywhere(|| assert_kind(UnixStream::connect("\0asdf"), ErrorKind::InvalidInput));
}

#[test]
fn test_abstract_stream_connect() {
    everywhere(|| {
        let addr = abstract_name("name");
        let listener = UnixListener::bind_addr(&addr).unwrap();
        hello_world(listener, || {
            let stream = UnixStream::connect_addr(&addr).unwrap();
            let peer = stream.peer_addr().unwrap();
            assert_eq!(peer.as_abstract_name(), addr.as_abstract_name());
            stream
        });
    });
}

#[test]
fn test_abstract_stream_iter() {
    everywhere(|| {
        let addr = abstract_name("hidden");
        let listener = UnixListener::bind_addr(&addr).unwrap();
        two_connections(listener, || UnixStream::connect_addr(&addr).unwrap());
    });
}

#[test]
fn test_abstract_datagram_bind_send_to_addr() {
    everywhere(|| {
        let [addr1, addr2] = ["ns1", "ns2"].map(abstract_name);
        let sock1 = UnixDatagram::bind_addr(&addr1).unwrap();
        let local = sock1.local_addr().unwrap();
        assert_eq!(local.as_abstract_name(), addr1.as_abstract_name());
        let sock2 = UnixDatagram::bind_addr(&addr2).unwrap();
        sock1.send_to_addr(b"hello world", &addr2).unwrap();
        let mut buf = [0; 11];
        let (length, sender) = sock2.recv_from(&mut buf).unwrap();
        assert_eq!((&buf, length), (b"hello world", 11));
        assert_eq!(sender.as_abstract_name(), addr1.as_abstract_name());
    });
}

#[test]
fn test_abstract_datagram_connect_addr() {
    everywhere(|| {
        let [addr1, addr2] = ["ns3", "ns4"].map(abstract_name);
        let bsock1 = UnixDatagram::bind_addr(&addr1).unwrap();
        let sock = UnixDatagram::unbound().unwrap();
        sock.connect_addr(&addr1).unwrap();
        sock.send(b"hello world").unwrap();
        let mut buf = [0; 11];
        let (length, sender) = bsock1.recv_from(&mut buf).unwrap();
        assert_eq!((&buf, length), (b"hello world", 11));
        assert!(sender.is_unnamed());
        let bsock2 = UnixDatagram::bind_addr(&addr2).unwrap();
        sock.connect_addr(&addr2).unwrap();
        sock.send(b"hello world").unwrap();
        bsock2.recv_from(&mut buf).unwrap();
    });
}

#[test]
fn test_abstract_name_too_long() {
    let name = "a".repeat(SUN_PATH_MAX_LEN);
    let result = SocketAddr::from_abstract_name(name);
    assert_kind(result, ErrorKind::InvalidInput);
}

#[test]
fn test_abstract_no_pathname_and_not_unnamed() {
    let addr = SocketAddr::from_abstract_name(b"local").unwrap();
    assert_eq!(addr.as_pathname(), None);
    assert_eq!(addr.as_abstract_name(), Some(&b"local"[..]));
    assert!(!addr.is_unnamed());
}

#[test]
fn test_unix_stream_peek() {
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(&[1, 3, 3, 7]).unwrap();
            stream
        });
        let mut stream = UnixStream::connect(&path).unwrap();
        let mut buf = [0; 10];
        for _ in 0..2 {
            assert_eq!(stream.peek(&mut buf).unwrap(), 4);
        }
        assert_eq!(stream.read(&mut buf).unwrap(), 4);
        stream.set_nonblocking(true).unwrap();
        let _other_end = serving.join().unwrap();
        assert_kind(stream.peek(&mut buf), ErrorKind::WouldBlock);
    });
}

#[test]
fn test_unix_datagram_peek() {
    everywhere(|| {
        let (near, far) = UnixDatagram::pair().unwrap();
        near.send(b"hello world").unwrap();
        let mut buf = [0; 11];
        for _ in 0..2 {
            assert_eq!(far.peek(&mut buf).unwrap(), 11);
            assert_eq!(&buf, b"hello world");
        }
        assert_eq!(far.recv(&mut [0; 11]).unwrap(), 11);
    });
}

#[test]
fn test_unix_datagram_peek_from() {
    everywhere(|| {
        let directory = TempDir::new();
        let path1 = directory.path().join("sock");
        let sock1 = UnixDatagram::bind(&path1).unwrap();
        let sock2 = UnixDatagram::unbound().unwrap();
        sock2.connect(&path1).unwrap();
        sock2.send(b"hello world").unwrap();
        let mut buf = [0; 11];
        for _ in 0..2 {
            assert_eq!(sock1.peek_from(&mut buf).unwrap().0, 11);
            assert_eq!(&buf, b"hello world");
        }
        assert_eq!(sock1.recv(&mut [0; 11]).unwrap(), 11);
    });
}

#[test]
fn test_send_vectored_fds_unix_stream() {
    everywhere(|| {
        let (s1, s2) = UnixStream::pair().unwrap();
        let sent = s1.send_with_fds(&[IoSlice::new(&[1; 8])], &[s1.as_fd()]);
        assert_eq!(sent.unwrap(), 8);
        let mut buf = [0; 8];
        let received = s2.recv_with_fds(&mut [IoSliceMut::new(&mut buf)]).unwrap();
        assert_eq!((received.len, buf), (8, [1; 8]));
        assert_eq!(received.fds.len(), 1);
    });
}

#[test]
fn test_send_vectored_with_ancillary_unix_datagram() {
    everywhere(|| {
        let directory = TempDir::new();
        let path2 = directory.path().join("sock2");
        let bsock1 = UnixDatagram::bind(directory.path().join("sock1")).unwrap();
        let bsock2 = UnixDatagram::bind(&path2).unwrap();
        bsock1.connect(&path2).unwrap();
        let sent = bsock1.send_with_fds(&[IoSlice::new(&[1; 8])], &[bsock1.as_fd()]);
        assert_eq!(sent.unwrap(), 8);
        let mut buf = [0; 8];
        let received = bsock2.recv_with_fds(&mut [IoSliceMut::new(&mut buf)]);
        let received = received.unwrap();
        assert_eq!((received.len, received.truncated, buf), (8, false, [1; 8]));
        assert_eq!(received.fds.len(), 1);
    });
}

#[test]
fn test_unix_datagram_max_path() {
    everywhere(|| {
        let directory = TempDir::new();
        // The separator, the first letter, and the NUL.
        let rest = SUN_PATH_MAX_LEN - directory.path().as_os_str().len() - 3;
        let [path1, path2] = ["x", "y"].map(|first| {
            let name = format!("{first}{}", "a".repeat(rest));
            directory.path().join(name)
        });
        let sock1 = UnixDatagram::bind(&path1).unwrap();
        let sock2 = UnixDatagram::bind(&path2).unwrap();
        sock1.send_to(b"hello world", &path2).unwrap();
        let mut buf = [0; 11];
        let (_, sender) = sock2.recv_from(&mut buf).unwrap();
        assert_eq!(&buf, b"hello world");
        assert_eq!(sender.as_pathname(), Some(&*path1));
    });
}
