//! Where debuggers find the greenlets, in a live process and in a core file: `tools/gdb/greenlet.py`.
//!
//! A [`Directory`] in a static says at which offsets of our types there is what, since programs are often built without
//! debug information of types; and it leads to all hubs. Debuggers look at a process that is stopped, so they take
//! no locks; what a hub was changing at that moment may be half done.

use std::mem;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

use super::cell::Cell;
use super::coarse_clock;
use super::greenlet_cell::GreenletCell;
use super::join::JoinSlot;
use super::shared::{Remote, Shared};
use crate::lock::StaticMutex;
use crate::reason::WaitCell;
use crate::sys::task;
use crate::waker::Header;

/// What a debugger looks for, by the symbol of this name. Numbers are in the order of the machine.
///
/// Version 1 is as it is here; fields may be added at the end, which `size` tells.
#[repr(C)]
pub(super) struct Directory {
    magic: [u8; 8],
    version: u32,
    size: u32,
    /// The first [`HubEntry`], or null.
    hubs: AtomicPtr<HubEntry>,
    /// The address of the clock that waits are counted by, in nanoseconds.
    clock: *const AtomicU64,
    /// Offsets in a greenlet's cell.
    state: u32,
    parked_bit: u32,
    id: u32,
    name: u32,
    spawned_at: u32,
    wait: u32,
    since: u32,
    since_shift: u32,
    parent: u32,
    join_state: u32,
    ended_bit: u32,
    next: u32,
    left_at: u32,
    /// Offsets in what is known of a place in the source: the address and the length of the file's name, line, column.
    /// All ones where they are not known; the same for the address and the length of a text.
    place: [AtomicU32; 4],
    text: [AtomicU32; 2],
}

// SAFETY: what is not atomic is never written; the pointer is only read by debuggers.
unsafe impl Sync for Directory {}

/// An offset that is not known.
const UNKNOWN: u32 = u32::MAX;

/// The directory of this program.
#[unsafe(no_mangle)]
static GREENLET_DIRECTORY: Directory = Directory {
    magic: *b"grnltdir",
    version: 1,
    size: mem::size_of::<Directory>() as u32,
    hubs: AtomicPtr::new(ptr::null_mut()),
    clock: coarse_clock::place(),
    state: Header::STATE as u32,
    parked_bit: Header::PARKED_BIT as u32,
    id: Cell::ID as u32,
    name: Cell::NAME as u32,
    spawned_at: Cell::SPAWNED_AT as u32,
    wait: (Cell::WAITS_FOR + WaitCell::WAIT) as u32,
    since: (Cell::WAITS_FOR + WaitCell::SINCE) as u32,
    since_shift: WaitCell::UNIT_SHIFT,
    parent: GreenletCell::PARENT as u32,
    join_state: GreenletCell::JOIN_STATE as u32,
    ended_bit: JoinSlot::ENDED_BIT as u32,
    next: GreenletCell::NEXT as u32,
    left_at: GreenletCell::LEFT_AT as u32,
    place: [const { AtomicU32::new(UNKNOWN) }; 4],
    text: [const { AtomicU32::new(UNKNOWN) }; 2],
};

/// A hub, as debuggers see it. Part of a `Remote`, in the list from its runtime's start to its end.
#[repr(C)]
#[derive(Debug)]
pub(super) struct HubEntry {
    /// Changed under [`LIST`].
    next: AtomicPtr<HubEntry>,
    /// Tells runtimes apart: the address of what the hubs share.
    runtime: AtomicPtr<Shared>,
    /// The addresses of the first greenlet's, of the running greenlet's, and of the thread's number.
    first: AtomicPtr<()>,
    running: AtomicPtr<()>,
    task: AtomicPtr<()>,
    number: AtomicU32,
}

/// Held by who changes the list.
static LIST: StaticMutex<()> = StaticMutex::new(());

impl HubEntry {
    pub(super) fn new() -> Self {
        Self {
            next: AtomicPtr::default(),
            runtime: AtomicPtr::default(),
            first: AtomicPtr::default(),
            running: AtomicPtr::default(),
            task: AtomicPtr::default(),
            number: AtomicU32::new(0),
        }
    }
}

