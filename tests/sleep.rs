//! `sleep` and `sleep_until`.

mod support;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenlet::{Builder, Cancelled, sleep, sleep_until};
use support::{Flag, on_hubs, runtime, watched, with_hubs};

#[test]
fn a_sleep_takes_as_long_as_it_says() {
    on_hubs(|_| {
        for microseconds in [1, 100, 999, 1000, 5_000, 30_000] {
            let duration = Duration::from_micros(microseconds);
            let start = Instant::now();
            sleep(duration);
            assert!(start.elapsed() >= duration);
        }
    });
}

#[test]
fn a_thousand_sleeps_take_as_long_as_one() {
    on_hubs(|_| {
        let duration = Duration::from_millis(100);
        let start = Instant::now();
        let sleeping: Vec<_> = (0..1000)
            .map(|_| {
                greenlet::spawn(move || {
                    let start = Instant::now();
                    sleep(duration);
                    assert!(start.elapsed() >= duration);
                })
            })
            .collect();
        sleeping
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        assert!(start.elapsed() < 50 * duration);
    });
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    let _watchdog = watched();
    runtime(1).run(|| {
        let order = Arc::new(Mutex::new(Vec::new()));
        // Nobody's time has come before all sleep.
        let start = Instant::now() + Duration::from_millis(200);
        let sleeping: Vec<_> = [90, 30, 120, 60]
            .map(|milliseconds| {
                let order = order.clone();
                greenlet::spawn(move || {
                    sleep_until(start + Duration::from_millis(milliseconds));
                    order.lock().unwrap().push(milliseconds);
                })
            })
            .into_iter()
            .collect();
        sleeping
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
        assert_eq!(*order.lock().unwrap(), [30, 60, 90, 120]);
    });
}

#[test]
fn sleep_until_ends_at_the_deadline_or_after() {
    on_hubs(|_| {
        let deadline = Instant::now() + Duration::from_millis(10);
        sleep_until(deadline);
        assert!(Instant::now() >= deadline);
        // It has passed.
        sleep_until(deadline);
    });
}

#[test]
fn a_sleep_of_zero_lets_others_run() {
    let _watchdog = watched();
    runtime(1).run(|| {
        for wait in [|| sleep(Duration::ZERO), || sleep_until(Instant::now())] {
            let other = greenlet::spawn(|| ());
            wait();
            assert!(other.is_finished());
        }
    });
}

#[test]
fn a_plain_thread_sleeps_too() {
    let start = Instant::now();
    sleep(Duration::from_millis(5));
    sleep_until(Instant::now() + Duration::from_millis(5));
    sleep_until(start);
    sleep(Duration::ZERO);
    assert!(start.elapsed() >= Duration::from_millis(10));
}

#[test]
fn a_sleep_of_any_length_is_taken_as_it_is() {
    with_hubs(|_| {
        let ending = runtime(1);
        let started = Arc::new([(); 3].map(|()| Flag::default()));
        let long = [
            Duration::MAX,
            Duration::from_secs(u64::MAX),
            Duration::from_secs(1 << 40),
        ];
        let sleeping = [0, 1, 2].map(|n| {
            let started = started.clone();
            ending.spawn(move || {
                started[n].raise();
                sleep(long[n]);
            })
        });
        started.iter().for_each(Flag::wait);
        // Others are woken in time none the less.
        ending.run(|| sleep(Duration::from_millis(5)));
        assert!(sleeping.iter().all(|greenlet| !greenlet.is_finished()));
        drop(ending);
        for greenlet in sleeping {
            assert!(greenlet.join().unwrap_err().is::<Cancelled>());
        }
    });
}

#[test]
fn an_unpark_does_not_cut_a_sleep_short() {
    on_hubs(|_| {
        let duration = Duration::from_millis(20);
        let started = Arc::new(Flag::default());
        let raised = started.clone();
        let sleeping = greenlet::spawn(move || {
            raised.raise();
            let start = Instant::now();
            sleep(duration);
            assert!(start.elapsed() >= duration);
            // The token is still there.
            greenlet::park();
        });
        started.wait();
        sleeping.thread().unpark();
        sleeping.join().unwrap();
    });
}

#[test]
fn sleepers_wake_beside_a_greenlet_that_only_yields() {
    on_hubs(|_| {
        let woken = Arc::new(AtomicBool::new(false));
        let raised = woken.clone();
        drop(greenlet::spawn(move || {
            sleep(Duration::from_millis(5));
            raised.store(true, SeqCst);
        }));
        while !woken.load(SeqCst) {
            greenlet::yield_now();
        }
    });
}

#[test]
fn a_busy_hub_holds_up_no_sleeper_of_another() {
    let _watchdog = watched();
    let runtime = runtime(2);
    // The busy hub is one that has polled the reactor, and one that has not.
    for busy in [0, 1, 0, 1] {
        let (over, computes) = (Arc::new(AtomicBool::new(false)), Arc::new(Flag::default()));
        let computing = runtime.run(|| {
            let (over, computes) = (over.clone(), computes.clone());
            let compute = move || {
                computes.raise();
                while !over.load(SeqCst) {
                    std::hint::spin_loop();
                }
            };
            Builder::new().hub(busy).spawn(compute).unwrap()
        });
        computes.wait();
        runtime.run(|| (0..20).for_each(|_| sleep(Duration::from_millis(1))));
        over.store(true, SeqCst);
        computing.join().unwrap();
    }
}
