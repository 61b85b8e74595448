//! A million greenlets at once.
//!
//! ```text
//! cargo run --release --example million                            # own thread-locals, then shared ones
//! cargo run --release --example million -- --shared                # only that
//! cargo run --release --example million -- --greenlets 100000 --hubs 1
//! ```
//!
//! Spawns them and lets them park, wakes all in random order, lets them park again, and ends all
//! in another random order. Nothing has to be configured: a guard page takes no mapping, so the
//! kernel's limit of 65,530 mappings is far away (where it is older than Linux 6.13 it is not, and
//! the table says how far it went).
//!
//! Memory that was used once is cheaper the second time, so each of the two runs is a process of
//! its own.

mod args;
mod crowd;
mod memory;
mod report;

use std::env;
use std::io::{self, IsTerminal};
use std::process::{Command, ExitCode};

use greenlet::Runtime;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{Args, HELP, ThreadLocals};
use crate::crowd::Crowd;
use crate::report::Report;

fn main() -> ExitCode {
    let args = match Args::parse(env::args_os().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("million: {error}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    let done = match args.thread_locals {
        Some(thread_locals) => run(&args, thread_locals),
        None => both(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("million: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One run after the other, with the same options, each in a process of its own.
fn both() -> io::Result<()> {
    for option in ["--own", "--shared"] {
        let mut command = Command::new(env::current_exe()?);
        let status = command.args(env::args_os().skip(1)).arg(option).status()?;
        if !status.success() {
            return Err(io::Error::other(format!(
                "the run with {option} has failed: {status}"
            )));
        }
    }
    Ok(())
}

fn run(args: &Args, thread_locals: ThreadLocals) -> io::Result<()> {
    let count = memory::room_for(thread_locals).min(args.greenlets);
    // Who spawns a million of them keeps a hub to itself, which is no news.
    let mut builder = Runtime::builder().on_blocked(|_| ());
    if let Some(hubs) = args.hubs {
        builder = builder.hubs(hubs);
    }
    if thread_locals == ThreadLocals::Shared {
        // SAFETY: the greenlets of `Crowd` count and park; they use no thread-locals around that,
        // have no destructors that wait, and hold no locks.
        builder = unsafe { builder.share_thread_locals() };
    }
    let runtime = builder.build()?;
    let hubs = runtime.hubs();

    let bar = progress_bar();
    let mut report = Report::new(thread_locals, args.greenlets, hubs);
    let crowd = runtime.run(|| Crowd::live(count, &bar, &mut report));
    bar.finish_and_clear();
    crowd?;
    report.phase("runtime dropped", || drop(runtime));

    if args.json {
        println!("{}", report.to_json());
    } else {
        println!("{report}");
    }
    Ok(())
}

/// On a terminal only.
fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{msg:<22} {wide_bar} {human_pos} / {human_len}, {elapsed}";
    let style = ProgressStyle::with_template(style).expect("the template is well-formed");
    ProgressBar::new(0).with_style(style)
}
