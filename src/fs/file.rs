//! An open file.

use std::fmt;
use std::fs::{self, FileTimes, Metadata, Permissions, TryLockError};
use std::io::{self, IsTerminal};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::SystemTime;

use super::description::Description;
use super::{OpenOptions, flock};
use crate::blocking::blocking;
use crate::reason::{Wait, WaitReason};
use crate::sched;
use crate::source::Source;

/// An open file: [`std::fs::File`] for greenlets.
///
/// What a greenlet reads is taken from the page cache at once if it is there, without parking; what would
/// wait for the disk is done on the [blocking pool](crate::blocking) while the greenlet parks.
/// [`Stats`](crate::Stats) counts both. Writes are tried so where the filesystem can (on Linux 6.18 that is
/// XFS and Btrfs), and go to the pool otherwise. Reads and writes of more than 256 KiB always go there. So do
/// opening, [`sync_all`](Self::sync_all), [`metadata`](Self::metadata), [`set_len`](Self::set_len) and what
/// else asks the filesystem, and [`SeekFrom::End`](io::SeekFrom::End).
///
/// FIFOs, terminals, other character devices and sockets park on epoll. `O_NONBLOCK` is never set on
/// them, so other processes that share the description see nothing of it.
///
/// Dropping a file closes it inline, as std does.
///
/// # Examples
///
/// ```
/// use greenlet::fs::{self, File};
/// use std::io::{Read, Write};
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("greenlet-file-{}", std::process::id()));
/// greenlet::run(|| {
///     let mut file = File::create(&path)?;
///     file.write_all(b"hello")?;
///     file.sync_all()?;
///
///     let mut text = String::new();
///     File::open(&path)?.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     fs::remove_file(&path)
/// })
/// # }
/// ```
///
/// # Differences
///
/// - A read of a file in a greenlet may be short where the page cache has only the beginning of what was
///   asked for. On a local filesystem std's reads are then whole, though it promises no more than we do.
/// - [`lock`](Self::lock) waits in line with other greenlets of the process, and sees within 20 ms that
///   another process has unlocked the file.
/// - Outside of std [`IsTerminal`] cannot be implemented for it, nor [`Read`](io::Read),
///   [`Write`](io::Write) and [`Seek`](io::Seek) for `Arc<File>`: there is a method
///   [`is_terminal`](Self::is_terminal), and a reference, `&*file`, can be read and written.
pub struct File {
    pub(super) source: Source,
    /// Clones have the same.
    pub(super) description: Arc<Description>,
    /// After `source`, so that it is dropped when the descriptor is closed.
    _closed: Closed,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Those of [`OpenOptions::open`].
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing: makes it if it does not exist, empties it if it does.
    ///
    /// # Errors
    ///
    /// Those of [`OpenOptions::open`].
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
    }

    /// Makes a file, and opens it for reading and writing.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is anything at `path`, and those of
    /// [`OpenOptions::open`].
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
    }

    /// How to open a file, to be chosen: [`OpenOptions::new`].
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Waits until the disk has the file's contents and metadata.
    ///
    /// # Errors
    ///
    /// Those of fsync(2): also that an earlier write could not be brought to the disk.
    pub fn sync_all(&self) -> io::Result<()> {
        blocking(|| self.as_std().sync_all())
    }

    /// [`sync_all`](Self::sync_all) without metadata that is not needed to read the contents.
    ///
    /// # Errors
    ///
    /// Those of fdatasync(2).
    pub fn sync_data(&self) -> io::Result<()> {
        blocking(|| self.as_std().sync_data())
    }

    /// Takes the exclusive lock of the file, which nobody else then has, not even shared; waits for
    /// it.
    ///
    /// The lock is the description's: all clones have it, and it goes with the last of them. It
    /// keeps nobody from reading and writing who does not ask for it.
    ///
    /// A greenlet that waits needs no thread. Those of one process get the lock of a file in the order in
    /// which they came, unless somebody asks at the moment in which it is free.
    ///
    /// # Errors
    ///
    /// Those of flock(2).
    pub fn lock(&self) -> io::Result<()> {
        self.lock_by(fs::File::try_lock, fs::File::lock)
    }

    /// Takes a shared lock of the file, which others can share, too; waits while anybody has the
    /// exclusive one. As [`lock`](Self::lock) otherwise.
    ///
    /// # Errors
    ///
    /// Those of flock(2).
    pub fn lock_shared(&self) -> io::Result<()> {
        self.lock_by(fs::File::try_lock_shared, fs::File::lock_shared)
    }

    /// Takes the exclusive lock if it is free. Does not park.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it is not, and those of flock(2).
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.as_std().try_lock()
    }

    /// Takes a shared lock unless somebody has the exclusive one. Does not park.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if somebody has, and those of flock(2).
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.as_std().try_lock_shared()
    }

    /// Gives up the lock.
    ///
    /// # Errors
    ///
    /// Those of flock(2).
    pub fn unlock(&self) -> io::Result<()> {
        let result = self.as_std().unlock();
        flock::released();
        result
    }

    /// Cuts the file off, or extends it with zeros. The position stays.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the file is not open for writing, and when it
    /// cannot be as long.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        blocking(|| self.as_std().set_len(size))
    }

    /// What the filesystem knows about the file.
    ///
    /// # Errors
    ///
    /// Those of statx(2).
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking(|| self.as_std().metadata())
    }

    /// Another handle to the same open file: they share the position and locks.
    ///
    /// # Errors
    ///
    /// When the process has too many descriptors open.
    pub fn try_clone(&self) -> io::Result<File> {
        Ok(Self::with(
            self.source.try_clone()?,
            self.description.clone(),
        ))
    }

    /// Changes who may use the file.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if it is somebody else's.
    pub fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        blocking(|| self.as_std().set_permissions(perm))
    }

    /// Sets the times that the file was last read and changed.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if it is somebody else's.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        blocking(|| self.as_std().set_times(times))
    }

    /// Sets the time that the file was last changed.
    ///
    /// # Errors
    ///
    /// Those of [`set_times`](Self::set_times).
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.as_fd().is_terminal()
    }

    fn new(fd: OwnedFd) -> Self {
        Self::with(Source::plain(fd), Arc::default())
    }

    fn with(source: Source, description: Arc<Description>) -> Self {
        Self {
            source,
            description,
            _closed: Closed,
        }
    }

    /// std's file, for calls that we need not make ourselves.
    pub(super) fn as_std(&self) -> BorrowedStd<'_> {
        // SAFETY: the descriptor is open as long as `self` is borrowed, and the file is not dropped.
        let file = unsafe { fs::File::from_raw_fd(self.as_raw_fd()) };
        BorrowedStd {
            file: ManuallyDrop::new(file),
            _fd: self.as_fd(),
        }
    }

    /// A wait of this kind for this file.
    pub(super) fn waits_for(&self, reason: WaitReason) -> Wait {
        reason.on(self.as_raw_fd() as u64)
    }

    fn lock_by(
        &self,
        attempt: fn(&fs::File) -> Result<(), TryLockError>,
        block: fn(&fs::File) -> io::Result<()>,
    ) -> io::Result<()> {
        if sched::on_greenlet() {
            flock::acquire(self.as_fd(), || attempt(&self.as_std()))
        } else {
            block(&self.as_std())
        }
    }
}

/// std's file on a descriptor that it does not own.
pub(super) struct BorrowedStd<'a> {
    file: ManuallyDrop<fs::File>,
    _fd: BorrowedFd<'a>,
}

impl Deref for BorrowedStd<'_> {
    type Target = fs::File;

    fn deref(&self) -> &fs::File {
        &self.file
    }
}

/// Tells those that wait for a lock that a file was closed, which unlocks it.
struct Closed;

impl Drop for Closed {
    fn drop(&mut self) {
        flock::released();
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_std().fmt(f)
    }
}

impl From<fs::File> for File {
    fn from(file: fs::File) -> Self {
        Self::new(file.into())
    }
}

impl From<File> for fs::File {
    fn from(file: File) -> Self {
        OwnedFd::from(file).into()
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd)
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> Self {
        file.source.into_fd()
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        OwnedFd::from(file).into()
    }
}

impl AsFd for File {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl AsRawFd for File {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl FromRawFd for File {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller's promise: `fd` is open and nobody else's.
        Self::new(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        OwnedFd::from(self).into_raw_fd()
    }
}
