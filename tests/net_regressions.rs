//! Faults of the network side that once were: each test fails without its repair.

mod support;

use std::io::{IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use greenlet::Runtime;
use greenlet::net::{ListenerShutdown, TcpListener, TcpStream};
use support::sockets::{
    alone, descriptor_limit, everywhere, in_greenlets, open_descriptors, pair,
    set_descriptor_limit, settle, spawn, wait_until, watchdog,
};

/// Far more than anything here takes, far less than the watchdog.
const LONG: Duration = Duration::from_secs(5);

fn one_hub() -> Runtime {
    support::runtime(1)
}

/// Waits for a byte once, so that the stream is known to the reactor and has been read short.
fn wait_for_a_byte(stream: &mut TcpStream, peer: &mut TcpStream) {
    thread::scope(|scope| {
        let mut peer = peer.try_clone().unwrap();
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(20));
            peer.write_all(&[0]).unwrap();
        });
        assert_eq!(stream.read(&mut [0; 2]).unwrap(), 1);
    });
}

#[test]
fn a_vectored_read_of_more_buffers_than_the_kernel_takes_leaves_the_rest_to_the_next() {
    everywhere(|| {
        let (mut near, mut far) = pair();
        far.set_read_timeout(Some(LONG)).unwrap();
        let waker = spawn(move || {
            settle();
            near.write_all(&[1]).unwrap();
            near
        });
        far.read_exact(&mut [0]).unwrap();
        let mut near = waker.join().unwrap();
        near.write_all(&[7; 1500]).unwrap();
        wait_until(|| far.peek(&mut [0; 1500]).unwrap() == 1500);
        let mut bytes = [0; 2000];
        let mut bufs: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
        let mut read = far.read_vectored(&mut bufs).unwrap();
        assert!((1..1500).contains(&read), "{read}");
        // There are bytes left, so this must not wait for more to come.
        while read < 1500 {
            read += far.read(&mut [0; 2000]).unwrap();
        }
    });
}

#[test]
fn a_stream_works_on_when_its_first_runtime_was_dropped_by_its_own_greenlet() {
    let _watchdog = watchdog();
    let (mut near, mut far) = pair();
    far.set_read_timeout(Some(LONG)).unwrap();
    let shelf = Arc::new(Mutex::new(None));
    let runtime = one_hub();
    let dropping = runtime.spawn({
        let shelf = shelf.clone();
        let mut near = near.try_clone().unwrap();
        move || {
            wait_for_a_byte(&mut far, &mut near);
            let runtime: Option<Runtime> = shelf.lock().unwrap().take();
            drop(runtime.unwrap());
            far
        }
    });
    *shelf.lock().unwrap() = Some(runtime);
    let mut far = dropping.join().unwrap();
    let reading = thread::spawn(move || one_hub().run(move || far.read(&mut [0])));
    thread::sleep(Duration::from_millis(50));
    near.write_all(&[1]).unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), 1);
}

#[test]
fn the_number_of_descriptors_that_are_watched_goes_down_again() {
    let _watchdog = watchdog();
    for hubs in [1, 2, 8] {
        let runtime = Runtime::builder().hubs(hubs).build().unwrap();
        runtime.run(|| {
            let (mut near, mut far) = pair();
            let reading = spawn(move || far.read(&mut [0]));
            settle();
            near.write_all(&[1]).unwrap();
            reading.join().unwrap().unwrap();
        });
        assert_eq!(runtime.stats().descriptors, 0);
    }
}

#[test]
fn a_socket_that_outlives_many_runtimes_keeps_none_of_their_descriptors() {
    alone(
        "a_socket_that_outlives_many_runtimes_keeps_none_of_their_descriptors",
        || {
            let _watchdog = watchdog();
            let (mut near, mut far) = pair();
            let mut round = || one_hub().run(|| wait_for_a_byte(&mut far, &mut near));
            round();
            let before = open_descriptors();
            (0..20).for_each(|_| round());
            assert_eq!(open_descriptors(), before);
        },
    );
}

