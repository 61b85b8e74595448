//! Who is measured: one file per peer, each in its own idiom.
//!
//! A peer answers a [`Job`] with values, or, if the row [is served](Row::is_served), prints the address
//! where it listens and serves until it is ended. It runs in a process of its own, on as many
//! processors as it has workers.

mod corosensei;
mod epoll;
mod gevent;
mod go;
mod greenlet;
mod may;
mod smol;
mod threads;
mod tokio;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use self::greenlet::Mode;
use crate::cpu::Clock;
use crate::params::Params;
use crate::rows::Row;

/// A metric's name, and its value in the metric's unit.
pub(crate) type Value = (&'static str, f64);

/// Any free port of this machine.
const ADDRESS: &str = "127.0.0.1:0";

/// What a server reads at once: much more than a request.
const BUFFER: usize = 1024;

/// What a process is to measure.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) row: Row,
    pub(crate) params: Params,
    /// How long.
    pub(crate) time: Duration,
}

impl Job {
    /// What its time is.
    pub(crate) fn clock(&self) -> Clock {
        Clock::for_workers(self.params.workers())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Greenlet,
    /// greenlet, with the worker's thread-locals.
    GreenletShared,
    /// greenlet, with its flight recorder on.
    GreenletFlight,
    /// greenlet, with all that happens written to a file.
    GreenletStream,
    TokioCt,
    TokioMt,
    May,
    Smol,
    Go,
    Gevent,
    Threads,
    Corosensei,
    Epoll,
}

/// What a server records of itself, at a request's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recording {
    Off,
    Flight,
    Stream,
}

impl Recording {
    pub(crate) const ALL: [Self; 3] = [Self::Off, Self::Flight, Self::Stream];

    /// How a request begins that is for the server itself; others begin otherwise.
    pub(crate) fn word(self) -> u8 {
        match self {
            Self::Off => b'0',
            Self::Flight => b'f',
            Self::Stream => b's',
        }
    }
}

/// In which capacity it takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What this is all about.
    Greenlet,
    /// What it is compared with.
    Peer,
    /// What the machine would allow: it does less than a runtime has to.
    Floor,
}

impl Peer {
    pub(crate) const ALL: [Self; 13] = [
        Self::Greenlet,
        Self::GreenletShared,
        Self::GreenletFlight,
        Self::GreenletStream,
        Self::TokioCt,
        Self::TokioMt,
        Self::May,
        Self::Smol,
        Self::Go,
        Self::Gevent,
        Self::Threads,
        Self::Corosensei,
        Self::Epoll,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Greenlet => "greenlet",
            Self::GreenletShared => "greenlet-shared",
            Self::GreenletFlight => "greenlet-flight",
            Self::GreenletStream => "greenlet-stream",
            Self::TokioCt => "tokio-ct",
            Self::TokioMt => "tokio-mt",
            Self::May => "may",
            Self::Smol => "smol",
            Self::Go => "go",
            Self::Gevent => "gevent",
            Self::Threads => "threads",
            Self::Corosensei => "corosensei",
            Self::Epoll => "epoll",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    pub(crate) fn role(self) -> Role {
        match self {
            Self::Greenlet | Self::GreenletShared | Self::GreenletFlight | Self::GreenletStream => {
                Role::Greenlet
            }
            Self::Corosensei | Self::Epoll => Role::Floor,
            _ => Role::Peer,
        }
    }

    /// Whether there is something to measure; what is tried and fails is something, too.
    pub(crate) fn has(self, row: Row, params: &Params) -> bool {
        let one_worker = params.workers() == 1;
        match self {
            Self::Greenlet => true,
            // Memory, and what a switch costs, is what differs. With more workers it would matter where a greenlet has
            // started, for there it stays.
            Self::GreenletShared => match row {
                Row::Idle | Row::Conns => true,
                Row::Switch | Row::Yield | Row::SpawnSeq | Row::Pingpong => one_worker,
                _ => false,
            },
            Self::GreenletFlight | Self::GreenletStream => {
                matches!(row, Row::Trace | Row::Yield)
            }
            _ if matches!(row, Row::Trace | Row::EchoTraced | Row::Dump) => false,
            Self::TokioMt | Self::May | Self::Smol | Self::Go => row != Row::Switch,
            // More threads that yield bring the machine to a standstill.
            Self::Threads if row == Row::Yield => params.get("t") <= 10_000,
            Self::Threads => row != Row::Switch,
            Self::TokioCt | Self::Gevent => row != Row::Switch && one_worker,
            Self::Corosensei => {
                matches!(row, Row::Switch | Row::Yield | Row::SpawnSeq | Row::Idle) && one_worker
            }
            Self::Epoll => row == Row::Echo && one_worker,
        }
    }

    /// The command that measures, for those that are programs of their own.
    pub(crate) fn program(self, build_dir: &Path) -> Option<Result<Command, String>> {
        match self {
            Self::Go => Some(go::program(build_dir)),
            Self::Gevent => Some(gevent::program()),
            _ => None,
        }
    }

    /// Does the job in this process.
    pub(crate) fn measure(self, job: &Job) -> io::Result<Vec<Value>> {
        match self {
            Self::Greenlet => greenlet::measure(job, Mode::Plain),
            Self::GreenletShared => greenlet::measure(job, Mode::SharedThreadLocals),
            Self::GreenletFlight => greenlet::measure(job, Mode::Flight),
            Self::GreenletStream => greenlet::measure(job, Mode::Stream),
            Self::TokioCt => tokio::measure(job, true),
            Self::TokioMt => tokio::measure(job, false),
            Self::May => may::measure(job),
            Self::Smol => smol::measure(job),
            Self::Threads => threads::measure(job),
            Self::Corosensei => corosensei::measure(job),
            Self::Epoll => epoll::measure(job),
            Self::Go | Self::Gevent => not_in_here(job),
        }
    }
}

/// For what [`Peer::has`] denies.
fn not_in_here(job: &Job) -> io::Result<Vec<Value>> {
    let message = format!("{} is not measured here", job.row.name());
    Err(io::Error::other(message))
}

/// Tells the parent process where the server listens.
fn say_address(address: SocketAddr) -> io::Result<()> {
    println!("{address}");
    io::stdout().flush()
}
