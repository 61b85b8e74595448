//! Ends a test that hangs, and says where its threads are.
//!
//! A plain OS thread that takes no lock of the process and needs no greenlet to run, so that it
//! works whatever the runtime under test has got itself into.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// What is read of every thread; the kernel's stack is for root only.
const TASK_FILES: [&str; 4] = ["comm", "wchan", "syscall", "stack"];

/// Aborts the process unless it is dropped in time.
#[derive(Debug)]
#[must_use = "a watchdog that is dropped at once watches nothing"]
pub(crate) struct Watchdog {
    /// Closed by the drop, which is what the thread waits for.
    _armed: Sender<()>,
}

impl Watchdog {
    /// Watches until the answer is dropped; `name` is the test's.
    ///
    /// # Panics
    ///
    /// If there is no descriptor or thread left.
    pub(crate) fn arm(limit: Duration, name: &str) -> Self {
        let (armed, disarmed) = mpsc::channel::<()>();
        let name = name.to_owned();
        // Taken now: later there may be no descriptor left, or the lock of stderr be held.
        let stderr = io::stderr().as_fd().try_clone_to_owned();
        let stderr = File::from(stderr.expect("a descriptor for the watchdog"));
        thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                if disarmed.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    bite(&name, limit, stderr);
                }
            })
            .expect("a thread for the watchdog");
        Self { _armed: armed }
    }
}

fn bite(name: &str, limit: Duration, mut stderr: File) -> ! {
    // The message first: what follows may fail.
    let _ = writeln!(
        stderr,
        "\nwatchdog: the test `{name}` has not ended after {limit:?}"
    );
    let _ = stderr.write_all(threads().as_bytes());
    process::abort();
}

/// Every thread of the process, with what the kernel says about it.
fn threads() -> String {
    let mut report = String::new();
    let tasks = match fs::read_dir("/proc/self/task") {
        Ok(tasks) => tasks,
        Err(error) => return format!("watchdog: the threads cannot be listed: {error}\n"),
    };
    for task in tasks.flatten() {
        let _ = writeln!(report, "thread {}", task.file_name().display());
        for file in TASK_FILES {
            describe(&mut report, &task.path(), file);
        }
    }
    report
}

fn describe(report: &mut String, task: &Path, file: &str) {
    let Ok(text) = fs::read_to_string(task.join(file)) else {
        return;
    };
    let text = text.trim_end().replace('\n', "\n             ");
    let _ = writeln!(report, "    {file:8} {text}");
}
