//! `greenlet::net::TcpStream` and `ToSocketAddrs`: what std's tests do not say.

mod support;

use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::net::{
    IpAddr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, ToSocketAddrs,
};
use greenlet::os::linux::net::TcpStreamExt;
use support::child::none_begins;
use support::sockets::{
    alone, closed_addr, everywhere, has_status_flag, open_descriptors, silent, sleep, spawn,
    wait_until,
};
use support::{does_not_park, parks_for_a_while, runtime, watched};

/// More than the kernel takes of one write before somebody reads.
const MUCH: usize = 16 << 20;

/// Both ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Both ends of a connection of std's.
fn std_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Time for what was spawned to come to its wait. Too little makes a test easier to pass.
fn settle() {
    sleep(Duration::from_millis(20));
}

fn pattern(len: usize) -> Vec<u8> {
    // A period that no buffer size is a multiple of.
    let mut pattern = Vec::from_iter(0..=250).repeat(len / 251 + 1);
    pattern.truncate(len);
    pattern
}

#[track_caller]
fn assert_kind<T: Debug>(result: io::Result<T>, kind: ErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}

// Reading and writing.

#[test]
fn a_write_returns_when_everything_is_sent_as_std_s_does() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        let data = pattern(MUCH);
        let expected = data.clone();
        let writing = spawn(move || near.write(&data).unwrap());
        settle();
        let mut read = Vec::new();
        far.read_to_end(&mut read).unwrap();
        assert_eq!(writing.join().unwrap(), MUCH);
        assert!(read == expected);
    });
}

#[test]
fn a_vectored_write_returns_when_everything_is_sent() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        let data = pattern(MUCH);
        let expected = data.clone();
        let writing = spawn(move || {
            // More buffers than the kernel takes at once, empty ones in between and in front.
            let mut bufs = vec![IoSlice::new(&[]); 1500];
            for chunk in data.chunks(MUCH / 2000) {
                bufs.push(IoSlice::new(chunk));
                bufs.push(IoSlice::new(&[]));
            }
            near.write_vectored(&bufs).unwrap()
        });
        settle();
        let mut read = Vec::new();
        far.read_to_end(&mut read).unwrap();
        assert_eq!(writing.join().unwrap(), MUCH);
        assert!(read == expected);
    });
}

#[test]
fn a_vectored_read_fills_its_buffers_in_order() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        near.write_all(&[1, 2, 3, 4, 5]).unwrap();
        // More buffers than the kernel takes at once: the rest is left alone.
        let mut bytes = [0; 2000];
        let mut bufs: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
        assert_eq!(far.read_vectored(&mut bufs).unwrap(), 5);
        assert_eq!(bytes[..6], [1, 2, 3, 4, 5, 0]);
    });
}

/// What an operation did: bytes, or the kind of its error.
type Outcome = Result<usize, ErrorKind>;

/// Reads and writes of nothing, in that order: plain, vectored, and peeking.
fn do_nothing(
    mut stream: impl Read + Write,
    peek: impl Fn(&mut [u8]) -> io::Result<usize>,
) -> Vec<Outcome> {
    let outcomes = [
        stream.read(&mut []),
        stream.read_vectored(&mut []),
        stream.read_vectored(&mut [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])]),
        peek(&mut []),
        stream.write(&[]),
        stream.write_vectored(&[]),
        stream.write_vectored(&[IoSlice::new(&[]), IoSlice::new(&[])]),
    ];
    outcomes
        .map(|outcome| outcome.map_err(|error| error.kind()))
        .into()
}

