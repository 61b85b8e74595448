//! What the kernel says of memory.

use std::fs;

use crate::args::ThreadLocals;

/// What a parked greenlet takes at the most, page tables and its place in our lists included.
const OWN: u64 = 10_000;
const SHARED: u64 = 5_500;

/// This much is left to others.
const RESERVE: u64 = 256 << 20;

/// The memory of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) page_tables: u64,
    pub(crate) mappings: u64,
}

impl Memory {
    pub(crate) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self {
            resident: field(&status, "VmRSS:").unwrap_or(0),
            page_tables: field(&status, "VmPTE:").unwrap_or(0),
            mappings: maps.lines().count() as u64,
        }
    }

    pub(crate) fn total(self) -> u64 {
        self.resident + self.page_tables
    }
}

/// How many greenlets fit into the memory that is available.
pub(crate) fn room_for(thread_locals: ThreadLocals) -> usize {
    let each = match thread_locals {
        ThreadLocals::Own => OWN,
        ThreadLocals::Shared => SHARED,
    };
    (available().saturating_sub(RESERVE) / each).max(1) as usize
}

/// The memory that this process may still take: what the machine has, and what its control group
/// leaves.
pub(crate) fn available() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = field(&meminfo, "MemAvailable:").unwrap_or(u64::MAX);
    machine.min(left_in_group().unwrap_or(u64::MAX))
}

/// `None` if there is no limit.
fn left_in_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let number = |file: &str| {
        let text = fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

/// A line of the form `Name:   123 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
