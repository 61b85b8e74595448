//! The end of the process, while greenlets run.

mod support;

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use greenlet::{Builder, Runtime};
use support::{child, quiet, runtime};

const HUBS: [&str; 3] = ["1", "2", "8"];
const VARIABLE: &str = "GREENLET_TEST_HUBS";

/// Ends the child if it hangs. A watchdog ends with the test, which here is too early.
fn set_alarm() {
    // SAFETY: a number. The signal ends the process.
    unsafe { libc::alarm(60) };
}

fn hubs() -> usize {
    let hubs = std::env::var(VARIABLE).expect("set by the parent");
    hubs.parse().expect("a number")
}

/// Spawns greenlets that wait and yield, and one on each of the hubs `computing` that keeps it for
/// itself; in the runtime of the caller. Those are the last to begin.
fn spawn_busy(started: &Arc<AtomicUsize>, computing: Range<usize>) {
    let spawn = |hub: Option<usize>, body: fn()| {
        let started = started.clone();
        let builder = hub.map_or_else(Builder::new, |hub| Builder::new().hub(hub));
        let body = move || {
            started.fetch_add(1, SeqCst);
            loop {
                body();
            }
        };
        builder.spawn(body).expect("memory");
    };
    let count = || started.load(SeqCst);
    for _ in 0..20 {
        spawn(None, greenlet::park);
        spawn(None, greenlet::yield_now);
        spawn(None, || greenlet::sleep(Duration::from_micros(100)));
        spawn(None, || drop(greenlet::spawn(|| vec![1; 100]).join()));
    }
    while count() < 80 {
        greenlet::yield_now();
    }
    computing.for_each(|hub| spawn(Some(hub), std::hint::spin_loop));
}

/// [`spawn_busy`] in that runtime, or in the default one. Answers when all have begun.
fn busy(runtime: Option<&Runtime>, computing: Range<usize>) {
    let (started, all) = (Arc::default(), 80 + computing.len());
    match runtime {
        Some(runtime) => runtime.run(|| spawn_busy(&started, computing)),
        None => spawn_busy(&started, computing),
    }
    while started.load(SeqCst) < all {
        thread::yield_now();
    }
}

/// Says so when it is dropped.
struct Says(&'static str);

impl Drop for Says {
    fn drop(&mut self) {
        println!("dropped: {}", self.0);
    }
}

/// Leaves something in a thread-local and ends the process.
fn exit_with_five() {
    thread_local!(static LEFT: RefCell<Option<Says>> = const { RefCell::new(None) });
    let _on_the_stack = Says("what is on the stack");
    LEFT.set(Some(Says("a thread-local")));
    std::process::exit(5);
}

/// What it says on an OS thread is what it has to say in a greenlet.
#[test]
fn process_exit_in_a_thread_to_compare_with() {
    let test = "process_exit_in_a_thread_to_compare_with";
    let output = child::output(test, &[], || {
        set_alarm();
        let _ = thread::spawn(exit_with_five).join();
    });
    if let Some(output) = output {
        assert_ended_by_exit(&output);
    }
}

#[track_caller]
fn assert_ended_by_exit(output: &std::process::Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(stdout.contains("dropped: a thread-local"), "{stdout}");
    assert!(!stdout.contains("on the stack"), "{stdout}");
}

#[test]
fn process_exit_in_a_greenlet_ends_the_process_with_its_code_while_other_hubs_run() {
    let test = "process_exit_in_a_greenlet_ends_the_process_with_its_code_while_other_hubs_run";
    for number in HUBS {
        let output = child::output(test, &[(VARIABLE, number)], || {
            set_alarm();
            let runtime = runtime(hubs());
            // One hub is left for the greenlet that exits.
            busy(Some(&runtime), 1..hubs());
            let _ = runtime.spawn(exit_with_five).join();
        });
        let Some(output) = output else { return };
        assert_ended_by_exit(&output);
    }
}

#[test]
fn process_exit_in_the_greenlet_of_run_ends_the_process_with_its_code() {
    let test = "process_exit_in_the_greenlet_of_run_ends_the_process_with_its_code";
    for number in HUBS {
        let output = child::output(test, &[(VARIABLE, number)], || {
            set_alarm();
            runtime(hubs()).run(exit_with_five);
        });
        let Some(output) = output else { return };
        assert_ended_by_exit(&output);
    }
}

#[test]
fn process_exit_on_a_plain_thread_ends_the_process_while_greenlets_run() {
    let test = "process_exit_on_a_plain_thread_ends_the_process_while_greenlets_run";
    for number in HUBS {
        let output = child::output(test, &[(VARIABLE, number)], || {
            set_alarm();
            let runtime = runtime(hubs());
            busy(Some(&runtime), 0..hubs());
            exit_with_five();
        });
        let Some(output) = output else { return };
        assert_ended_by_exit(&output);
    }
}

/// The test returns, and with it the `main` of the test harness.
#[test]
fn main_may_return_while_greenlets_of_the_default_runtime_run() {
    let test = "main_may_return_while_greenlets_of_the_default_runtime_run";
    for number in HUBS {
        let variables = [(VARIABLE, number), ("GREENLET_HUBS", number)];
        let stderr = child::passes(test, &variables, || {
            set_alarm();
            busy(None, 0..hubs());
        });
        let Some(stderr) = stderr else { return };
        // The hubs that are kept busy may be reported.
        assert!(
            !stderr.contains("panicked") && !stderr.contains("fatal"),
            "{stderr}"
        );
    }
}

/// Runs `spawn` in a child that is forked on the caller, and passes if it panics there with a
/// sentence that says why.
fn panics_in_a_forked_child(spawn: &dyn Fn()) {
    // SAFETY: no other thread of this process prints or allocates now, so the child may.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        set_alarm();
        let payload = catch_unwind(AssertUnwindSafe(spawn)).err();
        let message = payload.and_then(|payload| payload.downcast::<&str>().ok());
        let is_told = message.is_some_and(|message| message.contains("forked on a greenlet"));
        // SAFETY: it does not return.
        unsafe { libc::_exit(i32::from(!is_told)) };
    }
    let mut status = 0;
    // SAFETY: a child of ours and a writable status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "256: it did not panic; 14: it hangs");
}

