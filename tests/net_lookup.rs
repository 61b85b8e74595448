//! `lookup_host` and the cache of names: deadlines, who asks, what is kept.
//!
//! The C library's `getaddrinfo` is replaced in this binary. Names that begin with `hang` have a name
//! server that does not answer before it is [released](release); those with `brief` take 50 ms;
//! `unknown` has no addresses. No name leaves the machine.

mod support;

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io::{self, ErrorKind};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::Runtime;
use greenlet::net::{SocketAddr, ToSocketAddrs, lookup_host, set_lookup_ttl};
use libc::{addrinfo, c_char, c_int};
use support::sockets::{self, alone, everywhere, settle, sleep, spawn, wait_until};
use support::{does_not_park, parks, runtime, watched};

/// How often each name was asked for, and whether its name server has answered.
static ASKED: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
static RELEASED: Mutex<Vec<String>> = Mutex::new(Vec::new());

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
    // SAFETY: a C string (caller); nobody here asks for no name.
    let name = unsafe { CStr::from_ptr(node) }.to_str().unwrap().to_owned();
    *ASKED.lock().unwrap().entry(name.clone()).or_default() += 1;
    if name.starts_with("unknown") {
        return libc::EAI_NONAME;
    }
    if name.starts_with("hang") {
        while !RELEASED.lock().unwrap().contains(&name) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    if name.starts_with("brief") {
        thread::sleep(Duration::from_millis(50));
    }
    // SAFETY: the caller's arguments, with another name.
    unsafe { real(c"127.0.0.1".as_ptr(), service, hints, result) }
}

/// Has the name server of `name` answer.
fn release(name: &str) {
    RELEASED.lock().unwrap().push(name.to_owned());
}

fn asked(name: &str) -> usize {
    ASKED.lock().unwrap().get(name).copied().unwrap_or_default()
}

/// A name that nobody has asked for.
fn fresh(kind: &str) -> String {
    sockets::unique(kind)
}

fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    lookup_host(name, None)
}

fn found() -> Vec<SocketAddr> {
    vec!["127.0.0.1:0".parse().unwrap()]
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(50))
}

#[track_caller]
fn assert_kind<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

#[test]
fn a_lookup_parks_and_what_is_known_does_not() {
    let name = fresh("hang");
    let addrs = parks(|| look_up(&name), || release(&name)).unwrap();
    assert_eq!(addrs, found());
    does_not_park(|| {
        assert_eq!(look_up(&name).unwrap(), found());
        let with_port = (name.as_str(), 7).to_socket_addrs().unwrap();
        assert_eq!(Vec::from_iter(with_port), ["127.0.0.1:7".parse().unwrap()]);
        let with_port = format!("{name}:8").to_socket_addrs().unwrap();
        assert_eq!(Vec::from_iter(with_port), ["127.0.0.1:8".parse().unwrap()]);
        assert_eq!(look_up("::1").unwrap(), ["[::1]:0".parse().unwrap()]);
    });
    assert_eq!(asked(&name), 1);
}

#[test]
fn the_deadline_holds_while_the_name_server_hangs_and_its_late_answer_is_kept() {
    everywhere(|| {
        let name = fresh("hang");
        for _ in 0..3 {
            let start = Instant::now();
            assert_kind(lookup_host(&name, soon()), ErrorKind::TimedOut);
            let waited = start.elapsed();
            assert!(waited >= Duration::from_millis(50), "{waited:?}");
            assert!(waited < Duration::from_secs(2), "{waited:?}");
        }
        // They have waited for one lookup.
        assert_eq!(asked(&name), 1);
        let waiting = spawn({
            let name = name.clone();
            move || look_up(&name)
        });
        settle();
        assert!(!waiting.is_finished());
        release(&name);
        assert_eq!(waiting.join().unwrap().unwrap(), found());
        assert_eq!(lookup_host(&name, Some(Instant::now())).unwrap(), found());
        assert_eq!(asked(&name), 1);
    });
}

#[test]
fn many_who_want_to_know_at_the_same_time_ask_once() {
    everywhere(|| {
        let name = fresh("brief");
        let looking_up: Vec<_> = (0..50)
            .map(|number| {
                let name = name.clone();
                spawn(move || match number % 2 {
                    0 => look_up(&name),
                    _ => lookup_host(&name, Some(Instant::now() + Duration::from_secs(60))),
                })
            })
            .collect();
        for one in looking_up {
            assert_eq!(one.join().unwrap().unwrap(), found());
        }
        assert_eq!(asked(&name), 1);
    });
}

#[test]
fn greenlets_of_two_runtimes_and_threads_wait_for_one_lookup() {
    let _watchdog = watched();
    let name = fresh("hang");
    let runtimes = [runtime(1), runtime(2)];
    let look = |name: &str| {
        let name = name.to_owned();
        move || look_up(&name).unwrap()
    };
    let greenlets: Vec<_> = (0..6)
        .map(|number| runtimes[number % 2].spawn(look(&name)))
        .collect();
    let threads: Vec<_> = (0..3).map(|_| thread::spawn(look(&name))).collect();
    settle();
    release(&name);
    for greenlet in greenlets {
        assert_eq!(greenlet.join().unwrap(), found());
    }
    for thread in threads {
        assert_eq!(thread.join().unwrap(), found());
    }
    assert_eq!(asked(&name), 1);
}

