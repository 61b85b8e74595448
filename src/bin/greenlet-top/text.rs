//! Numbers and names, as short texts.

use std::time::Duration;

use greenlet::trace::analysis::Stream;
use greenlet::trace::{Wait, wait_reason};

use crate::model::{Doing, Greenlet, HubKey};

/// Nanoseconds, with three digits and a unit.
pub(crate) fn duration(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    match nanos {
        0 => "0".into(),
        1..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => three(nanos as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => three(nanos as f64 / 1e6, "ms"),
        1_000_000_000..100_000_000_000 => three(nanos as f64 / 1e9, "s"),
        _ => clock(Duration::from_secs(seconds)),
    }
}

/// As a clock shows it.
pub(crate) fn clock(time: Duration) -> String {
    let (seconds, minutes) = (time.as_secs(), time.as_secs() / 60);
    let (days, hours) = (minutes / 1440, minutes / 60 % 24);
    let clock = format!("{hours}:{:02}:{:02}", minutes % 60, seconds % 60);
    match days {
        0 => clock,
        days => format!("{days} d {clock}"),
    }
}

pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => three(bytes as f64 / 1024.0, "KiB"),
        _ => three(bytes as f64 / 1_048_576.0, "MiB"),
    }
}

/// A number that may be large, with a unit of a thousand, a million.
pub(crate) fn count(number: f64) -> String {
    match number {
        ..0.05 => "0".into(),
        ..9.95 => format!("{number:.1}"),
        ..9_999.5 => format!("{number:.0}"),
        ..999_500.0 => format!("{:.0}k", number / 1e3),
        ..9_950_000.0 => format!("{:.1}M", number / 1e6),
        _ => format!("{:.0}M", number / 1e6),
    }
}

/// A part of a whole, in percent.
pub(crate) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    match percent {
        ..0.05 => "0".into(),
        ..9.95 => format!("{percent:.1}"),
        _ => format!("{percent:.0}"),
    }
}

fn three(number: f64, unit: &str) -> String {
    match number {
        ..9.95 => format!("{number:.1} {unit}"),
        _ => format!("{number:.0} {unit}"),
    }
}

/// A hub, with its runtime if that is not the only one.
pub(crate) fn hub(hub: HubKey, several_runtimes: bool) -> String {
    match several_runtimes {
        true => format!("{}.{}", hub.0, hub.1),
        false => hub.1.to_string(),
    }
}

/// What a greenlet does.
pub(crate) fn state(state: Doing, several_runtimes: bool) -> String {
    match state {
        Doing::Ready => "ready".into(),
        Doing::Running(key) => format!("runs on hub {}", hub(key, several_runtimes)),
        Doing::Waiting(wait) => waits(wait),
    }
}

fn waits(wait: Wait) -> String {
    /// Numbers of descriptors and greenlets are smaller, and addresses larger.
    const SMALLEST_ADDRESS: u64 = 1 << 32;
    let reason = wait_reason(wait.reason).unwrap_or("waits");
    match wait.object {
        Wait::NO_OBJECT => reason.into(),
        number if number < SMALLEST_ADDRESS => format!("{reason} {number}"),
        address => format!("{reason} {address:#x}"),
    }
}

/// Its name, or a dash.
pub(crate) fn name(greenlet: &Greenlet, stream: &Stream) -> String {
    stream.text(greenlet.name).unwrap_or("-").to_owned()
}

/// Where it was spawned, without what comes before the last two folders.
pub(crate) fn site(greenlet: &Greenlet, stream: &Stream) -> String {
    let site = stream.text(greenlet.site).unwrap_or("?");
    let mut slashes = site.rmatch_indices('/').map(|(at, _)| at);
    slashes.nth(2).map_or(site, |at| &site[at + 1..]).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (nanos, text) in [
            (0, "0"),
            (999, "999 ns"),
            (1_500, "1.5 us"),
            (15_400, "15 us"),
            (2_340_000, "2.3 ms"),
            (9_960_000, "10 ms"),
            (59_000_000_000, "59 s"),
            (150_000_000_000, "0:02:30"),
            (90_061_000_000_000, "1 d 1:01:01"),
        ] {
            assert_eq!(duration(nanos), text);
        }
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.5, 12.3, 9_999.0, 12_345.0, 1_234_567.0, 55e6].map(count);
        assert_eq!(texts, ["0", "0.5", "12", "9999", "12k", "1.2M", "55M"]);
        assert_eq!(
            [0.0, 0.004, 0.123, 1.0].map(percent),
            ["0", "0.4", "12", "100"]
        );
        assert_eq!(
            [100, 2048, 1 << 18, 8 << 20].map(bytes),
            ["100 B", "2.0 KiB", "256 KiB", "8.0 MiB"]
        );
    }

    #[test]
    fn waits_tell_what_for() {
        let wait = |object| Doing::Waiting(Wait { reason: 1, object });
        assert_eq!(state(wait(Wait::NO_OBJECT), false), "sleep");
        assert_eq!(state(wait(12), false), "sleep 12");
        assert_eq!(state(wait(0x7f00_1234_5678), false), "sleep 0x7f0012345678");
        assert_eq!(state(Doing::Running((2, 3)), true), "runs on hub 2.3");
        assert_eq!(state(Doing::Running((1, 3)), false), "runs on hub 3");
    }
}
