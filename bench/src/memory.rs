//! The memory of a process.

use std::fs;
use std::io;

/// The bytes that a process has in memory, with the page tables that it takes to find them.
pub(crate) fn resident(process: &str) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = kib(&status, "VmRSS:").zip(kib(&status, "VmPTE:"));
    let (pages, tables) = kib.ok_or(io::Error::other("the process has no memory any more"))?;
    Ok(1024.0 * (pages + tables))
}

/// The bytes that could be used without swapping.
pub(crate) fn available() -> io::Result<f64> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let kib = kib(&info, "MemAvailable:");
    kib.map(|kib| 1024.0 * kib)
        .ok_or(io::Error::other("/proc/meminfo is unusual"))
}

fn kib(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
