//! [`std::io`] for greenlets.
//!
//! What waits is made green: [`pipe`], [`copy`] between pipes, and standard input, output and error. All
//! else is std's own. None of it sets `O_NONBLOCK`, which other processes would see: an end of a pipe may be given to a
//! child, and the terminal belongs to the shell, too.

mod channel;
pub(crate) mod child_pipes;
mod copy;
mod pipe;
mod stdio;

pub use std::io::{
    BufRead, BufReader, BufWriter, Bytes, Chain, Cursor, Empty, Error, ErrorKind, IntoInnerError,
    IoSlice, IoSliceMut, LineWriter, Lines, Read, Repeat, Result, Seek, SeekFrom, Sink, Split,
    Take, Write, WriterPanicked, empty, prelude, read_to_string, repeat, sink,
};

pub use copy::copy;
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use stdio::{
    IsTerminal, Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock, stderr, stdin, stdout,
};
