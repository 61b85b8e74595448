//! What [`std::os::unix::fs`] does to paths and files: each call on the blocking pool.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs;
use std::path::Path;

use crate::blocking::blocking;

/// Makes a symbolic link at `link` that points to `original`.
///
/// # Errors
///
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists), and those of making a file in that directory.
pub fn symlink<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    blocking(|| fs::symlink(original, link))
}

/// Changes the owner and the group, each if it is given, of what is at `dir`; symbolic links are
/// followed.
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound), and
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied), as nearly only root may.
pub fn chown<P: AsRef<Path>>(dir: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let dir = dir.as_ref();
    blocking(|| fs::chown(dir, uid, gid))
}

/// [`chown`] of an open file.
///
/// # Errors
///
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied).
pub fn fchown<F: AsFd>(fd: F, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let fd = fd.as_fd();
    blocking(|| fs::fchown(fd, uid, gid))
}

/// [`chown`] of a symbolic link itself.
///
/// # Errors
///
/// Those of [`chown`].
pub fn lchown<P: AsRef<Path>>(dir: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let dir = dir.as_ref();
    blocking(|| fs::lchown(dir, uid, gid))
}

/// Makes `dir` the root directory of the process, with all of its threads.
///
/// # Errors
///
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied), as only root may.
pub fn chroot<P: AsRef<Path>>(dir: P) -> io::Result<()> {
    let dir = dir.as_ref();
    blocking(|| fs::chroot(dir))
}