#[test]
fn reads_and_writes_of_nothing_do_what_std_s_do() {
    everywhere(|| {
        // Made non-blocking, because std's `recv` of nothing waits for data, too.
        type State = (
            &'static str,
            fn(&std::net::TcpStream, std::net::TcpStream) -> Option<std::net::TcpStream>,
        );
        let states: [State; 5] = [
            ("idle", |_, far| Some(far)),
            ("data has come", |near, mut far| {
                far.write_all(&[1]).unwrap();
                near.peek(&mut [0]).unwrap();
                Some(far)
            }),
            ("the peer closed", |near, far| {
                drop(far);
                near.peek(&mut [0]).unwrap();
                None
            }),
            ("writing is shut down", |near, far| {
                near.shutdown(Shutdown::Write).unwrap();
                Some(far)
            }),
            ("reading is shut down", |near, far| {
                near.shutdown(Shutdown::Read).unwrap();
                Some(far)
            }),
        ];
        for (name, reach) in states {
            let (theirs, far) = std_pair();
            let _theirs_far = reach(&theirs, far);
            theirs.set_nonblocking(true).unwrap();
            let expected = do_nothing(&theirs, |buf| theirs.peek(buf));

            let (ours, far) = std_pair();
            let _ours_far = reach(&ours, far);
            let ours = TcpStream::from(ours);
            ours.set_nonblocking(true).unwrap();
            assert_eq!(do_nothing(&ours, |buf| ours.peek(buf)), expected, "{name}");
        }
    });
}

#[test]
fn reads_by_several_lose_nothing_and_double_nothing() {
    everywhere(|| {
        const READERS: usize = 4;
        let (mut near, far) = pair();
        let far = Arc::new(far);
        let readers: Vec<_> = (0..READERS)
            .map(|i| {
                // Half of them share a descriptor, the others have one each.
                let far = match i % 2 {
                    0 => far.clone(),
                    _ => Arc::new(far.try_clone().unwrap()),
                };
                spawn(move || {
                    let mut read = Vec::new();
                    let mut buf = [0; 7];
                    loop {
                        match (&*far).read(&mut buf).unwrap() {
                            0 => return read,
                            n => read.extend_from_slice(&buf[..n]),
                        }
                    }
                })
            })
            .collect();
        for i in 0..250_u8 {
            near.write_all(&[i]).unwrap();
            if i % 10 == 0 {
                sleep(Duration::from_millis(1));
            }
        }
        drop(near);
        let mut read: Vec<u8> = readers
            .into_iter()
            .flat_map(|reader| reader.join().unwrap())
            .collect();
        read.sort();
        assert_eq!(read, Vec::from_iter(0..250));
    });
}

#[test]
fn one_end_reads_and_writes_at_the_same_time() {
    everywhere(|| {
        let (near, far) = pair();
        let (near, far) = (Arc::new(near), Arc::new(far));
        let send = |stream: &Arc<TcpStream>| {
            let stream = stream.clone();
            spawn(move || {
                (&*stream).write_all(&pattern(MUCH)).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            })
        };
        let receive = |stream: &Arc<TcpStream>| {
            let stream = stream.clone();
            spawn(move || {
                let mut read = Vec::new();
                (&*stream).read_to_end(&mut read).unwrap();
                assert!(read == pattern(MUCH));
            })
        };
        let all = [send(&near), send(&far), receive(&near), receive(&far)];
        let _: [(); 4] = all.map(|one| one.join().unwrap());
    });
}

#[test]
fn data_and_its_end_in_one_go_are_both_read() {
    everywhere(|| {
        for _ in 0..50 {
            let (near, mut far) = pair();
            let reading = spawn(move || {
                let mut heard = String::new();
                far.read_to_string(&mut heard).map(|_| heard)
            });
            (&near).write_all(b"last words").unwrap();
            drop(near);
            assert_eq!(reading.join().unwrap().unwrap(), "last words");
        }
    });
}

