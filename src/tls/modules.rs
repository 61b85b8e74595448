//! The values that thread-locals start with, for blocks that are used again.
//!
//! A fresh block gets them from glibc. Before another greenlet lives in it, they are copied
//! again from the modules that are loaded now: the program and its libraries, but not libc.so
//! and ld.so, whose thread-locals stay as in a thread that goes on (they own memory).

use std::ops::ControlFlow;
use std::ptr;
use std::sync::Arc;

use super::layout::static_thread_locals;
use super::place;
use super::symbols::{Specimen, Symbols};
use crate::arch::tcb;
use crate::error::ThreadLocalsError;
use crate::lock::Mutex;
use crate::sys::{dl, heap};

/// A dynamic thread-local block that the thread has not needed yet, in glibc's vector.
const UNALLOCATED: usize = usize::MAX;

/// How often the loader has added and removed modules: tells whether a list is up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    added: u64,
    removed: u64,
}

impl Version {
    fn of(info: &libc::dl_phdr_info) -> Self {
        Self {
            added: info.dlpi_adds,
            removed: info.dlpi_subs,
        }
    }
}

/// Where one module's thread-locals lie in every block, and the values they start with.
#[derive(Debug)]
struct Image {
    /// From the thread pointer.
    offset: isize,
    /// The module's own copy, good as long as the module is loaded.
    values: *const u8,
    /// Bytes there. The rest, up to `size`, starts as zero.
    filled: usize,
    size: usize,
}

/// The modules at one moment. Immutable; a newer list replaces it.
#[derive(Debug)]
pub(super) struct Modules {
    version: Version,
    /// Of the modules whose thread-locals are part of the block itself.
    images: Box<[Image]>,
    /// Whether there are others, whose thread-locals are allocated when first used.
    any_dynamic: bool,
    /// Tells at little cost that these are still all there are. Only for those that the program was
    /// started with, none of which is ever unloaded.
    end: Option<dl::ListEnd>,
}

// SAFETY: `values` is only read, and only of modules that are still there, because they are never
// unloaded or the loader's list is locked: see `Modules::reset`. `end` is only compared, too.
unsafe impl Send for Modules {}
// SAFETY: as above; nothing is ever written.
unsafe impl Sync for Modules {}

impl Modules {
    /// Gives the thread-locals of the block at `tp` the values they start with. False, and
    /// perhaps nothing done, if modules have come or gone since this list was made.
    ///
    /// # Safety
    ///
    /// The block is one of `Block`'s, and nobody is on it.
    #[inline]
    unsafe fn reset(&self, tp: usize) -> bool {
        if self.end.is_some_and(|end| end.holds()) {
            // SAFETY: no module was added, and those that there are stay.
            unsafe { self.copy_to(tp) };
            return true;
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.reset_under_lock(tp) }
    }

    /// # Safety
    ///
    /// As for [`Self::reset`]; and the modules are loaded, and stay so over the call.
    #[inline]
    unsafe fn copy_to(&self, tp: usize) {
        for image in &self.images {
            // SAFETY: the module is loaded; its part of the block is nobody else's.
            unsafe { image.copy_to(tp) };
        }
    }

    /// # Safety
    ///
    /// As for [`Self::reset`].
    #[cold]
    unsafe fn reset_under_lock(&self, tp: usize) -> bool {
        let mut current = false;
        // Inside the loader's lock no module can go, so the images are there; and a library
        // that takes the place of another must first wait for the same lock.
        dl::for_each_module(|info| {
            current = Version::of(info) == self.version;
            if current {
                // SAFETY: it is loaded, and the list is locked.
                unsafe { self.copy_to(tp) };
            }
            ControlFlow::Break(())
        });
        if current && self.any_dynamic {
            // SAFETY: nobody is on the block.
            unsafe { free_dynamic(tp) };
        }
        current
    }

    /// Looks at what is loaded now.
    fn read(symbols: &Symbols) -> Result<Self, ThreadLocalsError> {
        loop {
            let version = current_version();
            // Looking up a symbol waits for a `dlopen` that is half done on another thread: the
            // library would be listed already, and not yet have its place in the blocks. In this
            // order: one that `version` counts is done then, and one that begins later makes the
            // versions differ at the end.
            let _ = dl::symbol(c"_dl_allocate_tls");
            // A fresh block is what tells the places: its vector has all of them, while that of
            // a thread has only the modules that the thread has used.
            let specimen = symbols
                .allocate_specimen()
                .ok_or_else(|| refusal("no memory for a thread control block".into()))?;
            let mut modules = Self::read_from(symbols, &specimen, version)?;
            modules.end = dl::ListEnd::find(symbols.loader).filter(|_| !modules.any_dynamic);
            if current_version() == version {
                return Ok(modules);
            }
        }
    }