#[test]
fn spawning_in_a_child_that_was_forked_on_a_greenlet_panics() {
    let test = "spawning_in_a_child_that_was_forked_on_a_greenlet_panics";
    for number in HUBS {
        let stderr = child::passes(test, &[(VARIABLE, number)], || {
            set_alarm();
            quiet::install();
            let runtime = runtime(hubs());
            let same = &runtime;
            // The hubs have nothing to do meanwhile.
            runtime.run(|| {
                panics_in_a_forked_child(&|| drop(greenlet::spawn(|| ())));
                panics_in_a_forked_child(&|| drop(greenlet::try_spawn(|| ())));
                panics_in_a_forked_child(&|| drop(Builder::new().spawn(|| ())));
                panics_in_a_forked_child(&|| drop(same.spawn(|| ())));
                panics_in_a_forked_child(&|| same.run(|| ()));
                // The parent goes on.
                assert_eq!(greenlet::spawn(|| 5).join().unwrap(), 5);
            });
        });
        if stderr.is_none() {
            return;
        }
    }
}

#[test]
fn a_child_that_a_plain_thread_has_forked_may_have_runtimes_of_its_own() {
    let test = "a_child_that_a_plain_thread_has_forked_may_have_runtimes_of_its_own";
    // Alone, so that no other thread is in the middle of something when it forks.
    child::alone(test, || {
        for _ in 0..20 {
            // In the parent there is a monitor, which the child has not; and it may be busy.
            let parent = runtime(2);
            // Resolves a name, on the blocking pool.
            let bind = || greenlet::net::TcpListener::bind("localhost:0").map(drop);
            parent.run(bind).unwrap();
            // SAFETY: nobody else forks, and the child uses what a process of one thread may use.
            let child_id = unsafe { libc::fork() };
            if child_id == 0 {
                // SAFETY: takes a number; the signal ends a child that hangs.
                unsafe { libc::alarm(20) };
                let sum = runtime(2).run(|| {
                    bind().unwrap();
                    greenlet::sleep(Duration::from_millis(1));
                    greenlet::spawn(|| 3).join().unwrap() + 4
                });
                // SAFETY: ends the process.
                unsafe { libc::_exit(sum) };
            }
            let mut status = 0;
            // SAFETY: waits for our child.
            unsafe { libc::waitpid(child_id, &raw mut status, 0) };
            assert!(libc::WIFEXITED(status), "{status:#x}");
            assert_eq!(libc::WEXITSTATUS(status), 7);
        }
    });
}
