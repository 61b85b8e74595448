//! The arena: address space for stacks, for the whole process.
//!
//! Slots of one size come from large regions. A region, once reserved, stays reserved: slots
//! that are given back lose their memory but keep their guard page, so taking one again costs
//! no system call. Regions double in size up to 4 GiB, so that a million stacks of 256 KiB lie
//! in some 70 mappings.
//!
//! The fault handler looks slots up by address; the table it reads is made of atomics and only
//! ever grows.

use std::fmt;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::sync::{MutexGuard, OnceLock};

use crate::lock::StaticMutex;
use crate::sys::{memory, probe};

/// The colours: multiples of a cache line. Twice as many make a yield of 1,000 greenlets a tenth faster,
/// and a third of all greenlets that read sockets need a third page.
const COLOURS: usize = 16;
const CACHE_LINE: usize = 64;

/// Regions grow up to this size.
const MAX_REGION: usize = 4 << 30;
/// The first region of a size is about this large.
const FIRST_REGION: usize = 16 << 20;

/// A region is only taken if so much address space is left beside it: when the process runs
/// into its limit, spawning fails and the rest of the program goes on.
const HEADROOM: usize = 32 << 20;

/// So many mappings are left to the rest of the program, where guard pages take them.
const SPARE_MAPPINGS: usize = 2048;

/// Slot sizes are powers of two, 2^15 to 2^40.
const SMALLEST_CLASS: u32 = 15;
const CLASSES: usize = 26;

const MAX_REGIONS: usize = 4096;

static CLASS: [StaticMutex<Class>; CLASSES] = [const { StaticMutex::new(Class::new()) }; CLASSES];
static REGIONS: [AtomicPtr<Region>; MAX_REGIONS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_REGIONS];
static REGION_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether guard pages need mappings of their own. Goes from false to true once, when the kernel
/// refuses `MADV_GUARD_INSTALL`; who reads it late asks the kernel again.
static GUARD_BY_PROTECT: AtomicBool = AtomicBool::new(false);

/// A range of address space with a guard page at its low end. Whoever holds the value may use
/// the memory.
#[derive(Debug)]
pub(crate) struct Slot {
    region: &'static Region,
    index: usize,
}

impl Slot {
    /// The addresses that may be used: above the guard page, below the colour.
    pub(crate) fn usable(&self) -> Range<usize> {
        self.region.usable(self.index)
    }

    /// The whole slot in bytes.
    pub(crate) fn size(&self) -> usize {
        self.region.slot_size
    }

    /// Provides memory for the topmost `bytes` that may be used, if they are more than a page: a system
    /// call is cheaper than two faults.
    pub(crate) fn populate(&self, bytes: usize) {
        let end = self.region.address + (self.index + 1) * self.region.slot_size;
        let start = (self.usable().end - bytes) & !(page() - 1);
        if end - start > page() {
            memory::populate(start, end - start);
        }
    }

    /// Says who uses the slot, for the fault handler; null for nobody.
    #[inline]
    pub(crate) fn set_owner(&self, owner: *const ()) {
        // Release: pairs with the Acquire in `find`, which reads through the pointer.
        self.region.owners[self.index].store(owner.cast_mut(), Release);
    }

    /// Gives the slot back, its memory to the kernel.
    pub(crate) fn give_back(self) {
        let base = self.region.address + self.index * self.region.slot_size;
        // SAFETY: the range is this slot's without its guard page, in a region that is never
        // released, and the slot's owner does not want the content any more.
        unsafe { memory::discard(base + page(), self.region.slot_size - page()) };
        class_of(self.region.slot_size).given_back.push(self);
    }
}

/// What lies at an address that faulted.
#[derive(Debug)]
pub(crate) struct Found {
    /// What [`Slot::set_owner`] was given.
    pub(crate) owner: *const (),
    /// The guard page of the slot.
    pub(crate) guard: Range<usize>,
    pub(crate) slot_size: usize,
    /// See [`Slot::usable`].
    pub(crate) usable: Range<usize>,
}

/// The slot that `address` lies in. Safe in signal handlers: reads atomics only.
pub(crate) fn find(address: usize) -> Option<Found> {
    // Acquire: pairs with the Release in `publish`.
    let count = REGION_COUNT.load(Acquire).min(MAX_REGIONS);
    for region in &REGIONS[..count] {
        // SAFETY: a region that was published is never freed. Acquire: pairs with the Release in
        // `publish`, for a count that was raised before its entry was written.
        let Some(region) = (unsafe { region.load(Acquire).as_ref() }) else {
            continue;
        };
        let Some(offset) = address.checked_sub(region.address) else {
            continue;
        };
        if offset < region.slots * region.slot_size {
            let index = offset / region.slot_size;
            let base = region.address + index * region.slot_size;
            return Some(Found {
                // Acquire: pairs with the Release in `set_owner`.
                owner: region.owners[index].load(Acquire),
                guard: base..base + page(),
                slot_size: region.slot_size,
                usable: region.usable(index),
            });
        }
    }
    None
}

