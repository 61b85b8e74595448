//! Standard output.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::Stdio;

use super::is_a_stream;
use super::lock::{Held, ReentrantLock};
use super::raw;
use crate::sched;

static STDOUT: ReentrantLock<()> = ReentrantLock::new(());

/// Less than std's buffer holds: so much is put there, and not written past it.
const BUFFERED: usize = 1024;

/// A handle to the standard output of the process.
#[must_use]
pub fn stdout() -> Stdout {
    Stdout(())
}

/// The standard output of the process: [`std::io::Stdout`] for greenlets.
///
/// Whole lines are written at once. What comes after the last line's end is in std's own buffer, so that
/// `print!` and this keep their order, a [`flush`](Write::flush) is for both, and std writes it when the
/// process ends.
///
/// # Differences
///
/// Its lock is not std's: `println!` may write while it is held. A program whose `println!` must not block
/// a hub writes by `writeln!` to this.
pub struct Stdout(());

/// Standard output, locked: [`std::io::StdoutLock`] for greenlets.
///
/// It may be held over waits; who wants it meanwhile parks. Its owner may take it again.
pub struct StdoutLock<'a>(#[expect(dead_code, reason = "held for its drop")] Held<'a, ()>);

impl Stdout {
    /// Locks it, and waits until it is free.
    pub fn lock(&self) -> StdoutLock<'static> {
        StdoutLock(STDOUT.lock())
    }
}

impl Write for Stdout {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.lock().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.lock().write_all(buf)
    }

    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        self.lock().write_fmt(args)
    }
}

impl Write for &Stdout {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.lock().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.lock().write_all(buf)
    }

    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        self.lock().write_fmt(args)
    }
}

impl Write for StdoutLock<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !sched::on_greenlet() {
            return std::io::stdout().write(buf);
        }
        // Whole lines, and what is too long to be kept, go out; the rest is kept.
        let last_line = buf.iter().rposition(|&byte| byte == b'\n');
        let lines = last_line.map_or(0, |place| place + 1);
        let out = if buf.len() - lines < BUFFERED {
            lines
        } else {
            buf.len()
        };
        if out > 0 {
            self.flush()?;
            let written = raw::STDOUT.write(&buf[..out])?;
            if written < out {
                return Ok(written);
            }
        }
        let rest = &buf[out..];
        if rest.is_empty() {
            return Ok(out);
        }
        match self.keep(rest) {
            Ok(kept) => Ok(out + kept),
            // The next call meets it.
            Err(_) if out > 0 => Ok(out),
            Err(error) => Err(error),
        }
    }

    /// Writes what was kept.
    fn flush(&mut self) -> io::Result<()> {
        wait()?;
        std::io::stdout().flush()
    }
}

impl StdoutLock<'_> {
    /// Puts the start of a line, shorter than std's buffer, into that; which is written out before, if it
    /// is full.
    fn keep(&mut self, start: &[u8]) -> io::Result<usize> {
        wait()?;
        std::io::stdout().write(start)
    }
}

/// Has a greenlet wait until what is in std's buffer can be written without waiting.
fn wait() -> io::Result<()> {
    if sched::on_greenlet() {
        raw::STDOUT.wait_writable()?;
    }
    Ok(())
}

is_a_stream!(raw::STDOUT, Stdout, StdoutLock);

/// A child's stream that is our standard output.
impl From<Stdout> for Stdio {
    fn from(_: Stdout) -> Self {
        std::io::stdout().into()
    }
}