#[test]
fn a_reset_by_the_peer_is_an_error_of_the_read_that_waits() {
    everywhere(|| {
        let (near, mut far) = pair();
        let reading = spawn(move || far.read(&mut [0]));
        settle();
        near.set_linger(Some(Duration::ZERO)).unwrap();
        drop(near);
        assert_kind(reading.join().unwrap(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_by_the_peer_ends_the_write_that_waits() {
    everywhere(|| {
        let (near, mut far) = pair();
        let writing = spawn(move || far.write_all(&pattern(MUCH)).unwrap_err().kind());
        near.peek(&mut [0]).unwrap();
        settle();
        near.set_linger(Some(Duration::ZERO)).unwrap();
        drop(near);
        let kind = writing.join().unwrap();
        assert!(
            matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{kind:?}"
        );
    });
}

#[test]
fn writing_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    alone(
        "writing_to_a_peer_that_is_gone_is_an_error_and_no_signal",
        || {
            // SAFETY: the default is a valid disposition for SIGPIPE, here to end the process.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            everywhere(|| {
                let (mut near, far) = pair();
                drop(far);
                // The first bytes are sent, and answered with a reset.
                wait_until(|| near.write(&[0]).is_err());
                assert_kind(near.write(&[0]), ErrorKind::BrokenPipe);
                let bufs = [IoSlice::new(&[0])];
                assert_kind(near.write_vectored(&bufs), ErrorKind::BrokenPipe);
            });
        },
    );
}

#[test]
fn dropping_a_clone_leaves_the_read_of_the_other_alone() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        let clone = far.try_clone().unwrap();
        let reading = spawn(move || {
            let mut byte = [0];
            far.read_exact(&mut byte).map(|()| byte)
        });
        settle();
        drop(clone);
        settle();
        near.write_all(&[5]).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), [5]);
    });
}

#[test]
fn shutting_down_reading_wakes_every_reader_of_every_clone() {
    everywhere(|| {
        let (_near, far) = pair();
        let clone = Arc::new(far.try_clone().unwrap());
        let far = Arc::new(far);
        let readers: Vec<_> = [&far, &far, &clone, &clone]
            .into_iter()
            .cloned()
            .map(|stream| spawn(move || (&*stream).read(&mut [0])))
            .collect();
        settle();
        far.shutdown(Shutdown::Read).unwrap();
        for reader in readers {
            assert_eq!(reader.join().unwrap().unwrap(), 0);
        }
    });
}

