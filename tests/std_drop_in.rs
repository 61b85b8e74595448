//! One `use` turns a program that was written against std into one that runs on greenlets.

mod support;

use std::path::PathBuf;
use std::{env, fs, process};

use support::{on_hubs, watched};

mod on_threads {
    include!("std_drop_in/program.rs");
}

mod on_greenlets {
    use greenlet::std;
    include!("std_drop_in/program.rs");
}

/// A folder that is gone when this is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("greenlet-{name}-{}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_program_that_was_written_against_std_does_the_same_on_greenlets() {
    let _watchdog = watched();
    let expected = on_threads::run(&Folder::new("threads").0).unwrap();
    // From a plain thread, whose threads are greenlets of the default runtime.
    let found = on_greenlets::run(&Folder::new("default").0).unwrap();
    assert_eq!(found, expected);
    // As greenlets altogether.
    on_hubs(|hubs| {
        let found = on_greenlets::run(&Folder::new(&format!("hubs-{hubs}")).0).unwrap();
        assert_eq!(found, expected);
    });
}
