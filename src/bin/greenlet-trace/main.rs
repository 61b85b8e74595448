//! Looks at traces of greenlets.

mod args;
mod events;
mod info;

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use args::{Args, Command, Format};
use greenlet::trace::analysis::{Report, Timeline, Trace, check, check_whole, export};

/// Something is wrong with the trace.
const PROBLEM: u8 = 1;
/// The command line is not understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args_os().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => return finish(write!(io::stdout(), "{}", args::HELP).map(|()| true)),
        Err(error) => {
            eprintln!("greenlet-trace: {error}\nTry `greenlet-trace --help`.");
            return ExitCode::from(USAGE);
        }
    };
    let trace = match Trace::open(&args.file) {
        Ok(trace) => trace,
        Err(error) => {
            eprintln!("greenlet-trace: {}: {error}", args.file.display());
            return ExitCode::from(PROBLEM);
        }
    };
    finish(run(&args, &trace))
}

/// Whoever reads the output need not read all of it.
fn finish(result: io::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(PROBLEM),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greenlet-trace: {error}");
            ExitCode::from(PROBLEM)
        }
    }
}

/// Answers whether all is well.
fn run(args: &Args, trace: &Trace) -> io::Result<bool> {
    let mut out = output(args.output.as_deref(), &args.file)?;
    let is_well = match &args.command {
        Command::Info => info::write(&mut out, &args.file, trace)?,
        Command::Events { greenlet } => {
            warn(trace);
            events::write(&mut out, trace, *greenlet)?;
            true
        }
        Command::Report { json, top } => {
            let report = Report::new(trace, &Timeline::new(trace), *top);
            if *json {
                serde_json::to_writer_pretty(&mut out, &report)?;
                writeln!(out)?;
            } else {
                write!(out, "{report}")?;
            }
            true
        }
        Command::Check { whole } => {
            warn(trace);
            let violations = match whole {
                true => check_whole(trace),
                false => check(trace),
            };
            for violation in &violations {
                // As `events` tells the time.
                let time = violation.time.saturating_sub(trace.begin()) as f64 / 1e9;
                writeln!(out, "{:?}: {time:.9} s: {}", violation.rule, violation.what)?;
            }
            if violations.is_empty() {
                writeln!(out, "{} events break no rule", trace.records().len())?;
            }
            violations.is_empty()
        }
        Command::Export { format } => {
            warn(trace);
            let write = match format {
                Format::Perfetto => export::perfetto,
                Format::PerfettoSched => export::perfetto_sched,
                Format::Chrome => export::chrome,
                Format::JsonLines => export::json_lines,
                Format::Folded => export::folded,
                Format::Html => export::html,
            };
            write(trace, &Timeline::new(trace), &mut out)?;
            true
        }
    };
    out.flush()?;
    Ok(is_well)
}

/// Says on standard error what is damaged, where the output itself does not.
fn warn(trace: &Trace) {
    for problem in trace.problems() {
        eprintln!("greenlet-trace: {problem}");
    }
}

fn output(path: Option<&Path>, input: &Path) -> io::Result<Box<dyn Write>> {
    Ok(match path {
        None => Box::new(BufWriter::new(io::stdout().lock())),
        Some(path) => {
            if is_same_file(path, input) {
                let told = format!("{}: this is the trace itself", path.display());
                return Err(io::Error::new(ErrorKind::InvalidInput, told));
            }
            let file = File::create(path).map_err(|error| {
                let told = format!("{}: cannot be written: {error}", path.display());
                io::Error::new(error.kind(), told)
            })?;
            Box::new(BufWriter::new(file))
        }
    })
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let place = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((place(one), place(other)), (Ok(one), Ok(other)) if one == other)
}
