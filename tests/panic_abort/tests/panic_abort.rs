//! A runtime in a program that is built with `panic = "abort"`.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No run takes so long.
const LIMIT: Duration = Duration::from_secs(60);
const SIGABRT: i32 = 6;

fn start(what: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_panic_abort"))
        .arg(what)
        .env_remove("RUST_BACKTRACE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Runs the program, which is to do this.
fn run(what: &str) -> Output {
    let mut child = start(what);
    let start = Instant::now();
    while child.try_wait().expect("a child of ours").is_none() {
        if start.elapsed() > LIMIT {
            child.kill().expect("a child of ours");
            panic!("{what} hangs: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("it has ended")
}

#[track_caller]
fn passes(what: &str) {
    let output = run(what);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.ends_with("to the end\n"),
        "{what}: {output:?}"
    );
}

#[test]
fn greenlets_run() {
    passes("run");
}

#[test]
fn the_drop_of_a_runtime_leaks_greenlets_that_wait_and_returns() {
    passes("drop-parked");
}

#[test]
fn the_drop_of_a_runtime_returns_when_greenlets_yield_for_ever() {
    passes("drop-yielding");
}

#[test]
fn the_drop_of_a_runtime_returns_when_greenlets_have_not_started() {
    passes("drop-unstarted");
}

#[test]
fn a_join_of_a_leaked_greenlet_never_returns_and_one_of_an_ended_greenlet_does() {
    passes("join-after-drop");
}

#[test]
fn a_panic_aborts_and_names_the_greenlet() {
    let output = run("panic");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
    assert!(stderr.contains("in greenlet 'wasp' (number "), "{stderr}");
    assert!(stderr.contains("spawned at src/main.rs:"), "{stderr}");
    assert!(stderr.contains("sting"), "{stderr}");
}
