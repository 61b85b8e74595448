//! The command line.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
Looks at traces of greenlets.

Usage:
    greenlet-trace info FILE                    what the trace is about, what is lost or damaged
    greenlet-trace report FILE [--json] [--top N]
                                                latencies, waits, hubs, long runs, lints
    greenlet-trace check FILE [--whole]         whether the scheduler has kept to its rules
    greenlet-trace events FILE [--greenlet N]   every event, one on a line
    greenlet-trace export FORMAT FILE -o OUT    the trace as what other programs read

Formats:
    perfetto           https://ui.perfetto.dev: tracks of hubs and greenlets, arrows of wakes
    perfetto-sched     the same, hubs as processors and greenlets as threads: for its analyses
    chrome             Chrome's JSON, for chrome://tracing, Speedscope and others
    json-lines         an event on a line, for jq
    folded             where greenlets wait, for flame graphs
    html               a page for any browser, without a network

Options:
    -o, --output OUT   where to write to instead of standard output
    --json             the report for programs: times in nanoseconds
    --top N            how long lists may be (10)
    --whole            the trace is from the first spawn to the last end: nothing may be missing
    --greenlet N       only what concerns this greenlet
    -h, --help         this

A trace is written by a program that calls `greenlet::trace::start`, or that is started with
`GREENLET_TRACE=stream:FILE`.

Exit status: 0 if all is well, 1 if the file cannot be read or `check` or `info` found something wrong,
2 if the command line is not understood.
";

#[derive(Debug, PartialEq)]
pub(crate) struct Args {
    pub(crate) command: Command,
    pub(crate) file: PathBuf,
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Info,
    Report { json: bool, top: usize },
    Check { whole: bool },
    Events { greenlet: Option<u64> },
    Export { format: Format },
}

#[derive(Debug, PartialEq)]
pub(crate) enum Format {
    Perfetto,
    PerfettoSched,
    Chrome,
    JsonLines,
    Folded,
    Html,
}

impl Format {
    fn parse(name: &OsStr) -> Result<Self, lexopt::Error> {
        Ok(match name.to_str() {
            Some("perfetto") => Self::Perfetto,
            Some("perfetto-sched") => Self::PerfettoSched,
            Some("chrome") => Self::Chrome,
            Some("json-lines") => Self::JsonLines,
            Some("folded") => Self::Folded,
            Some("html") => Self::Html,
            _ => {
                let known = "perfetto, perfetto-sched, chrome, json-lines, folded or html";
                return Err(format!("there is no format {name:?}, but {known}").into());
            }
        })
    }
}

fn number<T: FromStr<Err: Display>>(option: &str, value: &OsStr) -> Result<T, lexopt::Error> {
    let number = value.to_string_lossy().parse();
    number.map_err(|error| format!("{option} {value:?}: {error}").into())
}

impl Args {
    /// `None` if only help was wanted.
    pub(crate) fn parse(
        words: impl Iterator<Item = OsString>,
    ) -> Result<Option<Self>, lexopt::Error> {
        let mut parser = lexopt::Parser::from_args(words);
        let mut positional: Vec<OsString> = Vec::new();
        let (mut output, mut greenlet, mut top) = (None, None, None);
        let (mut json, mut whole) = (false, false);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Short('o') | Long("output") => output = Some(PathBuf::from(parser.value()?)),
                Long("json") => json = true,
                Long("whole") => whole = true,
                Long("top") => top = Some(number("--top", &parser.value()?)?),
                Long("greenlet") => greenlet = Some(number("--greenlet", &parser.value()?)?),
                Value(word) => positional.push(word),
                other => return Err(other.unexpected()),
            }
        }
        let mut positional = positional.into_iter();
        let name = positional.next().ok_or("a command is missing")?;
        let command = match name.to_str() {
            Some("info") => Command::Info,
            Some("report") => Command::Report {
                json: std::mem::take(&mut json),
                top: top.take().unwrap_or(10),
            },
            Some("check") => Command::Check {
                whole: std::mem::take(&mut whole),
            },
            Some("events") => Command::Events {
                greenlet: greenlet.take(),
            },
            Some("export") => {
                let format = positional.next().ok_or("a format is missing")?;
                Command::Export {
                    format: Format::parse(&format)?,
                }
            }
            _ => return Err(format!("there is no command {name:?}").into()),
        };
        let left = [
            ("--json", json),
            ("--whole", whole),
            ("--top", top.is_some()),
            ("--greenlet", greenlet.is_some()),
        ];
        if let Some((option, _)) = left.into_iter().find(|(_, is_left)| *is_left) {
            return Err(format!("{name:?} has no option {option}").into());
        }
        let file = positional.next().ok_or("a file is missing")?;
        if let Some(more) = positional.next() {
            return Err(Value(more).unexpected());
        }
        Ok(Some(Self {
            command,
            file: file.into(),
            output,
        }))
    }
}
