//! The command line.

use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Spawns a million greenlets, parks them, wakes them in random order, and ends them.

Usage: million [OPTIONS]

Options:
  --greenlets N  so many of them, if there is memory enough      [default: 1000000]
  --hubs N       run on N hubs (OS threads)     [default: GREENLET_HUBS, or the CPUs]
  --own          only with thread-locals of their own
  --shared       only with their worker's thread-locals
  --json         print one JSON object per run, each on a line of its own
  --help         print this text

GREENLET_STACK_SIZE sets the size of a stack in bytes of address space; smaller ones
take less memory for page tables.
";

/// Whose thread-locals a greenlet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadLocals {
    Own,
    Shared,
}

/// What the user asked for.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) greenlets: usize,
    /// None leaves it to the runtime.
    pub(crate) hubs: Option<usize>,
    /// None is both, one after the other.
    pub(crate) thread_locals: Option<ThreadLocals>,
    pub(crate) json: bool,
}

impl Args {
    /// Reads the words after the program's name; `None` is a request for help.
    pub(crate) fn parse(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;

        let mut args = Self {
            greenlets: 1_000_000,
            hubs: None,
            thread_locals: None,
            json: false,
        };
        let mut parser = lexopt::Parser::from_args(words);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("greenlets") => args.greenlets = count(&parser.value()?.string()?)?,
                Long("hubs") => args.hubs = Some(count(&parser.value()?.string()?)?),
                Long("own") => args.thread_locals = Some(ThreadLocals::Own),
                Long("shared") => args.thread_locals = Some(ThreadLocals::Shared),
                Long("json") => args.json = true,
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Some(args))
    }
}

fn count(word: &str) -> Result<usize, String> {
    match word.replace('_', "").parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{word:?} is not a number from 1 up")),
    }
}
