//! Anonymous pipes.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;

use super::channel::{Channel, is_a_descriptor};
use crate::sys;

mod std_types {
    pub(super) use std::io::{PipeReader, PipeWriter};
}

/// A new pipe: [`std::io::pipe`] for greenlets.
///
/// Both ends are closed on exec and in blocking mode. Reading waits for data, or for the last writer
/// to be dropped; writing waits for room.
///
/// # Errors
///
/// When the process or the system has too many descriptors open, or the user too much memory in
/// pipes.
///
/// ```
/// use greenlet::io::{Read, Write};
///
/// greenlet::run(|| -> std::io::Result<()> {
///     let (mut reader, mut writer) = greenlet::io::pipe()?;
///     let other = greenlet::spawn(move || writer.write_all(b"hello"));
///     let mut text = String::new();
///     reader.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     other.join().unwrap()
/// })
/// # .unwrap();
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = sys::pipe::pipe()?;
    Ok((reader.into(), writer.into()))
}

/// The end of a pipe that is read from: [`std::io::PipeReader`] for greenlets.
#[derive(Debug)]
pub struct PipeReader(Channel);

/// The end of a pipe that is written to: [`std::io::PipeWriter`] for greenlets.
///
/// Writing to a pipe that has no reader any more fails with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
#[derive(Debug)]
pub struct PipeWriter(Channel);

impl PipeReader {
    /// Another handle to the same end.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.0
    }
}

impl PipeWriter {
    /// Another handle to the same end. The reader sees the end of the data when all are gone.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.0
    }
}

impl Read for &PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
}

impl Read for PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
}

impl Write for &PipeWriter {
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

impl Write for PipeWriter {
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

is_a_descriptor!(PipeReader);
is_a_descriptor!(PipeWriter);

impl FromRawFd for PipeReader {
    /// # Safety
    ///
    /// `fd` is open, and nobody else owns it: [`OwnedFd`]'s terms.
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller promises what `OwnedFd` asks for.
        unsafe { OwnedFd::from_raw_fd(fd) }.into()
    }
}

impl FromRawFd for PipeWriter {
    /// # Safety
    ///
    /// `fd` is open, and nobody else owns it: [`OwnedFd`]'s terms.
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller promises what `OwnedFd` asks for.
        unsafe { OwnedFd::from_raw_fd(fd) }.into()
    }
}
