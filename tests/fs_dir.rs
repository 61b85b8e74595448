//! Directories and paths: each call parks, and answers as std's.

mod support;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use greenlet::fs::{self, DirBuilder};
use greenlet::os::unix::fs::{
    DirBuilderExt, DirEntryExt, PermissionsExt, chown, fchown, lchown, symlink,
};
use support::hubs::{at_once, on_hubs};
use support::parks::{does_not_park, parks_for_a_while};
use support::sockets::everywhere;
use support::temp::TempDir;

/// A directory with so many files, which are called by their numbers.
fn with_files(count: usize) -> TempDir {
    let dir = TempDir::new();
    for number in 0..count {
        std::fs::write(dir.join(number.to_string()), "x").unwrap();
    }
    dir
}

#[test]
fn calls_on_paths_park() {
    let dir = with_files(3);
    let at = |name: &str| -> PathBuf { dir.join(name) };
    parks_for_a_while(|| assert!(fs::metadata(at("0")).unwrap().is_file()));
    parks_for_a_while(|| assert!(fs::symlink_metadata(at("0")).unwrap().is_file()));
    parks_for_a_while(|| assert!(fs::exists(at("0")).unwrap()));
    parks_for_a_while(|| drop(fs::canonicalize(at("0")).unwrap()));
    parks_for_a_while(|| fs::hard_link(at("0"), at("hard")).unwrap());
    parks_for_a_while(|| symlink("0", at("soft")).unwrap());
    parks_for_a_while(|| drop(fs::read_link(at("soft")).unwrap()));
    parks_for_a_while(|| fs::rename(at("hard"), at("renamed")).unwrap());
    parks_for_a_while(|| fs::remove_file(at("renamed")).unwrap());
    parks_for_a_while(|| fs::create_dir(at("d")).unwrap());
    parks_for_a_while(|| fs::remove_dir(at("d")).unwrap());
    parks_for_a_while(|| fs::create_dir_all(at("d/e/f")).unwrap());
    parks_for_a_while(|| fs::remove_dir_all(at("d")).unwrap());
    parks_for_a_while(|| assert_eq!(fs::read(at("1")).unwrap(), b"x"));
    parks_for_a_while(|| assert_eq!(fs::read_to_string(at("1")).unwrap(), "x"));
    parks_for_a_while(|| fs::write(at("2"), "text").unwrap());
    parks_for_a_while(|| assert_eq!(fs::copy(at("2"), at("4")).unwrap(), 4));
    parks_for_a_while(|| drop(fs::read_dir(dir.path()).unwrap()));
    let permissions = std::fs::metadata(at("0")).unwrap().permissions();
    parks_for_a_while(|| fs::set_permissions(at("0"), permissions).unwrap());
}

#[test]
fn entries_come_in_batches() {
    let dir = with_files(600);
    let mut entries = fs::read_dir(dir.path()).unwrap();
    let (mut entries, first) = parks_for_a_while(move || {
        let first = entries.next().unwrap().unwrap();
        (entries, first)
    });
    does_not_park(move || {
        for _ in 0..255 {
            let entry = entries.next().unwrap().unwrap();
            assert!(entry.file_type().unwrap().is_file());
            let _ = (entry.file_name(), entry.path(), entry.ino());
        }
    });
    parks_for_a_while(|| assert_eq!(first.metadata().unwrap().len(), 1));
}

#[test]
fn all_entries_are_seen_once() {
    everywhere(|| {
        for count in [0, 1, 255, 256, 257, 1000] {
            let dir = greenlet::blocking(|| with_files(count));
            let mut entries = fs::read_dir(dir.path()).unwrap();
            let names: BTreeSet<_> = entries
                .by_ref()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(names.len(), count);
            assert!(entries.next().is_none());
            assert!(entries.next().is_none());
        }
    });
}

