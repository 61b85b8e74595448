//! `UnixDatagram`: waiting, full queues, clones, descriptors that travel, failures.

mod support;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::os::linux::net::SocketAddrExt;
use greenlet::os::unix::net::{SocketAddr, UnixDatagram};
use support::sockets::{
    self, alone, everywhere, has_status_flag, is_closed_on_exec, open_descriptors, settle, spawn,
    wait_until,
};
use support::{does_not_park, on_hubs, parks, runtime, watched};

#[track_caller]
fn assert_kind<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

fn pair() -> (UnixDatagram, UnixDatagram) {
    UnixDatagram::pair().unwrap()
}

/// A socket with an address.
fn bound() -> (UnixDatagram, SocketAddr) {
    let addr = SocketAddr::from_abstract_name(sockets::unique("datagram")).unwrap();
    (UnixDatagram::bind_addr(&addr).unwrap(), addr)
}

/// A socket whose queue is full, its address, and one that is connected to it.
fn full() -> (UnixDatagram, SocketAddr, UnixDatagram) {
    let (far, addr) = bound();
    let near = UnixDatagram::unbound().unwrap();
    near.connect_addr(&addr).unwrap();
    near.set_nonblocking(true).unwrap();
    while near.send(b"x").is_ok() {}
    near.set_nonblocking(false).unwrap();
    (far, addr, near)
}

#[test]
fn receiving_parks_until_a_message_comes() {
    let (near, far) = pair();
    let mut buf = [0; 8];
    let end = || drop(near.send(b"1"));
    assert_eq!(parks(|| far.recv(&mut buf), end).unwrap(), 1);
    let end = || drop(near.send(b"22"));
    assert_eq!(parks(|| far.recv_from(&mut buf), end).unwrap().0, 2);
    let end = || drop(near.send(b"333"));
    assert_eq!(parks(|| far.peek(&mut buf), end).unwrap(), 3);
    assert_eq!(far.recv(&mut buf).unwrap(), 3);
    let end = || drop(near.send(b"4444"));
    assert_eq!(parks(|| far.peek_from(&mut buf), end).unwrap().0, 4);
    assert_eq!(far.recv(&mut buf).unwrap(), 4);
    let end = || drop(near.send(b"55555"));
    let mut bufs = [IoSliceMut::new(&mut buf)];
    assert_eq!(parks(|| far.recv_with_fds(&mut bufs), end).unwrap().len, 5);
}

#[test]
fn sending_parks_while_the_receiver_s_queue_is_full() {
    let (far, addr, near) = full();
    let end = || drop(far.recv(&mut [0]));
    assert_eq!(parks(|| near.send(b"x"), end).unwrap(), 1);
    let end = || drop(far.recv(&mut [0]));
    let other = UnixDatagram::unbound().unwrap();
    assert_eq!(parks(|| other.send_to_addr(b"x", &addr), end).unwrap(), 1);
    let end = || drop(far.recv(&mut [0]));
    let sent = parks(
        || near.send_with_fds(&[IoSlice::new(b"x")], &[near.as_fd()]),
        end,
    );
    assert_eq!(sent.unwrap(), 1);
}

#[test]
fn sending_parks_while_there_is_no_room_in_a_pair() {
    let (near, far) = pair();
    near.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while near.send(&[0; 4096]).is_ok() {
        sent += 1;
    }
    near.set_nonblocking(false).unwrap();
    let end = || (0..sent).for_each(|_| assert_eq!(far.recv(&mut [0; 1]).unwrap(), 1));
    assert_eq!(parks(|| near.send(&[0; 4096]), end).unwrap(), 4096);
}

#[test]
fn what_need_not_wait_does_not_park() {
    let (near, far) = pair();
    let (bound, addr) = bound();
    does_not_park(|| {
        for length in 0..50 {
            assert_eq!(near.send(&vec![7; length]).unwrap(), length);
            assert_eq!(far.peek(&mut [0; 64]).unwrap(), length);
            assert_eq!(far.recv(&mut [0; 64]).unwrap(), length);
            assert_eq!(bound.send_to_addr(b"xy", &addr).unwrap(), 2);
            assert_eq!(bound.recv_from(&mut [0; 64]).unwrap().0, 2);
        }
    });
}

