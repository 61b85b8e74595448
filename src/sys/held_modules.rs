//! The memory of loaded modules, which stays while the loader's list of them is locked.

use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};
use std::ptr;

use super::dl;

/// A proof that the loader's list of modules is locked, so that what is loaded stays.
#[derive(Debug)]
pub(crate) struct ModulesHeld(PhantomData<*const ()>);

/// A loaded module whose memory may be read.
#[derive(Debug)]
pub(crate) struct HeldModule<'held> {
    /// What is added to the addresses in the module's file.
    pub(crate) bias: usize,
    /// The addresses from the first segment to the last.
    pub(crate) range: Range<usize>,
    /// Those that are readable and never written.
    pub(crate) segments: Vec<Segment<'held>>,
    /// Where the module's `.eh_frame_hdr` lies.
    pub(crate) frame_table: Option<Range<usize>>,
}

/// A part of a module's memory.
#[derive(Debug)]
pub(crate) struct Segment<'held> {
    pub(crate) address: usize,
    pub(crate) bytes: &'held [u8],
    pub(crate) executable: bool,
}

/// Calls `body` once while modules can neither come nor go.
///
/// `body` must be short, must not load or unload, and must not unwind.
pub(crate) fn with_modules_held<R>(body: impl FnOnce(&ModulesHeld) -> R) -> R {
    let mut body = Some(body);
    let mut answer = None;
    dl::for_each_module(|_| {
        answer = body.take().map(|body| body(&ModulesHeld(PhantomData)));
        ControlFlow::Break(())
    });
    answer.expect("the program is a module")
}

impl ModulesHeld {
    /// The modules, the program first.
    pub(crate) fn modules(&self) -> Vec<HeldModule<'_>> {
        let mut modules = Vec::new();
        // The lock counts how often its owner has taken it.
        dl::for_each_module(|info| {
            modules.push(self.module(info));
            ControlFlow::Continue(())
        });
        modules
    }

    fn module(&self, info: &libc::dl_phdr_info) -> HeldModule<'_> {
        let mut module = HeldModule {
            bias: info.dlpi_addr as usize,
            range: 0..0,
            segments: Vec::new(),
            frame_table: None,
        };
        let (mut first, mut last) = (usize::MAX, 0);
        for header in dl::program_headers(info) {
            let address = info.dlpi_addr.wrapping_add(header.p_vaddr) as usize;
            let end = address.saturating_add(header.p_memsz as usize);
            match header.p_type {
                libc::PT_GNU_EH_FRAME => module.frame_table = Some(address..end),
                libc::PT_LOAD => {
                    (first, last) = (address.min(first), end.max(last));
                    if header.p_flags & (libc::PF_R | libc::PF_W) == libc::PF_R {
                        // SAFETY: the loader has mapped the segment readable, nobody writes to it,
                        // and it stays for as long as `self` proves.
                        let bytes = unsafe {
                            let start = ptr::with_exposed_provenance(address);
                            std::slice::from_raw_parts(start, end - address)
                        };
                        module.segments.push(Segment {
                            address,
                            bytes,
                            executable: header.p_flags & libc::PF_X != 0,
                        });
                    }
                }
                _ => {}
            }
        }
        module.range = first.min(last)..last;
        module
    }
}
