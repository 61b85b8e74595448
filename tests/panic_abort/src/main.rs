//! What a program does that is built with `panic = "abort"`. Each argument names one thing; the
//! tests in `tests/` run this program and look at what became of it.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenlet::{Builder, JoinHandle, Runtime};

#[cfg(not(panic = "abort"))]
compile_error!("this package tests what `panic = \"abort\"` changes");

/// Greenlets that wait when their runtime is dropped.
const WAITING: usize = 100;

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    for hubs in [1, 2, 8] {
        let runtime = Runtime::builder().hubs(hubs).build().expect("a runtime");
        match what.as_str() {
            "run" => run(&runtime),
            "drop-parked" => drop_parked(runtime),
            "drop-yielding" => drop_yielding(runtime),
            "drop-unstarted" => drop_unstarted(runtime),
            "join-after-drop" => join_after_drop(runtime),
            "panic" => panic(&runtime),
            _ => panic!("nothing is called {what:?}"),
        }
    }
    println!("to the end");
}

/// Spawns, joins, parks, and thread-locals.
fn run(runtime: &Runtime) {
    thread_local!(static NUMBER: Cell<usize> = const { Cell::new(0) });

    let greenlets: Vec<_> = (0..100)
        .map(|n| {
            runtime.spawn(move || {
                NUMBER.set(n);
                greenlet::sleep(Duration::from_micros(10));
                greenlet::yield_now();
                NUMBER.get()
            })
        })
        .collect();
    for (n, greenlet) in greenlets.into_iter().enumerate() {
        assert_eq!(greenlet.join().expect("no panic"), n);
    }
    assert_eq!(
        runtime.run(|| greenlet::spawn(|| 6 * 7).join().expect("no panic")),
        42
    );
}

/// Counts the destructors that run.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Greenlets that wait in all ways, and for ever. Answers when they do.
fn waiting(runtime: &Runtime, dropped: &Arc<AtomicUsize>) -> Vec<JoinHandle<()>> {
    let started = Arc::new(AtomicUsize::new(0));
    let greenlets = (0..WAITING)
        .map(|n| {
            let (started, counted) = (started.clone(), Counted(dropped.clone()));
            runtime.spawn(move || {
                let _counted = counted;
                started.fetch_add(1, SeqCst);
                match n % 3 {
                    0 => loop {
                        greenlet::park();
                    },
                    1 => greenlet::sleep(Duration::from_secs(3600)),
                    _ => {
                        let nobody = greenlet::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
                        let _ = nobody.expect("a port").accept();
                    }
                }
            })
        })
        .collect();
    while started.load(SeqCst) < WAITING {
        thread::yield_now();
    }
    greenlets
}

/// The drop returns, and what waits is leaked: no destructor runs, and nobody is told.
fn drop_parked(runtime: Runtime) {
    let dropped = Arc::default();
    let greenlets = waiting(&runtime, &dropped);
    drop(runtime);
    // A wake of one that is leaked does nothing.
    greenlets
        .iter()
        .for_each(|greenlet| greenlet.thread().unpark());
    thread::sleep(Duration::from_millis(20));
    assert!(!greenlets.iter().any(JoinHandle::is_finished));
    drop(greenlets);
    assert_eq!(dropped.load(SeqCst), 0);
}

/// Greenlets that never wait, but yield, do not hold the drop up.
fn drop_yielding(runtime: Runtime) {
    for _ in 0..2 * runtime.hubs() {
        runtime.spawn(|| {
            loop {
                greenlet::yield_now();
            }
        });
    }
    drop(runtime);
}

/// The closure of a greenlet that has not started is run or leaked. That is all that is promised.
fn drop_unstarted(runtime: Runtime) {
    for _ in 0..1000 {
        runtime.spawn(|| ());
    }
    drop(runtime);
}

/// A join of a leaked greenlet waits for ever; one of a greenlet that has ended answers.
fn join_after_drop(runtime: Runtime) {
    static RETURNED: AtomicBool = AtomicBool::new(false);
    let ended = runtime.spawn(|| 5);
    while !ended.is_finished() {
        thread::yield_now();
    }
    let leaked = waiting(&runtime, &Arc::default());
    drop(runtime);
    assert_eq!(ended.join().expect("no panic"), 5);
    for greenlet in leaked {
        thread::spawn(|| {
            let _ = greenlet.join();
            RETURNED.store(true, SeqCst);
        });
    }
    thread::sleep(Duration::from_millis(50));
    assert!(!RETURNED.load(SeqCst));
}

/// Ends the process.
fn panic(runtime: &Runtime) {
    let wasp = || Builder::new().name("wasp".into()).spawn(|| panic!("sting"));
    runtime
        .run(|| wasp().expect("memory").join())
        .expect("it does not get here");
}