#[test]
fn an_entry_knows_what_std_knows() {
    everywhere(|| {
        let dir = greenlet::blocking(|| with_files(1));
        symlink("0", dir.join("link")).unwrap();
        fs::create_dir(dir.join("d")).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            let found = fs::symlink_metadata(entry.path()).unwrap();
            assert_eq!(entry.file_type().unwrap(), found.file_type());
            assert_eq!(entry.metadata().unwrap().ino(), found.ino());
            assert_eq!(entry.ino(), found.ino());
            assert_eq!(entry.path(), dir.join(entry.file_name()));
        }
    });
}

#[test]
fn a_directory_is_printed_as_stds_is() {
    everywhere(|| {
        let dir = greenlet::blocking(|| with_files(1));
        let ours = fs::read_dir(dir.path()).unwrap();
        let theirs = std::fs::read_dir(dir.path()).unwrap();
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert_eq!(
            format!("{:?}", DirBuilder::new()),
            format!("{:?}", std::fs::DirBuilder::new())
        );
    });
}

#[test]
fn an_entry_that_is_gone_is_an_error_when_it_is_asked() {
    everywhere(|| {
        let dir = greenlet::blocking(|| with_files(3));
        for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            fs::remove_file(entry.path()).unwrap();
            assert_eq!(entry.metadata().unwrap_err().kind(), ErrorKind::NotFound);
        }
    });
}

#[test]
fn a_directory_has_the_mode_that_was_asked_for() {
    everywhere(|| {
        let dir = TempDir::new();
        let mut builder = DirBuilder::new();
        builder.mode(0o700).create(dir.join("d")).unwrap();
        let mode = fs::metadata(dir.join("d")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let error = builder.create(dir.join("d")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        builder.recursive(true).create(dir.join("d")).unwrap();
        builder.create(dir.join("e/f/g")).unwrap();
    });
}

#[test]
fn an_owner_may_be_set_to_what_it_is() {
    everywhere(|| {
        let dir = greenlet::blocking(|| with_files(1));
        let path = dir.join("0");
        let found = fs::metadata(&path).unwrap();
        chown(&path, Some(found.uid()), Some(found.gid())).unwrap();
        chown(&path, None, None).unwrap();
        fchown(fs::File::open(&path).unwrap(), Some(found.uid()), None).unwrap();
        symlink("nowhere", dir.join("link")).unwrap();
        lchown(dir.join("link"), None, Some(found.gid())).unwrap();
        let error = chown(dir.join("link"), None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
#[allow(deprecated)]
fn a_soft_link_is_a_symbolic_link() {
    everywhere(|| {
        let dir = TempDir::new();
        fs::soft_link("target", dir.join("link")).unwrap();
        assert_eq!(
            fs::read_link(dir.join("link")).unwrap(),
            PathBuf::from("target")
        );
    });
}

#[test]
fn paths_that_are_none_are_refused() {
    everywhere(|| {
        for path in ["with\0nul", ""] {
            let (ours, theirs) = (fs::metadata(path), std::fs::metadata(path));
            let (ours, theirs) = (ours.unwrap_err(), theirs.unwrap_err());
            assert_eq!(ours.kind(), theirs.kind());
            assert_eq!(ours.to_string(), theirs.to_string());
            let (ours, theirs) = (fs::File::open(path), std::fs::File::open(path));
            let (ours, theirs) = (ours.unwrap_err(), theirs.unwrap_err());
            assert_eq!(ours.to_string(), theirs.to_string());
        }
    });
}

#[test]
fn many_make_one_tree_at_once() {
    on_hubs(|_| {
        let dir = Arc::new(TempDir::new());
        let root = dir.clone();
        at_once(50, move |number| {
            let path = root.join(format!("a/b/c/{}", number % 5));
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join(number.to_string()), "x").unwrap();
        });
        let leaves = fs::read_dir(dir.join("a/b/c")).unwrap().map(Result::unwrap);
        let files = leaves.map(|leaf| fs::read_dir(leaf.path()).unwrap().count());
        assert_eq!(files.sum::<usize>(), 50);
        fs::remove_dir_all(dir.join("a")).unwrap();
        assert!(!fs::exists(dir.join("a")).unwrap());
    });
}
