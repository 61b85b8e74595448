//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use lexopt::prelude::*;

use crate::params;
use crate::peers::{Job, Peer};
use crate::rows::{self, Case, Row};

pub(crate) const HELP: &str = "\
Measures what greenlets cost, and what the same costs elsewhere.

Usage: bench NAME.. [PARAM=VALUE ..] [OPTIONS]

NAME is a row, `all` rows, `scale` (a yield, from few tasks to a million), or `list`, which
explains the rows. PARAM=VALUE changes a parameter of the row: `bench yield t=10`.

Prints a line for every result: peer, bench, param, value, unit.

Options:
  --compare        print tables: medians, spread, ratio to the best peer, limits
  --json           print the tables as JSON, with the machine described
  --runs N         measure all so often, peers taking turns  [default: 1; 5 with --compare]
  --peers A,B      only these
  --seconds S      measure so long  [default: 5 for echo, 0.5 for all else]
  --quick          a trial: one run, short, without what takes gigabytes
  --help           print this text
";

/// The options that make this program a child of itself.
pub(crate) const MEASURE: &str = "measure";
pub(crate) const LOAD: &str = "load";

/// What the user wants.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) cases: Vec<Case>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) runs: usize,
    pub(crate) output: Output,
    pub(crate) quick: bool,
    seconds: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Lines,
    Tables,
    Json,
}

/// What the load generator is to do.
#[derive(Debug)]
pub(crate) struct LoadOrder {
    pub(crate) server: SocketAddr,
    /// The server's process.
    pub(crate) process: u32,
    pub(crate) job: Job,
}

/// What this process was started for.
#[derive(Debug)]
pub(crate) enum Task {
    Run(Args),
    List,
    Help,
    /// Be one peer, in one measurement.
    Measure(Peer, Job),
    /// Be the load generator.
    Load(LoadOrder),
}

impl Args {
    /// How long a measurement takes.
    pub(crate) fn time(&self, row: Row) -> Duration {
        let millis = match (row, self.quick) {
            (Row::Echo | Row::EchoTraced, false) => 5_000,
            (Row::Echo | Row::EchoTraced, true) => 200,
            (_, false) => 500,
            (_, true) => 50,
        };
        self.seconds.unwrap_or(Duration::from_millis(millis))
    }
}

pub(crate) fn parse() -> Result<Task, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut words = Vec::new();
    let (mut compare, mut json, mut quick) = (false, false, false);
    let (mut runs, mut peers, mut seconds) = (None, None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) => words.push(word.string()?),
            Long("compare") => compare = true,
            Long("json") => json = true,
            Long("quick") => quick = true,
            Long("runs") => runs = Some(parser.value()?.parse()?),
            Long("peers") => peers = Some(parse_peers(&parser.value()?.string()?)?),
            Long("seconds") => seconds = Some(parse_seconds(&parser.value()?.string()?)?),
            Long("help") | Short('h') => return Ok(Task::Help),
            Long(MEASURE) => {
                let peer = parse_peer(&parser.value()?.string()?)?;
                return Ok(Task::Measure(peer, parse_job(&mut parser)?));
            }
            Long(LOAD) => {
                return Ok(Task::Load(LoadOrder {
                    server: parser.value()?.parse()?,
                    process: parser.value()?.parse()?,
                    job: parse_job(&mut parser)?,
                }));
            }
            _ => return Err(argument.unexpected()),
        }
    }
    let (changes, names): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.contains('='));
    if names == ["list"] {
        return Ok(Task::List);
    }
    let output = match (json, compare) {
        (true, _) => Output::Json,
        (false, true) => Output::Tables,
        (false, false) => Output::Lines,
    };
    let usual_runs = if quick || output == Output::Lines {
        1
    } else {
        5
    };
    let runs = runs.unwrap_or(usual_runs);
    if runs == 0 {
        return Err("nothing can be measured with 0 runs".into());
    }
    let mut cases = parse_cases(&names, &changes)?;
    if quick {
        cases.retain(|case| !case.is_large());
    }
    let peers = peers.unwrap_or(Peer::ALL.to_vec());
    Ok(Task::Run(Args {
        cases,
        peers,
        runs,
        output,
        quick,
        seconds,
    }))
}

