//! Greenlets that share their worker's thread-locals: the named alternative to having their own.

mod support;

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenlet::Runtime;
use greenlet::net::{TcpListener, TcpStream};
use support::{child, process, watched};

thread_local! {
    static HUB: Cell<Option<usize>> = const { Cell::new(None) };
}

fn sharing(hubs: usize) -> Runtime {
    // SAFETY: no test here keeps a borrow of a thread-local over a wait, or waits in an initialiser
    // or while it unwinds.
    unsafe { Runtime::builder().share_thread_locals() }
        .hubs(hubs)
        .build()
        .unwrap()
}

#[test]
fn greenlets_of_a_hub_see_the_same_thread_local_and_thread() {
    let _watchdog = watched();
    sharing(1).run(|| {
        HUB.set(Some(7));
        let other = greenlet::spawn(|| (HUB.replace(Some(8)), thread::current().id()));
        assert_eq!(other.join().unwrap(), (Some(7), thread::current().id()));
        assert_eq!(HUB.get(), Some(8));
    });
}

#[test]
fn a_greenlet_stays_on_the_hub_on_which_it_started() {
    let _watchdog = watched();
    sharing(4).run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let greenlets: Vec<_> = (0..200)
            .map(|_| {
                let (stop, seen) = (stop.clone(), seen.clone());
                greenlet::spawn(move || {
                    let (hub, thread) = (greenlet::hub_id(), thread::current().id());
                    seen.lock().unwrap().insert(hub);
                    while !stop.load(Relaxed) {
                        greenlet::yield_now();
                        greenlet::sleep(Duration::from_micros(100));
                        assert_eq!((greenlet::hub_id(), thread::current().id()), (hub, thread));
                    }
                })
            })
            .collect();
        let own = greenlet::hub_id();
        // This hub runs nobody meanwhile, so another one takes some.
        while seen.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        greenlet::sleep(Duration::from_millis(200));
        stop.store(true, Relaxed);
        greenlets
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        assert!(seen.lock().unwrap().iter().any(|hub| *hub != own));
    });
}

#[test]
fn waits_for_sockets_joins_and_tokens_work() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        sharing(hubs).run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let server = greenlet::spawn(move || {
                for stream in listener.incoming().take(50) {
                    let mut stream = stream.unwrap();
                    greenlet::spawn(move || {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        stream.write_all(&[byte[0] + 1]).unwrap();
                    });
                }
            });
            let clients: Vec<_> = (0..50)
                .map(|n| {
                    greenlet::spawn(move || {
                        let mut stream = TcpStream::connect(addr).unwrap();
                        greenlet::yield_now();
                        stream.write_all(&[n]).unwrap();
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        assert_eq!(byte, [n + 1]);
                    })
                })
                .collect();
            clients
                .into_iter()
                .for_each(|client| client.join().unwrap());
            server.join().unwrap();
            let main = greenlet::current();
            greenlet::spawn(move || main.unpark());
            greenlet::park();
        });
    }
}

#[test]
fn dropping_the_runtime_unwinds_them_too() {
    static DROPPED: AtomicBool = AtomicBool::new(false);
    struct OnDrop;
    impl Drop for OnDrop {
        fn drop(&mut self) {
            DROPPED.store(true, SeqCst);
        }
    }
    let _watchdog = watched();
    let runtime = sharing(2);
    let parked = runtime.spawn(|| {
        let _on_drop = OnDrop;
        loop {
            greenlet::park();
        }
    });
    process::wait_until("the greenlet has parked", || runtime.stats().parks > 0);
    drop(runtime);
    assert!(DROPPED.load(SeqCst));
    assert!(parked.join().unwrap_err().is::<greenlet::Cancelled>());
}

#[test]
fn a_greenlet_costs_a_page_less() {
    // Alone, because what is measured is the process's.
    child::alone("a_greenlet_costs_a_page_less", || {
        let _watchdog = watched();
        let own = resident_each(&Runtime::builder().hubs(1).build().unwrap());
        let shared = resident_each(&sharing(1));
        assert!(
            own > shared + 3000,
            "{own} bytes with thread-locals of their own, {shared} without"
        );
    });
}

/// What 2,000 parked greenlets add to the process's resident memory, for each.
fn resident_each(runtime: &Runtime) -> usize {
    const GREENLETS: usize = 2000;
    let before = process::resident();
    let parks = runtime.stats().parks;
    let _parked: Vec<_> = (0..GREENLETS)
        .map(|_| runtime.spawn(greenlet::park))
        .collect();
    let all = parks + GREENLETS as u64;
    process::wait_until("all have parked", || runtime.stats().parks >= all);
    process::resident().saturating_sub(before) / GREENLETS
}
