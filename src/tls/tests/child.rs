//! A test in a process of its own, with a limit to its time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the child to the name of the test that it is to run.
const VARIABLE: &str = "GREENLET_TEST_CHILD";
/// How long a child may take; on an idle machine it takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether this process is the child of that test.
pub(super) fn is(test: &str) -> bool {
    std::env::var_os(VARIABLE).is_some_and(|name| name == test)
}

/// Runs `body` in a new process of this test program, and fails the test if that process fails or
/// does not end. `test` is the test's path without the crate.
pub(super) fn run(test: &str, body: impl FnOnce()) {
    run_with(test, &[], body);
}

/// [`run`] with more environment variables.
pub(super) fn run_with(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    if is(test) {
        body();
        return;
    }
    // The output goes to a file: a pipe could be held open by a grandchild.
    let output = tempfile(test);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, test)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let path = path(test);
    let output = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::remove_file(&path).unwrap();
    match status {
        None => panic!("{test} hangs:\n{output}"),
        Some(status) if !status.success() => panic!("{test}: {status}\n{output}"),
        // A name that is mistyped would run no test, and succeed.
        Some(_) => assert!(output.contains("1 passed"), "{test} did not run:\n{output}"),
    }
}

fn tempfile(test: &str) -> std::fs::File {
    std::fs::File::options()
        .create(true)
        .truncate(true)
        .append(false)
        .write(true)
        .open(path(test))
        .unwrap()
}

fn path(test: &str) -> std::path::PathBuf {
    let name = format!("{}-{}", test.replace("::", "-"), std::process::id());
    std::env::temp_dir().join(name)
}
