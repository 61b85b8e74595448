//! What the basic operations cost, on one hub.
//!
//! ```text
//! cargo run --release --example speed             # all rows
//! cargo run --release --example speed -- idle     # only this one
//! cargo run --release --example speed -- --quick  # one round of each, to see that it works
//! ```
//!
//! Each line is one number with its unit: the median of several rounds, after a warm-up. Other
//! work on the machine disturbs it; `taskset -c 0` in front keeps it on one processor.

use std::env;
use std::fs;
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenlet::{JoinHandle, Runtime};

const HELP: &str = "\
Measures what the basic operations cost, on one hub.

Usage: speed [--quick] [ROW]...

  --quick     measure once, where else the median of several rounds is taken

Rows, all of them if none is named:
  yield-2     one yield, between 2 greenlets
  yield-1000  one yield, between 1,000 greenlets
  spawn-join  spawning an empty greenlet and joining it
  start       a greenlet from its spawn to its first park, on a new stack, of 100,000
  idle        a parked greenlet: resident memory and page tables, at 10,000 of them
";

const ROWS: [&str; 5] = ["yield-2", "yield-1000", "spawn-join", "start", "idle"];

/// The rows that a child process measures; see [`in_children`].
const START_ONCE: &str = "start-once";
const IDLE_ONCE: &str = "idle-once";

const ROUNDS: usize = 9;
/// So many processes measure a row of that kind, one after the other.
const CHILDREN: usize = 3;
const YIELDS: usize = 4_000_000;
const SPAWNS: usize = 500_000;
const STARTS: usize = 100_000;
const IDLE_GREENLETS: usize = 10_000;

fn main() -> ExitCode {
    let mut rows: Vec<String> = env::args().skip(1).collect();
    let given = rows.len();
    rows.retain(|row| row != "--quick");
    let (rounds, children) = if rows.len() < given {
        (1, 1)
    } else {
        (ROUNDS, CHILDREN)
    };
    if rows.is_empty() {
        rows = ROWS.map(String::from).to_vec();
    }
    for row in rows {
        let line = match row.as_str() {
            "yield-2" => yield_ns(2, rounds).map(|ns| format!("{row:<12}{ns:>10.1} ns")),
            "yield-1000" => yield_ns(1000, rounds).map(|ns| format!("{row:<12}{ns:>10.1} ns")),
            "spawn-join" => spawn_join_ns(rounds).map(|ns| format!("{row:<12}{ns:>10.1} ns")),
            "start" => {
                in_children(START_ONCE, children).map(|ns| format!("{row:<12}{ns:>10.0} ns"))
            }
            "idle" => in_children(IDLE_ONCE, children)
                .map(|bytes| format!("{row:<12}{bytes:>10.0} bytes")),
            START_ONCE => start_ns_once().map(|ns| ns.to_string()),
            IDLE_ONCE => idle_bytes_once().map(|bytes| bytes.to_string()),
            "--help" | "-h" => Ok(HELP.trim_end().to_owned()),
            _ => {
                eprintln!("speed: no row is called {row:?}; --help lists them");
                return ExitCode::from(2);
            }
        };
        match line {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("speed: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// One yield, when `greenlets` greenlets do nothing else.
fn yield_ns(greenlets: usize, rounds: usize) -> io::Result<f64> {
    let each = YIELDS / greenlets;
    median_ns(greenlets * each, rounds, || {
        // There is one hub, so all are spawned before the first one runs.
        let yielding: Vec<_> = (0..greenlets)
            .map(|_| greenlet::spawn(move || (0..each).for_each(|_| greenlet::yield_now())))
            .collect();
        for greenlet in yielding {
            greenlet.join().expect("yielding does not panic");
        }
    })
}

/// Spawning a greenlet that does nothing, and joining it.
fn spawn_join_ns(rounds: usize) -> io::Result<f64> {
    median_ns(SPAWNS, rounds, || {
        for _ in 0..SPAWNS {
            greenlet::spawn(|| ())
                .join()
                .expect("nothing does not panic");
        }
    })
}

/// The median of a row that is measured in processes of its own: memory that was used once is
/// cheaper the second time.
fn in_children(row: &str, children: usize) -> io::Result<f64> {
    let program = env::current_exe()?;
    let round = || {
        let output = Command::new(&program)
            .arg(row)
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().map_err(io::Error::other)
    };
    Ok(median(
        (0..children).map(|_| round()).collect::<io::Result<_>>()?,
    ))
}

/// From the first spawn until the last one has parked.
fn start_ns_once() -> io::Result<f64> {
    on_one_hub(|| {
        let started = Instant::now();
        let (parked, greenlets) = park_many(STARTS);
        let time = nanoseconds(started.elapsed()) / STARTS as f64;
        assert_eq!(parked.load(Ordering::Relaxed), STARTS);
        end(greenlets);
        time
    })
}

/// What a parked greenlet takes, when there are 10,000.
fn idle_bytes_once() -> io::Result<f64> {
    on_one_hub(|| {
        // What is needed once, for the first greenlet, is not counted.
        greenlet::spawn(|| ())
            .join()
            .expect("nothing does not panic");
        let before = resident_bytes();
        let (_parked, greenlets) = park_many(IDLE_GREENLETS);
        let after = resident_bytes();
        end(greenlets);
        (after - before) / IDLE_GREENLETS as f64
    })
}

/// Spawns greenlets that park, and returns when all do.
fn park_many(count: usize) -> (Arc<AtomicUsize>, Vec<JoinHandle<()>>) {
    let parked = Arc::new(AtomicUsize::new(0));
    let mut greenlets = Vec::with_capacity(count);
    for _ in 0..count {
        let parked = Arc::clone(&parked);
        greenlets.push(greenlet::spawn(move || {
            parked.fetch_add(1, Ordering::Relaxed);
            greenlet::park();
        }));
    }
    while parked.load(Ordering::Relaxed) < count {
        greenlet::yield_now();
    }
    (parked, greenlets)
}

fn end(greenlets: Vec<JoinHandle<()>>) {
    for greenlet in greenlets {
        greenlet.thread().unpark();
        greenlet.join().expect("parking does not panic");
    }
}

/// The memory of this process, with the page tables that it takes to find it.
fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse::<f64>().ok())
    };
    let total = kib("VmRSS:").zip(kib("VmPTE:")).map(|(rss, pte)| rss + pte);
    1024.0 * total.expect("/proc tells of memory")
}

/// Nanoseconds per operation of `round`, which does so many, in the median round.
fn median_ns(operations: usize, rounds: usize, round: impl Fn() + Sync) -> io::Result<f64> {
    on_one_hub(|| {
        round();
        let times = (0..rounds).map(|_| {
            let started = Instant::now();
            round();
            nanoseconds(started.elapsed()) / operations as f64
        });
        median(times.collect())
    })
}

fn on_one_hub<T: Send>(f: impl FnOnce() -> T + Send) -> io::Result<T> {
    // What is measured keeps the hub to itself, which is no news.
    let builder = Runtime::builder().hubs(1).on_blocked(|_| ());
    Ok(builder.build()?.run(f))
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
