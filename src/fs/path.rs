//! What is done to a path: each call on the blocking pool.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use super::DirBuilder;
use crate::blocking::blocking;

/// What the filesystem knows about what is at `path`; symbolic links are followed.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound), and
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a directory on the way.
pub fn metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking(|| fs::metadata(path))
}

/// [`metadata`] of a symbolic link itself.
///
/// # Errors
///
/// Those of [`metadata`].
pub fn symlink_metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking(|| fs::symlink_metadata(path))
}

/// Whether there is anything at `path`; symbolic links are followed.
///
/// # Errors
///
/// When that cannot be found out, as for [`PermissionDenied`](io::ErrorKind::PermissionDenied).
pub fn exists<P: AsRef<Path>>(path: P) -> io::Result<bool> {
    let path = path.as_ref();
    blocking(|| fs::exists(path))
}

/// The absolute path without symbolic links, `.` and `..`.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound), and [`NotADirectory`](io::ErrorKind::NotADirectory) for a part
/// that is not the last.
pub fn canonicalize<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking(|| fs::canonicalize(path))
}

/// Where a symbolic link points to.
///
/// # Errors
///
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is none, and those of [`metadata`].
pub fn read_link<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking(|| fs::read_link(path))
}

/// Makes another name for a file.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound), [`AlreadyExists`](io::ErrorKind::AlreadyExists), and
/// [`CrossesDevices`](io::ErrorKind::CrossesDevices).
pub fn hard_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    blocking(|| fs::hard_link(original, link))
}

/// Makes a symbolic link: [`symlink`](crate::os::unix::fs::symlink).
///
/// # Errors
///
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists).
#[deprecated(
    since = "0.1.0",
    note = "std has replaced it with std::os::unix::fs::symlink"
)]
pub fn soft_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    super::unix::symlink(original, link)
}

/// Renames what is at `from`; a file at `to` is replaced.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound), [`CrossesDevices`](io::ErrorKind::CrossesDevices), and
/// [`DirectoryNotEmpty`](io::ErrorKind::DirectoryNotEmpty) for a directory at `to`.
pub fn rename<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    blocking(|| fs::rename(from, to))
}

/// Removes a file, or one of its names. It lives on while it is open.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound), [`IsADirectory`](io::ErrorKind::IsADirectory), and
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) of its directory.
pub fn remove_file<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| fs::remove_file(path))
}

/// Removes an empty directory.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound), [`NotADirectory`](io::ErrorKind::NotADirectory), and
/// [`DirectoryNotEmpty`](io::ErrorKind::DirectoryNotEmpty).
pub fn remove_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| fs::remove_dir(path))
}

/// Removes a directory with all that is in it. Symbolic links are removed and not followed, also when
/// somebody puts them there meanwhile.
///
/// # Errors
///
/// Those of [`remove_file`] and [`remove_dir`]. What was removed before the error is gone.
pub fn remove_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| fs::remove_dir_all(path))
}

/// Makes a directory, whose parent exists.
///
/// # Errors
///
/// Those of [`DirBuilder::create`].
pub fn create_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// Makes a directory, and its parents that are missing.
///
/// # Errors
///
/// Those of [`DirBuilder::create`].
pub fn create_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// Changes who may use what is at `path`; symbolic links are followed.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound), and
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if it is somebody else's.
pub fn set_permissions<P: AsRef<Path>>(path: P, perm: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    blocking(|| fs::set_permissions(path, perm))
}