/// The size of the slot for a stack of `size` bytes beside `reserved` bytes that are not stack:
/// what was asked for where that leaves room enough, more otherwise. `None` if it does not fit
/// into the address space.
pub(crate) fn slot_size(size: usize, reserved: usize) -> Option<usize> {
    let reserved = reserved + page() + COLOURS * CACHE_LINE;
    let size = if reserved <= size / 4 {
        size
    } else {
        size.checked_add(reserved)?
    };
    let size = size.checked_next_power_of_two()?.max(1 << SMALLEST_CLASS);
    let class = size.trailing_zeros() - SMALLEST_CLASS;
    (class < CLASSES as u32).then_some(size)
}

/// A slot of `slot_size` bytes (as [`slot_size`] answers), guarded, its memory zero.
///
/// `OutOfMemory` when address space, page tables or mappings have run out.
pub(crate) fn take(slot_size: usize) -> io::Result<Slot> {
    let mut class = class_of(slot_size);
    // A slot that was used before has its guard page already.
    if let Some(slot) = class.given_back.pop() {
        return Ok(slot);
    }
    if class.next.is_empty() {
        class.grow(slot_size)?;
    }
    let slot = Slot {
        region: class.newest.expect("a class that has grown has a region"),
        index: class.next.start,
    };
    install_guard(slot.region.address + slot.index * slot_size)?;
    class.next.start += 1;
    class.handed_out += 1;
    Ok(slot)
}

/// How many slots of each size are in use or kept warm: size and number.
pub(crate) fn taken() -> Vec<(usize, usize)> {
    let numbered = CLASS.iter().enumerate();
    let counted = numbered.map(|(class, slots)| {
        let slots = slots.lock();
        (
            1 << (class as u32 + SMALLEST_CLASS),
            slots.handed_out - slots.given_back.len(),
        )
    });
    counted.filter(|&(_, count)| count > 0).collect()
}

/// All slots of one size that nobody uses.
#[derive(Debug)]
struct Class {
    /// Slots that were used before: without memory, with a guard page.
    given_back: Vec<Slot>,
    newest: Option<&'static Region>,
    /// The slots of `newest` that were never taken.
    next: Range<usize>,
    /// How many were taken for the first time.
    handed_out: usize,
}

impl Class {
    const fn new() -> Self {
        Self {
            given_back: Vec::new(),
            newest: None,
            next: 0..0,
            handed_out: 0,
        }
    }

    /// Reserves another region: twice the last one's size, or what can be had.
    fn grow(&mut self, slot_size: usize) -> io::Result<()> {
        let first = (FIRST_REGION / slot_size).max(1);
        let wanted = self.newest.map_or(first, |region| region.slots * 2);
        let mut slots = wanted.min((MAX_REGION / slot_size).max(1));
        let address = loop {
            match reserve(slots * slot_size) {
                Ok(address) => break address,
                Err(_) if slots > 1 => slots /= 2,
                Err(error) => {
                    let what = format!(
                        "no address space for a stack of {slot_size} bytes \
                         (RLIMIT_AS, RLIMIT_DATA and vm.overcommit_memory limit it)"
                    );
                    return Err(out_of_memory(&what, &error));
                }
            }
        };
        let Some(region) = publish(Region::new(address, slots, slot_size)) else {
            // SAFETY: reserved above, and no slot of it was handed out.
            unsafe { memory::release(address, slots * slot_size) };
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "too many stack regions",
            ));
        };
        self.newest = Some(region);
        self.next = 0..slots;
        Ok(())
    }
}

/// One reserved mapping, cut into slots. Never freed.
#[derive(Debug)]
struct Region {
    address: usize,
    slots: usize,
    slot_size: usize,
    /// Who uses which slot: written by the slot's holder, read by the fault handler.
    owners: Box<[AtomicPtr<()>]>,
}

impl Region {
    fn new(address: usize, slots: usize, slot_size: usize) -> Self {
        let owners = (0..slots)
            .map(|_| AtomicPtr::new(ptr::null_mut()))
            .collect();
        Self {
            address,
            slots,
            slot_size,
            owners,
        }
    }

    /// The addresses of a slot that may be used: above the guard page, below the colour.
    fn usable(&self, index: usize) -> Range<usize> {
        let base = self.address + index * self.slot_size;
        let colour = index % COLOURS * CACHE_LINE;
        base + page()..base + self.slot_size - colour
    }
}