/// Puts the hubs of a runtime into the list. It stays where it is until [`remove`].
pub(super) fn insert(shared: &Shared) {
    let _list = LIST.lock();
    probe();
    for (number, remote) in shared.hubs.iter().enumerate() {
        let entry = &remote.debugger;
        let at = |place: *const ()| place.cast_mut();
        entry
            .runtime
            .store(ptr::from_ref(shared).cast_mut(), Relaxed);
        entry
            .first
            .store(at(remote.registry.first_place()), Relaxed);
        entry.running.store(at(remote.running_place()), Relaxed);
        entry.task.store(at(remote.task_place()), Relaxed);
        entry.number.store(number as u32, Relaxed);
        entry
            .next
            .store(GREENLET_DIRECTORY.hubs.load(Relaxed), Relaxed);
        // Release: a debugger that stops the thread here finds all of the above.
        let entry = ptr::from_ref(entry).cast_mut();
        GREENLET_DIRECTORY.hubs.store(entry, Release);
    }
}

/// Takes them out of it, if they are there.
pub(super) fn remove(hubs: &[Remote]) {
    let _list = LIST.lock();
    let is_one = |entry: *mut HubEntry| hubs.iter().any(|remote| ptr::eq(&remote.debugger, entry));
    let mut place = &GREENLET_DIRECTORY.hubs;
    // SAFETY: entries in the list are alive, for they are taken out before they go; the list is locked.
    while let Some(entry) = unsafe { place.load(Relaxed).as_ref() } {
        let next = entry.next.load(Relaxed);
        if is_one(place.load(Relaxed)) {
            place.store(next, Relaxed);
        } else {
            place = &entry.next;
        }
    }
}

/// Finds out how the standard library lays out what it does not promise.
fn probe() {
    let here: &'static Location<'static> = Location::caller();
    let file = here.file();
    let [address, length, line, column] = &GREENLET_DIRECTORY.place;
    let words = [file.as_ptr().addr() as u64, file.len() as u64];
    let mut bytes = [0; mem::size_of::<Location<'_>>()];
    if read(ptr::from_ref(here).cast(), &mut bytes) {
        store(address, take(&mut bytes, &words[0].to_ne_bytes()));
        // With a zero byte at its end, or without.
        let with_zero = (words[1] + 1).to_ne_bytes();
        let found =
            take(&mut bytes, &words[1].to_ne_bytes()).or_else(|| take(&mut bytes, &with_zero));
        store(length, found);
        store(line, take(&mut bytes, &here.line().to_ne_bytes()));
        store(column, take(&mut bytes, &here.column().to_ne_bytes()));
    }
    let text: Box<str> = file.into();
    let words = [text.as_ptr().addr() as u64, text.len() as u64];
    let mut bytes = [0; mem::size_of::<Box<str>>()];
    if read(ptr::from_ref(&text).cast(), &mut bytes) {
        let [address, length] = &GREENLET_DIRECTORY.text;
        store(address, take(&mut bytes, &words[0].to_ne_bytes()));
        store(length, take(&mut bytes, &words[1].to_ne_bytes()));
    }
}

/// By the kernel: the value need not be made of bytes that Rust calls initialised.
fn read(address: *const (), bytes: &mut [u8]) -> bool {
    task::read_memory(address.expose_provenance(), bytes).is_ok_and(|read| read == bytes.len())
}

/// Where the value is. It is not found there again: a file's name may be as long as a column's number is high.
fn take(bytes: &mut [u8], value: &[u8]) -> Option<usize> {
    let mut values = bytes.chunks_exact_mut(value.len());
    let place = values.position(|bytes| bytes == value)? * value.len();
    bytes[place..place + value.len()].fill(0xff);
    Some(place)
}

fn store(offset: &AtomicU32, found: Option<usize>) {
    offset.store(found.map_or(UNKNOWN, |found| found as u32), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_at_different_places() {
        let mut bytes = [0; 16];
        bytes[0] = 44;
        bytes[12] = 44;
        assert_eq!(take(&mut bytes, &44_u64.to_le_bytes()), Some(0));
        assert_eq!(take(&mut bytes, &44_u32.to_le_bytes()), Some(12));
        assert_eq!(take(&mut bytes, &44_u32.to_le_bytes()), None);
    }

    #[test]
    fn the_layout_of_places_and_texts_is_found() {
        let _list = LIST.lock();
        probe();
        let mut offsets: Vec<u32> = GREENLET_DIRECTORY
            .place
            .iter()
            .map(|offset| offset.load(Relaxed))
            .collect();
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), 4, "{offsets:?}");
        assert!(offsets.iter().all(|&offset| offset < 32), "{offsets:?}");
        let [address, length] = GREENLET_DIRECTORY.text.each_ref();
        assert_eq!(address.load(Relaxed) + length.load(Relaxed), 8);
    }
}
