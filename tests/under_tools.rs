//! What valgrind and AddressSanitizer are run over, by the scripts in `tests/sanitizers`: greenlets
//! that share their worker's thread-locals. Under such a tool they cannot have their own.

mod support;

use std::env;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenlet::net::{TcpListener, TcpStream};
use greenlet::{BuildError, Builder, Runtime};
use support::watched;

/// Hubs, as many as can be and more.
const HUBS: [usize; 3] = [1, 2, 4];

fn on_hubs(body: fn()) {
    let _watchdog = watched();
    for hubs in HUBS {
        // SAFETY: no test here uses thread-locals over a wait, or waits while it unwinds.
        let builder = unsafe { Runtime::builder().share_thread_locals() };
        builder.hubs(hubs).build().unwrap().run(body);
    }
}

#[test]
fn greenlets_are_spawned_joined_and_panic() {
    on_hubs(|| {
        let greenlets: Vec<_> = (0..300_u64)
            .map(|n| greenlet::spawn(move || vec![n; n as usize].iter().sum::<u64>()))
            .collect();
        let sum: u64 = greenlets.into_iter().map(|one| one.join().unwrap()).sum();
        assert_eq!(sum, (0..300).map(|n| n * n).sum::<u64>());
        let panicked = greenlet::spawn(|| std::panic::resume_unwind(Box::new(7)));
        assert!(panicked.join().unwrap_err().is::<i32>());
    });
}

#[test]
fn parks_end_by_tokens_and_time() {
    on_hubs(|| {
        let parked: Vec<_> = (0..50)
            .map(|_| {
                greenlet::spawn(|| {
                    greenlet::park();
                    let start = Instant::now();
                    greenlet::sleep(Duration::from_micros(200));
                    assert!(start.elapsed() >= Duration::from_micros(200));
                    greenlet::park_timeout(Duration::from_micros(100));
                })
            })
            .collect();
        parked.iter().for_each(|one| one.thread().unpark());
        parked.into_iter().for_each(|one| one.join().unwrap());
    });
}

#[test]
fn stacks_of_several_sizes_are_used_again() {
    on_hubs(|| {
        for round in 0..3 {
            let greenlets: Vec<_> = [64 << 10, 256 << 10, 1 << 20]
                .repeat(20)
                .into_iter()
                .map(|size| {
                    let spawned = Builder::new().stack_size(size).spawn(move || {
                        let filled = std::hint::black_box([round; 4096]);
                        greenlet::yield_now();
                        filled.iter().all(|byte| *byte == round)
                    });
                    spawned.unwrap()
                })
                .collect();
            assert!(greenlets.into_iter().all(|one| one.join().unwrap()));
        }
    });
}

#[test]
fn connections_carry_bytes() {
    on_hubs(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = greenlet::spawn(move || {
            for stream in listener.incoming().take(10) {
                let mut stream = stream.unwrap();
                greenlet::spawn(move || {
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).unwrap();
                    stream.write_all(&bytes).unwrap();
                });
            }
        });
        let clients: Vec<_> = (0..10)
            .map(|n: u8| {
                greenlet::spawn(move || {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    stream.write_all(&vec![n; 10_000]).unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).unwrap();
                    assert_eq!(answer, vec![n; 10_000]);
                })
            })
            .collect();
        clients.into_iter().for_each(|one| one.join().unwrap());
        server.join().unwrap();
    });
}

#[test]
fn a_runtime_ends_with_those_that_wait() {
    on_hubs(|| {
        let kept = Arc::new(vec![1; 1000]);
        for _ in 0..20 {
            let kept = kept.clone();
            drop(greenlet::spawn(move || {
                let _kept = kept;
                greenlet::park();
            }));
        }
        greenlet::yield_now();
    });
}

/// Under a tool, which the script names, own thread-locals are refused; elsewhere they are not.
#[test]
fn own_thread_locals_are_refused_under_a_tool() {
    let _watchdog = watched();
    let built = Runtime::builder().hubs(1).build();
    let Some(checks) = env::var("GREENLET_UNDER").ok() else {
        return drop(built.unwrap());
    };
    match built.unwrap_err() {
        BuildError::ThreadLocals(error) => {
            println!("{error}");
            assert!(
                checks.split(',').any(|check| check == error.check()),
                "{error}"
            );
        }
        error => panic!("{error}"),
    }
}
