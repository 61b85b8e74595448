//! Shows what the hubs and greenlets of a running program do: `greenlet-top SOCKET`.
//!
//! The program opens the socket by [`greenlet::trace::serve`], or because the variable `GREENLET_TOP` names
//! it.

mod app;
mod connection;
mod dump;
mod metrics;
mod model;
mod page;
mod screen;
mod text;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser, ValueExt};

use app::{App, Sort};
use connection::{Asker, News};

const USAGE: &str = "\
usage: greenlet-top [OPTION...] SOCKET

Shows what the hubs and greenlets of a running program do. The program opens the socket by
greenlet::trace::serve(SOCKET), or because it was started with GREENLET_TOP=SOCKET.

  --once             print one page of plain text, and end
  --seconds SECONDS  look for so long before that (1)
  --sort BY          run, wait or latency (run)
  --filter TEXT      only greenlets with this in name, place or state
  --lines COUNT      so many greenlets on the page (50; 2,000 at most)
  --help             print this

Colours are left out if NO_COLOR is set.
";

#[derive(Debug)]
struct Options {
    socket: PathBuf,
    is_once: bool,
    seconds: f64,
    sort: Sort,
    filter: String,
    lines: usize,
}

fn main() -> ExitCode {
    let result = match parse(Parser::from_env()) {
        Ok(Some(options)) => run(options),
        Ok(None) => print(USAGE),
        Err(error) => Err(format!("{error}\n\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody else to tell.
            let _ = writeln!(io::stderr(), "greenlet-top: {}", error.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// `None`: the usage is wanted.
fn parse(mut parser: Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut socket = None;
    let mut options = Options {
        socket: PathBuf::new(),
        is_once: false,
        seconds: 1.0,
        sort: Sort::Run,
        filter: String::new(),
        lines: 50,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("once") => options.is_once = true,
            Arg::Long("seconds") => {
                let seconds = parser.value()?.parse()?;
                if !(0.1..=3600.0).contains(&seconds) {
                    return Err("--seconds: from 0.1 to 3600".into());
                }
                options.seconds = seconds;
            }
            Arg::Long("sort") => {
                let by = parser.value()?.string()?;
                options.sort = Sort::parse(&by).ok_or("--sort: run, wait or latency")?;
            }
            Arg::Long("filter") => options.filter = parser.value()?.string()?,
            Arg::Long("lines") => options.lines = parser.value()?.parse()?,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(path) if socket.is_none() => socket = Some(PathBuf::from(path)),
            other => return Err(other.unexpected()),
        }
    }
    options.socket = socket.ok_or("which socket?")?;
    Ok(Some(options))
}

fn run(options: Options) -> Result<(), String> {
    let mut app = App::new(options.sort);
    app.filter = options.filter;
    // What is wrong at the beginning is told before the screen is taken.
    let socket = options.socket.as_path();
    let explain = |error: io::Error| connection::explain(socket, &error);
    connection::Connection::open(socket)
        .and_then(|mut connection| connection.ask("info"))
        .map_err(explain)?;
    let asker = Asker::start(socket);
    if options.is_once {
        let time = Duration::from_secs_f64(options.seconds);
        look(&mut app, &asker, time)?;
        return print(&page::page(&app, options.lines));
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err("this is no terminal; --once prints a page".into());
    }
    let has_colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    screen::run(app, &asker, has_colours).map_err(|error| error.to_string())
}

/// Looks for a while.
fn look(app: &mut App, asker: &Asker, time: Duration) -> Result<(), String> {
    /// Rings come some times a second.
    const LATE: Duration = Duration::from_millis(300);
    let end = Instant::now() + time + LATE;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        match asker.news.recv_timeout(left.min(LATE / 2)) {
            Ok(News::Gone(why)) => return Err(why),
            Ok(news) => app.take_news(news),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("the connection is lost".into()),
        }
    }
    app.finish();
    Ok(())
}

fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        // As for `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| error.to_string()),
    }
}
