//! The functions and tables of glibc that this folder works with.
//!
//! They are looked up by name when the first runtime is built, because most are not part of
//! the public interface: a libc that lacks one must lead to an error, not to a program that
//! does not start. glibc itself keeps them for debuggers (`_thread_db_*`), sanitizers
//! (`_dl_get_tls_static_info`) and for the pair of ld.so and libc.so.

use std::ffi::{CStr, c_void};
use std::mem::transmute;
use std::ptr;

use super::place;
use crate::arch::tcb;
use crate::error::ThreadLocalsError;
use crate::sys::dl;

/// A field of one of glibc's private structures, as its debugger interface describes it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    bits: u32,
    count: u32,
    offset: u32,
}

/// What was found. Every address stays good for the life of the process: libc and ld.so are
/// never unloaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbols {
    allocate_tls: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    deallocate_tls: unsafe extern "C" fn(*mut c_void, bool),
    call_tls_dtors: unsafe extern "C" fn(),
    resolver_state: unsafe extern "C" fn() -> *mut c_void,
    /// Bytes of static thread-locals, with room for libraries that are loaded later.
    pub(super) static_size: usize,
    /// What a thread pointer must be a multiple of.
    pub(super) static_align: usize,
    pub(super) sizeof_pthread: usize,
    pub(super) pthread_list: Field,
    pub(super) pthread_tid: Field,
    pub(super) pthread_specific: Field,
    pub(super) pthread_cancelhandling: Field,
    /// The head of the list of threads whose stacks glibc did not allocate.
    pub(super) stack_user: usize,
    /// The table of the destructors of pthread keys.
    pub(super) pthread_keys: usize,
    /// From the thread pointer to the area that the kernel keeps up to date; from 2.35 on.
    pub(super) rseq_offset: Option<isize>,
    /// Some address in libc.so.6, and some address in ld.so: what tells their modules.
    pub(super) libc: usize,
    pub(super) loader: usize,
}

impl Symbols {
    pub(super) fn find() -> Result<Self, ThreadLocalsError> {
        let allocate_tls = required(c"_dl_allocate_tls")?;
        let resolver_state = required(c"__res_state")?;
        let (static_size, static_align) = static_info()?;
        // SAFETY: the types of the functions and tables are those of glibc 2.34 to 2.43, and
        // `refuse` let no older one pass.
        unsafe {
            Ok(Self {
                allocate_tls: transmute::<usize, unsafe extern "C" fn(*mut c_void) -> *mut c_void>(
                    allocate_tls,
                ),
                deallocate_tls: transmute::<usize, unsafe extern "C" fn(*mut c_void, bool)>(
                    required(c"_dl_deallocate_tls")?,
                ),
                call_tls_dtors: transmute::<usize, unsafe extern "C" fn()>(required(
                    c"__call_tls_dtors",
                )?),
                resolver_state: transmute::<usize, unsafe extern "C" fn() -> *mut c_void>(
                    resolver_state,
                ),
                static_size,
                static_align,
                sizeof_pthread: read::<u32>(c"_thread_db_sizeof_pthread")? as usize,
                pthread_list: read(c"_thread_db_pthread_list")?,
                pthread_tid: read(c"_thread_db_pthread_tid")?,
                pthread_specific: read(c"_thread_db_pthread_specific")?,
                pthread_cancelhandling: read(c"_thread_db_pthread_cancelhandling")?,
                stack_user: read::<usize>(c"__nptl_rtld_global")?
                    + read::<Field>(c"_thread_db_rtld_global__dl_stack_user")?.offset as usize,
                pthread_keys: required(c"__pthread_keys")?,
                rseq_offset: read(c"__rseq_offset").ok(),
                libc: resolver_state,
                loader: allocate_tls,
            })
        }
    }

    /// From the thread pointer to a field of `struct pthread`.
    pub(super) fn in_pthread(&self, field: Field) -> isize {
        tcb::pthread_start(self.sizeof_pthread) + field.offset as isize
    }

