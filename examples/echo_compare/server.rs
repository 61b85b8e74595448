//! The two echo servers, and the process that one of them runs in.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cpu;

/// The option that makes this program a server; a kind and a processor follow.
pub(crate) const SERVE: &str = "serve";

/// Any free port of this machine.
const ADDRESS: &str = "127.0.0.1:0";

/// Which runtime serves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Greenlet,
    Tokio,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Greenlet => "greenlet",
            Self::Tokio => "tokio",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Greenlet, Self::Tokio]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A server in a child process, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts this program once more, as a server that is kept on processor `cpu`.
    pub(crate) fn start(kind: Kind, cpu: usize) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args([format!("--{SERVE}"), kind.name().into(), cpu.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let no_address = |_| io::Error::other("the server did not start");
        let address = line.trim().parse().map_err(no_address)?;
        Ok(Self { child, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time that the server has used up to now.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        cpu::time_of(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends at the end of its standard input, whoever closes it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What the child process does: serve from processor `cpu`, until standard input ends.
pub(crate) fn serve(kind: Kind, cpu: usize) -> io::Result<()> {
    cpu::pin_to(cpu)?;
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
    match kind {
        Kind::Greenlet => serve_on_greenlet(),
        Kind::Tokio => serve_on_tokio(),
    }
}

fn serve_on_greenlet() -> io::Result<()> {
    use greenlet::net::{TcpListener, TcpStream};

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

    greenlet::Runtime::builder().hubs(1).build()?.run(|| {
        let listener = TcpListener::bind(ADDRESS)?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept()?;
            greenlet::spawn(|| echo(stream));
        }
    })
}

fn serve_on_tokio() -> io::Result<()> {
    use tokio::net::{TcpListener, TcpStream};

    async fn echo(mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                n => stream.write_all(&buffer[..n]).await?,
            }
        }
    }

    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_io().build()?.block_on(async {
        let listener = TcpListener::bind(ADDRESS).await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(stream));
        }
    })
}