#[test]
fn no_message_is_lost_or_doubled_when_many_send_to_one_with_a_full_queue() {
    everywhere(|| {
        const SENDERS: u64 = 20;
        const EACH: u64 = 20;
        let (far, addr, _near) = full();
        let filled = {
            far.set_nonblocking(true).unwrap();
            let mut filled = 0;
            while far.peek(&mut [0]).is_ok() && filled < 5 {
                far.recv(&mut [0; 8]).unwrap();
                filled += 1;
            }
            far.set_nonblocking(false).unwrap();
            filled
        };
        assert!(filled > 0);
        let sending: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let addr = addr.clone();
                spawn(move || {
                    let socket = UnixDatagram::unbound().unwrap();
                    if sender % 2 == 0 {
                        socket.connect_addr(&addr).unwrap();
                    }
                    for number in 0..EACH {
                        let message = (sender * EACH + number).to_ne_bytes();
                        let sent = match sender % 2 {
                            0 => socket.send(&message),
                            _ => socket.send_to_addr(&message, &addr),
                        };
                        assert_eq!(sent.unwrap(), 8);
                    }
                })
            })
            .collect();
        let mut seen = vec![0; (SENDERS * EACH) as usize];
        while seen.iter().sum::<u64>() < SENDERS * EACH {
            let mut message = [0; 8];
            if far.recv(&mut message).unwrap() == 8 {
                seen[u64::from_ne_bytes(message) as usize] += 1;
            }
        }
        assert!(seen.iter().all(|&count| count == 1), "{seen:?}");
        for sender in sending {
            sender.join().unwrap();
        }
    });
}

#[test]
fn messages_are_cut_off_at_the_end_of_the_buffer_and_that_is_told_with_descriptors() {
    everywhere(|| {
        let (near, far) = pair();
        near.send(b"hello world").unwrap();
        near.send(b"hello world").unwrap();
        let mut buf = [0; 5];
        assert_eq!(far.recv(&mut buf).unwrap(), 5);
        let received = far.recv_with_fds(&mut [IoSliceMut::new(&mut buf)]).unwrap();
        assert_eq!((received.len, received.truncated), (5, true));
    });
}

#[test]
fn descriptors_travel_with_their_message_even_an_empty_one() {
    everywhere(|| {
        let (near, far) = pair();
        let (one, other) = pair();
        let sent = near.send_with_fds(&[], &[other.as_fd()]);
        assert_eq!(sent.unwrap(), 0);
        near.send(b"none").unwrap();
        drop(other);
        let mut received = far.recv_with_fds(&mut []).unwrap();
        assert_eq!((received.len, received.fds.len()), (0, 1));
        let fd = received.fds.pop().unwrap();
        assert!(is_closed_on_exec(&fd));
        one.send(b"?").unwrap();
        assert_eq!(UnixDatagram::from(fd).recv(&mut [0]).unwrap(), 1);
        let mut buf = [0; 8];
        let received = far.recv_with_fds(&mut [IoSliceMut::new(&mut buf)]).unwrap();
        assert_eq!((received.len, received.fds.len()), (4, 0));
    });
}

#[test]
fn each_message_goes_to_one_of_many_receivers_on_clones_and_threads() {
    on_hubs(|_| {
        let (near, far) = pair();
        let far = Arc::new(far);
        let receive = |far: Arc<UnixDatagram>| move || far.recv(&mut [0; 8]).unwrap();
        let threads: Vec<_> = (0..3)
            .map(|_| thread::spawn(receive(far.clone())))
            .collect();
        let greenlets: Vec<_> = (0..3)
            .map(|_| greenlet::spawn(receive(far.try_clone().unwrap().into())))
            .collect();
        settle();
        for _ in 0..6 {
            near.send(b"x").unwrap();
        }
        for greenlet in greenlets {
            assert_eq!(greenlet.join().unwrap(), 1);
        }
        wait_until(|| threads.iter().all(thread::JoinHandle::is_finished));
    });
}