#[test]
fn shutting_down_writing_wakes_the_writer() {
    everywhere(|| {
        let (near, far) = pair();
        let mut clone = near.try_clone().unwrap();
        let writing = spawn(move || {
            // The first write reports what it sent, the next one why there was no more.
            let sent = clone.write(&pattern(MUCH)).unwrap();
            assert!((1..MUCH).contains(&sent), "{sent}");
            clone.write(&[0])
        });
        far.peek(&mut [0]).unwrap();
        settle();
        near.shutdown(Shutdown::Write).unwrap();
        assert_kind(writing.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

// Modes and time-outs.

#[test]
fn a_nonblocking_stream_never_waits_and_its_clones_neither() {
    everywhere(|| {
        let (near, _far) = pair();
        let mut clone = near.try_clone().unwrap();
        near.set_nonblocking(true).unwrap();
        assert_kind(clone.read(&mut [0]), ErrorKind::WouldBlock);
        assert_kind(
            clone.read_vectored(&mut [IoSliceMut::new(&mut [0])]),
            ErrorKind::WouldBlock,
        );
        assert_kind(clone.peek(&mut [0]), ErrorKind::WouldBlock);

        // A write sends what goes in, and then says that nothing more does.
        let sent = clone.write(&pattern(MUCH)).unwrap();
        assert!((1..MUCH).contains(&sent), "{sent}");
        wait_until(|| match clone.write(&pattern(MUCH)) {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                true
            }
        });
        assert!(has_status_flag(&near, libc::O_NONBLOCK));
        near.set_nonblocking(false).unwrap();
        assert!(!has_status_flag(&near, libc::O_NONBLOCK));
    });
}

#[test]
fn a_read_time_out_holds_for_clones_and_until_it_is_taken_back() {
    everywhere(|| {
        let (mut near, far) = pair();
        let mut clone = far.try_clone().unwrap();
        far.set_read_timeout(Some(Duration::from_millis(30)))
            .unwrap();
        for _ in 0..3 {
            let start = Instant::now();
            assert_kind(clone.read(&mut [0]), ErrorKind::WouldBlock);
            let waited = start.elapsed();
            assert!(waited >= Duration::from_millis(25), "{waited:?}");
            assert_kind(clone.peek(&mut [0]), ErrorKind::WouldBlock);
        }
        // What comes in time is read.
        near.write_all(&[1]).unwrap();
        clone.read_exact(&mut [0]).unwrap();

        clone.set_read_timeout(None).unwrap();
        assert_eq!(far.read_timeout().unwrap(), None);
        let reading = spawn(move || clone.read_exact(&mut [0]));
        sleep(Duration::from_millis(100));
        near.write_all(&[1]).unwrap();
        reading.join().unwrap().unwrap();
    });
}

#[test]
fn a_write_that_times_out_reports_what_it_sent_and_the_next_one_would_block() {
    everywhere(|| {
        let (mut near, _far) = pair();
        let timeout = Duration::from_millis(50);
        near.set_write_timeout(Some(timeout)).unwrap();
        let sent = near.write(&pattern(MUCH)).unwrap();
        assert!((1..MUCH).contains(&sent), "{sent}");
        // The kernel may still move some bytes to the peer, but not for long.
        wait_until(|| match near.write(&pattern(MUCH)) {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                true
            }
        });
        let start = Instant::now();
        assert_kind(near.write(&[0]), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= timeout - Duration::from_millis(5));
    });
}

#[test]
fn time_outs_of_all_sizes_are_kept_as_std_keeps_them() {
    everywhere(|| {
        let (near, _far) = pair();
        let (std, _std_far) = std_pair();
        for timeout in [
            Duration::from_nanos(1),
            Duration::from_micros(1500),
            Duration::from_millis(1234),
            Duration::MAX,
        ] {
            std.set_read_timeout(Some(timeout)).unwrap();
            near.set_read_timeout(Some(timeout)).unwrap();
            assert_eq!(near.read_timeout().unwrap(), std.read_timeout().unwrap());
            std.set_write_timeout(Some(timeout)).unwrap();
            near.set_write_timeout(Some(timeout)).unwrap();
            assert_eq!(near.write_timeout().unwrap(), std.write_timeout().unwrap());
        }
    });
}

#[test]
fn conversions_keep_mode_and_time_outs() {
    everywhere(|| {
        for nonblocking in [false, true] {
            let (std, mut far) = std_pair();
            // One that does not wait cannot take so long.
            let time = Duration::from_millis(if nonblocking { 30_000 } else { 40 });
            let timeout = Some(time);
            std.set_nonblocking(nonblocking).unwrap();
            std.set_read_timeout(timeout).unwrap();

            let mut ours = TcpStream::from(std);
            assert_eq!(ours.read_timeout().unwrap(), timeout);
            let start = Instant::now();
            assert_kind(ours.read(&mut [0]), ErrorKind::WouldBlock);
            let waited = start.elapsed() >= time - Duration::from_millis(5);
            assert_eq!(waited, !nonblocking);

            let std = std::net::TcpStream::from(ours);
            assert_eq!(std.read_timeout().unwrap(), timeout);
            assert_eq!(has_status_flag(&std, libc::O_NONBLOCK), nonblocking);

            // There and back again, by the other roads.
            let fd = OwnedFd::from(TcpStream::from(std));
            assert_eq!(has_status_flag(&fd, libc::O_NONBLOCK), nonblocking);
            let raw = TcpStream::from(fd).into_raw_fd();
            // SAFETY: `into_raw_fd` has just given up the descriptor.
            let mut ours = unsafe { TcpStream::from_raw_fd(raw) };
            assert_eq!(ours.as_fd().as_raw_fd(), raw);
            assert_eq!(ours.as_raw_fd(), raw);
            ours.write_all(&[3]).unwrap();
            far.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn the_descriptions_of_streams_are_blocking() {
    everywhere(|| {
        let (near, far) = pair();
        assert!(!has_status_flag(&near, libc::O_NONBLOCK));
        assert!(!has_status_flag(&far, libc::O_NONBLOCK));
        // And stay so when they wait.
        let mut clone = far.try_clone().unwrap();
        let reading = spawn(move || clone.read(&mut [0]));
        settle();
        assert!(!has_status_flag(&far, libc::O_NONBLOCK));
        drop(near);
        reading.join().unwrap().unwrap();
        assert!(!has_status_flag(
            &std::net::TcpStream::from(far),
            libc::O_NONBLOCK
        ));
    });
}

#[test]
fn ours_and_std_s_clone_share_a_connection() {
    everywhere(|| {
        let (near, mut far) = pair();
        let std = std::net::TcpStream::from(near.try_clone().unwrap());
        let waiting = thread::spawn(move || {
            let mut byte = [0];
            (&std).read_exact(&mut byte).map(|()| byte)
        });
        settle();
        assert!(!waiting.is_finished(), "std's clone must wait");
        far.write_all(&[8]).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), [8]);
        (&near).write_all(&[9]).unwrap();
        far.read_exact(&mut [0]).unwrap();
    });
}

// Connecting.

#[test]
fn connect_tries_all_addresses_and_reports_the_last_error() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let (_taken, closed) = closed_addr();
        // A broadcast address cannot be connected to, which the kernel says in another way than "closed".
        let refused: SocketAddr = "127.255.255.255:1".parse().unwrap();
        let other = TcpStream::connect(refused).unwrap_err().kind();
        assert_ne!(other, ErrorKind::ConnectionRefused);

        let stream = TcpStream::connect(&[closed, refused, open][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert_kind(
            TcpStream::connect(&[refused, closed][..]),
            ErrorKind::ConnectionRefused,
        );
        assert_kind(TcpStream::connect(&[closed, refused][..]), other);
        assert_kind(TcpStream::connect(&[][..]), ErrorKind::InvalidInput);
    });
}

#[test]
fn connect_timeout_gives_up_in_time() {
    everywhere(|| {
        let silent = silent();
        let addr = silent.listener.local_addr().unwrap();
        let start = Instant::now();
        let result = TcpStream::connect_timeout(&addr, Duration::from_millis(150));
        let waited = start.elapsed();
        assert_kind(result, ErrorKind::TimedOut);
        assert!(waited >= Duration::from_millis(150), "{waited:?}");
        assert!(waited < Duration::from_millis(900), "{waited:?}");
    });
}

#[test]
fn connect_waits_for_an_answer_that_comes_late() {
    everywhere(|| {
        let silent = silent();
        let addr = silent.listener.local_addr().unwrap();
        let connecting = spawn(move || TcpStream::connect(addr).map(drop));
        sleep(Duration::from_millis(100));
        assert!(!connecting.is_finished());
        // Room in the queue: the kernel's next try, after a second, is answered.
        silent.listener.accept().unwrap();
        connecting.join().unwrap().unwrap();
    });
}

#[test]
fn connect_timeout_may_be_as_long_as_a_duration_can_be() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        TcpStream::connect_timeout(&addr, Duration::MAX).unwrap();
    });
}