    /// Gives the thread control block at `tp` a dynamic thread vector, and its static
    /// thread-locals the values they start with. False if there is no memory.
    ///
    /// # Safety
    ///
    /// `tp` is where a thread pointer may be, the memory around it is the caller's.
    pub(super) unsafe fn allocate_tls(&self, tp: usize) -> bool {
        // SAFETY: see above.
        !unsafe { (self.allocate_tls)(ptr::with_exposed_provenance_mut(tp)) }.is_null()
    }

    /// A thread control block in memory of malloc's, with no `struct pthread` filled in.
    pub(super) fn allocate_specimen(&self) -> Option<Specimen> {
        // SAFETY: null asks for memory, too.
        let tp = unsafe { (self.allocate_tls)(ptr::null_mut()) };
        (!tp.is_null()).then(|| Specimen {
            tp: tp.expose_provenance(),
            deallocate_tls: self.deallocate_tls,
        })
    }

    /// Frees the dynamic thread-locals and the vector of the block at `tp`.
    ///
    /// # Safety
    ///
    /// [`Self::allocate_tls`] was called for it, and it is no thread's thread pointer.
    pub(super) unsafe fn deallocate_tls(&self, tp: usize) {
        // SAFETY: see above; the memory of the block itself stays.
        unsafe { (self.deallocate_tls)(ptr::with_exposed_provenance_mut(tp), false) };
    }

    /// Runs the destructors of the calling thread's thread-locals, until none is left.
    ///
    /// # Safety
    ///
    /// No thread-local with a destructor is in use.
    pub(super) unsafe fn call_tls_dtors(&self) {
        // SAFETY: see above.
        unsafe { (self.call_tls_dtors)() };
    }

    /// The calling thread's resolver state.
    pub(super) fn resolver_state(&self) -> usize {
        // SAFETY: takes nothing.
        unsafe { (self.resolver_state)() }.expose_provenance()
    }
}

/// A block to look at, freed when dropped.
#[derive(Debug)]
pub(super) struct Specimen {
    pub(super) tp: usize,
    deallocate_tls: unsafe extern "C" fn(*mut c_void, bool),
}

impl Drop for Specimen {
    fn drop(&mut self) {
        // SAFETY: the block came from `_dl_allocate_tls`, with its memory, and was only read.
        unsafe { (self.deallocate_tls)(ptr::with_exposed_provenance_mut(self.tp), true) };
    }
}

fn static_info() -> Result<(usize, usize), ThreadLocalsError> {
    let function = required(c"_dl_get_tls_static_info")?;
    let (mut size, mut align) = (0, 0);
    // SAFETY: the function has this type in every glibc, and writes the two words.
    unsafe {
        transmute::<usize, unsafe extern "C" fn(*mut usize, *mut usize)>(function)(
            &mut size, &mut align,
        );
    }
    if size == 0 || size > 1 << 20 || !align.is_power_of_two() {
        let found = format!("the C library says {size} bytes of thread-locals, aligned to {align}");
        return Err(ThreadLocalsError::new("static thread-locals", found));
    }
    Ok((size, align))
}

fn required(name: &CStr) -> Result<usize, ThreadLocalsError> {
    dl::symbol(name).ok_or_else(|| {
        let name = name.to_string_lossy();
        ThreadLocalsError::new("symbols", format!("the C library has no {name}"))
    })
}

/// # Safety
///
/// The symbol is a constant of type `T`, if it exists.
unsafe fn read<T: Copy>(name: &CStr) -> Result<T, ThreadLocalsError> {
    let address = required(name)?;
    // SAFETY: see above.
    Ok(unsafe { place::<T>(address, 0).read() })
}

#[cfg(test)]
mod tests {
    use super::required;

    #[test]
    fn a_symbol_that_is_not_there_is_named() {
        let error = required(c"__no_such_symbol").unwrap_err();
        assert_eq!(error.check(), "symbols");
        assert!(error.to_string().contains("__no_such_symbol"), "{error}");
    }
}