/// Makes a region known to [`find`]. `None` when the table is full.
fn publish(region: Region) -> Option<&'static Region> {
    let index = REGION_COUNT.fetch_add(1, Relaxed);
    let Some(entry) = REGIONS.get(index) else {
        REGION_COUNT.fetch_sub(1, Relaxed);
        return None;
    };
    let region: &'static Region = Box::leak(Box::new(region));
    // Release: pairs with the Acquire in `find`.
    entry.store(ptr::from_ref(region).cast_mut(), Release);
    Some(region)
}

/// Reserves `size` bytes, if [`HEADROOM`] can be had as well.
fn reserve(size: usize) -> io::Result<usize> {
    let whole = size
        .checked_add(HEADROOM)
        .ok_or(io::ErrorKind::OutOfMemory)?;
    let address = memory::reserve(whole)?.as_ptr() as usize;
    // SAFETY: reserved just now, and nobody uses it.
    unsafe { memory::release(address + size, HEADROOM) };
    Ok(address)
}

fn install_guard(address: usize) -> io::Result<()> {
    if !GUARD_BY_PROTECT.load(Relaxed) && !probe::without("guard_install") {
        // SAFETY: the page is the lowest of a slot that is not in use, in a region of the arena.
        match unsafe { memory::install_guard(address, page()) } {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            answer => return answer.map_err(|e| out_of_memory("no memory for a guard page", &e)),
        }
    }
    GUARD_BY_PROTECT.store(true, Relaxed);
    protect_guard(address)
}

/// The guard page as a mapping of its own, which makes the rest of the slot another one.
fn protect_guard(address: usize) -> io::Result<()> {
    /// Guard pages that are mappings.
    static PROTECTED: AtomicUsize = AtomicUsize::new(0);
    static LIMIT: OnceLock<usize> = OnceLock::new();

    let refused = |why: &dyn fmt::Display| {
        let what = "no mapping for a guard page \
                    (vm.max_map_count limits them; Linux 6.13 or newer needs none)";
        out_of_memory(what, why)
    };
    let limit = *LIMIT.get_or_init(|| {
        let left = memory::mappings_left().unwrap_or(usize::MAX);
        left.saturating_sub(SPARE_MAPPINGS) / 2
    });
    if PROTECTED.fetch_add(1, Relaxed) >= limit {
        PROTECTED.fetch_sub(1, Relaxed);
        let why = "those that are left are for the rest of the program";
        return Err(refused(&why));
    }
    // SAFETY: the page is the lowest of a slot that is not in use, in a region of the arena.
    unsafe { memory::protect(address, page()) }.map_err(|error| {
        PROTECTED.fetch_sub(1, Relaxed);
        refused(&error)
    })
}

fn out_of_memory(what: &str, why: &dyn fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, format!("{what}: {why}"))
}

fn class_of(slot_size: usize) -> MutexGuard<'static, Class> {
    debug_assert!(slot_size.is_power_of_two());
    CLASS[(slot_size.trailing_zeros() - SMALLEST_CLASS) as usize].lock()
}

pub(super) fn page() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    *PAGE.get_or_init(memory::page_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_found_by_every_address_in_it() {
        let slot = take(1 << 16).unwrap();
        let owner = 0x1234 as *const ();
        slot.set_owner(owner);
        let usable = slot.usable();
        for address in [usable.start, usable.end - 1, usable.start - 1] {
            let found = find(address).unwrap();
            assert_eq!(found.owner, owner);
            assert_eq!(found.slot_size, 1 << 16);
            assert_eq!(found.guard.end, usable.start);
        }
        slot.set_owner(ptr::null());
        slot.give_back();
    }

    #[test]
    fn a_slot_that_comes_back_is_zero_again() {
        let slot = take(1 << 17).unwrap();
        let address = slot.usable().end - 8;
        // SAFETY: the slot is ours, and the address lies in it.
        unsafe { (address as *mut u64).write_volatile(7) };
        slot.give_back();
        let slots: Vec<_> = (0..3).map(|_| take(1 << 17).unwrap()).collect();
        for slot in &slots {
            // SAFETY: as above.
            let word = unsafe { ((slot.usable().end - 8) as *const u64).read_volatile() };
            assert_eq!(word, 0);
        }
        slots.into_iter().for_each(Slot::give_back);
    }

    #[test]
    fn neighbours_have_different_colours() {
        let slots: Vec<_> = (0..4).map(|_| take(1 << 18).unwrap()).collect();
        let mut tops: Vec<_> = slots.iter().map(|slot| slot.usable().end % 4096).collect();
        tops.sort_unstable();
        tops.dedup();
        assert!(tops.len() > 1);
        slots.into_iter().for_each(Slot::give_back);
    }

    #[test]
    fn a_size_that_does_not_fit_is_refused() {
        assert_eq!(slot_size(usize::MAX, 4096), None);
        assert_eq!(slot_size((1 << 40) + 1, 4096), None);
        assert_eq!(slot_size(256 << 10, 4800), Some(256 << 10));
        assert_eq!(slot_size(16 << 10, 4800), Some(32 << 10));
    }
}
