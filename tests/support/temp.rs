//! Directories that go with the test.

use std::env;
use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// A new directory, which is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// On the disk, if the directory for temporary files is.
    pub(crate) fn new() -> Self {
        Self::in_dir(&env::temp_dir())
    }

    pub(crate) fn in_dir(parent: &Path) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let number = NEXT.fetch_add(1, Relaxed);
            let path = parent.join(format!("greenlet-test-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // A process that had this one's number was killed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Makes a FIFO in it.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        let raw = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        // SAFETY: the path is a string that is valid for the call.
        let result = unsafe { libc::mkfifo(raw.as_ptr(), 0o600) };
        assert_eq!(result, 0);
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
