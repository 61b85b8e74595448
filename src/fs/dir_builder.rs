//! How a directory is made.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::blocking::blocking;

/// How a directory is made: [`std::fs::DirBuilder`] for greenlets.
///
/// [`DirBuilderExt`] has its mode.
///
/// ```
/// use greenlet::fs::DirBuilder;
/// use greenlet::os::unix::fs::DirBuilderExt;
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("greenlet-dirs-{}", std::process::id()));
/// DirBuilder::new().recursive(true).mode(0o700).create(path.join("a/b"))?;
/// # greenlet::fs::remove_dir_all(&path)
/// # }
/// ```
pub struct DirBuilder(fs::DirBuilder);

impl DirBuilder {
    /// One directory, whose parent exists.
    #[allow(clippy::new_without_default)]
    #[must_use]
    pub fn new() -> DirBuilder {
        Self(fs::DirBuilder::new())
    }

    /// Whether parents that are missing are made, too; a directory that exists is then no error.
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.0.recursive(recursive);
        self
    }

    /// Makes the directory at `path`.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) unless it is recursive,
    /// [`NotFound`](io::ErrorKind::NotFound) if the parent is missing and it is not, and
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied).
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        blocking(|| self.0.create(path))
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut Self {
        self.0.mode(mode);
        self
    }
}

impl fmt::Debug for DirBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
