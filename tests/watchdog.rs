//! The watchdog of the other tests.

#[path = "support/watchdog.rs"]
mod watchdog;

use std::env;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};
use watchdog::Watchdog;

const CHILD: &str = "GREENLET_TEST_CHILD";

/// Runs one of the tests below again, in a process of its own.
fn in_child(test: &str) -> Output {
    Command::new(env::current_exe().expect("a path"))
        .args(["--exact", "--nocapture", test])
        .env(CHILD, "1")
        .output()
        .expect("the child runs")
}

#[test]
fn a_test_that_hangs_is_ended_and_named_with_its_threads() {
    if env::var_os(CHILD).is_some() {
        let _watchdog = Watchdog::arm(Duration::from_millis(50), "the hanging test");
        // Not even a thread that holds the lock of stderr can keep it quiet.
        let _held = std::io::stderr().lock();
        thread::sleep(Duration::from_secs(60));
        return;
    }
    let start = Instant::now();
    let output = in_child("a_test_that_hangs_is_ended_and_named_with_its_threads");
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("`the hanging test` has not ended after 50ms"),
        "{message}"
    );
    assert!(message.contains("comm     watchdog"), "{message}");
}

#[test]
fn a_watchdog_that_is_dropped_in_time_does_nothing() {
    let name = "a_watchdog_that_is_dropped_in_time_does_nothing";
    if env::var_os(CHILD).is_some() {
        drop(Watchdog::arm(Duration::from_secs(1), name));
        thread::sleep(Duration::from_millis(1500));
        return;
    }
    let output = in_child(name);
    assert!(output.status.success(), "{output:?}");
}
