//! Measurements, one after the other: each in a process of its own, and the peers taking turns, so that
//! a change of the machine's mood meets all of them.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use crate::args::{self, Args};
use crate::cpu;
use crate::memory;
use crate::peers::{Job, Peer};
use crate::process::Process;
use crate::rows::{Case, Row};

/// A measurement that takes longer than this, and than the rows that take their time several times over, has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// Files that a process has open besides its idle connections: more than it needs.
const OTHER_DESCRIPTORS: usize = 100;

/// What a task may take at most, in the check whether there is memory for a case.
const BYTES_PER_TASK: usize = 12 << 10;

/// What a peer has shown in one case.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) peer: Peer,
    /// The values of each metric, one per run.
    pub(crate) values: Vec<(String, Vec<f64>)>,
    /// Why there are no more.
    pub(crate) failure: Option<String>,
}

/// A case, and all who took part.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) case: Case,
    pub(crate) entries: Vec<Entry>,
}

/// What all measurements have in common.
#[derive(Debug)]
struct Setup {
    program: PathBuf,
    cpus: Vec<usize>,
    /// How many connections a process may have.
    connections: usize,
    /// The peers that are here; commands for those that are not in this program.
    peers: Vec<(Peer, Option<Command>)>,
}

/// All outcomes, and what could not be measured as it was asked for.
#[derive(Debug)]
pub(crate) struct Outcomes {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) notes: Vec<String>,
}

/// Measures everything that is asked for.
pub(crate) fn run(args: &Args) -> io::Result<Outcomes> {
    let mut notes = Vec::new();
    let setup = Setup::new(args, &mut notes)?;
    let mut outcomes: Vec<Outcome> = args
        .cases
        .iter()
        .filter_map(|case| setup.fit(case, &mut notes))
        .map(|case| Outcome {
            entries: setup.entries(&case),
            case,
        })
        .collect();
    for run in 1..=args.runs {
        for Outcome { case, entries } in &mut outcomes {
            eprintln!(
                "run {run}/{}: {} {}",
                args.runs,
                case.row.name(),
                case.params
            );
            let time = args.time(case.row);
            let job = Job {
                row: case.row,
                params: case.params.clone(),
                time,
            };
            // Who has failed is not asked again.
            for entry in entries.iter_mut().filter(|entry| entry.failure.is_none()) {
                entry.add(setup.measure(entry.peer, &job));
            }
        }
    }
    Ok(Outcomes { outcomes, notes })
}

impl Entry {
    fn add(&mut self, result: Result<Vec<(String, f64)>, String>) {
        match result {
            Err(reason) => self.failure = Some(reason),
            Ok(values) => values.into_iter().for_each(|(metric, value)| {
                match self.values.iter_mut().find(|(known, _)| *known == metric) {
                    Some((_, values)) => values.push(value),
                    None => self.values.push((metric, vec![value])),
                }
            }),
        }
    }

    /// The values of a metric in all runs, or why there are none.
    pub(crate) fn of(&self, metric: &str) -> Result<&[f64], &str> {
        if let Some(reason) = &self.failure {
            return Err(reason);
        }
        let found = self.values.iter().find(|(known, _)| known == metric);
        found
            .map(|(_, values)| values.as_slice())
            .ok_or("says nothing")
    }
}

impl Setup {
    fn new(args: &Args, notes: &mut Vec<String>) -> io::Result<Self> {
        let program = env::current_exe()?;
        let build_dir = program.parent().unwrap_or(&program).to_owned();
        let mut peers = Vec::new();
        for peer in &args.peers {
            match peer.program(&build_dir) {
                Some(Err(reason)) => notes.push(format!("skipped: {}: {reason}", peer.name())),
                Some(Ok(command)) => peers.push((*peer, Some(command))),
                None => peers.push((*peer, None)),
            }
        }
        let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        Ok(Self {
            program,
            cpus: cpu::allowed()?,
            connections: descriptors.saturating_sub(OTHER_DESCRIPTORS),
            peers,
        })
    }

    /// The case as this machine can do it, with a note if it cannot, or not in full.
    fn fit(&self, case: &Case, notes: &mut Vec<String>) -> Option<Case> {
        let mut case = case.clone();
        let name = case.row.name();
        let mut skip = |reason| {
            notes.push(format!("skipped: {name} {}: {reason}", case.params));
            None
        };
        if case.params.workers() > self.cpus.len() {
            return skip("there are fewer processors than workers");
        }
        if case.is_large() && !has_memory_for(case.params.get("n")) {
            return skip("there is too little memory");
        }
        if case.row == Row::Conns && case.params.get("n") > self.connections {
            notes.push(format!(
                "{name} {}: n={} instead, because of the limit on open files",
                case.params, self.connections
            ));
            case.params.set("n", self.connections);
        }
        Some(case)
    }

    fn entries(&self, case: &Case) -> Vec<Entry> {
        let peers = self.peers.iter().map(|(peer, _)| *peer);
        peers
            .filter(|peer| peer.has(case.row, &case.params))
            .map(|peer| Entry {
                peer,
                values: Vec::new(),
                failure: None,
            })
            .collect()
    }

    fn measure(&self, peer: Peer, job: &Job) -> Result<Vec<(String, f64)>, String> {
        let limit = LIMIT + 8 * job.time;
        let workers = &self.cpus[..job.params.workers()];
        let start = |command: &mut Command, cpus: &[usize]| {
            Process::start(command, cpus, limit).map_err(|error| error.to_string())
        };
        let mut measured = start(self.command(peer).args(args::job_words(job)), workers)?;
        let lines = if job.row.is_served() {
            let address = measured.line()?;
            let mut load = Command::new(&self.program);
            load.args([
                format!("--{}", args::LOAD),
                address,
                measured.id().to_string(),
            ]);
            // The last processor is not the server's, unless it has all of them.
            let last = *self.cpus.last().expect("a process may use a processor");
            start(load.args(args::job_words(job)), &[last])?.output()?
        } else {
            measured.output()?
        };
        lines.iter().map(|line| parse_value(line)).collect()
    }

    /// The command for a measurement; its arguments are missing.
    fn command(&self, peer: Peer) -> Command {
        let program = self.peers.iter().find(|(known, _)| *known == peer);
        if let Some((_, Some(external))) = program {
            let mut command = Command::new(external.get_program());
            command.args(external.get_args());
            return command;
        }
        let mut command = Command::new(&self.program);
        command.args([format!("--{}", args::MEASURE), peer.name().into()]);
        command
    }
}

fn has_memory_for(tasks: usize) -> bool {
    memory::available().is_ok_and(|bytes| bytes > (tasks * BYTES_PER_TASK) as f64)
}

/// A line that a child process prints: a metric and its value.
fn parse_value(line: &str) -> Result<(String, f64), String> {
    let (metric, value) = line.split_once(' ').ok_or(format!("says {line:?}"))?;
    let value = value.parse().map_err(|_| format!("says {line:?}"))?;
    Ok((metric.to_owned(), value))
}
