//! Measures what greenlets cost, and what the same costs elsewhere. The README tells how to read it.
//!
//! | File | What it is |
//! |---|---|
//! | `args.rs`, `params.rs` | the command line |
//! | `rows.rs` | what is measured, and the limits |
//! | `runner.rs`, `process.rs`, `cpu.rs` | each measurement in a process of its own |
//! | `meter.rs`, `sleeps.rs`, `idle.rs`, `memory.rs` | measuring, the same for all peers |
//! | `load.rs` | the load generator, the same for all servers |
//! | `peers/` | who is measured |
//! | `report.rs`, `machine.rs` | what is printed |

mod args;
mod cpu;
mod idle;
mod load;
mod machine;
mod memory;
mod meter;
mod pages;
mod params;
mod peers;
mod process;
mod report;
mod rows;
mod runner;
mod sleeps;

use std::io;
use std::process::ExitCode;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::args::{Args, Output, Task};
use crate::machine::Others;
use crate::peers::Value;
use crate::rows::Row;
use crate::runner::Outcomes;

fn main() -> ExitCode {
    let result = match args::parse() {
        Ok(Task::Run(args)) => run(&args),
        Ok(Task::List) => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Ok(Task::Help) => {
            print!("{}", args::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Ok(Task::Measure(peer, job)) => finish(|| peer.measure(&job)),
        Ok(Task::Load(order)) => finish(|| load::run(&order)),
        Err(error) => {
            eprintln!("bench: {error}; --help tells more");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

/// Measures and reports. Fails if greenlet does in any row; a limit that is missed is no failure.
fn run(args: &Args) -> io::Result<ExitCode> {
    if cfg!(debug_assertions) {
        eprintln!("bench: built without --release, so the figures mean nothing");
    }
    raise_descriptor_limit()?;
    let others = Others::watch();
    let Outcomes { outcomes, notes } = runner::run(args)?;
    let machine = machine::describe(&args.peers, &others, report::slowness(&outcomes));
    let tables = report::tables(&outcomes);
    match args.output {
        Output::Lines => {
            notes.iter().for_each(|note| println!("{note}"));
            print!("{}", report::lines(&tables));
        }
        Output::Json => println!("{:#}", report::json(args, machine, &notes, &tables)),
        Output::Tables => {
            notes.iter().for_each(|note| println!("{note}"));
            println!("{}", report::machine(&machine));
            print!("{}", report::text(&tables));
            println!("{}", report::verdict(&tables));
        }
    }
    Ok(match report::missing_greenlets(&tables) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Both ends of ten thousand connections need descriptors; children inherit the limit.
fn raise_descriptor_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Prints values for the parent process, and ends this one, whatever tasks are still there. Without
/// its parent it ends at once.
fn finish(measure: impl FnOnce() -> io::Result<Vec<Value>>) -> ! {
    let values = set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    let code = match values.and_then(|()| measure()) {
        Ok(values) => {
            for (metric, value) in values {
                println!("{metric} {value}");
            }
            0
        }
        Err(error) => {
            eprintln!("{error}");
            1
        }
    };
    std::process::exit(code)
}

fn list() {
    for row in Row::ALL {
        let cases: Vec<_> = row
            .cases()
            .iter()
            .map(|case| case.params.to_string())
            .collect();
        println!("{}: {}", row.name(), cases.join("; "));
        for metric in row.metrics() {
            println!("  {}, {}: {}", metric.name, metric.unit, metric.what);
        }
    }
    println!("parameters");
    for (name, what) in params::NAMES {
        println!("  {name}: {what}");
    }
}
