//! `greenlet::net::TcpListener`: what std's tests do not say, and what is not in std.

mod support;

use std::collections::HashSet;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use greenlet::net::{Incoming, ListenerShutdown, SocketAddr, TcpListener, TcpStream};
use support::child::none_begins;
use support::sockets::{
    alone, closed_addr, everywhere, has_status_flag, is_closed_on_exec, open_descriptors, sleep,
    spawn,
};

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Time for what was spawned to come to its wait. Too little makes a test easier to pass.
fn settle() {
    sleep(Duration::from_millis(20));
}

#[track_caller]
fn assert_shut_down<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert!(ListenerShutdown::is(&error), "{error:?}"),
    }
}

#[test]
fn shutdown_ends_every_accept_that_waits() {
    everywhere(|| {
        let one = Arc::new(listener());
        let clone = Arc::new(one.try_clone().unwrap());
        // Four wait on each descriptor.
        let waiting: Vec<_> = [&one, &clone]
            .into_iter()
            .flat_map(|listener| [(); 4].map(|()| listener.clone()))
            .map(|listener| spawn(move || listener.accept().map(drop)))
            .collect();
        settle();
        one.shutdown().unwrap();
        for accept in waiting {
            assert_shut_down(accept.join().unwrap());
        }
    });
}

#[test]
fn shutdown_ends_accepts_in_greenlets_and_plain_threads_at_once() {
    everywhere(|| {
        let one = Arc::new(listener());
        let (in_thread, beside) = (one.clone(), one.clone());
        let in_thread = std::thread::spawn(move || in_thread.accept().map(drop));
        let beside = spawn(move || beside.accept().map(drop));
        settle();
        let other = one.clone();
        std::thread::spawn(move || other.shutdown().unwrap());
        assert_shut_down(beside.join().unwrap());
        assert_shut_down(in_thread.join().unwrap());
    });
}

#[test]
fn shutdown_ends_accepts_that_come_later() {
    everywhere(|| {
        let before = listener();
        let clone = before.try_clone().unwrap();
        before.shutdown().unwrap();
        let after = before.try_clone().unwrap();
        for listener in [before, clone, after] {
            assert_shut_down(listener.accept());
            listener.set_nonblocking(true).unwrap();
            assert_shut_down(listener.accept());
        }
    });
}

#[test]
fn shutdown_may_be_done_twice() {
    everywhere(|| {
        let listener = listener();
        listener.shutdown().unwrap();
        listener.shutdown().unwrap();
        assert_shut_down(listener.accept());
    });
}

#[test]
fn the_shutdown_error_has_a_name_a_kind_and_a_sentence() {
    everywhere(|| {
        let listener = listener();
        listener.shutdown().unwrap();
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert_eq!(error.to_string(), "the listener was shut down");
        let inner: Box<dyn Error + Send + Sync> = error.into_inner().unwrap();
        assert!(inner.downcast_ref::<ListenerShutdown>().is_some());
    });
}

#[test]
fn incoming_yields_the_shutdown_once_and_ends() {
    everywhere(|| {
        let listener = Arc::new(listener());
        let addr = listener.local_addr().unwrap();
        let serving = listener.clone();
        let serving = spawn(move || {
            serving
                .incoming()
                .map(|stream| stream.map(drop))
                .collect::<Vec<_>>()
        });
        drop(TcpStream::connect(addr).unwrap());
        settle();
        listener.shutdown().unwrap();

        let mut all = serving.join().unwrap();
        assert_shut_down(all.pop().unwrap());
        assert!(matches!(all[..], [Ok(())]), "{all:?}");

        let mut later = listener.incoming();
        assert_shut_down(later.next().unwrap());
        assert!(later.next().is_none());
        assert!(later.next().is_none());
    });
}

