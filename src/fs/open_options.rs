//! How a file is opened.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::{File, fifo};
use crate::blocking::blocking;
use crate::sched;

/// How a file is opened: [`std::fs::OpenOptions`] for greenlets.
///
/// [`OpenOptionsExt`] has the mode of a file that is made, and flags.
///
/// ```
/// use greenlet::fs::OpenOptions;
/// use greenlet::os::unix::fs::OpenOptionsExt;
/// use std::io::Write;
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("greenlet-options-{}", std::process::id()));
/// let mut log = OpenOptions::new()
///     .append(true)
///     .create(true)
///     .mode(0o600)
///     .open(&path)?;
/// writeln!(log, "one line")?;
/// # greenlet::fs::remove_file(&path)
/// # }
/// ```
#[derive(Clone)]
pub struct OpenOptions {
    options: fs::OpenOptions,
    /// What `options` does not tell.
    read: bool,
    write: bool,
    append: bool,
    flags: i32,
}

impl OpenOptions {
    /// Nothing is chosen yet.
    #[allow(clippy::new_without_default)]
    #[must_use]
    pub fn new() -> Self {
        Self {
            options: fs::OpenOptions::new(),
            read: false,
            write: false,
            append: false,
            flags: 0,
        }
    }

    /// Whether it can be read.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.options.read(read);
        self.read = read;
        self
    }

    /// Whether it can be written.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.options.write(write);
        self.write = write;
        self
    }

    /// Whether it can be written at the end only, wherever that is at the moment of a write.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.options.append(append);
        self.append = append;
        self
    }

    /// Whether it is emptied. Needs writing.
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.options.truncate(truncate);
        self
    }

    /// Whether it is made if it does not exist. Needs writing or appending.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.options.create(create);
        self
    }

    /// Whether it is made, and must not exist. Needs writing or appending.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.options.create_new(create_new);
        self
    }

    /// Opens the file at `path`, on the blocking pool.
    ///
    /// A FIFO is open when it has its other end. A greenlet that waits for that needs no thread of the
    /// pool, and looks at intervals of up to 20 ms, longer when more than a thousand wait.
    ///
    /// # Errors
    ///
    /// Among them [`NotFound`](io::ErrorKind::NotFound),
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied),
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) with [`create_new`](Self::create_new), and
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for options that contradict each other.
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        self.open_path(path.as_ref())
    }

    fn open_path(&self, path: &Path) -> io::Result<File> {
        if !sched::on_greenlet() {
            return self.options.open(path).map(File::from);
        }
        match blocking(|| self.open_unless_fifo(path))? {
            Opened::File(file) => Ok(file.into()),
            Opened::Fifo => self.open_fifo(path),
        }
    }

    /// Opens what does not wait for others. For threads that may wait for the disk.
    pub(super) fn open_unless_fifo(&self, path: &Path) -> io::Result<Opened> {
        // Open for both it is its own other end; and what fails is to fail as it always does.
        let writes = self.write || self.append;
        let waits = self.read != writes && self.flags & (libc::O_NONBLOCK | libc::O_PATH) == 0;
        let is_fifo = || fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
        if waits && is_fifo() {
            return Ok(Opened::Fifo);
        }
        self.options.open(path).map(Opened::File)
    }

    /// Opens one end of a FIFO once there is the other.
    #[cold]
    fn open_fifo(&self, path: &Path) -> io::Result<File> {
        let mut options = self.options.clone();
        options.custom_flags(self.flags | libc::O_NONBLOCK);
        let mut pauses = fifo::Pauses::new();
        loop {
            // Without a reader a writer is told so.
            match blocking(|| options.open(path)) {
                Ok(file) => return fifo::complete(file.into(), self.read),
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => pauses.sleep(),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What became of an attempt to open a file.
pub(super) enum Opened {
    File(fs::File),
    /// It would have waited for the other end.
    Fifo,
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut Self {
        self.options.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.options.custom_flags(flags);
        self.flags = flags;
        self
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}