    fn read_from(
        symbols: &Symbols,
        specimen: &Specimen,
        version: Version,
    ) -> Result<Self, ThreadLocalsError> {
        let mut images = Vec::new();
        let mut any_dynamic = false;
        let mut misplaced = None;
        dl::for_each_module(|info| {
            let own = dl::covers(info, symbols.libc) || dl::covers(info, symbols.loader);
            if info.dlpi_tls_modid != 0 && !own {
                // SAFETY: the specimen is a whole block.
                match unsafe { vector_entry(specimen.tp, info.dlpi_tls_modid) } {
                    None => any_dynamic = true,
                    Some(address) => match image_at(symbols, specimen.tp, address, info) {
                        Some(image) => images.push(image),
                        None => misplaced = Some(address.wrapping_sub(specimen.tp)),
                    },
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(offset) = misplaced {
            let found = format!("thread-locals of a module at {:+#x}", offset as isize);
            return Err(refusal(found));
        }
        Ok(Self {
            version,
            images: images.into_boxed_slice(),
            any_dynamic,
            end: None,
        })
    }
}

impl Image {
    /// # Safety
    ///
    /// The module is loaded, and nobody uses its thread-locals in the block at `tp`.
    unsafe fn copy_to(&self, tp: usize) {
        let to = place::<u8>(tp, self.offset);
        // SAFETY: `filled` bytes are there to read (the module is loaded), and `size`, which is
        // not less, to write.
        unsafe {
            ptr::copy_nonoverlapping(self.values, to, self.filled);
            ptr::write_bytes(to.add(self.filled), 0, self.size - self.filled);
        }
    }
}

/// The newest list, shared by all blocks that were renewed since it was made.
#[derive(Debug)]
pub(super) struct CurrentModules(Mutex<Arc<Modules>>);

impl CurrentModules {
    pub(super) fn read(symbols: &Symbols) -> Result<Self, ThreadLocalsError> {
        Ok(Self(Mutex::new(Arc::new(Modules::read(symbols)?))))
    }

    pub(super) fn get(&self) -> Arc<Modules> {
        Arc::clone(&self.0.lock())
    }

    /// Resets the block at `tp` by its own list `known`, or, if that is old, by a new one,
    /// which then takes its place. False if there is no memory to make one.
    ///
    /// # Safety
    ///
    /// As for [`Modules::reset`].
    #[inline]
    pub(super) unsafe fn reset(
        &self,
        symbols: &Symbols,
        known: &mut Arc<Modules>,
        tp: usize,
    ) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { known.reset(tp) || self.reset_slow(symbols, known, tp) }
    }

    /// # Safety
    ///
    /// As for [`Modules::reset`].
    #[cold]
    unsafe fn reset_slow(&self, symbols: &Symbols, known: &mut Arc<Modules>, tp: usize) -> bool {
        loop {
            // Another block may have had to make a new list already.
            *known = self.get();
            // SAFETY: the caller's promise is the same.
            if unsafe { known.reset(tp) } {
                return true;
            }
            // Not under the lock: reading may wait for a `dlopen` of another thread.
            match Modules::read(symbols) {
                Ok(modules) => *self.0.lock() = Arc::new(modules),
                Err(_) => return false,
            }
        }
    }
}

fn current_version() -> Version {
    let mut version = Version {
        added: 0,
        removed: 0,
    };
    dl::for_each_module(|info| {
        version = Version::of(info);
        ControlFlow::Break(())
    });
    version
}

/// The image of a module whose part of the block at `tp` starts at `address`, which must lie
/// inside of the block.
fn image_at(
    symbols: &Symbols,
    tp: usize,
    address: usize,
    info: &libc::dl_phdr_info,
) -> Option<Image> {
    let header = dl::program_headers(info)
        .iter()
        .find(|header| header.p_type == libc::PT_TLS)?;
    let size = header.p_memsz as usize;
    let room = static_thread_locals(symbols, tp);
    let fits = address >= room.start && address.checked_add(size)? <= room.end;
    fits.then(|| Image {
        offset: address.wrapping_sub(tp) as isize,
        values: ptr::with_exposed_provenance((info.dlpi_addr + header.p_vaddr) as usize),
        filled: header.p_filesz as usize,
        size,
    })
}

/// One entry of a dynamic thread vector: where the module's thread-locals are, and what to free.
/// The entry before the first holds the number of entries.
#[repr(C)]
struct VectorEntry {
    value: usize,
    to_free: usize,
}

/// The vector of the block at `tp`: its generation, then an entry per module number.
///
/// # Safety
///
/// `tp` is a whole block.
unsafe fn vector(tp: usize) -> *mut VectorEntry {
    // SAFETY: the word of every block points to its vector.
    ptr::with_exposed_provenance_mut(unsafe { *place::<usize>(tp, tcb::DTV) })
}

/// Where the block at `tp` has the thread-locals of the module with this number.
///
/// # Safety
///
/// `tp` is a whole block.
unsafe fn vector_entry(tp: usize, module: usize) -> Option<usize> {
    // SAFETY: the entry before the first is the length, and no entry beyond it is read.
    unsafe {
        let vector = vector(tp);
        let length = (*vector.sub(1)).value;
        let entry = (module <= length).then(|| (*vector.add(module)).value)?;
        (entry != UNALLOCATED).then_some(entry)
    }
}

/// Frees the thread-locals that were allocated for the block at `tp`, so that the next
/// greenlet gets new ones when it uses them.
///
/// # Safety
///
/// Nobody is on the block.
unsafe fn free_dynamic(tp: usize) {
    // SAFETY: the vector has that many entries behind the first; one with something to free is
    // the block's own, and its two words are what glibc writes for one not allocated yet.
    unsafe {
        let vector = vector(tp);
        let length = (*vector.sub(1)).value;
        for module in 1..=length {
            let entry = &mut *vector.add(module);
            if entry.to_free != 0 {
                heap::free(entry.to_free);
                entry.value = UNALLOCATED;
                entry.to_free = 0;
            }
        }
    }
}

fn refusal(found: String) -> ThreadLocalsError {
    ThreadLocalsError::new("modules", found)
}