#[test]
fn incoming_goes_on_after_an_error_that_is_not_the_shutdown() {
    everywhere(|| {
        let listener = listener();
        listener.set_nonblocking(true).unwrap();
        let mut incoming = listener.incoming();
        for _ in 0..3 {
            let error = incoming.next().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
    });
}

#[test]
fn a_clone_that_became_std_s_is_shut_down_too() {
    everywhere(|| {
        let listener = listener();
        let clone = std::net::TcpListener::from(listener.try_clone().unwrap());
        listener.shutdown().unwrap();
        let error = clone.accept().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        // And the other way round: whoever shuts the socket down, the error has its name.
        assert_shut_down(listener.accept());
    });
}

#[test]
fn a_listener_that_was_std_s_can_be_shut_down() {
    everywhere(|| {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::from(std);
        listener.shutdown().unwrap();
        listener.shutdown().unwrap();
        assert_shut_down(listener.accept());
    });
}

#[test]
fn shutdown_resets_who_waits_to_be_accepted_and_leaves_the_accepted_alone() {
    everywhere(|| {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        let mut accepted_near = TcpStream::connect(addr).unwrap();
        let (mut accepted_far, _) = listener.accept().unwrap();
        let mut waiting = TcpStream::connect(addr).unwrap();
        listener.shutdown().unwrap();

        let error = waiting.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = TcpStream::connect(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        accepted_near.write_all(&[1]).unwrap();
        let mut byte = [0];
        accepted_far.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [1]);
    });
}

#[test]
fn the_port_of_a_listener_that_was_shut_down_may_be_bound_again() {
    everywhere(|| {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        listener.shutdown().unwrap();
        let again = TcpListener::bind(addr).unwrap();
        let _near = TcpStream::connect(addr).unwrap();
        again.accept().unwrap();
        assert_shut_down(listener.accept());
    });
}

#[test]
fn a_socket_that_never_listened_is_not_said_to_be_shut_down() {
    everywhere(|| {
        let (fd, _) = closed_addr();
        let listener = TcpListener::from(fd);
        let error = listener.accept().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        let error = listener.shutdown().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn each_connection_goes_to_one_of_many_acceptors() {
    everywhere(|| {
        const CONNECTIONS: usize = 60;
        let listener = Arc::new(listener());
        let addr = listener.local_addr().unwrap();
        let acceptors: Vec<_> = (0..6)
            .map(|i| {
                // Half of them share a descriptor, the others have one each.
                let listener = match i % 2 {
                    0 => listener.clone(),
                    _ => Arc::new(listener.try_clone().unwrap()),
                };
                spawn(move || {
                    let mut peers = Vec::new();
                    loop {
                        match listener.accept() {
                            Ok((_, peer)) => peers.push(peer),
                            Err(error) if ListenerShutdown::is(&error) => return peers,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();

        let mut connected = HashSet::new();
        for _ in 0..CONNECTIONS {
            let mut near = TcpStream::connect(addr).unwrap();
            connected.insert(near.local_addr().unwrap());
            // Returns when the connection was accepted and dropped.
            assert_eq!(near.read(&mut [0]).unwrap(), 0);
        }
        listener.shutdown().unwrap();

        let accepted: Vec<SocketAddr> = acceptors
            .into_iter()
            .flat_map(|acceptor| acceptor.join().unwrap())
            .collect();
        assert_eq!(accepted.len(), CONNECTIONS);
        assert_eq!(accepted.into_iter().collect::<HashSet<_>>(), connected);
    });
}

#[test]
fn dropping_a_clone_leaves_the_accept_of_the_other_alone() {
    everywhere(|| {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        let clone = listener.try_clone().unwrap();
        let accepting = spawn(move || listener.accept().map(drop));
        settle();
        drop(clone);
        settle();
        let _near = TcpStream::connect(addr).unwrap();
        accepting.join().unwrap().unwrap();
    });
}

#[test]
fn bind_tries_all_addresses_and_reports_the_last_error() {
    everywhere(|| {
        let elsewhere: SocketAddr = "1.1.1.1:0".parse().unwrap();
        let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (_taken, taken) = closed_addr();

        let bound = TcpListener::bind(&[elsewhere, taken, here][..]).unwrap();
        assert_eq!(bound.local_addr().unwrap().ip(), here.ip());
        let error = TcpListener::bind(&[elsewhere, taken][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let error = TcpListener::bind(&[taken, elsewhere][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        let error = TcpListener::bind(&[][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_port_may_be_bound_again_right_after_its_connections() {
    let _none_begins = none_begins();
    everywhere(|| {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        let near = TcpStream::connect(addr).unwrap();
        let (far, _) = listener.accept().unwrap();
        // The side that closes first keeps the port in TIME_WAIT.
        drop((far, listener));
        drop(near);
        TcpListener::bind(addr).unwrap();
    });
}

#[test]
fn a_nonblocking_listener_answers_would_block_and_its_connections_wait() {
    everywhere(|| {
        let listener = listener();
        listener.set_nonblocking(true).unwrap();
        let clone = listener.try_clone().unwrap();
        for listener in [&listener, &clone] {
            let error = listener.accept().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }

        let addr = listener.local_addr().unwrap();
        let mut near = TcpStream::connect(addr).unwrap();
        support::sockets::wait_until(|| {
            listener.accept().is_ok_and(|(far, _)| {
                assert!(!has_status_flag(&far, libc::O_NONBLOCK));
                true
            })
        });
        // The far end is dropped, so this read ends.
        assert_eq!(near.read(&mut [0]).unwrap(), 0);

        listener.set_nonblocking(false).unwrap();
        let accepting = spawn(move || clone.accept().map(drop));
        settle();
        let _near = TcpStream::connect(addr).unwrap();
        accepting.join().unwrap().unwrap();
    });
}

#[test]
fn too_many_descriptors_are_an_error_after_which_the_listener_works_on() {
    alone(
        "too_many_descriptors_are_an_error_after_which_the_listener_works_on",
        || {
            everywhere(|| {
                let listener = listener();
                let addr = listener.local_addr().unwrap();
                let mut near = TcpStream::connect(addr).unwrap();

                let before = descriptor_limit();
                // The lowest number that is free is the first that is too high.
                let free = std::fs::File::open("/dev/null").unwrap();
                let lowest = free.as_raw_fd();
                drop(free);
                set_descriptor_limit(libc::rlimit {
                    rlim_cur: lowest as libc::rlim_t,
                    ..before
                });
                for _ in 0..3 {
                    let error = listener.accept().unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    let error = TcpStream::connect(addr).unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    let error = listener.try_clone().unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                }
                set_descriptor_limit(before);

                let (mut far, _) = listener.accept().unwrap();
                near.write_all(&[1]).unwrap();
                far.read_exact(&mut [0]).unwrap();
            });
        },
    );
}

fn descriptor_limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is valid for the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0);
    limit
}

fn set_descriptor_limit(limit: libc::rlimit) {
    // SAFETY: the pointer is valid for the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0);
}

#[test]
fn listeners_and_connections_leave_no_descriptor_behind() {
    alone(
        "listeners_and_connections_leave_no_descriptor_behind",
        || {
            everywhere(|| {
                let round = || {
                    let listener = listener();
                    let clone = listener.try_clone().unwrap();
                    let addr = listener.local_addr().unwrap();
                    let near = TcpStream::connect(addr).unwrap();
                    let far = clone.accept().unwrap().0;
                    drop(OwnedFd::from(near));
                    drop(std::net::TcpStream::from(far));
                    // This one is never accepted, and the next one is refused.
                    let _near = TcpStream::connect(addr).unwrap();
                    listener.shutdown().unwrap();
                    TcpStream::connect(addr).unwrap_err();
                    clone.accept().unwrap_err();
                    drop(std::net::TcpListener::from(clone));
                };
                round();
                let before = open_descriptors();
                for _ in 0..50 {
                    round();
                }
                assert_eq!(open_descriptors(), before);
            });
        },
    );
}

#[test]
fn sockets_are_closed_on_exec() {
    everywhere(|| {
        let listener = listener();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        assert!(is_closed_on_exec(&listener));
        assert!(is_closed_on_exec(&listener.try_clone().unwrap()));
        assert!(is_closed_on_exec(&near));
        assert!(is_closed_on_exec(&near.try_clone().unwrap()));
        assert!(is_closed_on_exec(&far));
    });
}

#[test]
fn conversions_give_back_the_mode_that_the_user_asked_for() {
    everywhere(|| {
        for nonblocking in [false, true] {
            let listener = listener();
            let addr = listener.local_addr().unwrap();
            // Whatever an accept does to the description is not to be seen afterwards.
            let _near = TcpStream::connect(addr).unwrap();
            listener.accept().unwrap();
            listener.set_nonblocking(nonblocking).unwrap();

            let std = std::net::TcpListener::from(listener);
            assert_eq!(has_status_flag(&std, libc::O_NONBLOCK), nonblocking);

            // There and back again, by every road.
            let listener = TcpListener::from(std);
            assert_eq!(listener.accept_is_nonblocking(), nonblocking);
            let fd = OwnedFd::from(listener);
            assert_eq!(has_status_flag(&fd, libc::O_NONBLOCK), nonblocking);
            let raw = TcpListener::from(fd).into_raw_fd();
            // SAFETY: `into_raw_fd` has just given up the descriptor.
            let listener = unsafe { TcpListener::from_raw_fd(raw) };
            assert_eq!(listener.as_fd().as_raw_fd(), raw);
            assert_eq!(listener.local_addr().unwrap(), addr);
            assert_eq!(listener.accept_is_nonblocking(), nonblocking);
        }
    });
}

trait AcceptIsNonblocking {
    fn accept_is_nonblocking(&self) -> bool;
}

impl AcceptIsNonblocking for TcpListener {
    /// Lets a connection come while an accept may wait, and tells whether it waited.
    fn accept_is_nonblocking(&self) -> bool {
        let addr = self.local_addr().unwrap();
        let connecting = spawn(move || {
            settle();
            TcpStream::connect(addr).unwrap()
        });
        let accepted = self.accept();
        let _near = connecting.join().unwrap();
        match accepted {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                // Leave the queue empty.
                support::sockets::wait_until(|| self.accept().is_ok());
                true
            }
        }
    }
}

#[test]
fn std_s_listener_accepts_after_ours_did() {
    everywhere(|| {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        let _first = TcpStream::connect(addr).unwrap();
        listener.accept().unwrap();

        let std = std::net::TcpListener::from(listener);
        let accepting = std::thread::spawn(move || std.accept().map(drop));
        settle();
        let _second = TcpStream::connect(addr).unwrap();
        accepting.join().unwrap().unwrap();
    });
}

#[test]
fn a_clone_that_became_std_s_does_not_make_ours_answer_would_block() {
    everywhere(|| {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        let _first = TcpStream::connect(addr).unwrap();
        listener.accept().unwrap();

        // The conversion makes the description that both share blocking again.
        let _std = std::net::TcpListener::from(listener.try_clone().unwrap());
        let accepting = spawn(move || listener.accept().map(drop));
        settle();
        let _second = TcpStream::connect(addr).unwrap();
        accepting.join().unwrap().unwrap();
    });
}

#[test]
#[expect(deprecated, reason = "they are std's")]
fn only_v6_can_be_read_but_not_set_once_bound() {
    everywhere(|| {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let std = std::net::TcpListener::bind("[::1]:0").unwrap();
        assert_eq!(listener.only_v6().unwrap(), std.only_v6().unwrap());
        let error = listener.set_only_v6(true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(std.set_only_v6(true).unwrap_err().kind(), error.kind());
    });
}

#[test]
fn there_is_no_pending_error_on_a_fresh_listener() {
    everywhere(|| assert!(listener().take_error().unwrap().is_none()));
}

#[test]
fn a_socket_that_is_not_ip_has_no_ip_address() {
    everywhere(|| {
        let (unix, _other) = UnixStream::pair().unwrap();
        let listener = TcpListener::from(OwnedFd::from(unix));
        let error = listener.local_addr().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let shown = format!("{listener:?}");
        assert_eq!(
            shown,
            format!("TcpListener {{ fd: {} }}", listener.as_raw_fd())
        );
    });
}

#[test]
fn the_types_are_as_free_as_std_s() {
    fn assert_free<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + std::fmt::Debug>() {}
    assert_free::<std::net::TcpListener>();
    assert_free::<TcpListener>();
    assert_free::<Incoming<'_>>();
    assert_free::<ListenerShutdown>();
}
