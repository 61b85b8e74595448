//! `UnixStream`: waiting, clones, ends, descriptors that travel, failures.

mod support;

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenlet::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use support::child::none_begins;
use support::sockets::{
    alone, descriptor_limit, everywhere, has_status_flag, is_closed_on_exec, open_descriptors,
    set_descriptor_limit, settle, spawn,
};
use support::temp::TempDir;
use support::{does_not_park, parks, runtime, watched};

#[track_caller]
fn assert_kind<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

/// Sends `text` with `fds`.
fn send(stream: &UnixStream, text: &[u8], fds: &[BorrowedFd<'_>]) {
    let sent = stream.send_with_fds(&[IoSlice::new(text)], fds).unwrap();
    assert_eq!(sent, text.len());
}

/// Up to `N` bytes, and the descriptors that came with them.
fn receive<const N: usize>(stream: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut buf = [0; N];
    let received = stream
        .recv_with_fds(&mut [IoSliceMut::new(&mut buf)])
        .unwrap();
    assert!(!received.truncated && !received.fds_lost);
    (buf[..received.len].to_vec(), received.fds)
}

/// A listener whose queue is full, and those who fill it.
struct Full {
    directory: TempDir,
    listener: UnixListener,
    _waiting: Vec<UnixStream>,
}

impl Full {
    fn new() -> Self {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        // SAFETY: the call takes numbers only.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        // The kernel lets one more in than it was asked to.
        let _waiting = vec![UnixStream::connect(&path).unwrap()];
        Self {
            directory,
            listener,
            _waiting,
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.directory.path().join("sock"))
    }
}

#[test]
fn reading_parks_until_there_is_something() {
    let (mut near, mut far) = pair();
    let mut buf = [0; 8];
    let end = || drop(near.write(b"1"));
    assert_eq!(parks(|| far.read(&mut buf), end).unwrap(), 1);
    let end = || drop(near.write(b"22"));
    assert_eq!(parks(|| far.peek(&mut buf), end).unwrap(), 2);
    assert_eq!(far.read(&mut buf).unwrap(), 2);
    let end = || drop(near.write(b"333"));
    let mut bufs = [IoSliceMut::new(&mut buf)];
    assert_eq!(parks(|| far.read_vectored(&mut bufs), end).unwrap(), 3);
    let end = || send(&near, b"4444", &[]);
    assert_eq!(parks(|| receive::<8>(&far), end).0, b"4444");
}

#[test]
fn writing_parks_while_there_is_no_room() {
    const MUCH: usize = 4 << 20;
    let (mut near, mut far) = pair();
    let wait = || near.write(&vec![7; MUCH]).unwrap();
    let end = || far.read_exact(&mut vec![0; MUCH]).unwrap();
    assert_eq!(parks(wait, end), MUCH);

    let (near, mut far) = pair();
    let text = vec![7; MUCH];
    let end = || far.read_exact(&mut vec![0; MUCH]).unwrap();
    parks(|| send(&near, &text, &[near.as_fd()]), end);
}

#[test]
fn connecting_parks_while_the_queue_is_full() {
    let full = Full::new();
    parks(|| full.connect(), || drop(full.listener.accept())).unwrap();
}

#[test]
fn what_need_not_wait_does_not_park() {
    let directory = TempDir::new();
    let path = directory.path().join("sock");
    does_not_park(|| {
        let listener = UnixListener::bind(&path).unwrap();
        for _ in 0..20 {
            let mut near = UnixStream::connect(&path).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            near.write_all(b"hello").unwrap();
            assert_eq!(far.peek(&mut [0; 5]).unwrap(), 5);
            far.read_exact(&mut [0; 5]).unwrap();
            send(&near, b"x", &[near.as_fd()]);
            assert_eq!(receive::<1>(&far).1.len(), 1);
        }
    });
}

#[test]
fn a_short_read_does_not_hide_what_comes_behind_it() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        let reading = spawn(move || {
            let mut all = Vec::new();
            far.read_to_end(&mut all).unwrap();
            all.len()
        });
        settle();
        for length in 0..500 {
            near.write_all(&vec![1; length]).unwrap();
        }
        drop(near);
        assert_eq!(reading.join().unwrap(), (0..500).sum::<usize>());
    });
}

