//! Standard output.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::is_a_stream;
use super::lock::{Held, ReentrantLock};
use super::raw::{self, Sink};
use crate::sched;

/// Locked with it: whether a greenlet has left the start of a line in std's buffer.
static STDOUT: ReentrantLock<AtomicBool> = ReentrantLock::new(AtomicBool::new(false));

/// What std's buffer holds: what is shorter is put there, and not written past it.
const BUFFERED: usize = 1024;

/// A handle to the standard output of the process.
#[must_use]
pub fn stdout() -> Stdout {
    Stdout(())
}

/// The standard output of the process: [`std::io::Stdout`] for greenlets.
///
/// Whole lines are written at once, each with one write(2) where std does that: a `writeln!` or
/// [`write_all`](Write::write_all) puts what was kept of a line and its end into one. So lines of several
/// processes that share a pipe, or append to one file, stay whole. What comes after the last line's end is
/// in std's own buffer, so that `print!` and this keep their order, a [`flush`](Write::flush) is for both,
/// and std writes it when the process ends.
///
/// A greenlet parks while a pipe, a socket or a terminal takes no more. To a file on disk up to 4,096 bytes
/// are written on the hub, as a log does everywhere: they go to the page cache, and wait only where the
/// kernel slows down who writes faster than the disk, or the file was opened with `O_SYNC` or `O_DIRECT`.
/// More than that at once, and what goes to a [`File`](crate::fs::File), is written by the blocking pool.
///
/// # Differences
///
/// Its lock is not std's: `println!` may write while it is held. A program whose `println!` must not block
/// a hub writes by `writeln!` to this. The start of a line that `print!` or a plain thread has left is
/// written on its own when a greenlet ends the line.
///
/// In a greenlet, what one `write!` formats of a line comes after what its arguments write here meanwhile.
pub struct Stdout(());

/// Standard output, locked: [`std::io::StdoutLock`] for greenlets.
///
/// It may be held over waits; who wants it meanwhile parks. Its owner may take it again.
pub struct StdoutLock<'a>(Held<'a, AtomicBool>);

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
    /// As std's, this writes what was kept before, and on its own: it could not say how much of both was
    /// written.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !sched::on_greenlet() {
            return std::io::stdout().write(buf);
        }
        // Whole lines, and what is too long to be kept, go out; the rest is kept.
        let (lines, rest) = split_lines(buf);
        let (out, rest) = if rest.len() < BUFFERED {
            (lines, rest)
        } else {
            (buf, &[][..])
        };
        if !out.is_empty() {
            let written = self.flush_to(raw::STDOUT.sink())?.write(out)?;
            if written < out.len() {
                return Ok(written);
            }
        }
        match self.keep(rest) {
            Ok(()) => Ok(buf.len()),
            // The next call meets it.
            Err(_) if !out.is_empty() => Ok(out.len()),
            Err(error) => Err(error),
        }
    }

    /// Writes what was kept.
    fn flush(&mut self) -> io::Result<()> {
        if !sched::on_greenlet() {
            return std::io::stdout().flush();
        }
        self.flush_to(raw::STDOUT.sink()).map(drop)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        if !sched::on_greenlet() {
            return std::io::stdout().write_all(buf);
        }
        let (lines, rest) = split_lines(buf);
        if !lines.is_empty() {
            self.write_lines(lines)?;
        }
        if rest.len() < BUFFERED {
            return self.keep(rest);
        }
        self.flush_to(raw::STDOUT.sink())?.write_all(rest)
    }

    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        if !sched::on_greenlet() {
            return std::io::stdout().write_fmt(args);
        }
        if let Some(text) = args.as_str() {
            return self.write_all(text.as_bytes());
        }
        let mut formatted = Formatted {
            stdout: self,
            start: Vec::new(),
        };
        let result = formatted.write_fmt(args);
        // What was formatted before an error is written, as in std.
        let flushed = formatted.flush();
        result.and(flushed)
    }
}

/// In a greenlet.
impl StdoutLock<'_> {
    /// Writes `lines`, which end with one, in one piece with what was kept of the first, if std does that.
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let sink = raw::STDOUT.sink();
        let may_join = sink.is_on_disk() || self.0.load(Relaxed);
        if may_join && lines.len() < BUFFERED {
            sink.wait_writable()?;
            std::io::stdout().write_all(lines)?;
            self.0.store(false, Relaxed);
            sched::spend_io();
            return Ok(());
        }
        self.flush_to(sink)?.write_all(lines)
    }

    /// Puts the start of a line, shorter than std's buffer, into that; which is written out before, if it
    /// is full.
    fn keep(&mut self, start: &[u8]) -> io::Result<()> {
        if start.is_empty() {
            return Ok(());
        }
        raw::STDOUT.sink().wait_writable()?;
        self.0.store(true, Relaxed);
        std::io::stdout().write_all(start)
    }

    /// Writes what was kept. `sink` is then for what comes after it.
    fn flush_to(&mut self, sink: Sink) -> io::Result<Sink> {
        sink.wait_writable()?;
        std::io::stdout().flush()?;
        self.0.store(false, Relaxed);
        Ok(sink)
    }
}

/// What a greenlet formats: its pieces are put together up to the end of a line, which can be written
/// without waiting then, where std's buffer cannot.
struct Formatted<'a, 'lock> {
    stdout: &'a mut StdoutLock<'lock>,
    /// Of a line.
    start: Vec<u8>,
}

impl Write for Formatted<'_, '_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece)?;
        Ok(piece.len())
    }

    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        let (lines, rest) = split_lines(piece);
        if !lines.is_empty() {
            self.start.extend_from_slice(lines);
            self.flush()?;
        }
        self.start.extend_from_slice(rest);
        if self.start.len() < BUFFERED {
            return Ok(());
        }
        self.flush()
    }

    /// Passes on what was put together.
    fn flush(&mut self) -> io::Result<()> {
        let result = self.stdout.write_all(&self.start);
        self.start.clear();
        result
    }
}

/// What goes up to the end of the last line, and what comes after it.
fn split_lines(buf: &[u8]) -> (&[u8], &[u8]) {
    let last = buf.iter().rposition(|&byte| byte == b'\n');
    buf.split_at(last.map_or(0, |place| place + 1))
}

is_a_stream!(raw::STDOUT, Stdout, StdoutLock);

/// A child's stream that is our standard output.
impl From<Stdout> for Stdio {
    fn from(_: Stdout) -> Self {
        std::io::stdout().into()
    }
}