#[test]
fn many_connect_at_once() {
    everywhere(|| {
        const CONNECTIONS: usize = 100;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|i| {
                spawn(move || {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    stream.write_all(&[i as u8]).unwrap();
                    let mut echo = [0];
                    stream.read_exact(&mut echo).unwrap();
                    assert_eq!(echo, [i as u8]);
                })
            })
            .collect();
        for stream in listener.incoming().take(CONNECTIONS) {
            let stream = stream.unwrap();
            spawn(move || io::copy(&mut &stream, &mut &stream).unwrap());
        }
        for client in clients {
            client.join().unwrap();
        }
    });
}

/// What a peer of the test below does in the middle of its connection.
fn live_and_perhaps_reset(addr: SocketAddr, resets: bool) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(&[1; 100]).unwrap();
    stream.read_exact(&mut [0; 50]).unwrap();
    if resets {
        stream.set_linger(Some(Duration::ZERO)).unwrap();
        return;
    }
    stream.read_exact(&mut [0; 50]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn when_half_of_many_peers_reset_nothing_hangs_or_leaks() {
    alone(
        "when_half_of_many_peers_reset_nothing_hangs_or_leaks",
        || {
            everywhere(|| {
                // No more than the listener's queue takes: it is a second to the next try.
                const CONNECTIONS: usize = 120;
                let round = || {
                    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                    let addr = listener.local_addr().unwrap();
                    let peers: Vec<_> = (0..CONNECTIONS)
                        .map(|i| spawn(move || live_and_perhaps_reset(addr, i % 2 == 0)))
                        .collect();
                    let served: Vec<_> = listener
                        .incoming()
                        .take(CONNECTIONS)
                        .map(|stream| {
                            let stream = stream.unwrap();
                            spawn(move || io::copy(&mut &stream, &mut &stream).is_ok())
                        })
                        .collect();
                    for peer in peers {
                        peer.join().unwrap();
                    }
                    let served = served.into_iter().map(|one| one.join().unwrap());
                    assert_eq!(served.filter(|well| *well).count(), CONNECTIONS / 2);
                };
                round();
                let before = open_descriptors();
                round();
                assert_eq!(open_descriptors(), before);
            });
        },
    );
}

#[test]
fn connections_that_fail_or_time_out_leave_no_descriptor_behind() {
    alone(
        "connections_that_fail_or_time_out_leave_no_descriptor_behind",
        || {
            everywhere(|| {
                let (_taken, closed) = closed_addr();
                let silent = silent();
                let addr = silent.listener.local_addr().unwrap();
                let round = || {
                    TcpStream::connect(closed).unwrap_err();
                    TcpStream::connect_timeout(&addr, Duration::from_millis(1)).unwrap_err();
                };
                round();
                let before = open_descriptors();
                (0..50).for_each(|_| round());
                assert_eq!(open_descriptors(), before);
            });
        },
    );
}

// Options.

#[test]
fn the_pending_error_is_taken_once() {
    everywhere(|| {
        let (near, far) = pair();
        assert!(near.take_error().unwrap().is_none());
        far.set_linger(Some(Duration::ZERO)).unwrap();
        drop(far);
        let mut taken = None;
        wait_until(|| {
            taken = near.take_error().unwrap();
            taken.is_some()
        });
        assert_eq!(taken.unwrap().kind(), ErrorKind::ConnectionReset);
        assert!(near.take_error().unwrap().is_none());
    });
}

#[test]
fn options_hold_for_clones() {
    everywhere(|| {
        let (near, _far) = pair();
        let clone = near.try_clone().unwrap();
        near.set_nodelay(true).unwrap();
        assert!(clone.nodelay().unwrap());
        near.set_ttl(7).unwrap();
        assert_eq!(clone.ttl().unwrap(), 7);
        near.set_quickack(false).unwrap();
        assert!(!clone.quickack().unwrap());
        near.set_linger(Some(Duration::from_millis(2999))).unwrap();
        assert_eq!(clone.linger().unwrap(), Some(Duration::from_secs(2)));
        near.set_linger(None).unwrap();
    });
}

#[test]
fn a_ttl_that_is_none_is_refused() {
    everywhere(|| {
        let (near, _far) = pair();
        for ttl in [0, 256, u32::MAX - 1] {
            assert_kind(near.set_ttl(ttl), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn the_types_are_as_free_as_std_s() {
    fn assert_free<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug>() {}
    assert_free::<std::net::TcpStream>();
    assert_free::<TcpStream>();
}

// Names and addresses.

#[test]
fn addresses_are_found_in_everything_that_std_finds_them_in() {
    everywhere(|| {
        macro_rules! same_as_std {
            ($($addr:expr),* $(,)?) => { $({
                let ours: Vec<SocketAddr> = ToSocketAddrs::to_socket_addrs(&$addr)
                    .unwrap()
                    .collect();
                let std: Vec<SocketAddr> = std::net::ToSocketAddrs::to_socket_addrs(&$addr)
                    .unwrap()
                    .collect();
                assert_eq!(ours, std, "{:?}", $addr);
                assert!(!ours.is_empty());
            })* };
        }

        let v4: SocketAddrV4 = "1.2.3.4:5".parse().unwrap();
        let v6: SocketAddrV6 = "[::6%2]:7".parse().unwrap();
        let several = [SocketAddr::from(v4), SocketAddr::from(v6)];
        same_as_std![
            v4,
            v6,
            several[0],
            several[1],
            &several[..],
            (IpAddr::from(Ipv4Addr::LOCALHOST), 80),
            (IpAddr::from(Ipv6Addr::LOCALHOST), 80),
            (Ipv4Addr::LOCALHOST, 80),
            (Ipv6Addr::LOCALHOST, 80),
            ("127.0.0.1", 80),
            ("::1", 80),
            ("localhost", 80),
            ("localhost".to_owned(), 80),
            "1.2.3.4:5",
            "[::6%2]:7",
            "localhost:80",
            "localhost:80".to_owned(),
            &&"localhost:80",
        ];
    });
}

#[test]
fn a_string_without_a_port_or_with_a_bad_one_is_refused_as_by_std() {
    everywhere(|| {
        for addr in [
            "127.0.0.1",
            "localhost",
            "localhost:65536",
            "localhost:x",
            ":",
        ] {
            let ours = addr.to_socket_addrs().unwrap_err();
            let std = std::net::ToSocketAddrs::to_socket_addrs(addr).unwrap_err();
            assert_eq!(ours.kind(), ErrorKind::InvalidInput, "{addr}");
            assert_eq!(ours.to_string(), std.to_string(), "{addr}");
            assert_kind(TcpStream::connect(addr), ErrorKind::InvalidInput);
            assert_kind(TcpListener::bind(addr), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn a_name_that_does_not_resolve_is_std_s_error() {
    everywhere(|| {
        // No name server is asked for a name with a space.
        let name = "no such host:80";
        let std = std::net::ToSocketAddrs::to_socket_addrs(name).unwrap_err();
        let ours = TcpStream::connect(name).unwrap_err();
        assert_eq!(ours.kind(), std.kind());
        assert_eq!(ours.to_string(), std.to_string());
        assert_eq!(
            TcpListener::bind(("no such host", 80))
                .unwrap_err()
                .to_string(),
            std.to_string()
        );
    });
}

#[test]
fn a_type_of_ones_own_can_name_an_address() {
    struct Service(&'static str);

    impl ToSocketAddrs for Service {
        type Iter = std::vec::IntoIter<SocketAddr>;

        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            self.0.to_socket_addrs()
        }
    }

    everywhere(|| {
        let listener = TcpListener::bind(Service("localhost:0")).unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    });
}

/// A stream with bytes that its peer, which is kept, does not take; its close lingers.
fn lingering() -> (TcpStream, TcpStream) {
    let (mut near, far) = pair();
    near.set_linger(Some(Duration::from_secs(1))).unwrap();
    near.set_nonblocking(true).unwrap();
    while near.write(&[0; 1 << 16]).is_ok() {}
    (near, far)
}

#[test]
fn a_close_that_lingers_parks() {
    let _none_begins = none_begins();
    parks_for_a_while(|| {
        let (near, _far) = lingering();
        // A clone's close does not wait.
        let clone = near.try_clone().unwrap();
        drop(near);
        let begin = Instant::now();
        drop(clone);
        assert!(begin.elapsed() > Duration::from_millis(500));
    });
}

#[test]
fn a_close_that_lingers_is_not_cancelled() {
    let _none_begins = none_begins();
    let _watchdog = watched();
    let runtime = runtime(1);
    let (sender, closed) = std::sync::mpsc::channel();
    let (parked, has_parked) = std::sync::mpsc::channel();
    runtime.spawn(move || {
        let (near, far) = lingering();
        parked.send(()).unwrap();
        drop(near);
        sender.send(far).unwrap();
    });
    has_parked.recv().unwrap();
    thread::sleep(Duration::from_millis(100));
    drop(runtime);
    assert!(closed.try_recv().is_ok());
}

#[test]
fn where_a_greenlet_cannot_park_a_close_that_lingers_blocks() {
    let _none_begins = none_begins();
    let _watchdog = watched();
    runtime(1).run(|| {
        let (near, _far) = lingering();
        greenlet::on_thread_stack(|| drop(near));
    });
}

#[test]
fn a_close_without_a_linger_time_does_not_park() {
    let (usual, _peer) = pair();
    let other_linger_times = [Some(Duration::ZERO), None].map(|linger| {
        let (near, far) = lingering();
        near.set_linger(linger).unwrap();
        (near, far)
    });
    does_not_park(|| drop((usual, other_linger_times)));
}
