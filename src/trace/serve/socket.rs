//! The listening socket, and its place in the file system.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::sys::{socket, unix_socket};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 8;

/// A socket that listens, non-blocking. Its file is removed when it is dropped, unless another one has
/// taken its place.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// The device and number of the file.
    file: (u64, u64),
}

impl Socket {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let address = SocketAddr::from_pathname(path)?;
        let listener = match bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                bind(&address)?
            }
            bound => bound?,
        };
        let path = std::path::absolute(path)?;
        Ok(Self {
            file: file_at(&path)?,
            listener,
            path,
        })
    }

    pub(super) fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if file_at(&self.path).is_ok_and(|file| file == self.file) {
            // If it is gone already, all the better.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A socket that listens at this address, which nobody but the user may connect to from its first moment
/// on: Linux gives the file the mode that the socket has.
fn bind(address: &SocketAddr) -> io::Result<UnixListener> {
    let file = File::from(unix_socket::stream()?);
    file.set_permissions(Permissions::from_mode(0o600))?;
    let fd = OwnedFd::from(file);
    unix_socket::bind(fd.as_fd(), address)?;
    socket::listen(fd.as_fd(), BACKLOG)?;
    Ok(UnixListener::from(fd))
}

/// Removes a socket that nobody listens at any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let in_use = |what: &str| {
        let message = format!("{}: {what}", path.display());
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    };
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return in_use("something is there that is no socket");
    }
    match UnixStream::connect(path) {
        Ok(_) => in_use("another one is served there"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Its owner is alive, and busy.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            in_use("another one is served there")
        }
        Err(error) => Err(error),
    }
}

fn file_at(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The path that a variable names: `%p` is the number of the process.
pub(super) fn path_of(name: &OsStr, process: u32) -> PathBuf {
    let mut path = Vec::new();
    let mut rest = name.as_bytes();
    while let Some(at) = rest.windows(2).position(|two| two == b"%p") {
        path.extend_from_slice(&rest[..at]);
        path.extend_from_slice(process.to_string().as_bytes());
        rest = &rest[at + 2..];
    }
    path.extend_from_slice(rest);
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_process_is_put_in() {
        for (name, path) in [
            ("/tmp/x.sock", "/tmp/x.sock"),
            ("/tmp/%p.sock", "/tmp/7.sock"),
            ("%p%p", "77"),
            ("100%", "100%"),
            ("%%p", "%7"),
        ] {
            assert_eq!(path_of(OsStr::new(name), 7), Path::new(path));
        }
    }
}
