//! A file that is in the page cache, and random offsets in it.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::process;

/// What is read at once.
pub(crate) const PAGE: usize = 4096;

/// 64 MiB: more than the processor's caches hold, and little for the page cache.
const COUNT: u64 = 16 << 10;

/// The file. Its name is gone already.
#[derive(Debug)]
pub(crate) struct Pages {
    file: File,
}

impl Pages {
    /// Writes the file, so that all of it is cached.
    pub(crate) fn new() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("bench-pages-{}", process::id()));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        fs::remove_file(&path)?;
        for page in 0..COUNT {
            file.write_all(&[page as u8; PAGE])?;
        }
        Ok(Self { file })
    }

    pub(crate) fn into_file(self) -> File {
        self.file
    }
}

/// The same offsets for every peer.
#[derive(Debug)]
pub(crate) struct Offsets(fastrand::Rng);

impl Offsets {
    pub(crate) fn new() -> Self {
        Self(fastrand::Rng::with_seed(1))
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0.u64(0..COUNT) * PAGE as u64
    }
}
