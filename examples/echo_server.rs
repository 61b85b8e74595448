//! A TCP echo server: one greenlet per connection, and a plain loop of reads and writes.
//!
//! ```text
//! cargo run --release --example echo_server -- --addr 127.0.0.1:7000 --hubs 2
//! ```
//!
//! It prints the address that it listens on, in one line, and serves until it is killed, or until
//! the end of its standard input if `--until-eof` is given.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use greenlet::Runtime;
use greenlet::net::{TcpListener, TcpStream};
use lexopt::prelude::*;

const HELP: &str = "\
Sends back what it is sent.

Usage: echo_server [OPTIONS]

Options:
  --addr ADDRESS  listen there                    [default: 127.0.0.1:0, a free port]
  --hubs N        run on N hubs (OS threads)      [default: GREENLET_HUBS, or the CPUs]
  --until-eof     end at the end of standard input
  --help          print this text
";

#[derive(Debug)]
struct Args {
    addr: String,
    hubs: Option<usize>,
    until_eof: bool,
}

fn main() -> ExitCode {
    let args = match parse_args() {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("echo_server: {error}; --help tells more");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line; `None` is a request for help.
fn parse_args() -> Result<Option<Args>, lexopt::Error> {
    let mut args = Args {
        addr: "127.0.0.1:0".to_owned(),
        hubs: None,
        until_eof: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("addr") => args.addr = parser.value()?.string()?,
            Long("hubs") => args.hubs = Some(parser.value()?.parse()?),
            Long("until-eof") => args.until_eof = true,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(args))
}

fn run(args: &Args) -> io::Result<()> {
    // Each connection needs a descriptor. If there can be no more, accepting will tell.
    let _ = rlimit::increase_nofile_limit(u64::MAX);

    let runtime = match args.hubs {
        Some(hubs) => Runtime::builder().hubs(hubs).build(),
        None => Runtime::builder().build(),
    }?;
    let listener = Arc::new(TcpListener::bind(&args.addr)?);
    println!("{}", listener.local_addr()?);

    if args.until_eof {
        // Standard input blocks who reads it: that is work for a thread.
        let listener = Arc::clone(&listener);
        thread::spawn(move || {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            listener.shutdown().expect("it is our listener");
        });
    }
    // Connections that are still open end with the runtime.
    runtime.run(|| accept_all(&listener));
    Ok(())
}

fn accept_all(listener: &TcpListener) {
    // The loop ends after the error that tells of the shutdown.
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => drop(greenlet::spawn(|| echo(stream))),
            // No descriptors left, most likely: wait until some are closed.
            Err(_) => greenlet::sleep(Duration::from_millis(10)),
        }
    }
}

/// Serves one connection until it ends, for whatever reason.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}
