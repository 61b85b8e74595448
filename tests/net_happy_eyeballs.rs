//! `TcpStream::connect_happy_eyeballs`.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use greenlet::net::{SocketAddr, TcpListener, TcpStream};
use support::sockets::{
    alone, closed_addr, everywhere, has_status_flag, is_closed_on_exec, open_descriptors, settle,
    silent, spawn,
};
use support::{parks, runtime, watched};

/// How long an address has before the next one has its turn.
const DELAY: Duration = Duration::from_millis(250);

#[track_caller]
fn assert_kind<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

fn listener(addr: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(addr).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn connect(addrs: &[SocketAddr]) -> io::Result<TcpStream> {
    TcpStream::connect_happy_eyeballs(addrs, None)
}

#[test]
fn the_first_address_that_answers_at_once_is_taken_and_the_others_are_not_tried() {
    everywhere(|| {
        let (one, first) = listener("127.0.0.1:0");
        let (other, second) = listener("[::1]:0");
        for addrs in [[first, second], [second, first]] {
            let mut near = connect(&addrs).unwrap();
            assert_eq!(near.peer_addr().unwrap(), addrs[0]);
            assert!(!has_status_flag(&near, libc::O_NONBLOCK));
            assert!(is_closed_on_exec(&near));
            let taken = if addrs[0] == first { &one } else { &other };
            let (mut far, _) = taken.accept().unwrap();
            near.write_all(b"x").unwrap();
            far.read_exact(&mut [0]).unwrap();
        }
        for listener in [one, other] {
            listener.set_nonblocking(true).unwrap();
            assert_kind(listener.accept(), ErrorKind::WouldBlock);
        }
    });
}

#[test]
fn an_address_that_refuses_gives_the_next_one_its_turn_at_once() {
    everywhere(|| {
        let (_taken, closed) = closed_addr();
        let (_listener, open) = listener("127.0.0.1:0");
        // The machine may be busy; an address that is waited for is so each time.
        let mut tries = (0..5).map(|_| {
            let start = Instant::now();
            let near = connect(&[closed, closed, closed, closed, open]).unwrap();
            assert_eq!(near.peer_addr().unwrap(), open);
            start.elapsed()
        });
        assert!(tries.any(|waited| waited < DELAY));
    });
}

#[test]
fn an_address_that_does_not_answer_gives_the_next_one_its_turn_after_a_while() {
    everywhere(|| {
        let silent = silent();
        let addr = silent.listener.local_addr().unwrap();
        let (_listener, open) = listener("[::1]:0");
        let start = Instant::now();
        let near = connect(&[addr, open]).unwrap();
        let waited = start.elapsed();
        assert_eq!(near.peer_addr().unwrap(), open);
        assert!(waited >= DELAY, "{waited:?}");
        assert!(waited < DELAY * 3, "{waited:?}");
    });
}

#[test]
fn an_address_that_answers_late_still_wins_over_those_that_never_do() {
    everywhere(|| {
        let (late, never) = (silent(), silent());
        let addrs = [&late, &never].map(|silent| silent.listener.local_addr().unwrap());
        let connecting = spawn(move || connect(&addrs).map(|near| near.peer_addr().unwrap()));
        settle();
        // Room in the queue: the kernel's next try, after a second, is answered.
        late.listener.accept().unwrap();
        assert_eq!(connecting.join().unwrap().unwrap(), addrs[0]);
    });
}

#[test]
fn when_all_fail_the_error_is_the_last_one_s() {
    everywhere(|| {
        let (_taken, closed) = closed_addr();
        assert_kind(connect(&[closed; 3]), ErrorKind::ConnectionRefused);
        assert_kind(connect(&[]), ErrorKind::InvalidInput);
    });
}

#[test]
fn the_deadline_holds_for_all_together() {
    everywhere(|| {
        let silent = silent();
        let addr = silent.listener.local_addr().unwrap();
        for count in [1, 3] {
            let start = Instant::now();
            let deadline = start + Duration::from_millis(100);
            let result = TcpStream::connect_happy_eyeballs(&vec![addr; count], Some(deadline));
            assert_kind(result, ErrorKind::TimedOut);
            let waited = start.elapsed();
            assert!(waited >= Duration::from_millis(100), "{waited:?}");
            assert!(waited < Duration::from_millis(900), "{waited:?}");
        }
    });
}

#[test]
fn waiting_for_an_answer_parks() {
    let silent = silent();
    let addr = silent.listener.local_addr().unwrap();
    parks(|| connect(&[addr]), || drop(silent.listener.accept())).unwrap();
}

#[test]
fn the_losers_are_closed_and_so_is_all_when_the_runtime_is_dropped() {
    alone(
        "the_losers_are_closed_and_so_is_all_when_the_runtime_is_dropped",
        || {
            let _watchdog = watched();
            let silent = silent();
            let addr = silent.listener.local_addr().unwrap();
            let (listener, open) = listener("127.0.0.1:0");
            let before = open_descriptors();
            drop(connect(&[addr, open]).unwrap());
            drop(listener.accept().unwrap());
            assert_eq!(open_descriptors(), before);

            let runtime = runtime(2);
            let connecting = runtime.spawn(move || connect(&[addr; 3]).map(drop));
            settle();
            drop(runtime);
            assert!(connecting.join().is_err());
            assert_eq!(open_descriptors(), before);
        },
    );
}

#[test]
fn a_deadline_that_has_passed_connects_to_nobody() {
    everywhere(|| {
        let (listener, open) = listener("127.0.0.1:0");
        let past = Instant::now();
        let error = TcpStream::connect_happy_eyeballs(&[open], Some(past)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}
