//! Small C libraries, built when a test needs one.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A shared library in the temporary directory, deleted when dropped.
pub(super) struct Library(PathBuf);

impl Library {
    /// Compiles `source`. `None`, with a message, where there is no C compiler.
    pub(super) fn build(name: &str, source: &str, flags: &[&str]) -> Option<Self> {
        let base = std::env::temp_dir().join(format!("greenlet-{name}-{}", std::process::id()));
        let (c, so) = (base.with_extension("c"), base.with_extension("so"));
        std::fs::write(&c, source).unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&so)
            .arg(&c)
            .args(flags)
            .status();
        std::fs::remove_file(&c).unwrap();
        match built {
            Ok(status) => assert!(status.success(), "cc cannot build {name}"),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "no C compiler: {error}");
                eprintln!("skipped: no C compiler ({error})");
                return None;
            }
        }
        Some(Self(so))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Loads it into this process.
    pub(super) fn load(&self) -> Loaded {
        let path = CString::new(self.0.to_str().unwrap()).unwrap();
        // SAFETY: the libraries of these tests do nothing when loaded.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "{} cannot be loaded", self.0.display());
        Loaded(handle)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A loaded library, unloaded when dropped.
pub(super) struct Loaded(*mut libc::c_void);

impl Loaded {
    /// The value of its thread-local, on the calling thread or greenlet, which is `new` from then on.
    pub(super) fn replace(&self, new: i32) -> i32 {
        // SAFETY: the libraries of these tests have a function `int *get(void)`; the variable is
        // the calling greenlet's alone.
        unsafe {
            let get = libc::dlsym(self.0, c"get".as_ptr());
            assert!(!get.is_null());
            let get = std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> *mut i32>(get);
            get().replace(new)
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: loaded once, unloaded once.
        unsafe { assert_eq!(libc::dlclose(self.0), 0) };
    }
}
