//! What the kernel says about this process.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of memory that are resident.
pub(crate) fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").expect("statm");
    let pages = text.split(' ').nth(1).expect("the second number");
    pages.parse::<usize>().expect("a number") * 4096
}

/// [`resident`], with the page tables that it takes to find it.
pub(crate) fn resident_with_page_tables() -> usize {
    let text = fs::read_to_string("/proc/self/status").expect("status");
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        1024 * number.expect("a line").parse::<usize>().expect("a number")
    };
    bytes("VmRSS:") + bytes("VmPTE:")
}

pub(crate) fn mappings() -> usize {
    let text = fs::read_to_string("/proc/self/maps").expect("maps");
    text.lines().count()
}

/// The open descriptors, sorted. Those do not count that are open for a moment only: the C library reads a file
/// when a thread allocates for the first time, and the monitor reads what a hub does.
pub(crate) fn descriptors() -> Vec<String> {
    let mut found = descriptors_now();
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(1));
        let now = descriptors_now();
        found.retain(|one| now.binary_search(one).is_ok());
    }
    found
}

fn descriptors_now() -> Vec<String> {
    let directory = fs::read_dir("/proc/self/fd").expect("fd");
    // The directory itself is open meanwhile, and gone when it is looked up.
    let mut found: Vec<_> = directory
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            Some(format!(
                "{} {}",
                entry.file_name().display(),
                target.display()
            ))
        })
        .filter(|line| !line.ends_with("/fd"))
        .collect();
    found.sort_unstable();
    found
}

/// How many threads there are that run hubs.
pub(crate) fn workers() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("task");
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.starts_with("greenlet-hub"))
        .count()
}

/// Looks every millisecond whether `condition` holds, for what tells nobody when it happens.
///
/// # Panics
///
/// After 30 seconds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "not within 30 s: {what}"
        );
        greenlet::sleep(Duration::from_millis(1));
    }
}
