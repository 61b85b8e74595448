//! `UnixListener`: waiting, clones, failures.

mod support;

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use greenlet::os::linux::net::SocketAddrExt;
use greenlet::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use support::child::none_begins;
use support::sockets::{
    self, alone, descriptor_limit, everywhere, has_status_flag, is_closed_on_exec,
    set_descriptor_limit, settle, spawn, wait_until,
};
use support::temp::TempDir;
use support::{on_hubs, parks};

#[track_caller]
fn assert_kind<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

/// A listener at an abstract name.
fn listener() -> (UnixListener, SocketAddr) {
    let addr = SocketAddr::from_abstract_name(sockets::unique("listener")).unwrap();
    (UnixListener::bind_addr(&addr).unwrap(), addr)
}

#[test]
fn accepting_parks_until_somebody_comes() {
    let (listener, addr) = listener();
    let end = || drop(UnixStream::connect_addr(&addr));
    let (_, peer) = parks(|| listener.accept(), end).unwrap();
    assert!(peer.is_unnamed());
    let end = || drop(UnixStream::connect_addr(&addr));
    parks(|| listener.incoming().next(), end).unwrap().unwrap();
}

#[test]
fn each_connection_goes_to_one_of_many_acceptors_on_clones() {
    everywhere(|| {
        let (listener, addr) = listener();
        let accepting: Vec<_> = (0..10)
            .map(|_| {
                let listener = listener.try_clone().unwrap();
                spawn(move || (&listener).into_iter().next().unwrap().map(drop))
            })
            .collect();
        settle();
        let _connections: Vec<_> = (0..10)
            .map(|_| UnixStream::connect_addr(&addr).unwrap())
            .collect();
        for acceptor in accepting {
            acceptor.join().unwrap().unwrap();
        }
    });
}

#[test]
fn greenlets_and_plain_threads_accept_from_one_listener() {
    on_hubs(|_| {
        let (listener, addr) = listener();
        let listener = Arc::new(listener);
        let accept = |listener: Arc<UnixListener>| move || listener.accept().map(drop).unwrap();
        let threads: Vec<_> = (0..3)
            .map(|_| thread::spawn(accept(listener.clone())))
            .collect();
        let greenlets: Vec<_> = (0..3)
            .map(|_| greenlet::spawn(accept(listener.clone())))
            .collect();
        settle();
        for _ in 0..6 {
            UnixStream::connect_addr(&addr).unwrap();
        }
        for greenlet in greenlets {
            greenlet.join().unwrap();
        }
        wait_until(|| threads.iter().all(thread::JoinHandle::is_finished));
    });
}

#[test]
fn an_address_is_taken_while_it_is_bound_and_a_file_for_longer() {
    let _none_begins = none_begins();
    everywhere(|| {
        let (listener, addr) = listener();
        assert_kind(UnixListener::bind_addr(&addr), ErrorKind::AddrInUse);
        drop(listener);
        UnixListener::bind_addr(&addr).unwrap();

        let directory = TempDir::new();
        let path = directory.path().join("sock");
        drop(UnixListener::bind(&path).unwrap());
        assert_kind(UnixListener::bind(&path), ErrorKind::AddrInUse);
        let nowhere = directory.path().join("none").join("sock");
        assert_kind(UnixListener::bind(nowhere), ErrorKind::NotFound);
    });
}

#[test]
fn a_nonblocking_listener_answers_would_block_and_its_connections_wait() {
    everywhere(|| {
        let (listener, addr) = listener();
        listener.set_nonblocking(true).unwrap();
        assert_kind(listener.accept(), ErrorKind::WouldBlock);
        let _near = UnixStream::connect_addr(&addr).unwrap();
        let (far, _) = listener.accept().unwrap();
        assert!(!has_status_flag(&far, libc::O_NONBLOCK));
        assert!(is_closed_on_exec(&far) && is_closed_on_exec(&listener));
    });
}

#[test]
fn conversions_give_back_the_mode_that_the_user_asked_for() {
    everywhere(|| {
        let (listener, addr) = listener();
        let _near = UnixStream::connect_addr(&addr).unwrap();
        listener.accept().unwrap();
        let std = std::os::unix::net::UnixListener::from(listener);
        assert!(!has_status_flag(&std, libc::O_NONBLOCK));
        let ours = UnixListener::from(OwnedFd::from(std));
        let accepting = spawn(move || ours.accept().map(drop));
        settle();
        assert!(!accepting.is_finished());
        let _near = UnixStream::connect_addr(&addr).unwrap();
        accepting.join().unwrap().unwrap();
    });
}

#[test]
fn too_many_descriptors_are_an_error_after_which_the_listener_works_on() {
    alone(
        "too_many_descriptors_are_an_error_after_which_the_listener_works_on",
        || {
            everywhere(|| {
                let (listener, addr) = listener();
                let _near = UnixStream::connect_addr(&addr).unwrap();
                let limit = descriptor_limit();
                set_descriptor_limit(libc::rlimit {
                    // Above standard error, which is open, and so is the next one.
                    rlim_cur: 4,
                    ..limit
                });
                let accepted = listener.accept();
                let connected = UnixStream::connect_addr(&addr);
                let pair = UnixStream::pair();
                set_descriptor_limit(limit);
                assert_eq!(accepted.unwrap_err().raw_os_error(), Some(libc::EMFILE));
                assert_eq!(connected.unwrap_err().raw_os_error(), Some(libc::EMFILE));
                assert_eq!(pair.unwrap_err().raw_os_error(), Some(libc::EMFILE));
                listener.accept().unwrap();
            });
        },
    );
}
