//! A TCP echo server on greenlets against one on tokio: processor time per request.
//!
//! ```text
//! cargo run --release --example echo_compare -- --seconds 2 --rounds 5 --connections 64
//! ```
//!
//! Both servers use one thread. Each runs in a process of its own, on the first processor; this
//! process sends the requests, from the second one. Throughput would say little, because the load
//! generator is the slower side: what is compared is how much processor time the server needs for
//! each request. Rounds alternate between the two, so that a change of the machine's mood meets
//! both; figures of different runs do not compare, the ratio does.
//!
//! | File | What it is |
//! |---|---|
//! | `server.rs` | the two servers, and the process around them |
//! | `load.rs` | the load generator |
//! | `cpu.rs` | processors and processor time |

mod cpu;
mod load;
mod server;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::prelude::*;

use crate::load::Load;
use crate::server::{Kind, Server};

const HELP: &str = "\
Compares the processor time per request of echo servers on greenlet and tokio.

Usage: echo_compare [OPTIONS]

Options:
  --seconds S      measure each server so long, in each round  [default: 1]
  --rounds N       measure each server so often                [default: 5]
  --connections N  keep so many requests of 64 bytes going     [default: 64]
  --help           print this text
";

/// Before it counts, a server has so long to get warm.
const WARM_UP: Duration = Duration::from_millis(300);

#[derive(Debug)]
struct Args {
    seconds: Duration,
    rounds: usize,
    connections: usize,
}

/// What this process was started for.
#[derive(Debug)]
enum Task {
    Compare(Args),
    /// Be a server, on that processor; for child processes.
    Serve(Kind, usize),
    Help,
}

fn main() -> ExitCode {
    let result = match parse_args() {
        Ok(Task::Compare(args)) => compare(&args),
        Ok(Task::Serve(kind, cpu)) => server::serve(kind, cpu),
        Ok(Task::Help) => {
            print!("{HELP}");
            Ok(())
        }
        Err(error) => {
            eprintln!("echo_compare: {error}; --help tells more");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse_args() -> Result<Task, lexopt::Error> {
    let mut args = Args {
        seconds: Duration::from_secs(1),
        rounds: 5,
        connections: 64,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => {
                let seconds: f64 = parser.value()?.parse()?;
                args.seconds = Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
            }
            Long("rounds") => args.rounds = parser.value()?.parse()?,
            Long("connections") => args.connections = parser.value()?.parse()?,
            Long(server::SERVE) => {
                let kind = Kind::named(&parser.value()?.string()?).ok_or("no such server")?;
                return Ok(Task::Serve(kind, parser.value()?.parse()?));
            }
            Long("help") | Short('h') => return Ok(Task::Help),
            _ => return Err(argument.unexpected()),
        }
    }
    if args.seconds.is_zero() || args.rounds == 0 || args.connections == 0 {
        return Err("nothing can be measured with 0".into());
    }
    Ok(Task::Compare(args))
}

/// One server in one round.
#[derive(Clone, Copy, Debug)]
struct Measurement {
    cpu_ns_per_request: f64,
    requests_per_second: f64,
}

fn compare(args: &Args) -> io::Result<()> {
    // The load generator needs a descriptor for each connection, and so do the children.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let [server_cpu, load_cpu] = cpu::two_of_ours()?;
    cpu::pin_to(load_cpu)?;

    let mut greenlet = Vec::new();
    let mut tokio = Vec::new();
    for _ in 0..args.rounds {
        greenlet.push(measure(Kind::Greenlet, server_cpu, args)?);
        tokio.push(measure(Kind::Tokio, server_cpu, args)?);
    }

    let greenlet = report("greenlet", &greenlet);
    let tokio = report("tokio", &tokio);
    println!("ratio     {:>8.3}", greenlet / tokio);
    Ok(())
}

fn measure(kind: Kind, cpu: usize, args: &Args) -> io::Result<Measurement> {
    let server = Server::start(kind, cpu)?;
    let mut load = Load::connect(server.address(), args.connections)?;
    load.run(WARM_UP)?;

    let (started, cpu_before) = (Instant::now(), server.cpu_time()?);
    let requests = load.run(args.seconds)? as f64;
    let (elapsed, cpu_after) = (started.elapsed(), server.cpu_time()?);
    Ok(Measurement {
        cpu_ns_per_request: (cpu_after - cpu_before).as_secs_f64() * 1e9 / requests,
        requests_per_second: requests / elapsed.as_secs_f64(),
    })
}

/// Prints the medians, and returns that of the processor time.
fn report(name: &str, rounds: &[Measurement]) -> f64 {
    let cpu_ns = median(rounds.iter().map(|round| round.cpu_ns_per_request));
    let rate = median(rounds.iter().map(|round| round.requests_per_second));
    println!("{name:<10}{cpu_ns:>8.0} ns of processor time per request, {rate:.0} requests/s");
    cpu_ns
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