#[test]
fn a_runtime_that_is_dropped_leaves_the_lookup_to_the_others_who_wait() {
    let _watchdog = watched();
    for _ in 0..20 {
        let name = fresh("hang");
        let runtime = runtime(2);
        let cancelled: Vec<_> = (0..5)
            .map(|_| {
                let name = name.clone();
                runtime.spawn(move || look_up(&name).map(drop))
            })
            .collect();
        let waiting = thread::spawn({
            let name = name.clone();
            move || look_up(&name)
        });
        // At any moment: before they begin, or when they wait.
        sleep(Duration::from_micros(100));
        drop(runtime);
        for one in cancelled {
            assert!(one.join().is_err());
        }
        release(&name);
        assert_eq!(waiting.join().unwrap().unwrap(), found());
    }
}

#[test]
fn who_begins_a_lookup_after_its_cancellation_leaves_no_lookup_that_never_ends() {
    struct LooksUp(String);

    impl Drop for LooksUp {
        fn drop(&mut self) {
            // Waits, for it is unwinding; a lookup that nobody answers would hang the runtime.
            assert_eq!(look_up(&self.0).unwrap(), found());
        }
    }

    let _watchdog = watched();
    let name = fresh("brief");
    let runtime = runtime(1);
    let cancelled = runtime.spawn({
        let looks_up = LooksUp(name.clone());
        move || {
            let _looks_up = looks_up;
            greenlet::park();
        }
    });
    settle();
    drop(runtime);
    assert!(cancelled.join().is_err());
    assert_eq!(look_up(&name).unwrap(), found());
}

#[test]
fn an_unknown_name_is_std_s_error_and_is_kept_for_a_second() {
    everywhere(|| {
        let name = fresh("unknown");
        let std = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 0)).unwrap_err();
        for _ in 0..10 {
            let ours = look_up(&name).unwrap_err();
            assert_eq!(
                (ours.kind(), ours.to_string()),
                (std.kind(), std.to_string())
            );
            assert_eq!(format!("{ours:?}"), format!("{std:?}"));
        }
        assert_eq!(asked(&name), 2);
        sleep(Duration::from_millis(1050));
        look_up(&name).unwrap_err();
        assert_eq!(asked(&name), 3);
    });
}

#[test]
fn the_ttl_is_how_long_addresses_are_kept_and_zero_switches_the_cache_off() {
    // Alone: it is the whole process's.
    alone(
        "the_ttl_is_how_long_addresses_are_kept_and_zero_switches_the_cache_off",
        || {
            everywhere(|| {
                let name = fresh("known");
                set_lookup_ttl(Duration::from_millis(100));
                for _ in 0..3 {
                    look_up(&name).unwrap();
                }
                assert_eq!(asked(&name), 1);
                sleep(Duration::from_millis(110));
                look_up(&name).unwrap();
                assert_eq!(asked(&name), 2);

                // What is kept is forgotten.
                set_lookup_ttl(Duration::from_secs(60));
                look_up(&name).unwrap();
                look_up(&name).unwrap();
                assert_eq!(asked(&name), 3);
                set_lookup_ttl(Duration::ZERO);
                for count in 4..7 {
                    look_up(&name).unwrap();
                    assert_eq!(asked(&name), count);
                }
                let unknown = fresh("unknown");
                look_up(&unknown).unwrap_err();
                look_up(&unknown).unwrap_err();
                assert_eq!(asked(&unknown), 2);

                // Nor does anybody wait for somebody else's.
                let name = fresh("brief");
                let looking_up: Vec<_> = (0..5)
                    .map(|_| {
                        let name = name.clone();
                        spawn(move || {
                            lookup_host(&name, Some(Instant::now() + Duration::from_secs(60)))
                        })
                    })
                    .collect();
                wait_until(|| asked(&name) == 5);
                for one in looking_up {
                    assert_eq!(one.join().unwrap().unwrap(), found());
                }
            });
        },
    );
}

#[test]
fn a_name_that_hangs_holds_up_no_other() {
    everywhere(|| {
        let hanging = fresh("hang");
        let waiting = spawn({
            let hanging = hanging.clone();
            move || look_up(&hanging)
        });
        settle();
        assert_eq!(look_up(&fresh("known")).unwrap(), found());
        assert!(!waiting.is_finished());
        release(&hanging);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn the_deadline_holds_while_the_pool_has_no_place_for_the_lookup() {
    // Alone: the pool is the process's.
    alone(
        "the_deadline_holds_while_the_pool_has_no_place_for_the_lookup",
        || {
            let _watchdog = watched();
            let small = Runtime::builder()
                .hubs(2)
                .blocking_threads(1)
                .blocking_queue(1)
                .build()
                .unwrap();
            let body = || {
                // One for the thread, one for the queue.
                let names = [fresh("hang"), fresh("hang")];
                for name in &names {
                    assert_kind(lookup_host(name, soon()), ErrorKind::TimedOut);
                }
                let waiting = [fresh("known"), fresh("known")];
                for name in waiting.iter().chain(&waiting) {
                    let start = Instant::now();
                    assert_kind(lookup_host(name, soon()), ErrorKind::TimedOut);
                    assert!(start.elapsed() >= Duration::from_millis(50));
                    assert_eq!(asked(name), 0);
                }
                let patient = spawn({
                    let name = waiting[0].clone();
                    move || lookup_host(&name, Some(Instant::now() + Duration::from_secs(60)))
                });
                settle();
                names.iter().for_each(|name| release(name));
                assert_eq!(patient.join().unwrap().unwrap(), found());
                assert_eq!(look_up(&waiting[1]).unwrap(), found());
                assert_eq!(look_up(&names[1]).unwrap(), found());
            };
            body();
            small.run(body);
        },
    );
}
