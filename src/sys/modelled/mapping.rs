//! Memory of a model: on the heap.

use std::fs::File;
use std::io;

use loom::sync::atomic::AtomicU64;

#[derive(Debug)]
pub(crate) struct Mapping(Box<[AtomicU64]>);

impl Mapping {
    pub(crate) fn private(bytes: usize) -> io::Result<Self> {
        Ok(Self((0..bytes / 8).map(|_| AtomicU64::new(0)).collect()))
    }

    pub(crate) fn of_file(_file: &File, _offset: u64, bytes: usize) -> io::Result<Self> {
        Self::private(bytes)
    }

    pub(crate) fn prefer_huge_pages(&self) {}

    pub(crate) fn words(&self) -> &[AtomicU64] {
        &self.0
    }
}
