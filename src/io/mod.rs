//! [`std::io`] for greenlets.
//!
//! What waits is made green: [`pipe`], and standard input, output and error. All else is std's own.
//! None of it sets `O_NONBLOCK`, which other processes would see: an end of a pipe may be given to a
//! child, and the terminal belongs to the shell, too.

mod channel;
mod pipe;

pub use std::io::{
    BufRead, BufReader, BufWriter, Bytes, Chain, Cursor, Empty, Error, ErrorKind, IntoInnerError,
    IoSlice, IoSliceMut, IsTerminal, LineWriter, Lines, Read, Repeat, Result, Seek, SeekFrom, Sink,
    Split, Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock, Take, Write, WriterPanicked,
    copy, empty, prelude, read_to_string, repeat, sink, stderr, stdin, stdout,
};

pub(crate) use channel::{Channel, is_a_descriptor};
pub use pipe::{PipeReader, PipeWriter, pipe};
