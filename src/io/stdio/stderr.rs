//! Standard error.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::Stdio;

use super::is_a_stream;
use super::lock::{Held, ReentrantLock};
use super::raw;

static STDERR: ReentrantLock<()> = ReentrantLock::new(());

/// A handle to the standard error of the process, which has no buffer.
#[must_use]
pub fn stderr() -> Stderr {
    Stderr(())
}

/// The standard error of the process: [`std::io::Stderr`] for greenlets.
///
/// As std's it keeps nothing, so each piece of what is formatted is a write(2): a line is one where it is
/// formatted before. What is written to files is written on the hub as in [`Stdout`](super::Stdout).
///
/// # Differences
///
/// Its lock is not std's: `eprintln!` may write while it is held.
pub struct Stderr(());

/// Standard error, locked: [`std::io::StderrLock`] for greenlets.
///
/// It may be held over waits; who wants it meanwhile parks. Its owner may take it again.
pub struct StderrLock<'a>(#[expect(dead_code, reason = "held for its drop")] Held<'a, ()>);

impl Stderr {
    /// Locks it, and waits until it is free.
    pub fn lock(&self) -> StderrLock<'static> {
        StderrLock(STDERR.lock())
    }
}

impl Write for Stderr {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.lock().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.lock().write_all(buf)
    }

    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        self.lock().write_fmt(args)
    }
}

impl Write for &Stderr {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.lock().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.lock().write_all(buf)
    }

    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        self.lock().write_fmt(args)
    }
}

impl Write for StderrLock<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        raw::STDERR.sink().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

is_a_stream!(raw::STDERR, Stderr, StderrLock);

/// A child's stream that is our standard error.
impl From<Stderr> for Stdio {
    fn from(_: Stderr) -> Self {
        std::io::stderr().into()
    }
}
