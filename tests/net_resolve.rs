//! Names: what is looked up, where, and who waits for it.
//!
//! The C library's `getaddrinfo` is replaced in this binary: `slow-*` names take their time and
//! become 127.0.0.1, as they would with a name server that is far away; `held-*` names take it until
//! the test lets them go. All other names go on to the C library, and none of those leaves the machine.

mod support;

use std::ffi::CStr;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::Runtime;
use greenlet::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use libc::{addrinfo, c_char, c_int};
use support::sockets::{everywhere, spawn, wait_until, watchdog};

/// How long the lookup of a slow name takes.
const SLOW: Duration = Duration::from_millis(100);

/// Names that no resolver sends anywhere: they cannot be written into a question.
const UNSPEAKABLE: [&str; 5] = ["a..b", ".a", "..", "no such host", LONG_LABEL];

/// A label has 63 bytes at most.
const LONG_LABEL: &str =
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b";

/// The names that begin so are held.
static HELD: Mutex<Vec<&str>> = Mutex::new(Vec::new());

type GetAddrInfo = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const addrinfo,
    *mut *mut addrinfo,
) -> c_int;

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: the C library has the function, and this is its type.
    let real: GetAddrInfo = unsafe {
        let symbol = libc::dlsym(libc::RTLD_NEXT, c"getaddrinfo".as_ptr());
        assert!(!symbol.is_null());
        std::mem::transmute::<*mut libc::c_void, GetAddrInfo>(symbol)
    };
    // SAFETY: a C string or null (caller).
    let name = (!node.is_null()).then(|| unsafe { CStr::from_ptr(node) });
    let name = name.and_then(|name| name.to_str().ok()).unwrap_or_default();
    if name.starts_with("slow-") {
        thread::sleep(SLOW);
    } else if name.starts_with("held-") {
        while HELD
            .lock()
            .unwrap()
            .iter()
            .any(|held| name.starts_with(held))
        {
            thread::sleep(Duration::from_millis(1));
        }
    } else {
        // SAFETY: the caller's arguments.
        return unsafe { real(node, service, hints, result) };
    }
    // SAFETY: the caller's arguments, with another name.
    unsafe { real(c"127.0.0.1".as_ptr(), service, hints, result) }
}

fn hold(names: &'static str) {
    HELD.lock().unwrap().push(names);
}

fn let_go(names: &str) {
    HELD.lock().unwrap().retain(|held| *held != names);
}

fn runtime(hubs: usize) -> Runtime {
    Runtime::builder().hubs(hubs).build().unwrap()
}

fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    (name, 80).to_socket_addrs().map(Iterator::collect)
}

