//! `blocking`, and the pool that it runs on.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenlet::{BuildError, JoinHandle, Runtime, Stats};
use support::child::{alone, passes};
use support::process::wait_until;
use support::{at_once, on_hubs, runtime, watched};

/// So long a job may wait for the test.
const LONG: Duration = Duration::from_secs(20);

/// Jobs of greenlets that run until the answer is dropped.
struct Occupied {
    jobs: Vec<JoinHandle<()>>,
    gates: Vec<Sender<()>>,
}

impl Occupied {
    fn new(runtime: &Runtime, threads: usize) -> Self {
        let (begun, running) = mpsc::channel();
        let (jobs, gates) = (0..threads)
            .map(|_| {
                let (gate, opened) = mpsc::channel::<()>();
                let begun = begun.clone();
                let job =
                    runtime.spawn(move || greenlet::blocking(move || wait_for(&begun, &opened)));
                running.recv_timeout(LONG).expect("the job runs");
                (job, gate)
            })
            .unzip();
        Self { jobs, gates }
    }

    fn release(self) {
        drop(self.gates);
        self.jobs.into_iter().for_each(|job| job.join().unwrap());
    }
}

fn wait_for(begun: &Sender<()>, gate: &Receiver<()>) {
    begun.send(()).expect("the test listens");
    let _ = gate.recv_timeout(LONG);
}

/// A runtime with one hub, in a process whose pool has one thread and so many places in its queue.
fn small(queue: usize) -> Runtime {
    Runtime::builder()
        .hubs(1)
        .blocking_threads(1)
        .blocking_queue(queue)
        .blocked_after(Duration::from_secs(3600))
        .build()
        .expect("a runtime")
}

#[test]
fn a_job_parks_its_greenlet_and_not_the_hub() {
    let (gate, opened) = mpsc::channel();
    let result = support::parks(
        || greenlet::blocking(move || opened.recv_timeout(LONG)),
        || gate.send(7).unwrap(),
    );
    assert_eq!(result, Ok(7));
}

#[test]
fn on_a_plain_thread_a_job_runs_in_place() {
    let _watchdog = watched();
    let me = thread::current().id();
    assert_eq!(greenlet::blocking(|| thread::current().id()), me);
}

#[test]
fn a_job_runs_on_a_thread_of_the_pool_with_its_thread_locals() {
    thread_local! {
        static NUMBER: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }
    on_hubs(|_| {
        NUMBER.set(5);
        let (name, number, hub) = greenlet::blocking(|| {
            let name = thread::current().name().map(str::to_owned);
            (name, NUMBER.replace(0), greenlet::hub_id())
        });
        assert_eq!(name.as_deref(), Some("greenlet-blocking"));
        assert_eq!((number, hub), (0, None));
        assert_eq!(NUMBER.get(), 5);
    });
}

#[test]
fn a_job_borrows_from_its_greenlet() {
    on_hubs(|_| {
        let mut numbers = vec![3, 1, 2];
        let sorted = greenlet::blocking(|| {
            numbers.sort();
            &numbers[..]
        });
        assert_eq!(sorted, [1, 2, 3]);
    });
}

#[test]
fn a_panic_goes_on_in_the_greenlet_and_the_pool_stays() {
    on_hubs(|_| {
        for number in 0..10 {
            let job = || -> usize { std::panic::resume_unwind(Box::new(number)) };
            let payload = catch_unwind(|| greenlet::blocking(job)).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&number));
            assert_eq!(greenlet::blocking(|| number), number);
        }
    });
}

#[test]
fn a_job_may_submit_another_which_runs_in_place() {
    on_hubs(|_| {
        let (outer, inner) = greenlet::blocking(|| {
            let outer = thread::current().id();
            (outer, greenlet::blocking(|| thread::current().id()))
        });
        assert_eq!(outer, inner);
    });
}

#[test]
fn many_jobs_at_once_all_answer() {
    on_hubs(|_| {
        at_once(2_000, |number| {
            assert_eq!(greenlet::blocking(move || number * 2), number * 2);
        });
    });
}

