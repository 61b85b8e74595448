//! Tests that run again in a process of their own: those that end it, and those about what belongs
//! to a whole process.

use std::env;
use std::process::{Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Set in the child, to the name of its test.
const CHILD: &str = "GREENLET_TEST_CHILD";

/// Held for writing while a child begins.
static BEGINNING: RwLock<()> = RwLock::new(());

/// Until the answer is dropped no child begins.
///
/// From its fork to its exec a child has every descriptor of this process. What another test closes
/// meanwhile stays open so long: no end is read, nobody is refused, no port is free.
pub(crate) fn none_begins() -> RwLockReadGuard<'static, ()> {
    BEGINNING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held around a `spawn`, which returns after the child's exec.
pub(crate) fn one_begins() -> RwLockWriteGuard<'static, ()> {
    BEGINNING.write().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the test named `test` again, alone, with these variables; and in that child runs `body`.
///
/// Answers with what the child has written, and `None` in the child.
pub(crate) fn output(
    test: &str,
    variables: &[(&str, &str)],
    body: impl FnOnce(),
) -> Option<Output> {
    if env::var_os(CHILD).is_some_and(|name| name == test) {
        body();
        return None;
    }
    let one_begins = one_begins();
    let child = Command::new(env::current_exe().expect("a path"))
        .args(["--exact", "--nocapture", test])
        .env(CHILD, test)
        .env_remove("RUST_BACKTRACE")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the child runs");
    drop(one_begins);
    let output = child.wait_with_output().expect("its output");
    let ran = String::from_utf8_lossy(&output.stdout).contains("running 1 test");
    assert!(ran, "there is no test of the name {test}");
    Some(output)
}

/// [`output`] of a child that passes: answers with its standard error.
pub(crate) fn passes(
    test: &str,
    variables: &[(&str, &str)],
    body: impl FnOnce(),
) -> Option<String> {
    let output = output(test, variables, body)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{test}, alone: {}\n{}\n{stderr}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
    );
    Some(stderr)
}

/// Runs `body` where no other test runs, as the test named `test`.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    passes(test, &[], body);
}

/// Whether the runtime is told to do without a feature of the system.
pub(crate) fn without(feature: &str) -> bool {
    env::var("GREENLET_WITHOUT")
        .is_ok_and(|list| list.split(',').any(|name| name.trim() == feature))
}
