//! `GREENLET_TRACE`: recording without a change to the program.

use std::env;
use std::io::{self, Write};
use std::process;
use std::sync::OnceLock;

use super::{Options, Trigger, start, toggle_on};

/// The variable. `docs/environment.md` tells what it may say.
const NAME: &str = "GREENLET_TRACE";

/// Does what the variable says, the first time; later, and where it is not set or empty, nothing. `Err` is
/// what it says and what is wrong with that, if it makes no sense.
///
/// Recording that cannot begin is told on standard error, and the program goes on.
pub(crate) fn obey() -> Result<(), (String, String)> {
    static OBEYED: OnceLock<Result<(), (String, String)>> = OnceLock::new();
    let obeyed = OBEYED.get_or_init(|| {
        let text = env::var_os(NAME).unwrap_or_default();
        let text = text.to_string_lossy().into_owned();
        let Some(wish) = Wish::parse(&text).map_err(|reason| (text.clone(), reason))? else {
            return Ok(());
        };
        let begun = match wish.signal {
            Some(signal) => toggle_on(signal, wish.options),
            None => start(wish.options),
        };
        if let Err(error) = begun {
            // Not `eprintln`, which panics when standard error cannot be written.
            let _ = writeln!(io::stderr(), "greenlet: {NAME}={text}: {error}");
        }
        Ok(())
    });
    obeyed.clone()
}

/// What the variable says.
#[derive(Debug)]
struct Wish {
    options: Options,
    signal: Option<i32>,
}

impl Wish {
    /// `Err`: it makes no sense, and why. `None`: nothing is to be recorded.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().unwrap_or_default();
        let (mode, path) = match first.split_once(':') {
            Some((_, "")) => return Err(format!("there is no path in {first:?}")),
            Some((mode, path)) => (mode, path.to_owned()),
            None => (first, default_path()),
        };
        let mut options = match mode {
            "" | "off" if path == default_path() => return Ok(None),
            "flight" => Options::flight_in(&path),
            "stream" => Options::stream(&path),
            _ => {
                let wanted = "\"stream\", \"stream:PATH\", \"flight\", \"flight:PATH\" or \"off\"";
                return Err(format!("it begins with {first:?}, not with {wanted}"));
            }
        };
        let mut signal = None;
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            let wrong = |wanted: &str| format!("{part:?} is not {wanted}");
            match key.trim() {
                "ring" => {
                    let bytes =
                        bytes(value).ok_or_else(|| wrong("ring=SIZE, as 65536, 64K, 16M or 1G"))?;
                    options = options.ring_size(bytes);
                }
                "signal" => {
                    let wanted = "signal=NAME, as USR1, USR2, HUP, or a number";
                    signal = Some(signal_named(value).ok_or_else(|| wrong(wanted))?);
                }
                "on" => {
                    let triggers = value.split('+').map(|name| trigger_named(name.trim()));
                    let triggers = triggers.collect::<Option<Vec<_>>>().ok_or_else(|| {
                        let known = Trigger::ALL.map(Trigger::name).join(", ");
                        wrong(&format!("on=TRIGGER+TRIGGER.. of {known}"))
                    })?;
                    options = options.snapshot_on(&triggers, &path);
                }
                _ => return Err(wrong("ring=.., on=.. or signal=..")),
            }
        }
        Ok(Some(Self { options, signal }))
    }
}

fn default_path() -> String {
    format!("greenlet-{}.trace", process::id())
}

/// A number, of bytes, KiB with a `K`, MiB with an `M` or GiB with a `G`.
fn bytes(text: &str) -> Option<usize> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

/// A signal by its name, with or without `SIG`, or its number.
fn signal_named(text: &str) -> Option<i32> {
    match text.strip_prefix("SIG").unwrap_or(text) {
        "USR1" => Some(libc::SIGUSR1),
        "USR2" => Some(libc::SIGUSR2),
        "HUP" => Some(libc::SIGHUP),
        number => number
            .parse()
            .ok()
            .filter(|number| (1..=64).contains(number)),
    }
}

fn trigger_named(text: &str) -> Option<Trigger> {
    Trigger::ALL
        .into_iter()
        .find(|trigger| trigger.name() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Wish {
        let wish = Wish::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
        wish.unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn what_the_variable_says_is_understood() {
        assert!(Wish::parse("").is_ok_and(|wish| wish.is_none()));
        assert!(Wish::parse("off").is_ok_and(|wish| wish.is_none()));
        let wish = parse("stream:/tmp/a.trace");
        assert!(wish.signal.is_none());
        assert!(format!("{:?}", wish.options).contains("Stream(\"/tmp/a.trace\")"));
        let wish = parse("flight, ring=2M, signal=SIGUSR2, on=panic+long-run");
        let told = format!("{:?}", wish.options);
        assert!(told.contains(&format!("greenlet-{}.trace", process::id())));
        assert!(told.contains("ring_bytes: 2097152"));
        assert!(told.contains("[Panic, LongRun]"));
        assert_eq!(wish.signal, Some(libc::SIGUSR2));
        assert_eq!(parse("flight,signal=12").signal, Some(12));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, wrong) in [
            ("on", "\"on\""),
            ("off:path", "\"off:path\""),
            ("stream:", "no path"),
            ("flight,ring", "\"ring\""),
            ("flight,ring=4X", "ring=4X"),
            ("flight,ring=99999999999999999999", "SIZE"),
            ("flight,ring=17179869184G", "SIZE"),
            ("flight,on=fire", "long-run, slow-span"),
            ("flight,signal=SIGNAL", "USR1"),
            ("flight,signal=65", "signal=65"),
            ("flight,colour=red", "colour=red"),
        ] {
            let reason = Wish::parse(text).expect_err(text);
            assert!(reason.contains(wrong), "{text}: {reason}");
        }
    }
}