#[test]
fn names_that_cannot_exist_are_std_s_errors_and_the_runtime_works_on() {
    everywhere(|| {
        for name in UNSPEAKABLE {
            let std = std::net::ToSocketAddrs::to_socket_addrs(&(name, 80)).unwrap_err();
            for _ in 0..10 {
                let ours = look_up(name).unwrap_err();
                assert_eq!(ours.kind(), std.kind(), "{name}");
                assert_eq!(ours.to_string(), std.to_string(), "{name}");
            }
            let address = format!("{name}:80");
            assert_eq!(
                TcpStream::connect(&address).unwrap_err().to_string(),
                std.to_string()
            );
            assert_eq!(
                TcpListener::bind(&address).unwrap_err().to_string(),
                std.to_string()
            );
        }
        let listener = TcpListener::bind("localhost:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    });
}

#[test]
fn a_name_with_a_nul_in_it_is_invalid_input() {
    everywhere(|| {
        for name in ["a\0b", "\0", "127.0.0.1\0"] {
            let error = look_up(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let error = TcpStream::connect(format!("{name}:80")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn a_lookup_parks_its_greenlet_and_the_hub_runs_others() {
    let _watchdog = watchdog();
    let runtime = runtime(1);
    runtime.run(|| {
        let before = greenlet::stats().unwrap().parks;
        let other = greenlet::spawn(|| ());
        // A name that no other test asks for: answers are kept.
        look_up("only..here").unwrap_err();
        assert!(other.is_finished(), "the hub has run nobody else");
        assert!(greenlet::stats().unwrap().parks > before);
    });
}

#[test]
fn an_address_in_writing_is_parsed_without_parking() {
    let _watchdog = watchdog();
    runtime(1).run(|| {
        let before = greenlet::stats().unwrap().parks;
        let other = greenlet::spawn(|| ());
        for address in ["127.0.0.1", "::1"] {
            assert_eq!(look_up(address).unwrap().len(), 1);
        }
        "127.0.0.1:80".to_socket_addrs().unwrap();
        assert!(!other.is_finished());
        assert_eq!(greenlet::stats().unwrap().parks, before);
    });
}

#[test]
fn while_a_slow_name_is_looked_up_the_hub_serves_others() {
    let _watchdog = watchdog();
    runtime(1).run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        hold("held-one");
        let looking_up = spawn(|| look_up("held-one").unwrap());
        let echoing = spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            io::copy(&mut &stream, &mut &stream).unwrap()
        });
        let mut stream = TcpStream::connect(addr).unwrap();
        for _ in 0..3 {
            stream.write_all(&[1]).unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        drop(stream);
        assert_eq!(echoing.join().unwrap(), 3);
        let_go("held-one");
        assert_eq!(
            looking_up.join().unwrap(),
            ["127.0.0.1:80".parse().unwrap()]
        );
    });
}

#[test]
fn many_slow_names_are_looked_up_at_the_same_time() {
    let _watchdog = watchdog();
    for hubs in [1, 2, 8] {
        runtime(hubs).run(|| {
            const NAMES: u32 = 40;
            let start = Instant::now();
            let looking_up: Vec<_> = (0..NAMES)
                .map(|i| spawn(move || look_up(&format!("slow-{hubs}-{i}")).unwrap()))
                .collect();
            for one in looking_up {
                assert_eq!(one.join().unwrap().len(), 1);
            }
            let waited = start.elapsed();
            assert!(waited < SLOW * NAMES / 2, "{waited:?}");
        });
    }
}

#[test]
fn connecting_and_binding_look_names_up_off_the_hub_too() {
    let _watchdog = watchdog();
    runtime(1).run(|| {
        for way in [
            || drop(TcpListener::bind("slow-bind:0").unwrap()),
            || drop(TcpStream::connect("slow-connect:0")),
            || drop(TcpStream::connect(("slow-pair".to_owned(), 0))),
        ] {
            let waiting = spawn(way);
            greenlet::yield_now();
            // A lookup on the hub would be over by now.
            assert!(!waiting.is_finished());
            waiting.join().unwrap();
        }
    });
}

#[test]
fn a_runtime_that_is_dropped_in_the_middle_of_lookups_does_not_wait_for_them() {
    let _watchdog = watchdog();
    hold("held-end");
    for hubs in [1, 2, 8] {
        let runtime = runtime(hubs);
        let looking_up: Vec<_> = (0..10)
            .map(|i| runtime.spawn(move || look_up(&format!("held-end-{hubs}-{i}")).unwrap()))
            .collect();
        wait_until(|| runtime.stats().parks >= 10);
        drop(runtime);
        for one in looking_up {
            assert!(one.join().is_err());
        }
    }
    let_go("held-end");
}

#[test]
fn a_plain_thread_looks_a_name_up_itself() {
    let _watchdog = watchdog();
    let start = Instant::now();
    assert_eq!(look_up("slow-here").unwrap().len(), 1);
    assert!(start.elapsed() >= SLOW);
}

#[test]
fn a_name_of_several_addresses_is_tried_until_one_answers() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Where it is ::1, too, that one refuses first.
        let stream = TcpStream::connect(("localhost", port)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    });
}
