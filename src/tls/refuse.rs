//! Processes in which a greenlet cannot have thread-locals of its own, told by a look.

use std::ffi::CStr;
use std::ops::ControlFlow;

use crate::arch;
use crate::error::ThreadLocalsError;
use crate::sys::dl;

/// The oldest glibc: older ones hide the lists of threads.
const OLDEST: (u32, u32) = (2, 34);

/// Symbols of tools that keep a record of every thread under its thread pointer.
const SANITIZERS: [&CStr; 4] = [
    c"__asan_init",
    c"__hwasan_init",
    c"__msan_init",
    c"__tsan_init",
];

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
compile_error!("greenlet needs a dynamically linked C library: remove +crt-static");

/// An error if this process is one of them.
pub(super) fn refuse() -> Result<(), ThreadLocalsError> {
    refuse_old_glibc()?;
    for name in SANITIZERS {
        if dl::symbol(name).is_some() {
            let found = format!("the program has {}", name.to_string_lossy());
            return Err(ThreadLocalsError::new("sanitizer", found));
        }
    }
    if dl::symbol(c"__rseq_abi").is_some() {
        let found = "an allocator gives the kernel addresses in thread-locals (__rseq_abi)";
        return Err(ThreadLocalsError::new("restartable sequences", found));
    }
    if arch::has_shadow_stack() {
        let found = "the processor checks return addresses on a stack of its own";
        return Err(ThreadLocalsError::new("shadow stack", found));
    }
    refuse_foreign_malloc()
}

fn refuse_old_glibc() -> Result<(), ThreadLocalsError> {
    let Some(function) = dl::symbol(c"gnu_get_libc_version") else {
        return Err(ThreadLocalsError::new(
            "glibc",
            "the C library is not glibc",
        ));
    };
    // SAFETY: glibc's function has this type and answers with a constant string.
    let version = unsafe {
        let function =
            std::mem::transmute::<usize, extern "C" fn() -> *const libc::c_char>(function);
        CStr::from_ptr(function())
    };
    refuse_version(&version.to_string_lossy())
}

fn refuse_version(version: &str) -> Result<(), ThreadLocalsError> {
    if parse(version).is_none_or(|version| version < OLDEST) {
        let (major, minor) = OLDEST;
        let found = format!("glibc is {version}, older than {major}.{minor}");
        return Err(ThreadLocalsError::new("glibc", found));
    }
    Ok(())
}

/// The first two numbers of a version.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A malloc that is preloaded keeps its heap per thread where we do not see it. One that the
/// program has itself is left to the experiment in `probe.rs`, because it may be no more than the
/// linker's stub for libc's.
fn refuse_foreign_malloc() -> Result<(), ThreadLocalsError> {
    let (Some(malloc), Some(libc)) = (dl::symbol(c"malloc"), dl::symbol(c"gnu_get_libc_version"))
    else {
        return Ok(());
    };
    let mut foreign = true;
    let mut program = true;
    dl::for_each_module(|info| {
        let accepted = program || dl::covers(info, libc);
        foreign &= !(accepted && dl::covers(info, malloc));
        program = false;
        ControlFlow::Continue(())
    });
    if foreign {
        let found = format!(
            "malloc is that of {}",
            dl::file_of(malloc).unwrap_or_default()
        );
        return Err(ThreadLocalsError::new("malloc", found));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{parse, refuse_version};

    #[test]
    fn an_old_glibc_is_refused_with_its_version() {
        for version in ["2.33", "1.99", "2", "unknown"] {
            let error = refuse_version(version).unwrap_err();
            assert_eq!(error.check(), "glibc");
            assert!(error.to_string().contains(version), "{error}");
        }
        for version in ["2.34", "2.41.9000", "3.0"] {
            assert!(refuse_version(version).is_ok());
        }
    }

    #[test]
    fn versions_of_distributions_are_read() {
        assert_eq!(parse("2.36"), Some((2, 36)));
        assert_eq!(parse("2.35-0ubuntu3.8"), Some((2, 35)));
        assert_eq!(parse("2.41.9000"), Some((2, 41)));
        assert_eq!(parse(""), None);
        assert_eq!(parse("musl"), None);
    }
}
