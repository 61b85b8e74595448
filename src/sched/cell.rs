//! Cells: the control blocks of greenlets and of the plain threads that wait beside them.
//!
//! A [`Cell`] is the part that both have; it stands at the start of a
//! [`GreenletCell`](super::greenlet_cell::GreenletCell) and of a
//! [`ThreadCell`](super::thread_cell::ThreadCell), so that a pointer to one is a pointer to the other.

use std::fmt;
use std::mem;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::token::Token;
use crate::reason::WaitCell;
use crate::waker::{Header, Outcome};

/// Tells greenlets apart. Never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(NonZeroU64);

impl Id {
    /// `count` numbers that nobody has yet.
    pub(super) fn reserve(count: u64) -> std::ops::Range<u64> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let first = NEXT.fetch_add(count, Relaxed);
        first..first + count
    }

    pub(super) fn new(number: u64) -> Self {
        Self(NonZeroU64::new(number).expect("numbers start at 1"))
    }

    /// The number that it is shown as, from 1.
    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What every cell has.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Cell {
    /// Must be the first field: wakers point at it and mean the cell.
    header: Header,
    id: Id,
    /// Boxed twice: hardly any has one, and the first box takes one word instead of two.
    name: Option<Box<Box<str>>>,
    spawned_at: &'static Location<'static>,
    /// What its owner waits for, as far as anybody can tell from outside.
    waits_for: WaitCell,
    token: Token,
}

impl Cell {
    /// Where debuggers find what.
    pub(super) const ID: usize = mem::offset_of!(Self, id);
    pub(super) const NAME: usize = mem::offset_of!(Self, name);
    pub(super) const SPAWNED_AT: usize = mem::offset_of!(Self, spawned_at);
    pub(super) const WAITS_FOR: usize = mem::offset_of!(Self, waits_for);

    pub(super) fn new(
        header: Header,
        id: Id,
        name: Option<Box<str>>,
        spawned_at: &'static Location<'static>,
    ) -> Self {
        Self {
            header,
            id,
            name: name.map(Box::new),
            spawned_at,
            waits_for: WaitCell::new(),
            token: Token::new(),
        }
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref().map(|name| &**name)
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    pub(crate) fn waits_for(&self) -> &WaitCell {
        &self.waits_for
    }
}

/// An owning reference to a cell.
pub(crate) struct CellRef(NonNull<Cell>);

// SAFETY: everything in a `Cell` is Sync, and the parts behind it follow rules of their own.
unsafe impl Send for CellRef {}
// SAFETY: as above.
unsafe impl Sync for CellRef {}

impl CellRef {
    /// Takes over one reference.
    ///
    /// # Safety
    ///
    /// The caller owns a reference to the live cell, and gives it up.
    pub(super) unsafe fn from_owned(cell: NonNull<Cell>) -> Self {
        Self(cell)
    }

    /// Takes a reference of its own.
    ///
    /// # Safety
    ///
    /// The cell is alive.
    pub(super) unsafe fn retain(cell: NonNull<Cell>) -> Self {
        // SAFETY: alive (caller).
        unsafe { cell.as_ref() }.header.retain();
        Self(cell)
    }

    pub(super) fn as_ptr(&self) -> NonNull<Cell> {
        self.0
    }

    /// Waits for the token and takes it.
    ///
    /// # Safety
    ///
    /// Called by the cell's owner.
    pub(crate) unsafe fn take_token(&self, deadline: Option<u64>) -> Outcome {
        // SAFETY: the owner's (caller); the header is the first field.
        unsafe { self.token.take(self.0.cast(), deadline) }
    }

    /// Puts the token there, and wakes the owner if it waits for it.
    pub(crate) fn give_token(&self) {
        // SAFETY: the token of this cell, whose first field is the header.
        unsafe { self.token.give(self.0.cast()) };
    }
}

impl Deref for CellRef {
    type Target = Cell;

    #[inline]
    fn deref(&self) -> &Cell {
        // SAFETY: `self` owns a reference.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for CellRef {
    fn clone(&self) -> Self {
        // SAFETY: alive: `self` owns a reference.
        unsafe { Self::retain(self.0) }
    }
}

impl Drop for CellRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `self` owns a reference and is gone after this. The header is the first field.
        unsafe { Header::release(self.0.cast()) };
    }
}

impl fmt::Debug for CellRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
