//! What was measured on, and with which versions.

use std::ffi::CStr;
use std::fs;
use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::sys::utsname::uname;
use serde_json::{Value, json};

use crate::cpu;
use crate::peers::Peer;

/// The packages that were built into this program, from which their versions are read.
const LOCK: &str = include_str!("../../Cargo.lock");

/// The unit of times in /proc/stat: 1/100 s, wherever Linux runs.
const TICKS_PER_SECOND: f64 = 100.0;

/// How busy others keep the machine while this measures.
#[derive(Debug)]
pub(crate) struct Others {
    since: Instant,
    /// Seconds of processor time that others had used by then.
    used: f64,
}

impl Others {
    pub(crate) fn watch() -> Self {
        Self {
            since: Instant::now(),
            used: used_by_others(),
        }
    }

    /// So many processors were busy with something else, on average.
    pub(crate) fn processors(&self) -> f64 {
        let used = used_by_others() - self.used;
        (used / self.since.elapsed().as_secs_f64()).max(0.0)
    }
}

/// Seconds of processor time, of all processes but this one and its children, and of what the
/// hypervisor has given to other machines.
fn used_by_others() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = ticks.skip(1).map_while(|n| n.parse().ok()).collect();
    // User, nice, system; not idle and waiting; interrupts, soft interrupts, stolen.
    let busy: f64 = ticks
        .iter()
        .take(3)
        .chain(ticks.iter().skip(5).take(3))
        .sum();
    let own = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(|who| {
        getrusage(who).map_or(0.0, |usage| {
            seconds(usage.user_time()) + seconds(usage.system_time())
        })
    });
    busy / TICKS_PER_SECOND - own.iter().sum::<f64>()
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// The machine, the compiler and the peers, with names as in the JSON output. `others` have been
/// watched over the measurements; `slowness` is what limits are scaled by.
pub(crate) fn describe(peers: &[Peer], others: &Others, slowness: Option<f64>) -> Value {
    let kernel = uname().map(|name| name.release().to_string_lossy().into_owned());
    let versions: serde_json::Map<_, _> = peers
        .iter()
        .map(|peer| (peer.name().to_owned(), version(*peer).into()))
        .collect();
    json!({
        "cpu": cpu_model(),
        "cores": cpu::allowed().map_or(0, |cpus| cpus.len()),
        "kernel": kernel.unwrap_or_default(),
        "glibc": glibc(),
        "rustc": env!("BENCH_RUSTC"),
        "processors_used_by_others": rounded(others.processors()),
        "limits_scaled_by": slowness.map(rounded),
        "peers": versions,
    })
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    model
        .unwrap_or("unknown")
        .trim_start_matches([' ', '\t', ':'])
        .to_owned()
}

fn glibc() -> String {
    // SAFETY: no parameters; the result is a constant of the C library.
    let version = unsafe { CStr::from_ptr(nix::libc::gnu_get_libc_version()) };
    version.to_string_lossy().into_owned()
}

/// The version of what a peer is made of; the program itself, if it has none.
fn version(peer: Peer) -> String {
    match peer {
        Peer::Greenlet | Peer::GreenletShared | Peer::GreenletFlight | Peer::GreenletStream => {
            locked("greenlet")
        }
        Peer::TokioCt | Peer::TokioMt => locked("tokio"),
        Peer::May => locked("may"),
        Peer::Smol => locked("smol"),
        Peer::Corosensei => locked("corosensei"),
        Peer::Go => printed("go", &["version"]),
        Peer::Gevent => {
            let program = "import gevent, platform as p\n\
                print(gevent.__version__, p.python_implementation(), p.python_version())";
            printed("python3", &["-c", program])
        }
        Peer::Threads | Peer::Epoll => "Rust's std".into(),
    }
}

fn locked(package: &str) -> String {
    let name = format!("name = \"{package}\"\nversion = \"");
    let version = LOCK
        .split_once(&name)
        .map(|(_, rest)| rest.split('"').next());
    version.flatten().unwrap_or("unknown").to_owned()
}

fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "absent".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_lock_file() {
        assert_eq!(locked("may"), "0.3.51");
        assert_eq!(locked("no such package"), "unknown");
    }
}
