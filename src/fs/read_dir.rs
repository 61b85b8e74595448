//! The entries of a directory.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};

use crate::blocking::blocking;
use crate::sched;

/// So many entries are read by one job of the blocking pool.
const BATCH: usize = 256;

/// The entries of a directory; by [`read_dir`]. [`std::fs::ReadDir`] for greenlets.
///
/// In a greenlet up to 256 entries are read at a time, on the [blocking pool](crate::blocking), when the first of
/// them is asked for.
pub struct ReadDir {
    entries: fs::ReadDir,
    /// Read, and not asked for yet.
    ahead: VecDeque<io::Result<DirEntry>>,
}

/// One entry of a directory: [`std::fs::DirEntry`] for greenlets.
pub struct DirEntry {
    entry: fs::DirEntry,
    /// What a thread that may wait has found out.
    file_type: Option<FileType>,
}

/// The entries of the directory at `path`, in no order, without `.` and `..`.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// for entry in greenlet::fs::read_dir(".")? {
///     println!("{}", entry?.file_name().display());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound), [`NotADirectory`](io::ErrorKind::NotADirectory),
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied), and when the process has too many descriptors
/// open. Each entry can be an error, too.
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    let path = path.as_ref();
    let entries = blocking(|| fs::read_dir(path))?;
    Ok(ReadDir {
        entries,
        ahead: VecDeque::new(),
    })
}

impl ReadDir {
    /// Reads ahead. The answers are given in order, errors included, so that nobody sees that.
    fn fill(&mut self) {
        let (entries, ahead) = (&mut self.entries, &mut self.ahead);
        blocking(|| ahead.extend(entries.take(BATCH).map(|entry| entry.map(DirEntry::typed))));
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.ahead.is_empty() {
            if !sched::on_greenlet() {
                return Some(self.entries.next()?.map(DirEntry::new));
            }
            self.fill();
        }
        self.ahead.pop_front()
    }
}

// std's is, too. The errors that are read ahead are handed out and not looked at.
impl UnwindSafe for ReadDir {}
impl RefUnwindSafe for ReadDir {}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.fmt(f)
    }
}

impl DirEntry {
    fn new(entry: fs::DirEntry) -> Self {
        Self {
            entry,
            file_type: None,
        }
    }

    /// With its type, which most filesystems tell with the entry, and others must be asked for.
    fn typed(entry: fs::DirEntry) -> Self {
        let file_type = entry.file_type().ok();
        Self { entry, file_type }
    }

    /// The path that `read_dir` was called with, and the name of the entry.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// What the filesystem knows about the entry; a symbolic link is not followed.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if it has been removed meanwhile.
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking(|| self.entry.metadata())
    }

    /// Whether it is a file, a directory or something else; a symbolic link is not followed.
    ///
    /// # Errors
    ///
    /// Those of [`metadata`](Self::metadata), on filesystems that do not tell it with the entry.
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => blocking(|| self.entry.file_type()),
        }
    }

    /// The name of the entry.
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.entry.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(f)
    }
}