#[test]
fn shutting_down_wakes_receivers_and_senders() {
    everywhere(|| {
        let (near, far) = pair();
        let far = Arc::new(far);
        let receiving = spawn({
            let far = far.clone();
            move || far.recv(&mut [0]).unwrap()
        });
        settle();
        far.shutdown(Shutdown::Read).unwrap();
        assert_eq!(receiving.join().unwrap(), 0);
        let (length, sender) = far.recv_from(&mut [0]).unwrap();
        assert!(length == 0 && sender.is_unnamed());
        assert_eq!(far.recv_with_fds(&mut []).unwrap().len, 0);
        far.set_nonblocking(true).unwrap();
        assert_kind(far.recv(&mut [0]), ErrorKind::WouldBlock);
        assert_kind(near.send(b"x"), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_receiver_that_closes_ends_the_sends_that_wait_for_it() {
    everywhere(|| {
        let (far, addr, near) = full();
        let sending = spawn(move || near.send(b"x"));
        let sending_to = spawn(move || {
            let near = UnixDatagram::unbound().unwrap();
            near.send_to_addr(b"x", &addr)
        });
        settle();
        assert!(!sending.is_finished() && !sending_to.is_finished());
        drop(far);
        let ends = [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset];
        for sending in [sending, sending_to] {
            let error = sending.join().unwrap().unwrap_err();
            assert!(ends.contains(&error.kind()), "{error}");
        }
    });
}

#[test]
fn time_outs_fire_for_receivers_and_both_kinds_of_senders() {
    everywhere(|| {
        let (far, addr, near) = full();
        let timeout = Duration::from_millis(30);
        near.set_read_timeout(Some(timeout)).unwrap();
        near.set_write_timeout(Some(timeout)).unwrap();
        let start = Instant::now();
        assert_kind(near.recv(&mut [0]), ErrorKind::WouldBlock);
        assert_kind(near.send(b"x"), ErrorKind::WouldBlock);
        assert_kind(near.send_to_addr(b"x", &addr), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= timeout * 3);
        assert!(start.elapsed() < Duration::from_secs(2));
        far.recv(&mut [0]).unwrap();
        assert_eq!(near.send(b"x").unwrap(), 1);
        near.set_nonblocking(true).unwrap();
        assert_kind(near.send(b"x"), ErrorKind::WouldBlock);
        assert_kind(near.send_to_addr(b"x", &addr), ErrorKind::WouldBlock);
        assert_kind(near.recv(&mut [0]), ErrorKind::WouldBlock);
    });
}

#[test]
fn dropping_the_runtime_ends_every_wait() {
    let _watchdog = watched();
    let (_far, addr, near) = full();
    let runtime = runtime(2);
    let near = Arc::new(near);
    let to = addr.clone();
    let all = [
        runtime.spawn({
            let near = near.clone();
            move || near.send(b"x").map(drop)
        }),
        runtime.spawn({
            let near = near.clone();
            move || near.recv(&mut [0]).map(drop)
        }),
        runtime.spawn(move || {
            let other = UnixDatagram::unbound()?;
            other.send_to_addr(b"x", &to).map(drop)
        }),
    ];
    settle();
    drop(runtime);
    for one in all {
        assert!(one.join().is_err());
    }
}

#[test]
fn a_message_to_nobody_is_std_s_error() {
    everywhere(|| {
        let socket = UnixDatagram::unbound().unwrap();
        assert_kind(socket.send(b"x"), ErrorKind::NotConnected);
        assert_kind(socket.send_to(b"x", "/none"), ErrorKind::NotFound);
        assert_kind(socket.send_to(b"x", "a\0b"), ErrorKind::InvalidInput);
        assert_kind(socket.connect("/none"), ErrorKind::NotFound);
        assert_kind(socket.peer_addr(), ErrorKind::NotConnected);
        assert!(socket.take_error().unwrap().is_none());
        let (near, _far) = pair();
        let error = near.send(&vec![0; 8 << 20]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    });
}

#[test]
fn conversions_keep_mode_and_the_form_is_std_s() {
    everywhere(|| {
        let (ours, addr) = bound();
        ours.set_nonblocking(true).unwrap();
        let shown = format!("{ours:?}");
        let std = std::os::unix::net::UnixDatagram::from(ours);
        assert_eq!(shown, format!("{std:?}"));
        assert!(has_status_flag(&std, libc::O_NONBLOCK));
        let ours = UnixDatagram::from(OwnedFd::from(std));
        assert_kind(ours.recv(&mut [0]), ErrorKind::WouldBlock);
        // SAFETY: the descriptor was just given away.
        let ours = unsafe { UnixDatagram::from_raw_fd(ours.into_raw_fd()) };
        let local = ours.local_addr().unwrap();
        assert_eq!(local.as_abstract_name(), addr.as_abstract_name());
        assert!(is_closed_on_exec(&ours));
    });
}

#[test]
fn sockets_leave_no_descriptor_behind() {
    alone("sockets_leave_no_descriptor_behind", || {
        let _watchdog = watched();
        let runtime = runtime(2);
        // What the runtime itself opens is open now.
        let before = runtime.run(open_descriptors);
        runtime.run(|| {
            for _ in 0..100 {
                let (near, far) = pair();
                let receiving = greenlet::spawn(move || far.recv(&mut [0]).unwrap());
                greenlet::yield_now();
                let sent = near.send_with_fds(&[IoSlice::new(b"x")], &[near.as_fd()]);
                sent.unwrap();
                receiving.join().unwrap();
            }
        });
        assert_eq!(open_descriptors(), before);
    });
}
