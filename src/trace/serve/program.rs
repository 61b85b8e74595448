//! What the process is.

use std::env;
use std::fs;
use std::process;
use std::time::Duration;

/// The version of the protocol. Raised for what older clients would not understand.
const PROTOCOL: u32 = 1;

/// Lines of the form `key=value`.
pub(super) fn facts() -> String {
    let program = env::current_exe().unwrap_or_default();
    let uptime = uptime().unwrap_or_default();
    format!(
        "protocol={PROTOCOL}\nversion={}\nprocess={}\nprogram={}\nuptime_seconds={:.2}\n",
        env!("CARGO_PKG_VERSION"),
        process::id(),
        program.display().to_string().escape_debug(),
        uptime.as_secs_f64(),
    )
}

/// How long the process has been there.
fn uptime() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let system = fs::read_to_string("/proc/uptime").ok()?;
    let system: f64 = system.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(system - begun(&stat)?).ok()
}

/// When a process began, in seconds since the system did, by its `stat`.
fn begun(stat: &str) -> Option<f64> {
    /// Linux counts such times in hundredths of a second for every program.
    const PER_SECOND: f64 = 100.0;
    // The second field is the name, in parentheses, and may have any in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    Some(ticks / PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_began_when_its_stat_says_so() {
        let stat = "7 (a) b)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 9 9";
        assert_eq!(begun(stat), Some(12.34));
        assert_eq!(begun("7 (a"), None);
        assert!(uptime().is_some_and(|uptime| uptime < Duration::from_secs(36_000)));
    }
}
