//! `park`, `park_timeout` and `Greenlet::unpark`: std's token.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use greenlet::Builder;
use support::process::wait_until;
use support::{Flag, on_hubs, runtime, watched, with_hubs};

/// What nobody waits for to the end.
const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_token_that_is_there_ends_the_park_at_once() {
    on_hubs(|_| {
        greenlet::current().unpark();
        greenlet::park();
        greenlet::current().unpark();
        greenlet::park_timeout(LONG);
    });
}

#[test]
fn many_tokens_are_one() {
    on_hubs(|_| {
        (0..3).for_each(|_| greenlet::current().unpark());
        greenlet::park();
        let start = Instant::now();
        greenlet::park_timeout(Duration::from_millis(5));
        assert!(start.elapsed() >= Duration::from_millis(5));
    });
}

#[test]
fn a_park_ends_when_another_greenlet_unparks() {
    on_hubs(|hubs| {
        for hub in 0..hubs {
            let woken = Arc::new(AtomicBool::new(false));
            let (me, raised) = (greenlet::current(), woken.clone());
            let waking = Builder::new().hub(hub).spawn(move || {
                raised.store(true, SeqCst);
                me.unpark();
            });
            while !woken.load(SeqCst) {
                greenlet::park();
            }
            waking.unwrap().join().unwrap();
        }
    });
}

#[test]
fn a_park_ends_when_a_thread_unparks() {
    on_hubs(|_| {
        for _ in 0..50 {
            let woken = Arc::new(AtomicBool::new(false));
            let (me, raised) = (greenlet::current(), woken.clone());
            let waking = thread::spawn(move || {
                raised.store(true, SeqCst);
                me.unpark();
            });
            while !woken.load(SeqCst) {
                greenlet::park_timeout(LONG);
            }
            waking.join().unwrap();
        }
    });
}

#[test]
fn a_park_ends_when_a_greenlet_of_another_runtime_unparks() {
    with_hubs(|other| {
        let one = runtime(1);
        let woken = AtomicBool::new(false);
        one.run(|| {
            let me = greenlet::current();
            let waking = other.spawn(move || me.unpark());
            greenlet::park();
            woken.store(true, SeqCst);
            waking.join().unwrap();
        });
        assert!(woken.into_inner());
    });
}

#[test]
fn a_park_timeout_ends_when_the_time_is_over() {
    on_hubs(|_| {
        for milliseconds in [0, 1, 7, 20] {
            let duration = Duration::from_millis(milliseconds);
            let start = Instant::now();
            greenlet::park_timeout(duration);
            assert!(start.elapsed() >= duration);
        }
    });
}

#[test]
fn a_time_out_leaves_no_token_behind_and_takes_none_away() {
    on_hubs(|_| {
        greenlet::park_timeout(Duration::from_millis(1));
        let start = Instant::now();
        greenlet::park_timeout(Duration::from_millis(3));
        assert!(start.elapsed() >= Duration::from_millis(3));
        greenlet::current().unpark();
        greenlet::park_timeout(LONG);
    });
}

#[test]
fn an_unpark_before_the_start_counts() {
    let _watchdog = watched();
    runtime(1).run(|| {
        let parking = greenlet::spawn(greenlet::park);
        parking.thread().unpark();
        parking.join().unwrap();
    });
}

#[test]
fn an_unpark_after_the_end_does_nothing() {
    on_hubs(|_| {
        let handles: Vec<_> = (0..100)
            .map(|_| {
                let ended = greenlet::spawn(|| ());
                let handle = ended.thread().clone();
                ended.join().unwrap();
                handle.unpark();
                handle
            })
            .collect();
        // The stacks are others' now.
        let parking = greenlet::spawn(|| {
            let start = Instant::now();
            greenlet::park_timeout(Duration::from_millis(5));
            start.elapsed()
        });
        greenlet::yield_now();
        handles.iter().for_each(greenlet::Greenlet::unpark);
        assert!(parking.join().unwrap() >= Duration::from_millis(5));
    });
}

#[test]
fn a_handle_unparks_after_its_runtime_is_gone() {
    let _watchdog = watched();
    let runtime = runtime(2);
    let handle = runtime.run(greenlet::current);
    drop(runtime);
    handle.unpark();
    assert_eq!(handle.name(), Some("main"));
}

#[test]
fn a_plain_thread_parks_too() {
    let _watchdog = watched();
    greenlet::current().unpark();
    greenlet::park();
    let start = Instant::now();
    greenlet::park_timeout(Duration::from_millis(5));
    assert!(start.elapsed() >= Duration::from_millis(5));

    let woken = Arc::new(AtomicBool::new(false));
    let (me, raised) = (greenlet::current(), woken.clone());
    let runtime = runtime(1);
    let waking = runtime.spawn(move || {
        raised.store(true, SeqCst);
        me.unpark();
    });
    while !woken.load(SeqCst) {
        greenlet::park();
    }
    waking.join().unwrap();
}

