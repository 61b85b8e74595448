//! Whole files: read, written and copied in one go.
//!
//! For a regular file that is one job of the blocking pool from opening to closing. What waits for others,
//! as a FIFO does, is opened, read and written as a [`File`].

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use super::open_options::Opened;
use super::{File, OpenOptions};
use crate::blocking::blocking;
use crate::sched;

/// The contents of the file at `path`.
///
/// # Errors
///
/// Those of [`OpenOptions::open`] and of reading, and
/// [`IsADirectory`](io::ErrorKind::IsADirectory).
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    read_whole(path.as_ref(), |file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// The contents of the file at `path`.
///
/// # Errors
///
/// [`InvalidData`](io::ErrorKind::InvalidData) if it is not UTF-8, and those of [`read`].
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    read_whole(path.as_ref(), |file| {
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    })
}

/// Writes a file: makes it if it does not exist, replaces what was in it if it does.
///
/// # Errors
///
/// Those of [`OpenOptions::open`] and of writing. What was written before the error stays.
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let contents = contents.as_ref();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    whole(&options, path.as_ref(), |file| file.write_all(contents))
}

/// Copies the contents of a regular file, and who may use it, to `to`, which is made or replaced.
/// Answers with the number of bytes.
///
/// # Errors
///
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if `from` is no regular file, and those of opening,
/// reading and writing. What was written before the error stays.
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    if !sched::on_greenlet() {
        return fs::copy(from, to);
    }
    match blocking(|| copy_unless_it_waits(from, to)) {
        Some(answer) => answer,
        None => copy_by_hand(from, to),
    }
}

/// `None` if one of them may be something that waits for others.
fn copy_unless_it_waits(from: &Path, to: &Path) -> Option<io::Result<u64>> {
    let is_special = |path| {
        fs::metadata(path).is_ok_and(|found: fs::Metadata| !found.is_file() && !found.is_dir())
    };
    (!is_special(from) && !is_special(to)).then(|| fs::copy(from, to))
}

fn copy_by_hand(from: &Path, to: &Path) -> io::Result<u64> {
    let mut from = File::open(from)?;
    if !from.metadata()?.is_file() {
        let message = "the source path is neither a regular file nor a symlink to a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    io::copy(&mut from, &mut File::create(to)?)
}

fn read_whole<T: Send>(
    path: &Path,
    read: impl FnMut(&mut dyn Read) -> io::Result<T> + Send,
) -> io::Result<T> {
    let mut read = read;
    whole(OpenOptions::new().read(true), path, |file| read(file))
}

/// What both kinds of file are.
trait ReadWrite: Read + Write {}

impl ReadWrite for fs::File {}
impl ReadWrite for File {}

/// Opens a file and uses it: on the pool, if it is a regular one.
fn whole<T: Send>(
    options: &OpenOptions,
    path: &Path,
    mut f: impl FnMut(&mut dyn ReadWrite) -> io::Result<T> + Send,
) -> io::Result<T> {
    let done = blocking(|| match options.open_unless_fifo(path)? {
        Opened::File(mut file) if !is_special(&file) => f(&mut file).map(Done::All),
        Opened::File(file) => Ok(Done::Opened(file)),
        Opened::Fifo => Ok(Done::Nothing),
    })?;
    match done {
        Done::All(value) => Ok(value),
        Done::Opened(file) => f(&mut File::from(file)),
        Done::Nothing => f(&mut options.open(path)?),
    }
}

/// How far the pool has got.
enum Done<T> {
    All(T),
    Opened(fs::File),
    Nothing,
}

fn is_special(file: &fs::File) -> bool {
    let found = file.metadata();
    found.is_ok_and(|found| !found.is_file() && !found.is_dir())
}