fn parse_cases(names: &[String], changes: &[String]) -> Result<Vec<Case>, String> {
    let rows: Vec<_> = names.iter().filter_map(|name| Row::named(name)).collect();
    if let ([_], [row], [_, ..]) = (names, rows.as_slice(), changes) {
        return Ok(vec![parse_case(*row, changes)?]);
    }
    if !changes.is_empty() {
        return Err("parameters can be set for one row".into());
    }
    let cases: Vec<Vec<Case>> = names
        .iter()
        .map(|name| cases_of(name))
        .collect::<Result<_, _>>()?;
    match cases.is_empty() {
        true => Err("the name of a row is missing".into()),
        false => Ok(cases.concat()),
    }
}

fn cases_of(name: &str) -> Result<Vec<Case>, String> {
    match (name, Row::named(name)) {
        ("all", _) => Ok(Row::ALL.into_iter().flat_map(Row::cases).collect()),
        ("scale", _) => Ok(rows::scale()),
        (_, Some(row)) => Ok(row.cases()),
        (_, None) => Err(format!("no row is called {name:?}")),
    }
}

/// The first case of a row, which is the plain one, with changes.
fn parse_case(row: Row, changes: &[String]) -> Result<Case, String> {
    let mut case = row.cases().swap_remove(0);
    for change in changes {
        let (param, value) = params::parse_one(change)?;
        if !case.params.set(&param, value) {
            let (name, params) = (row.name(), &case.params);
            return Err(format!("{name} has no parameter {param:?}, but {params}"));
        }
    }
    Ok(case)
}

fn parse_peers(names: &str) -> Result<Vec<Peer>, String> {
    names.split(',').map(parse_peer).collect()
}

fn parse_peer(name: &str) -> Result<Peer, String> {
    Peer::named(name).ok_or_else(|| format!("no peer is called {name:?}"))
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number"))?;
    if !(0.01..=3600.0).contains(&seconds) {
        return Err("a measurement takes 0.01 to 3,600 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// The words that [`job_words`] makes.
fn parse_job(parser: &mut lexopt::Parser) -> Result<Job, lexopt::Error> {
    let row = parser.value()?.string()?;
    Ok(Job {
        row: Row::named(&row).ok_or("no such row")?,
        params: parser.value()?.parse()?,
        time: Duration::from_millis(parser.value()?.parse()?),
    })
}

/// A job on the command line of the process that is to do it: row, parameters, milliseconds.
pub(crate) fn job_words(job: &Job) -> [String; 3] {
    [
        job.row.name().into(),
        job.params.to_string(),
        job.time.as_millis().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(words: &[&str]) -> Result<Vec<String>, String> {
        let words = words.iter().map(|word| word.to_string());
        let (changes, names): (Vec<_>, Vec<_>) = words.partition(|word| word.contains('='));
        let cases = parse_cases(&names, &changes)?;
        Ok(cases.iter().map(|case| case.params.to_string()).collect())
    }

    #[test]
    fn a_parameter_changes_the_plain_case() {
        assert_eq!(cases(&["yield", "t=10"]).unwrap(), ["w=1,t=10"]);
    }

    #[test]
    fn several_rows_may_be_named() {
        assert_eq!(
            cases(&["switch", "spawn_seq"]).unwrap(),
            ["w=1", "w=1", "w=2"]
        );
    }

    #[test]
    fn what_a_row_does_not_have_is_refused() {
        assert!(cases(&["yield", "n=10"]).is_err());
        assert!(cases(&["all", "w=1"]).is_err());
        assert!(cases(&["yield", "switch", "w=1"]).is_err());
        assert!(cases(&["yields"]).is_err());
        assert!(cases(&[]).is_err());
    }
}