#[test]
fn an_accept_that_fails_leaves_the_connection_to_the_next_who_waits() {
    alone(
        "an_accept_that_fails_leaves_the_connection_to_the_next_who_waits",
        || {
            let _watchdog = watchdog();
            in_greenlets(|| {
                let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
                let addr = listener.local_addr().unwrap();
                let limit = descriptor_limit();
                let ended = Arc::new(AtomicUsize::new(0));
                let accepting: Vec<_> = (0..3)
                    .map(|_| {
                        let (listener, ended) = (listener.clone(), ended.clone());
                        spawn(move || {
                            let accepted = listener.accept().map(drop);
                            set_descriptor_limit(limit);
                            ended.fetch_add(1, Relaxed);
                            accepted
                        })
                    })
                    .collect();
                settle();
                let near = unconnected();
                let free = std::fs::File::open("/dev/null").unwrap();
                let lowest = free.as_raw_fd();
                drop(free);
                set_descriptor_limit(libc::rlimit {
                    rlim_cur: lowest as libc::rlim_t,
                    ..limit
                });
                connect(&near, addr);
                wait_until(|| ended.load(Relaxed) >= 2);
                listener.shutdown().unwrap();
                for one in accepting {
                    match one.join().unwrap() {
                        Ok(()) => {}
                        Err(error) if ListenerShutdown::is(&error) => {}
                        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
                    }
                }
            });
        },
    );
}

/// A socket that can be connected when there are no descriptors any more.
fn unconnected() -> OwnedFd {
    // SAFETY: the descriptor is fresh and ours.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert_ne!(fd, -1);
        OwnedFd::from_raw_fd(fd)
    }
}

fn connect(socket: &OwnedFd, addr: SocketAddr) {
    let addr = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: addr.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets()),
        },
        sin_zero: [0; 8],
    };
    let len = size_of_val(&addr) as libc::socklen_t;
    // SAFETY: the address is valid for the call and for the length that is given.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const addr).cast(), len) };
    assert_eq!(result, 0);
}

#[test]
fn large_reads_that_never_wait_let_timers_and_descriptors_have_their_turn() {
    /// The budget, thrice: it is due in the middle of one, is woken at its end, and runs then.
    const LATE: usize = 3 * 128;
    let _watchdog = watchdog();
    one_hub().run(|| {
        let (mut near, far) = pair();
        let (mut ping, mut pong) = pair();
        near.write_all(&[0; 30_000]).unwrap();
        let due = Arc::new(OnceLock::new());
        let sleeping = spawn({
            let due = due.clone();
            move || {
                greenlet::sleep_until(
                    *due.get_or_init(|| Instant::now() + Duration::from_millis(2)),
                );
                ping.write_all(&[0]).unwrap();
            }
        });
        let reading = spawn(move || pong.read(&mut [0; 2]).unwrap());
        let (mut ops, mut slept_after) = (0, None);
        while !reading.is_finished() {
            far.peek(&mut [0; 30_000]).unwrap();
            let is_late = due.get().is_some_and(|due| Instant::now() > *due);
            ops += usize::from(is_late);
            slept_after = slept_after.or(sleeping.is_finished().then_some(ops));
        }
        assert!(
            slept_after.is_some_and(|ops| ops <= LATE),
            "{slept_after:?}"
        );
        assert!(ops <= 2 * LATE, "{ops}");
    });
}

#[test]
fn who_tries_what_fails_again_and_again_does_not_starve_the_others() {
    let _watchdog = watchdog();
    one_hub().run(|| {
        let (mut near, _far) = pair();
        near.shutdown(Shutdown::Write).unwrap();
        let other = greenlet::spawn(|| greenlet::sleep(Duration::from_millis(1)));
        while !other.is_finished() {
            assert!(near.write(&[0]).is_err());
        }
        other.join().unwrap();
    });
}
