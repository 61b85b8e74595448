//! Standard input.

use std::fmt;
use std::io::{self, BufRead, BufReader, IoSliceMut, Lines, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::is_a_stream;
use super::lock::{Exclusive, Lock};
use super::raw::{self, RawStream};

/// The buffer of the process, made when it is used first.
static STDIN: Lock<Option<BufReader<Input>>> = Lock::new(None);

/// As std's.
const CAPACITY: usize = 8 << 10;

/// A handle to the standard input of the process.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// let mut line = String::new();
/// greenlet::io::stdin().read_line(&mut line)?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn stdin() -> Stdin {
    Stdin(())
}

/// The standard input of the process: [`std::io::Stdin`] for greenlets.
///
/// All handles share one buffer.
///
/// # Differences
///
/// The buffer is not std's: what std's `stdin` has read ahead is not seen here, and the other way round. So a
/// program uses one of the two.
pub struct Stdin(());

/// Standard input, locked: [`std::io::StdinLock`] for greenlets.
///
/// It may be held over waits; who wants it meanwhile parks.
pub struct StdinLock<'a>(Exclusive<'a, Option<BufReader<Input>>>);

impl Stdin {
    /// Locks it, and waits until it is free.
    ///
    /// # Panics
    ///
    /// If the caller has it locked already.
    pub fn lock(&self) -> StdinLock<'static> {
        StdinLock(STDIN.lock())
    }

    /// Adds a line to `buf`, with its end; 0 at the end of the input.
    ///
    /// # Errors
    ///
    /// Those of reading, and [`InvalidData`](io::ErrorKind::InvalidData) for what is not UTF-8.
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_line(buf)
    }

    /// The lines, without their ends. The input stays locked.
    #[must_use = "`self` will be dropped if the result is not used"]
    pub fn lines(self) -> Lines<StdinLock<'static>> {
        self.lock().lines()
    }
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.lock().read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.lock().read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.lock().read_exact(buf)
    }
}

impl Read for &Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.lock().read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.lock().read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.lock().read_exact(buf)
    }
}

impl StdinLock<'_> {
    fn buffer(&mut self) -> &mut BufReader<Input> {
        let new = || BufReader::with_capacity(CAPACITY, Input(raw::STDIN));
        self.0.get_mut().get_or_insert_with(new)
    }
}

impl Read for StdinLock<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.buffer().read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.buffer().read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.buffer().read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.buffer().read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.buffer().read_exact(buf)
    }
}

impl BufRead for StdinLock<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.buffer().fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.buffer().consume(amount);
    }

    fn read_until(&mut self, byte: u8, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.buffer().read_until(byte, buf)
    }

    fn read_line(&mut self, buf: &mut String) -> io::Result<usize> {
        self.buffer().read_line(buf)
    }
}

is_a_stream!(raw::STDIN, Stdin, StdinLock);

/// What the buffer is filled from.
struct Input(RawStream);

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut [IoSliceMut::new(buf)])
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read(bufs)
    }
}
