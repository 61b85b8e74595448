//! [`std::fs`] for greenlets.
//!
//! Files are read from the page cache without leaving the hub; all that waits for a disk is done on the
//! [blocking pool](crate::blocking) while the greenlet parks; FIFOs and devices park on epoll. See [`File`].
//!
//! A greenlet that is cancelled before such a call has begun unwinds, and the call is not made. One that
//! has begun is finished, because the kernel cannot be asked to forget it.

mod contents;
mod description;
mod dir_builder;
mod fifo;
mod file;
mod flock;
mod line;
mod open_options;
mod path;
mod read_dir;
mod transfer;
pub(crate) mod unix;

pub use ::std::fs::{FileTimes, FileType, Metadata, Permissions, TryLockError};

pub use contents::{copy, read, read_to_string, write};
pub use dir_builder::DirBuilder;
pub use file::File;
pub use open_options::OpenOptions;
#[allow(deprecated)]
pub use path::soft_link;
pub use path::{
    canonicalize, create_dir, create_dir_all, exists, hard_link, metadata, read_link, remove_dir,
    remove_dir_all, remove_file, rename, set_permissions, symlink_metadata,
};
pub use read_dir::{DirEntry, ReadDir, read_dir};