#[test]
fn what_the_pool_does_is_seen_in_the_stats() {
    alone("what_the_pool_does_is_seen_in_the_stats", || {
        let _watchdog = watched();
        let runtime = small(3);
        let stats = runtime.stats();
        assert_eq!(
            (stats.blocking_threads_max, stats.blocking_queue_max),
            (1, 3)
        );
        assert_eq!((stats.blocking_threads, stats.blocking_jobs), (0, 0));
        let occupied = Occupied::new(&runtime, 1);
        let others: Vec<_> = (0..5)
            .map(|_| runtime.spawn(|| greenlet::blocking(|| ())))
            .collect();
        wait_until("the queue is full", || {
            runtime.stats().blocking_waiting == 2
        });
        let stats = runtime.stats();
        assert_eq!((stats.blocking_threads, stats.blocking_idle), (1, 0));
        assert_eq!((stats.blocking_queued, stats.blocking_jobs), (3, 1));
        occupied.release();
        others.into_iter().for_each(|other| other.join().unwrap());
        let stats = runtime.stats();
        assert_eq!((stats.blocking_queued, stats.blocking_waiting), (0, 0));
        assert_eq!(stats.blocking_jobs, 6);
        wait_until("it is idle", || runtime.stats().blocking_idle == 1);
    });
}

#[test]
fn with_a_full_queue_greenlets_get_places_in_the_order_in_which_they_came() {
    let name = "with_a_full_queue_greenlets_get_places_in_the_order_in_which_they_came";
    alone(name, || {
        let _watchdog = watched();
        let runtime = small(2);
        let occupied = Occupied::new(&runtime, 1);
        let order = Arc::new(Mutex::new(Vec::new()));
        let jobs: Vec<_> = (0..200)
            .map(|number| {
                let order = order.clone();
                runtime.spawn(move || greenlet::blocking(|| order.lock().unwrap().push(number)))
            })
            .collect();
        wait_until("all wait", || runtime.stats().blocking_waiting == 198);
        assert_eq!(runtime.stats().blocking_queued, 2);
        occupied.release();
        jobs.into_iter().for_each(|job| job.join().unwrap());
        assert_eq!(*order.lock().unwrap(), (0..200).collect::<Vec<_>>());
    });
}

#[test]
fn a_full_queue_loses_nothing_on_many_hubs() {
    alone("a_full_queue_loses_nothing_on_many_hubs", || {
        let _watchdog = watched();
        for hubs in [1, 2, 8] {
            let runtime = Runtime::builder()
                .hubs(hubs)
                .blocking_threads(2)
                .blocking_queue(1)
                .build()
                .unwrap();
            runtime.run(|| {
                at_once(500, |number| {
                    for turn in 0..4 {
                        assert_eq!(greenlet::blocking(|| number + turn), number + turn);
                    }
                });
            });
            let stats = runtime.stats();
            assert_eq!((stats.blocking_queued, stats.blocking_waiting), (0, 0));
            assert!(stats.blocking_threads <= 2);
        }
    });
}

/// What has begun when a runtime ends is finished, and what waits for a place is not done.
#[test]
fn a_greenlet_that_is_cancelled_before_it_has_a_place_does_not_run_its_job() {
    let name = "a_greenlet_that_is_cancelled_before_it_has_a_place_does_not_run_its_job";
    alone(name, || {
        let _watchdog = watched();
        for _ in 0..20 {
            let runtime = small(1);
            let occupying = self::runtime(1);
            let occupied = Occupied::new(&occupying, 1);
            let (run, unwound) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            for _ in 0..50 {
                let (run, unwound) = (run.clone(), unwound.clone());
                runtime.spawn(move || {
                    let job = AssertUnwindSafe(|| run.fetch_add(1, SeqCst));
                    if let Err(payload) = catch_unwind(|| greenlet::blocking(job.0)) {
                        assert!(payload.is::<greenlet::Cancelled>());
                        unwound.fetch_add(1, SeqCst);
                    }
                });
            }
            wait_until("one is queued", || runtime.stats().blocking_waiting == 49);
            // The drop waits for the one that is queued, so for those that occupy the thread.
            let dropping = thread::spawn(|| drop(runtime));
            wait_until("the others have gone", || unwound.load(SeqCst) == 49);
            assert_eq!(run.load(SeqCst), 0);
            occupied.release();
            dropping.join().unwrap();
            assert_eq!((run.load(SeqCst), unwound.load(SeqCst)), (1, 49));
            assert_eq!(occupying.stats().blocking_waiting, 0);
            // No place was lost on the way.
            occupying.run(|| (0..10).for_each(|_| greenlet::blocking(|| ())));
        }
    });
}