/// Hands a turn to and fro `rounds` times between the caller and who `spawn` starts.
fn ping_pong<J>(rounds: usize, spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> J) -> J {
    let turn = Arc::new(AtomicUsize::new(0));
    let (me, other_turn) = (greenlet::current(), turn.clone());
    let partner = Arc::new(std::sync::Mutex::new(None));
    let (other, ready) = (partner.clone(), Arc::new(Flag::default()));
    let there = ready.clone();
    let joined = spawn(Box::new(move || {
        *other.lock().unwrap() = Some(greenlet::current());
        there.raise();
        for round in 0..rounds {
            while other_turn.load(SeqCst) != 2 * round + 1 {
                greenlet::park();
            }
            other_turn.store(2 * round + 2, SeqCst);
            me.unpark();
        }
    }));
    ready.wait();
    let partner = partner.lock().unwrap().take().unwrap();
    for round in 0..rounds {
        turn.store(2 * round + 1, SeqCst);
        partner.unpark();
        while turn.load(SeqCst) != 2 * round + 2 {
            greenlet::park();
        }
    }
    joined
}

#[test]
fn two_greenlets_wake_each_other_10_000_times() {
    on_hubs(|hubs| {
        ping_pong(10_000, greenlet::spawn).join().unwrap();
        ping_pong(10_000 / hubs, |f| {
            Builder::new().hub(hubs - 1).spawn(f).unwrap()
        })
        .join()
        .unwrap();
    });
}

#[test]
fn a_greenlet_and_a_thread_wake_each_other() {
    on_hubs(|_| ping_pong(1000, thread::spawn).join().unwrap());
}

#[test]
fn greenlets_of_two_runtimes_wake_each_other() {
    let _watchdog = watched();
    let (one, other) = (runtime(1), runtime(2));
    one.run(|| ping_pong(1000, |f| other.spawn(f)).join().unwrap());
}

#[test]
fn no_wake_is_lost_between_many_wakers() {
    on_hubs(|_| {
        let parking: Vec<_> = (0..20)
            .map(|_| {
                let count = Arc::new(AtomicUsize::new(0));
                let seen = count.clone();
                let greenlet = greenlet::spawn(move || {
                    while seen.load(SeqCst) < 4 {
                        greenlet::park();
                    }
                });
                (count, greenlet)
            })
            .collect();
        let wakers: Vec<_> = (0..4)
            .map(|n| {
                let targets: Vec<_> = parking
                    .iter()
                    .map(|(count, greenlet)| (count.clone(), greenlet.thread().clone()))
                    .collect();
                let wake = move || {
                    for (count, greenlet) in targets {
                        count.fetch_add(1, SeqCst);
                        greenlet.unpark();
                        greenlet::yield_now();
                    }
                };
                if n % 2 == 0 {
                    (Some(greenlet::spawn(wake)), None)
                } else {
                    (None, Some(thread::spawn(wake)))
                }
            })
            .collect();
        parking
            .into_iter()
            .for_each(|(_, greenlet)| greenlet.join().unwrap());
        for (greenlet, thread) in wakers {
            if let Some(greenlet) = greenlet {
                greenlet.join().unwrap();
            }
            if let Some(thread) = thread {
                thread.join().unwrap();
            }
        }
    });
}

#[test]
fn a_wake_and_a_time_out_may_meet() {
    on_hubs(|hubs| {
        let over = Arc::new(AtomicBool::new(false));
        let parking: Vec<_> = (0..2 * hubs)
            .map(|n| {
                let over = over.clone();
                greenlet::spawn(move || {
                    while !over.load(SeqCst) {
                        greenlet::park_timeout(Duration::from_micros(20 + 10 * n as u64));
                    }
                })
            })
            .collect();
        let handles: Vec<_> = parking.iter().map(|p| p.thread().clone()).collect();
        let waking = thread::spawn(move || {
            for _ in 0..2000 {
                handles.iter().for_each(greenlet::Greenlet::unpark);
                thread::yield_now();
            }
        });
        waking.join().unwrap();
        over.store(true, SeqCst);
        parking
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
}

#[test]
fn parked_greenlets_use_no_processor() {
    on_hubs(|_| {
        let release = Arc::new(Flag::default());
        let parked: Vec<_> = (0..10)
            .map(|_| {
                let release = release.clone();
                greenlet::spawn(move || release.wait())
            })
            .collect();
        // Once all of them have parked.
        wait_until("only the sleeper runs", || {
            let before = greenlet::stats().unwrap().switches;
            greenlet::sleep(Duration::from_millis(20));
            greenlet::stats().unwrap().switches - before <= 2
        });
        release.raise();
        parked
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    });
}

#[test]
fn a_thread_parks_while_its_thread_locals_are_destroyed() {
    struct Last(Arc<AtomicUsize>);
    impl Drop for Last {
        fn drop(&mut self) {
            for _ in 0..3 {
                greenlet::park_timeout(Duration::ZERO);
                greenlet::park_timeout(Duration::from_millis(1));
                greenlet::current().unpark();
                self.0.fetch_add(1, SeqCst);
            }
        }
    }
    thread_local! {
        static LAST: std::cell::OnceCell<Last> = const { std::cell::OnceCell::new() };
    }
    let _watchdog = watched();
    let parked = Arc::new(AtomicUsize::new(0));
    let counter = parked.clone();
    let thread = thread::spawn(move || {
        // In this order: what comes later is destroyed first.
        LAST.with(|last| assert!(last.set(Last(counter)).is_ok()));
        greenlet::park_timeout(Duration::ZERO);
    });
    thread.join().unwrap();
    assert_eq!(parked.load(SeqCst), 3);
}
