//! `UdpSocket`: waiting, clones, options, failures.

mod support;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::net::UdpSocket;
use support::child::none_begins;
use support::sockets::{
    alone, descriptor_limit, everywhere, has_status_flag, is_closed_on_exec, open_descriptors,
    set_descriptor_limit, settle, spawn, wait_until,
};
use support::{does_not_park, on_hubs, parks, runtime, watched};

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// Two sockets that are connected to each other.
fn pair() -> (UdpSocket, UdpSocket) {
    let (near, far) = (socket(), socket());
    near.connect(far.local_addr().unwrap()).unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    (near, far)
}

#[track_caller]
fn assert_kind<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

#[test]
fn receiving_parks_until_a_message_comes() {
    let (near, far) = pair();
    let mut buf = [0; 8];
    assert_eq!(
        parks(|| far.recv(&mut buf), || drop(near.send(b"1"))).unwrap(),
        1
    );
    let end = || drop(near.send(b"22"));
    let (length, sender) = parks(|| far.recv_from(&mut buf), end).unwrap();
    assert_eq!((length, sender), (2, near.local_addr().unwrap()));
    assert_eq!(
        parks(|| far.peek(&mut buf), || drop(near.send(b"333"))).unwrap(),
        3
    );
    assert_eq!(far.recv(&mut buf).unwrap(), 3);
    let end = || drop(near.send(b"4444"));
    assert_eq!(parks(|| far.peek_from(&mut buf), end).unwrap().0, 4);
}

#[test]
fn a_message_that_is_there_is_received_without_parking_and_sending_needs_none() {
    let (near, far) = pair();
    does_not_park(|| {
        for length in 0..50 {
            assert_eq!(near.send(&vec![7; length]).unwrap(), length);
            assert_eq!(near.send_to(b"xy", far.local_addr().unwrap()).unwrap(), 2);
            assert_eq!(far.peek(&mut [0; 64]).unwrap(), length);
            assert_eq!(far.recv(&mut [0; 64]).unwrap(), length);
            assert_eq!(far.recv_from(&mut [0; 64]).unwrap().0, 2);
        }
    });
}

#[test]
fn what_does_not_fit_is_cut_off_and_the_next_message_is_whole() {
    everywhere(|| {
        let (near, far) = pair();
        near.send(b"hello world").unwrap();
        near.send(b"again").unwrap();
        let mut buf = [0; 5];
        assert_eq!(far.recv(&mut buf).unwrap(), 5);
        assert_eq!(&buf, b"hello");
        assert_eq!(far.recv(&mut buf).unwrap(), 5);
        assert_eq!(&buf, b"again");
    });
}

#[test]
fn a_short_message_does_not_hide_the_ones_behind_it() {
    everywhere(|| {
        let (near, far) = pair();
        let reading = spawn(move || {
            let mut lengths = Vec::new();
            while lengths.len() < 100 {
                lengths.push(far.recv(&mut [0; 200]).unwrap());
            }
            lengths
        });
        settle();
        for length in 0..100 {
            near.send(&vec![1; length]).unwrap();
        }
        assert_eq!(reading.join().unwrap(), Vec::from_iter(0..100));
    });
}

#[test]
fn each_message_goes_to_one_of_many_receivers_on_clones() {
    everywhere(|| {
        const RECEIVERS: usize = 10;
        const EACH: usize = 10;
        let (near, far) = pair();
        let receiving: Vec<_> = (0..RECEIVERS)
            .map(|_| {
                let far = far.try_clone().unwrap();
                spawn(move || {
                    let mut seen = Vec::new();
                    for _ in 0..EACH {
                        let mut buf = [0; 8];
                        assert_eq!(far.recv(&mut buf).unwrap(), 1);
                        seen.push(buf[0]);
                    }
                    seen
                })
            })
            .collect();
        for message in 0..RECEIVERS * EACH {
            near.send(&[message as u8]).unwrap();
        }
        let seen: BTreeSet<_> = receiving
            .into_iter()
            .flat_map(|receiver| receiver.join().unwrap())
            .collect();
        assert_eq!(seen.len(), RECEIVERS * EACH);
    });
}

