//! The dynamic loader: symbols, and the modules that are loaded.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::ControlFlow;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicPtr};

/// The address of `name` in the first loaded module that has it. For a thread-local, the
/// calling thread's.
///
/// The loader's lock is taken, so no `dlopen` of another thread is half done when this returns.
pub(crate) fn symbol(name: &CStr) -> Option<usize> {
    // SAFETY: `name` ends with a zero byte.
    address(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

/// The address of `name` in the first module behind this one: the one that this module hides.
pub(crate) fn next_symbol(name: &CStr) -> Option<usize> {
    // SAFETY: `name` ends with a zero byte.
    address(unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) })
}

fn address(found: *mut c_void) -> Option<usize> {
    (!found.is_null()).then(|| found.expose_provenance())
}

/// The file that `address` was loaded from.
pub(crate) fn file_of(address: usize) -> Option<String> {
    // SAFETY: all zero is a valid Dl_info; `dladdr` fills it, whatever the address is.
    let info = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let found = libc::dladdr(ptr::without_provenance(address), &mut info);
        (found != 0 && !info.dli_fname.is_null()).then_some(info)
    }?;
    // SAFETY: the loader keeps the name as long as the module is loaded; it is copied at once.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(name.to_string_lossy().into_owned())
}

/// The exported symbol that `address` lies in, as the module has it: the nearest one below, so where
/// a module keeps symbols back it may be that of a neighbour.
///
/// Waits for a `dlopen` or `dlclose` that is under way on another thread.
pub(crate) fn exported_symbol(address: usize) -> Option<String> {
    // SAFETY: all zero is a valid Dl_info; `dladdr` fills it, whatever the address is.
    let info = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let found = libc::dladdr(ptr::without_provenance(address), &mut info);
        (found != 0 && !info.dli_sname.is_null()).then_some(info)
    }?;
    // SAFETY: the loader keeps the name as long as the module is loaded; it is copied at once.
    let name = unsafe { CStr::from_ptr(info.dli_sname) };
    Some(name.to_string_lossy().into_owned())
}

/// An address as one of a module's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The module's file, without its folder.
    pub(crate) module: String,
    /// The address in the file: what `addr2line` asks for.
    pub(crate) offset: usize,
}

/// The place of `address`, if it lies in a loaded module. Does not wait for a `dlopen`.
pub(crate) fn place_of(address: usize) -> Option<Place> {
    let mut found = None;
    for_each_module(|info| {
        if !covers(info, address) {
            return ControlFlow::Continue(());
        }
        let name = match info.dlpi_name.is_null() {
            true => c"",
            // SAFETY: the loader keeps the name as long as the module is loaded.
            false => unsafe { CStr::from_ptr(info.dlpi_name) },
        };
        let offset = address.wrapping_sub(info.dlpi_addr as usize);
        found = Some((name.to_string_lossy().into_owned(), offset));
        ControlFlow::Break(())
    });
    let (path, offset) = found?;
    let module = match path.rsplit_once('/') {
        Some((_, file)) => file.to_owned(),
        // The program has no name in the list.
        None if path.is_empty() => program(),
        None => path,
    };
    Some(Place { module, offset })
}

/// The file that this program was started from, without its folder.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Calls `visit` for the loaded modules, the program first, until it breaks.
///
/// Modules can neither come nor go meanwhile: the loader's list is locked. So `visit` must be
/// short, must not load or unload, and must not unwind.
#[inline]
pub(crate) fn for_each_module<F>(mut visit: F)
where
    F: FnMut(&libc::dl_phdr_info) -> ControlFlow<()>,
{
    unsafe extern "C" fn trampoline<F>(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        visit: *mut c_void,
    ) -> c_int
    where
        F: FnMut(&libc::dl_phdr_info) -> ControlFlow<()>,
    {
        // SAFETY: `visit` is the closure below, which nobody else uses during the call.
        let visit = unsafe { &mut *visit.cast::<F>() };
        // SAFETY: the loader lends its record for the call.
        visit(unsafe { &*info }).is_break().into()
    }
    // SAFETY: the trampoline gets what it expects, and only during the call.
    unsafe { libc::dl_iterate_phdr(Some(trampoline::<F>), (&raw mut visit).cast()) };
}

/// The program headers of a module.
pub(crate) fn program_headers(info: &libc::dl_phdr_info) -> &[libc::Elf64_Phdr] {
    // SAFETY: the loader's record describes its own table, which lives as long as the record.
    unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) }
}

/// Whether `address` lies in one of the module's segments.
pub(crate) fn covers(info: &libc::dl_phdr_info, address: usize) -> bool {
    program_headers(info).iter().any(|header| {
        let start = (info.dlpi_addr + header.p_vaddr) as usize;
        header.p_type == libc::PT_LOAD
            && (start..start + header.p_memsz as usize).contains(&address)
    })
}

/// The public start of the loader's record of a module: `struct link_map` of <link.h>.
#[repr(C)]
#[derive(Debug)]
struct LinkMap {
    address: usize,
    _name: *const c_char,
    _dynamic: *const c_void,
    next: AtomicPtr<LinkMap>,
}

/// What the loader tells debuggers: the start of `struct r_debug` of <link.h>.
#[repr(C)]
#[derive(Debug)]
struct Rendezvous {
    /// 2 once there is a second namespace, by `dlmopen`.
    version: AtomicI32,
    first: AtomicPtr<LinkMap>,
}

/// The end of the list of modules, as it is when the program starts: later ones are appended.
///
/// Tells with two loads, and without the loader's lock, that no module was added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListEnd {
    debug: &'static Rendezvous,
    last: &'static LinkMap,
}

impl ListEnd {
    /// `None` if modules were added already, or if the loader, of which `in_loader` is an address,
    /// is not the last of those that the program was started with. The loader is never unloaded, and
    /// neither is what comes before it.
    pub(crate) fn find(in_loader: usize) -> Option<Self> {
        let debug: *const Rendezvous = ptr::with_exposed_provenance(symbol(c"_r_debug")?);
        // SAFETY: the loader's own record, which it keeps for ever.
        let debug = unsafe { &*debug };
        let loader = base_of(in_loader)?;
        let mut found = None;
        // Inside the lock nobody changes the list.
        for_each_module(|_| {
            let mut next = debug.first.load(Relaxed);
            // SAFETY: a record in the list is valid while the lock is held; the loader's, for ever.
            while let Some(module) = unsafe { next.as_ref() } {
                let is_end = module.address == loader;
                found = is_end.then_some(Self {
                    debug,
                    last: module,
                });
                next = module.next.load(Relaxed);
            }
            ControlFlow::Break(())
        });
        found.filter(Self::holds)
    }

    /// Whether no module was added since.
    #[inline]
    pub(crate) fn holds(&self) -> bool {
        // Relaxed: an addition that is under way on another thread may be seen or not.
        self.last.next.load(Relaxed).is_null() && self.debug.version.load(Relaxed) == 1
    }
}

/// Where the module that `address` lies in was loaded.
fn base_of(address: usize) -> Option<usize> {
    // SAFETY: all zero is a valid Dl_info; `dladdr` fills it, whatever the address is.
    let info = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        (libc::dladdr(ptr::without_provenance(address), &mut info) != 0).then_some(info)
    }?;
    Some(info.dli_fbase.addr())
}