#[test]
fn clones_read_and_write_at_once() {
    everywhere(|| {
        const MUCH: usize = 1 << 20;
        let (near, far) = pair();
        let (near, far) = (Arc::new(near), Arc::new(far));
        let mut all = Vec::new();
        for stream in [&near, &far] {
            let writer = stream.try_clone().unwrap();
            all.push(spawn(move || (&writer).write_all(&vec![1; MUCH]).unwrap()));
            let reader = stream.clone();
            all.push(spawn(move || {
                (&*reader).read_exact(&mut vec![0; MUCH]).unwrap();
            }));
        }
        for one in all {
            one.join().unwrap();
        }
    });
}

#[test]
fn shutting_down_wakes_readers_and_writers_of_every_clone() {
    everywhere(|| {
        let (near, _far) = pair();
        let reading: Vec<_> = (0..3)
            .map(|_| {
                let mut clone = near.try_clone().unwrap();
                spawn(move || clone.read(&mut [0]).unwrap())
            })
            .collect();
        let mut clone = near.try_clone().unwrap();
        let writing = spawn(move || clone.write_all(&vec![0; 4 << 20]));
        settle();
        near.shutdown(Shutdown::Both).unwrap();
        for reader in reading {
            assert_eq!(reader.join().unwrap(), 0);
        }
        assert_kind(writing.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn closing_the_peer_ends_reads_and_writing_to_it_is_an_error_and_no_signal() {
    everywhere(|| {
        let (mut near, far) = pair();
        let reading = spawn({
            let mut near = near.try_clone().unwrap();
            move || near.read(&mut [0]).unwrap()
        });
        settle();
        drop(far);
        assert_eq!(reading.join().unwrap(), 0);
        // SAFETY: the default is what the kernel does with the signal; the old one comes back.
        let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let written = near.write(b"x");
        let vectored = near.write_vectored(&[IoSlice::new(b"x")]);
        let with_fds = near.send_with_fds(&[IoSlice::new(b"x")], &[near.as_fd()]);
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGPIPE, before) };
        for result in [written, vectored, with_fds] {
            assert_kind(result, ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn a_nonblocking_stream_never_waits_and_its_clones_neither() {
    everywhere(|| {
        let (mut near, _far) = pair();
        let mut clone = near.try_clone().unwrap();
        near.set_nonblocking(true).unwrap();
        assert!(has_status_flag(&clone, libc::O_NONBLOCK));
        for stream in [&mut near, &mut clone] {
            assert_kind(stream.read(&mut [0]), ErrorKind::WouldBlock);
            assert_kind(stream.peek(&mut [0]), ErrorKind::WouldBlock);
        }
        assert!(near.write(&vec![0; 4 << 20]).unwrap() < 4 << 20);
        assert_kind(clone.write(&[0]), ErrorKind::WouldBlock);
    });
}

#[test]
fn time_outs_fire_again_and_again_and_the_stream_works_on() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        let timeout = Duration::from_millis(30);
        near.set_read_timeout(Some(timeout)).unwrap();
        near.set_write_timeout(Some(timeout)).unwrap();
        for _ in 0..2 {
            let start = Instant::now();
            assert_kind(near.read(&mut [0]), ErrorKind::WouldBlock);
            assert_kind(
                near.recv_with_fds(&mut [IoSliceMut::new(&mut [0])]),
                ErrorKind::WouldBlock,
            );
            assert!(start.elapsed() >= timeout * 2);
        }
        let start = Instant::now();
        let sent = near.write(&vec![0; 4 << 20]).unwrap();
        assert!(sent > 0 && sent < 4 << 20, "{sent}");
        assert_kind(near.write(&[0]), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= timeout * 2);
        far.read_exact(&mut vec![0; sent]).unwrap();
        near.write_all(b"x").unwrap();
        far.write_all(b"y").unwrap();
        assert_eq!(near.read(&mut [0]).unwrap(), 1);
    });
}

#[test]
fn connecting_to_nobody_is_std_s_error() {
    let _none_begins = none_begins();
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        assert_kind(UnixStream::connect(&path), ErrorKind::NotFound);
        drop(UnixListener::bind(&path).unwrap());
        assert_kind(UnixStream::connect(&path), ErrorKind::ConnectionRefused);
        assert_kind(UnixStream::connect("a\0b"), ErrorKind::InvalidInput);
        let nobody = SocketAddr::from_pathname("").unwrap();
        let std = std::os::unix::net::UnixStream::connect_addr(&nobody).unwrap_err();
        assert_kind(UnixStream::connect_addr(&nobody), std.kind());
    });
}

#[test]
fn a_listener_that_closes_ends_the_connects_that_wait_for_it() {
    everywhere(|| {
        let full = Full::new();
        let path = full.directory.path().join("sock");
        let connecting = spawn(move || UnixStream::connect(path));
        settle();
        assert!(!connecting.is_finished());
        let Full {
            directory,
            listener,
            ..
        } = full;
        drop(listener);
        assert_kind(connecting.join().unwrap(), ErrorKind::ConnectionRefused);
        drop(directory);
    });
}

#[test]
fn dropping_the_runtime_ends_a_connect_that_waits() {
    let _watchdog = watched();
    let full = Full::new();
    let path = full.directory.path().join("sock");
    let runtime = runtime(2);
    let connecting = runtime.spawn(move || UnixStream::connect(path).map(drop));
    settle();
    drop(runtime);
    assert!(connecting.join().is_err());
}

#[test]
fn descriptors_travel_with_the_byte_they_were_sent_with() {
    everywhere(|| {
        let (near, far) = pair();
        let (mut ends, others): (Vec<_>, Vec<_>) = (0..3).map(|_| pair()).unzip();
        send(&near, b"none", &[]);
        send(&near, b"first", &[others[0].as_fd()]);
        send(&near, b"two", &[others[1].as_fd(), others[2].as_fd()]);
        drop(others);

        let mut text = Vec::new();
        let mut received = Vec::new();
        while text.len() < 12 {
            let (more, fds) = receive::<12>(&far);
            // Those of the next message are not taken with the bytes before it.
            let expected = [0, 1, 2][received.len().min(2)];
            assert!(fds.len() <= expected + 1, "{fds:?}");
            text.extend(more);
            received.extend(fds);
        }
        assert_eq!(text, b"nonefirsttwo");
        assert_eq!(received.len(), 3);
        for (end, fd) in ends.iter_mut().zip(received) {
            assert!(is_closed_on_exec(&fd));
            end.write_all(b"?").unwrap();
            let mut byte = [0];
            UnixStream::from(fd).read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"?");
            assert_eq!(end.read(&mut byte).unwrap(), 0);
        }
    });
}

#[test]
fn as_many_descriptors_travel_as_the_kernel_passes_and_no_more() {
    everywhere(|| {
        let (near, far) = pair();
        let null = File::open("/dev/null").unwrap();
        send(&near, b"x", &[null.as_fd(); 253]);
        assert_eq!(receive::<1>(&far).1.len(), 253);
        let too_many = near.send_with_fds(&[IoSlice::new(b"x")], &[null.as_fd(); 254]);
        assert_kind(too_many, ErrorKind::InvalidInput);
        let no_byte = near.send_with_fds(&[], &[null.as_fd()]);
        assert_kind(no_byte, ErrorKind::InvalidInput);
        let empty = near.send_with_fds(&[IoSlice::new(b"")], &[null.as_fd()]);
        assert_kind(empty, ErrorKind::InvalidInput);
    });
}

#[test]
fn descriptors_that_nobody_takes_are_closed() {
    alone("descriptors_that_nobody_takes_are_closed", || {
        let _watchdog = watched();
        let before = open_descriptors();
        // Dropped by who received them.
        let (near, mut far) = pair();
        send(&near, b"x", &[near.as_fd(); 100]);
        drop(receive::<1>(&far));
        assert_eq!(open_descriptors(), before + 2);
        // Passed by a read that does not ask for them.
        send(&near, b"x", &[near.as_fd(); 100]);
        far.read_exact(&mut [0]).unwrap();
        assert_eq!(open_descriptors(), before + 2);
        // Still on their way when the stream is closed.
        send(&near, b"x", &[near.as_fd(); 100]);
        drop((near, far));
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn descriptors_that_there_is_no_room_for_are_said_to_be_lost_and_the_bytes_are_not() {
    alone(
        "descriptors_that_there_is_no_room_for_are_said_to_be_lost_and_the_bytes_are_not",
        || {
            let _watchdog = watched();
            let (near, far) = pair();
            send(&near, b"text", &[near.as_fd(); 10]);
            let before = open_descriptors();
            let next = near.try_clone().unwrap().as_raw_fd() as libc::rlim_t;
            let limit = descriptor_limit();
            set_descriptor_limit(libc::rlimit {
                // Room for three.
                rlim_cur: next + 3,
                ..limit
            });
            let mut buf = [0; 4];
            let received = far.recv_with_fds(&mut [IoSliceMut::new(&mut buf)]);
            set_descriptor_limit(limit);
            let received = received.unwrap();
            assert_eq!((received.len, &buf), (4, b"text"));
            assert!(received.fds_lost);
            assert_eq!(received.fds.len(), 3);
            drop(received);
            assert_eq!(open_descriptors(), before);
        },
    );
}

#[test]
fn conversions_keep_mode_and_time_outs() {
    everywhere(|| {
        let (ours, _far) = pair();
        let timeout = Some(Duration::from_millis(20));
        ours.set_nonblocking(true).unwrap();
        ours.set_read_timeout(timeout).unwrap();
        let mut std = std::os::unix::net::UnixStream::from(ours);
        assert_eq!(
            std.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let mut ours = UnixStream::from(OwnedFd::from(std));
        assert_kind(ours.read(&mut [0]), ErrorKind::WouldBlock);
        ours.set_nonblocking(false).unwrap();
        assert_eq!(ours.read_timeout().unwrap(), timeout);
        assert_kind(ours.read(&mut [0]), ErrorKind::WouldBlock);
        // SAFETY: the descriptor was just given away.
        let ours = unsafe { UnixStream::from_raw_fd(ours.into_raw_fd()) };
        assert!(!has_status_flag(&ours, libc::O_NONBLOCK));
        let std: std::os::unix::net::UnixStream = ours.into();
        assert_eq!(std.read_timeout().unwrap(), timeout);
    });
}

#[test]
fn connections_are_blocking_and_closed_on_exec_and_shown_as_std_s() {
    everywhere(|| {
        let directory = TempDir::new();
        let path = directory.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let near = UnixStream::connect(&path).unwrap();
        let (far, peer) = listener.accept().unwrap();
        assert!(peer.is_unnamed());
        let (one, other) = pair();
        for stream in [&near, &far, &one, &other] {
            assert!(!has_status_flag(stream, libc::O_NONBLOCK));
            assert!(is_closed_on_exec(stream));
            assert!(stream.take_error().unwrap().is_none());
        }
        let shown = format!("{near:?} {listener:?}");
        let std = std::os::unix::net::UnixStream::from(near);
        let std_listener = std::os::unix::net::UnixListener::from(listener);
        assert_eq!(shown, format!("{std:?} {std_listener:?}"));
        assert!(shown.contains("peer: \"/"), "{shown}");
    });
}

#[test]
fn streams_leave_no_descriptor_behind() {
    alone("streams_leave_no_descriptor_behind", || {
        let _watchdog = watched();
        let runtime = runtime(2);
        // What the runtime itself opens is open now.
        let before = runtime.run(open_descriptors);
        runtime.run(|| {
            for _ in 0..100 {
                let (mut near, mut far) = pair();
                let reading = greenlet::spawn(move || far.read(&mut [0]).unwrap());
                greenlet::yield_now();
                near.try_clone().unwrap().write_all(b"x").unwrap();
                reading.join().unwrap();
                assert_kind(UnixStream::connect("/none"), ErrorKind::NotFound);
                near.flush().unwrap();
            }
        });
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn the_types_are_as_free_as_std_s() {
    fn check<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    check::<std::os::unix::net::UnixStream>();
    check::<UnixStream>();
    check::<UnixListener>();
    check::<greenlet::os::unix::net::Incoming<'_>>();
    check::<greenlet::os::unix::net::UnixDatagram>();
}
