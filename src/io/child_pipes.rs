//! The parent's ends of a child's pipes; public in `process`. Here because `copy` knows them.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;

use super::channel::{Channel, is_a_descriptor};

mod std_types {
    pub(super) use std::process::{ChildStderr, ChildStdin, ChildStdout};
}

/// A child's standard input: [`std::process::ChildStdin`] for greenlets.
///
/// Dropping it is how the child sees the end of its input.
pub struct ChildStdin(Channel);

/// A child's standard output: [`std::process::ChildStdout`] for greenlets.
pub struct ChildStdout(Channel);

/// A child's standard error: [`std::process::ChildStderr`] for greenlets.
pub struct ChildStderr(Channel);

impl ChildStdin {
    pub(super) fn channel(&self) -> &Channel {
        &self.0
    }
}

impl ChildStdout {
    pub(super) fn channel(&self) -> &Channel {
        &self.0
    }
}

impl ChildStderr {
    pub(super) fn channel(&self) -> &Channel {
        &self.0
    }
}

impl Write for ChildStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &ChildStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for ChildStdout {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
}

impl Read for ChildStderr {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
}

is_a_descriptor!(ChildStdin);
is_a_descriptor!(ChildStdout);
is_a_descriptor!(ChildStderr);

impl fmt::Debug for ChildStdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildStdin").finish_non_exhaustive()
    }
}

impl fmt::Debug for ChildStdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildStdout").finish_non_exhaustive()
    }
}

impl fmt::Debug for ChildStderr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildStderr").finish_non_exhaustive()
    }
}
