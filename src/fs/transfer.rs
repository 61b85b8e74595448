//! Reading and writing a [`File`].

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::File;
use super::description::{Way, is_unsupported};
use crate::blocking::blocking;
use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::sched;
use crate::sys::file::{self, Mode};
use crate::sys::poll;

/// More than this is copied on the pool even if it is in the page cache: it takes as long as waiting
/// for a thread, and others want the hub.
const INLINE_MAX: usize = 256 * 1024;

/// What a pipe takes in one piece, and certainly without waiting when it has said that it is ready.
const PIECE: usize = libc::PIPE_BUF;

impl File {
    #[inline]
    fn read_from(&self, bufs: &mut [IoSliceMut<'_>], offset: Option<u64>) -> io::Result<usize> {
        if !sched::on_greenlet() {
            return file::read(self.as_fd(), bufs, offset, Mode::Blocking);
        }
        match self.description.way_to_read(self.as_fd()) {
            Way::Now => self.read_cached(bufs, offset),
            Way::Pool => self.read_on_pool(bufs, offset),
            // What has offsets is no stream, and waits for nobody; a stream answers so at once.
            Way::Poll if offset.is_some() => self.read_on_pool(bufs, offset),
            Way::Memory => self.read_memory(bufs, offset),
            Way::PollNow => self.read_polled(bufs, offset),
            Way::Poll => self.read_when_ready(bufs),
        }
    }

    /// Takes what is in the page cache, or else leaves it to the pool.
    #[inline]
    fn read_cached(&self, bufs: &mut [IoSliceMut<'_>], offset: Option<u64>) -> io::Result<usize> {
        if !self.may_go_inline(total(bufs.iter().map(|buf| buf.len())), offset) {
            return self.read_on_pool(bufs, offset);
        }
        match file::read(self.as_fd(), bufs, offset, Mode::Now) {
            Ok(length) => {
                sched::count_read(false);
                sched::spend_io();
                Ok(length)
            }
            Err(error) => self.read_uncached(bufs, offset, error),
        }
    }

    #[cold]
    fn read_uncached(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        offset: Option<u64>,
        error: io::Error,
    ) -> io::Result<usize> {
        if is_unsupported(&error) {
            return match self.description.reading.refused(self.as_fd()) {
                Way::Memory => self.read_memory(bufs, offset),
                _ => self.read_on_pool(bufs, offset),
            };
        }
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {
                self.read_on_pool(bufs, offset)
            }
            _ => Err(error),
        }
    }

    fn read_memory(&self, bufs: &mut [IoSliceMut<'_>], offset: Option<u64>) -> io::Result<usize> {
        if !self.may_go_inline(total(bufs.iter().map(|buf| buf.len())), offset) {
            return self.read_on_pool(bufs, offset);
        }
        let length = file::read(self.as_fd(), bufs, offset, Mode::Blocking)?;
        sched::count_read(false);
        sched::spend_io();
        Ok(length)
    }

    fn read_on_pool(&self, bufs: &mut [IoSliceMut<'_>], offset: Option<u64>) -> io::Result<usize> {
        sched::count_read(true);
        self.on_pool(offset, || {
            file::read(self.as_fd(), bufs, offset, Mode::Blocking)
        })
    }

    fn read_polled(&self, bufs: &mut [IoSliceMut<'_>], offset: Option<u64>) -> io::Result<usize> {
        let answer = self.source.retry(Interest::Read, WaitReason::IoRead, |fd| {
            self.or_would_block(file::read(fd, bufs, offset, Mode::Now))
        });
        match answer {
            Err(error) if is_unsupported(&error) => {
                self.description.reading.refused(self.as_fd());
                self.read_from(bufs, offset)
            }
            answer => answer,
        }
    }

    fn read_when_ready(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let wait = WaitReason::IoRead;
        let _turn = self.description.readers.enter(self.waits_for(wait));
        self.source.retry(Interest::Read, wait, |fd| {
            let read = || file::read(fd, bufs, None, Mode::Blocking);
            self.when_ready(fd, libc::POLLIN, read)
        })
    }

    fn write_to(&self, bufs: &[IoSlice<'_>], offset: Option<u64>) -> io::Result<usize> {
        if !sched::on_greenlet() {
            return file::write(self.as_fd(), bufs, offset, Mode::Blocking);
        }
        match self.description.way_to_write(self.as_fd()) {
            Way::Now => self.write_cached(bufs, offset),
            Way::Pool => self.write_on_pool(bufs, offset),
            Way::Poll if offset.is_some() => self.write_on_pool(bufs, offset),
            Way::Memory => self.write_memory(bufs, offset),
            Way::PollNow => self.write_polled(bufs, offset),
            Way::Poll => self.write_when_ready(bufs),
        }
    }

    /// Puts it into the page cache, or else leaves it to the pool.
    fn write_cached(&self, bufs: &[IoSlice<'_>], offset: Option<u64>) -> io::Result<usize> {
        if !self.may_go_inline(total(bufs.iter().map(|buf| buf.len())), offset) {
            return self.write_on_pool(bufs, offset);
        }
        match file::write(self.as_fd(), bufs, offset, Mode::Now) {
            Ok(length) => {
                sched::spend_io();
                Ok(length)
            }
            Err(error) if is_unsupported(&error) => {
                match self.description.writing.refused(self.as_fd()) {
                    Way::Memory => self.write_memory(bufs, offset),
                    _ => self.write_on_pool(bufs, offset),
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {
                    self.write_on_pool(bufs, offset)
                }
                _ => Err(error),
            },
        }
    }

    fn write_memory(&self, bufs: &[IoSlice<'_>], offset: Option<u64>) -> io::Result<usize> {
        if !self.may_go_inline(total(bufs.iter().map(|buf| buf.len())), offset) {
            return self.write_on_pool(bufs, offset);
        }
        let length = file::write(self.as_fd(), bufs, offset, Mode::Blocking)?;
        sched::spend_io();
        Ok(length)
    }

    fn write_on_pool(&self, bufs: &[IoSlice<'_>], offset: Option<u64>) -> io::Result<usize> {
        self.on_pool(offset, || {
            file::write(self.as_fd(), bufs, offset, Mode::Blocking)
        })
    }

    fn write_polled(&self, bufs: &[IoSlice<'_>], offset: Option<u64>) -> io::Result<usize> {
        let answer = self.write_all_of(bufs, |fd, rest| {
            self.or_would_block(file::write(fd, rest, offset, Mode::Now))
        });
        match answer {
            Err(error) if is_unsupported(&error) => {
                self.description.writing.refused(self.as_fd());
                self.write_to(bufs, offset)
            }
            answer => answer,
        }
    }

    fn write_when_ready(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let wait = self.waits_for(WaitReason::IoWrite);
        let _turn = self.description.writers.enter(wait);
        self.write_all_of(bufs, |fd, rest| {
            let piece = &[IoSlice::new(first_piece(rest))];
            let write = || file::write(fd, piece, None, Mode::Blocking);
            self.when_ready(fd, libc::POLLOUT, write)
        })
    }

    /// Writes all that a blocking write would: `write` is given what is left, and waits are made in
    /// between. An error after the first byte is left for the next call to meet.
    fn write_all_of(
        &self,
        bufs: &[IoSlice<'_>],
        mut write: impl FnMut(BorrowedFd<'_>, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let wanted = total(bufs.iter().map(|buf| buf.len()));
        let mut written = 0;
        let result = self
            .source
            .retry(Interest::Write, WaitReason::IoWrite, |fd| {
                loop {
                    let count = match written {
                        0 => write(fd, bufs)?,
                        _ => write_rest(bufs, written, |rest| write(fd, rest))?,
                    };
                    written += count;
                    if count == 0 || written >= wanted {
                        return Ok(());
                    }
                }
            });
        match result {
            Err(error) if written == 0 => Err(error),
            _ => Ok(written),
        }
    }

    fn seek_to(&self, to: SeekFrom) -> io::Result<u64> {
        // The end of a file may have to be asked of a server.
        let may_wait = matches!(to, SeekFrom::End(_)) || self.description.is_moving();
        if may_wait && sched::on_greenlet() {
            self.on_pool(None, || (&*self.as_std()).seek(to))
        } else {
            (&*self.as_std()).seek(to)
        }
    }

    /// Runs on the pool what uses the file, and its position if there is no `offset`.
    fn on_pool<T: Send>(
        &self,
        offset: Option<u64>,
        f: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        match offset {
            Some(_) => blocking(f),
            None => self.description.moving(|| blocking(f)),
        }
    }

    #[inline]
    fn may_go_inline(&self, wanted: usize, offset: Option<u64>) -> bool {
        wanted <= INLINE_MAX && (offset.is_some() || !self.description.is_moving())
    }

    /// If it would block: notes whether the user has asked for that answer.
    fn or_would_block<T>(&self, answer: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &answer
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.source.refresh_mode()?;
        }
        answer
    }

    /// Runs `f` on the pool if the kernel says that it would not wait, and otherwise answers
    /// `WouldBlock`. Where the user has asked for that answer, `f` gives it.
    fn when_ready<T: Send>(
        &self,
        fd: BorrowedFd<'_>,
        events: libc::c_short,
        f: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        self.source.refresh_mode()?;
        if self.source.is_nonblocking() {
            return f();
        }
        if poll::poll(fd, events, Some(Duration::ZERO))? {
            blocking(f)
        } else {
            Err(io::Error::from_raw_os_error(libc::EAGAIN))
        }
    }

    /// Whether the rest of the file is better read in one go, on the pool. Otherwise answers how
    /// much is left as far as known.
    fn rest(&self) -> Option<usize> {
        if !sched::on_greenlet() {
            return None;
        }
        match self.description.way_to_read(self.as_fd()) {
            Way::Poll | Way::PollNow => return Some(0),
            Way::Pool => return None,
            Way::Now | Way::Memory => {}
        }
        let length = file::known_len(self.as_fd()).ok()?;
        let position = self.seek_to(SeekFrom::Current(0)).ok()?;
        let rest = usize::try_from(length.saturating_sub(position)).ok()?;
        (rest <= INLINE_MAX).then_some(rest)
    }

    /// [`on_pool`](Self::on_pool) in a greenlet.
    fn with_rest<T: Send>(
        &self,
        f: impl FnOnce(&fs::File) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        if sched::on_greenlet() {
            sched::count_read(true);
        }
        self.on_pool(None, || f(&self.as_std()))
    }
}

/// Reads by and by, which is what the trait's own methods do: they know no length, but that needs
/// room for was made.
struct Gradually<'a>(&'a File);

impl Read for Gradually<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_from(&mut [IoSliceMut::new(buf)], None)
    }
}

fn total(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.fold(0, usize::saturating_add)
}

#[cold]
fn write_rest(
    bufs: &[IoSlice<'_>],
    written: usize,
    write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut rest = bufs.to_vec();
    let mut rest = &mut rest[..];
    IoSlice::advance_slices(&mut rest, written);
    write(rest)
}

/// The first bytes there are, as many as a pipe takes without waiting.
fn first_piece<'a>(bufs: &'a [IoSlice<'_>]) -> &'a [u8] {
    let first = bufs.iter().find(|buf| !buf.is_empty());
    let first: &[u8] = first.map_or(&[], |buf| buf);
    &first[..first.len().min(PIECE)]
}

impl Read for &File {
    /// Reads from the file's position on. What is in the page cache is read at once; what is not is
    /// read on the blocking pool.
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_from(&mut [IoSliceMut::new(buf)], None)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_from(bufs, None)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        match self.rest() {
            Some(rest) => {
                buf.try_reserve(rest)?;
                Gradually(self).read_to_end(buf)
            }
            None => self.with_rest(|mut file| file.read_to_end(buf)),
        }
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        match self.rest() {
            Some(rest) => {
                buf.try_reserve(rest)?;
                Gradually(self).read_to_string(buf)
            }
            None => self.with_rest(|mut file| file.read_to_string(buf)),
        }
    }
}

impl Write for &File {
    /// Writes at the file's position, or at the end of one that was opened to append.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_to(&[IoSlice::new(buf)], None)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_to(bufs, None)
    }

    /// Does nothing: what was written is with the kernel.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.seek_to(pos)
    }
}

impl Read for File {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.seek_to(pos)
    }
}

impl FileExt for File {
    #[inline]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_from(&mut [IoSliceMut::new(buf)], Some(offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.write_to(&[IoSlice::new(buf)], Some(offset))
    }
}