#[test]
fn greenlets_and_plain_threads_receive_from_one_socket() {
    on_hubs(|_| {
        let (near, far) = pair();
        let far = Arc::new(far);
        let receive = |far: Arc<UdpSocket>| move || far.recv(&mut [0; 8]).unwrap();
        let threads: Vec<_> = (0..3)
            .map(|_| thread::spawn(receive(far.clone())))
            .collect();
        let greenlets: Vec<_> = (0..3)
            .map(|_| greenlet::spawn(receive(far.clone())))
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
fn a_nonblocking_socket_never_waits_and_its_clones_neither() {
    everywhere(|| {
        let (near, far) = pair();
        let clone = far.try_clone().unwrap();
        clone.set_nonblocking(true).unwrap();
        for far in [&far, &clone] {
            assert_kind(far.recv(&mut [0]), ErrorKind::WouldBlock);
            assert_kind(far.recv_from(&mut [0]), ErrorKind::WouldBlock);
            assert_kind(far.peek(&mut [0]), ErrorKind::WouldBlock);
            assert_kind(far.peek_from(&mut [0]), ErrorKind::WouldBlock);
        }
        far.set_nonblocking(false).unwrap();
        near.send(b"x").unwrap();
        assert_eq!(clone.recv(&mut [0]).unwrap(), 1);
    });
}

#[test]
fn a_read_time_out_holds_for_clones_and_fires_again_and_the_socket_works_on() {
    everywhere(|| {
        let (near, far) = pair();
        let clone = far.try_clone().unwrap();
        let timeout = Duration::from_millis(30);
        far.set_read_timeout(Some(timeout)).unwrap();
        for _ in 0..2 {
            let start = Instant::now();
            assert_kind(clone.recv(&mut [0]), ErrorKind::WouldBlock);
            assert!(start.elapsed() >= timeout);
        }
        near.send(b"x").unwrap();
        assert_eq!(clone.recv(&mut [0]).unwrap(), 1);
        far.set_read_timeout(None).unwrap();
        let reading = spawn(move || clone.recv(&mut [0]).unwrap());
        support::sockets::sleep(timeout * 2);
        assert!(!reading.is_finished());
        near.send(b"y").unwrap();
        assert_eq!(reading.join().unwrap(), 1);
    });
}

#[test]
fn a_message_to_nobody_is_an_error_of_the_receiver_that_waits() {
    let _none_begins = none_begins();
    everywhere(|| {
        let (near, far) = pair();
        let near = Arc::new(near);
        let reading = spawn({
            let near = near.clone();
            move || near.recv(&mut [0])
        });
        settle();
        drop(far);
        near.send(b"x").unwrap();
        assert_kind(reading.join().unwrap(), ErrorKind::ConnectionRefused);
        assert!(near.take_error().unwrap().is_none());
        near.send(b"x").unwrap();
        wait_until(|| near.take_error().unwrap().is_some());
    });
}

#[test]
fn a_message_that_is_too_long_or_has_nowhere_to_go_is_an_error() {
    everywhere(|| {
        let socket = socket();
        let error = socket.send(b"x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EDESTADDRREQ));
        let addr = socket.local_addr().unwrap();
        let error = socket.send_to(&[0; 70_000], addr).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        let nobody: &[SocketAddr] = &[];
        assert_kind(socket.send_to(b"x", nobody), ErrorKind::InvalidInput);
        assert_kind(socket.connect(nobody), ErrorKind::InvalidInput);
        assert_kind(UdpSocket::bind(nobody), ErrorKind::InvalidInput);
        assert_kind(UdpSocket::bind(addr), ErrorKind::AddrInUse);
    });
}

#[test]
fn names_are_looked_up_and_all_their_addresses_tried() {
    everywhere(|| {
        let near = UdpSocket::bind("localhost:0").unwrap();
        let taken = near.local_addr().unwrap();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let far = UdpSocket::bind(&[taken, free][..]).unwrap();
        assert_ne!(far.local_addr().unwrap(), taken);
        let name = format!("localhost:{}", taken.port());
        near.send_to(b"x", name.as_str()).unwrap();
        assert_eq!(near.recv_from(&mut [0]).unwrap(), (1, taken));
        near.connect(name).unwrap();
        assert_eq!(near.peer_addr().unwrap(), taken);
    });
}

#[test]
fn options_are_what_they_were_set_to() {
    everywhere(|| {
        let v4 = socket();
        v4.set_broadcast(true).unwrap();
        assert!(v4.broadcast().unwrap());
        v4.set_multicast_loop_v4(false).unwrap();
        assert!(!v4.multicast_loop_v4().unwrap());
        v4.set_multicast_ttl_v4(7).unwrap();
        assert_eq!(v4.multicast_ttl_v4().unwrap(), 7);
        assert_kind(v4.set_ttl(0), ErrorKind::InvalidInput);
        let v6 = UdpSocket::bind("[::1]:0").unwrap();
        v6.set_multicast_loop_v6(false).unwrap();
        assert!(!v6.multicast_loop_v6().unwrap());
        assert!(v4.set_multicast_loop_v6(true).is_err());
    });
}

#[test]
fn multicast_groups_are_joined_and_left_on_loopback() {
    everywhere(|| {
        let group = Ipv4Addr::new(239, 1, 2, 3);
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket
            .join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .unwrap();
        socket
            .leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .unwrap();
        let again = socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST);
        assert_kind(again, ErrorKind::AddrNotAvailable);
        let no_group = socket.join_multicast_v4(&Ipv4Addr::LOCALHOST, &Ipv4Addr::LOCALHOST);
        assert_kind(no_group, ErrorKind::InvalidInput);

        let group: Ipv6Addr = "ff01::123".parse().unwrap();
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        // Loopback is the first interface.
        socket.join_multicast_v6(&group, 1).unwrap();
        socket.leave_multicast_v6(&group, 1).unwrap();
        assert!(socket.leave_multicast_v6(&group, 1).is_err());
    });
}

#[test]
fn conversions_keep_mode_time_outs_and_the_port() {
    everywhere(|| {
        let ours = socket();
        let addr = ours.local_addr().unwrap();
        ours.set_nonblocking(true).unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let std = std::net::UdpSocket::from(ours);
        assert_eq!(
            std.recv(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let ours = UdpSocket::from(OwnedFd::from(std));
        assert!(has_status_flag(&ours, libc::O_NONBLOCK));
        assert_kind(ours.recv(&mut [0]), ErrorKind::WouldBlock);
        ours.set_nonblocking(false).unwrap();
        assert!(!has_status_flag(&ours, libc::O_NONBLOCK));
        assert_kind(ours.recv(&mut [0]), ErrorKind::WouldBlock);
        // SAFETY: the descriptor was just given away.
        let ours = unsafe { UdpSocket::from_raw_fd(ours.into_raw_fd()) };
        assert_eq!(ours.local_addr().unwrap(), addr);
        let clone = ours.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(UdpSocket::from(clone).local_addr().unwrap(), addr);
    });
}

#[test]
fn the_description_stays_blocking_and_closed_on_exec() {
    everywhere(|| {
        let (near, far) = pair();
        let reading = spawn({
            let far = far.try_clone().unwrap();
            move || far.recv(&mut [0]).unwrap()
        });
        settle();
        assert!(!has_status_flag(&far, libc::O_NONBLOCK));
        assert!(is_closed_on_exec(&far));
        assert!(is_closed_on_exec(&far.try_clone().unwrap()));
        near.send(b"x").unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn a_receiver_whose_runtime_ends_loses_no_message() {
    let _watchdog = watched();
    for _ in 0..50 {
        let (near, far) = pair();
        let far = Arc::new(far);
        let runtime = runtime(2);
        for _ in 0..3 {
            let far = far.clone();
            drop(runtime.spawn(move || far.recv(&mut [0]).map(drop)));
        }
        let receiving = thread::spawn({
            let far = far.clone();
            move || far.recv(&mut [0]).unwrap()
        });
        // Ends all greenlets, while the thread's message comes, or before.
        let dropping = thread::spawn(move || drop(runtime));
        wait_until(|| {
            near.send(b"x").unwrap();
            receiving.is_finished()
        });
        dropping.join().unwrap();
    }
}

#[test]
fn without_descriptors_making_a_socket_fails_and_those_there_are_work_on() {
    alone(
        "without_descriptors_making_a_socket_fails_and_those_there_are_work_on",
        || {
            everywhere(|| {
                let (near, far) = pair();
                let limit = descriptor_limit();
                set_descriptor_limit(libc::rlimit {
                    // Above standard error, which is open, and so is the next one.
                    rlim_cur: 4,
                    ..limit
                });
                let bound = UdpSocket::bind("127.0.0.1:0");
                let cloned = near.try_clone();
                near.send(b"x").unwrap();
                let received = far.recv(&mut [0]);
                set_descriptor_limit(limit);
                assert_eq!(bound.unwrap_err().raw_os_error(), Some(libc::EMFILE));
                assert_eq!(cloned.unwrap_err().raw_os_error(), Some(libc::EMFILE));
                assert_eq!(received.unwrap(), 1);
            });
        },
    );
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
                near.try_clone().unwrap().send(b"x").unwrap();
                receiving.join().unwrap();
            }
        });
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn the_type_is_as_free_as_std_s() {
    fn check<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    check::<std::net::UdpSocket>();
    check::<UdpSocket>();
}
