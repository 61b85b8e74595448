//! loom's atomics for what is made by a `const fn`: loom makes nothing in there.
//!
//! loom must see each made before it is shared, so a model uses what it has made once, alone.

use std::ops::Deref;
use std::sync::OnceLock;

use loom::sync::atomic::AtomicU32;

/// Made when it is first used.
#[derive(Debug)]
pub(crate) struct ConstAtomicU32 {
    initial: u32,
    atomic: OnceLock<AtomicU32>,
}

impl ConstAtomicU32 {
    pub(crate) const fn new(initial: u32) -> Self {
        let atomic = OnceLock::new();
        Self { initial, atomic }
    }
}

impl Deref for ConstAtomicU32 {
    type Target = AtomicU32;

    fn deref(&self) -> &AtomicU32 {
        self.atomic.get_or_init(|| AtomicU32::new(self.initial))
    }
}