#[test]
fn places_are_not_lost_where_grants_and_cancellations_meet() {
    alone(
        "places_are_not_lost_where_grants_and_cancellations_meet",
        || {
            let _watchdog = watched();
            for turn in 0..300 {
                let runtime = Runtime::builder()
                    .hubs(2)
                    .blocking_threads(1)
                    .blocking_queue(1)
                    .build()
                    .unwrap();
                for _ in 0..20 {
                    runtime.spawn(|| {
                        loop {
                            greenlet::blocking(|| ());
                        }
                    });
                }
                thread::sleep(Duration::from_micros(turn * 3));
                drop(runtime);
            }
            let runtime = small(1);
            runtime.run(|| at_once(50, |_| greenlet::blocking(|| ())));
            let stats = runtime.stats();
            assert_eq!((stats.blocking_queued, stats.blocking_waiting), (0, 0));
        },
    );
}

#[test]
fn a_greenlet_that_does_nothing_but_blocking_calls_ends_with_its_runtime() {
    let _watchdog = watched();
    let runtime = runtime(2);
    for _ in 0..10 {
        runtime.spawn(|| {
            loop {
                greenlet::blocking(|| ());
            }
        });
    }
    thread::sleep(Duration::from_millis(5));
    drop(runtime);
}

/// It cannot park there. The place that it had is another one's.
#[test]
fn a_job_on_the_threads_stack_panics_and_takes_no_place() {
    alone(
        "a_job_on_the_threads_stack_panics_and_takes_no_place",
        || {
            let _watchdog = watched();
            small(1).run(|| {
                for _ in 0..3 {
                    let job = || greenlet::on_thread_stack(|| greenlet::blocking(|| ()));
                    catch_unwind(job).unwrap_err();
                    greenlet::blocking(|| ());
                }
            });
        },
    );
}

#[test]
fn limits_come_from_the_environment_where_the_builder_says_nothing() {
    let name = "limits_come_from_the_environment_where_the_builder_says_nothing";
    let variables = [
        ("GREENLET_BLOCKING_THREADS", "3"),
        ("GREENLET_BLOCKING_QUEUE", "17"),
    ];
    let limits = |stats: Stats| (stats.blocking_threads_max, stats.blocking_queue_max);
    passes(name, &variables, || {
        let runtime = runtime(1);
        assert_eq!(limits(runtime.stats()), (3, 17));
        let chosen = Runtime::builder().hubs(1).blocking_threads(5).build();
        assert_eq!(limits(chosen.unwrap().stats()), (5, 17));
    });
}

#[test]
fn limits_that_are_none_are_refused_by_name() {
    let name = "limits_that_are_none_are_refused_by_name";
    passes(name, &[("GREENLET_BLOCKING_THREADS", "0")], || {
        let error = Runtime::builder().build().unwrap_err();
        assert!(
            matches!(&error, BuildError::Environment { name, value }
                if *name == "GREENLET_BLOCKING_THREADS" && value == "0"),
            "{error:?}"
        );
    });
    catch_unwind(|| Runtime::builder().blocking_threads(0)).unwrap_err();
    catch_unwind(|| Runtime::builder().blocking_queue(0)).unwrap_err();
}
