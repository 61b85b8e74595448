//! What std's tests of `std::fs` claim (`library/std/src/fs/tests.rs`), under the same names, of our
//! types.
//!
//! Left out: what only other systems have, and what is not stable in Rust 1.95 (`Dir`, `read_buf`,
//! `set_times` of paths). Differences in what is claimed are marked with "std:".

mod support;

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use greenlet::fs::{self, File, FileTimes, OpenOptions, TryLockError};
use greenlet::os::unix::fs::{FileExt, PermissionsExt, symlink};
use support::child::{none_begins, one_begins};
use support::sockets::{everywhere, spawn};
use support::temp::TempDir;

const NOT_UTF8: &str = "stream did not contain valid UTF-8";
const NO_ACCESS: &str = "creating or truncating a file requires write or append access";

/// A directory for one run of a test.
fn tmpdir() -> TempDir {
    TempDir::new()
}

/// A file with these contents, at `path`.
fn put(path: impl AsRef<Path>, contents: &str) {
    let mut file = File::create(path).unwrap();
    assert_eq!(file.write(contents.as_bytes()).unwrap(), contents.len());
}

/// What is in the file at `path`.
fn get(path: impl AsRef<Path>) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// One read, as a string.
fn read_once(file: &mut File, length: usize) -> String {
    let mut bytes = vec![0; length];
    let length = file.read(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

/// One read at an offset, as a string.
fn read_once_at(file: &File, length: usize, offset: u64) -> String {
    let mut bytes = vec![0; length];
    let length = file.read_at(&mut bytes, offset).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..1024).map(|_| next()).collect()
}

#[test]
fn file_test_io_smoke_test() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("file_rt_io_file_test.txt");
        put(&path, "it's alright. have a good time");
        let mut file = File::open(&path).unwrap();
        assert_eq!(read_once(&mut file, 1028), "it's alright. have a good time");
        fs::remove_file(&path).unwrap();
    });
}

#[test]
fn invalid_path_raises() {
    everywhere(|| {
        let error = File::open(tmpdir().join("file_that_does_not_exist.txt")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn file_test_iounlinking_invalid_path_should_raise_condition() {
    everywhere(|| {
        let error = fs::remove_file(tmpdir().join("another_file.txt")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn file_test_io_non_positional_read() {
    everywhere(|| {
        let dir = tmpdir();
        put(dir.join("file"), "ten-four");
        let mut file = File::open(dir.join("file")).unwrap();
        assert_eq!(read_once(&mut file, 4), "ten-");
        assert_eq!(read_once(&mut file, 4), "four");
    });
}

#[test]
fn file_test_io_seek_and_tell_smoke_test() {
    everywhere(|| {
        let dir = tmpdir();
        put(dir.join("file"), "ten-four");
        let mut file = File::open(dir.join("file")).unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        assert_eq!(file.stream_position().unwrap(), 4);
        assert_eq!(read_once(&mut file, 4), "four");
        assert_eq!(file.stream_position().unwrap(), 8);
    });
}

#[test]
fn file_test_io_seek_and_write() {
    everywhere(|| {
        let dir = tmpdir();
        let mut file = File::create(dir.join("file")).unwrap();
        file.write_all(b"food-is-yummy").unwrap();
        file.seek(SeekFrom::Start(3)).unwrap();
        file.write_all(b"-the-bar!!").unwrap();
        assert_eq!(get(dir.join("file")), b"foo-the-bar!!");
    });
}

/// Two handles to one file that do not share their locks.
fn two_handles(dir: &TempDir) -> (File, File) {
    let first = File::create(dir.join("locked.txt")).unwrap();
    let mut options = OpenOptions::new();
    let second = options.write(true).open(dir.join("locked.txt")).unwrap();
    (first, second)
}

#[track_caller]
fn assert_taken(attempt: Result<(), TryLockError>) {
    assert!(
        matches!(attempt, Err(TryLockError::WouldBlock)),
        "{attempt:?}"
    );
}

#[test]
fn file_lock_multiple_shared() {
    everywhere(|| {
        let (f1, f2) = two_handles(&tmpdir());
        f1.lock_shared().unwrap();
        f2.lock_shared().unwrap();
        f1.unlock().unwrap();
        f2.unlock().unwrap();
        f1.try_lock_shared().unwrap();
        f2.try_lock_shared().unwrap();
    });
}

#[test]
fn file_lock_blocking() {
    everywhere(|| {
        let (f1, f2) = two_handles(&tmpdir());
        f1.lock_shared().unwrap();
        assert_taken(f2.try_lock());
        f1.unlock().unwrap();
        f1.lock().unwrap();
        assert_taken(f2.try_lock_shared());
    });
}

#[test]
fn file_lock_drop() {
    let _none_begins = none_begins();
    everywhere(|| {
        let (f1, f2) = two_handles(&tmpdir());
        f1.lock_shared().unwrap();
        assert_taken(f2.try_lock());
        drop(f1);
        f2.try_lock().unwrap();
    });
}

#[test]
fn file_lock_dup() {
    everywhere(|| {
        let (f1, f2) = two_handles(&tmpdir());
        f1.lock_shared().unwrap();
        assert_taken(f2.try_lock());
        let cloned = f1.try_clone().unwrap();
        drop(f1);
        assert_taken(f2.try_lock());
        drop(cloned);
    });
}

#[test]
fn file_test_io_seek_shakedown() {
    everywhere(|| {
        let dir = tmpdir();
        put(dir.join("file"), "qwer-asdf-zxcv");
        let mut file = File::open(dir.join("file")).unwrap();
        file.seek(SeekFrom::End(-4)).unwrap();
        assert_eq!(read_once(&mut file, 4), "zxcv");
        file.seek(SeekFrom::Current(-9)).unwrap();
        assert_eq!(read_once(&mut file, 4), "asdf");
        file.seek(SeekFrom::Start(0)).unwrap();
        assert_eq!(read_once(&mut file, 4), "qwer");
    });
}

#[test]
fn file_test_io_eof() {
    everywhere(|| {
        let dir = tmpdir();
        let mut file = File::create_new(dir.join("file")).unwrap();
        assert_eq!(read_once(&mut file, 256), "");
        assert_eq!(read_once(&mut file, 256), "");
    });
}

#[test]
fn file_test_io_read_write_at() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("file");
        let mut rw = File::create_new(&path).unwrap();
        assert_eq!(rw.write_at(b"asdf", 5).unwrap(), 4);
        assert_eq!(rw.stream_position().unwrap(), 0);
        assert_eq!(read_once_at(&rw, 256, 5), "asdf");
        assert_eq!(rw.stream_position().unwrap(), 0);
        assert_eq!(read_once_at(&rw, 5, 0), "\0\0\0\0\0");
        assert_eq!(rw.stream_position().unwrap(), 0);
        assert_eq!(rw.write(b"qwer-").unwrap(), 5);
        assert_eq!(rw.stream_position().unwrap(), 5);
        assert_eq!(read_once(&mut rw, 256), "asdf");
        assert_eq!(rw.stream_position().unwrap(), 9);
        assert_eq!(read_once_at(&rw, 5, 0), "qwer-");
        assert_eq!(rw.stream_position().unwrap(), 9);
        assert_eq!(rw.write_at(b"-zxcv", 9).unwrap(), 5);
        assert_eq!(rw.stream_position().unwrap(), 9);

        let mut read = File::open(&path).unwrap();
        assert_eq!(read_once_at(&read, 256, 0), "qwer-asdf-zxcv");
        assert_eq!(read.stream_position().unwrap(), 0);
        assert_eq!(read.seek(SeekFrom::End(-5)).unwrap(), 9);
        assert_eq!(read_once_at(&read, 256, 0), "qwer-asdf-zxcv");
        assert_eq!(read.stream_position().unwrap(), 9);
        assert_eq!(read_once(&mut read, 256), "-zxcv");
        assert_eq!(read.stream_position().unwrap(), 14);
        assert_eq!(read_once_at(&read, 256, 14), "");
        assert_eq!(read_once_at(&read, 256, 15), "");
        assert_eq!(read.stream_position().unwrap(), 14);
    });
}

#[test]
fn set_get_unix_permissions() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("set_get_unix_permissions");
        fs::create_dir(&path).unwrap();
        for mode in [0, 0o1777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode);
        }
    });
}

#[test]
fn file_test_stat_is_correct_on_is_file() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("file");
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .open(&path)
            .unwrap();
        file.write_all(b"hw").unwrap();
        assert!(file.metadata().unwrap().is_file());
        assert!(fs::metadata(&path).unwrap().is_file());
        assert!(path.metadata().unwrap().is_file());
    });
}

#[test]
fn file_test_stat_is_correct_on_is_dir() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("file_stat_correct_on_is_dir");
        fs::create_dir(&path).unwrap();
        assert!(fs::metadata(&path).unwrap().is_dir());
        assert!(path.metadata().unwrap().is_dir());
        fs::remove_dir(&path).unwrap();
    });
}

#[test]
fn file_test_fileinfo_false_when_checking_is_file_on_a_directory() {
    everywhere(|| {
        let dir = tmpdir();
        fs::create_dir(dir.join("d")).unwrap();
        assert!(!fs::metadata(dir.join("d")).unwrap().is_file());
        fs::remove_dir(dir.join("d")).unwrap();
    });
}

#[test]
fn file_test_fileinfo_check_exists_before_and_after_file_creation() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("file");
        put(&path, "foo");
        assert!(fs::exists(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!fs::exists(&path).unwrap());
    });
}

#[test]
fn file_test_directoryinfo_check_exists_before_and_after_mkdir() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("before_and_after_dir");
        assert!(!fs::exists(&path).unwrap());
        fs::create_dir(&path).unwrap();
        assert!(path.is_dir());
        fs::remove_dir(&path).unwrap();
        assert!(!fs::exists(&path).unwrap());
    });
}

#[test]
fn file_test_directoryinfo_readdir() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("di_readdir");
        fs::create_dir(&path).unwrap();
        for n in 0..3 {
            put(path.join(format!("{n}.txt")), &format!("foo{n}"));
        }
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            assert_eq!(get(&path), format!("foo{stem}").as_bytes());
            fs::remove_file(&path).unwrap();
        }
        fs::remove_dir(&path).unwrap();
    });
}

#[test]
fn file_create_new_already_exists_error() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("file_create_new_error_exists");
        File::create(&path).unwrap();
        let mut options = OpenOptions::new();
        let result = options.write(true).create_new(true).open(&path);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::AlreadyExists);
    });
}

#[test]
fn mkdir_path_already_exists_error() {
    everywhere(|| {
        let dir = tmpdir();
        fs::create_dir(dir.join("d")).unwrap();
        let error = fs::create_dir(dir.join("d")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    });
}

#[test]
fn recursive_mkdir() {
    everywhere(|| {
        let dir = tmpdir();
        fs::create_dir_all(dir.join("d1/d2")).unwrap();
        assert!(dir.join("d1/d2").is_dir());
    });
}

#[test]
fn recursive_mkdir_failure() {
    everywhere(|| {
        let dir = tmpdir();
        fs::create_dir_all(dir.join("d1")).unwrap();
        File::create(dir.join("d1/f1")).unwrap();
        fs::create_dir_all(dir.join("d1/f1")).unwrap_err();
    });
}

#[test]
fn concurrent_recursive_mkdir() {
    everywhere(|| {
        for _ in 0..20 {
            let dir = tmpdir();
            let deep = dir.join(["a"; 40].join("/"));
            let makers: Vec<_> = (0..8)
                .map(|_| {
                    let deep = deep.clone();
                    spawn(move || fs::create_dir_all(deep).unwrap())
                })
                .collect();
            makers.into_iter().for_each(|maker| maker.join().unwrap());
        }
    });
}

#[test]
fn recursive_mkdir_slash() {
    everywhere(|| fs::create_dir_all(Path::new("/")).unwrap());
}

#[test]
fn recursive_mkdir_dot() {
    everywhere(|| fs::create_dir_all(Path::new(".")).unwrap());
}

#[test]
fn recursive_mkdir_empty() {
    everywhere(|| fs::create_dir_all(Path::new("")).unwrap());
}

#[test]
fn recursive_rmdir() {
    everywhere(|| {
        let dir = tmpdir();
        let (d1, d2) = (dir.join("d1"), dir.join("d2"));
        let canary = d2.join("do_not_delete");
        fs::create_dir_all(d1.join("t/t")).unwrap();
        fs::create_dir_all(&d2).unwrap();
        put(&canary, "foo");
        symlink(&d2, d1.join("t/d2")).unwrap();
        symlink(&canary, d1.join("canary")).unwrap();
        fs::remove_dir_all(&d1).unwrap();
        assert!(!d1.is_dir());
        assert!(canary.exists());
    });
}

#[test]
fn recursive_rmdir_of_symlink() {
    everywhere(|| {
        let dir = tmpdir();
        let (link, target) = (dir.join("d1"), dir.join("d2"));
        fs::create_dir_all(&target).unwrap();
        put(target.join("do_not_delete"), "foo");
        symlink(&target, &link).unwrap();
        fs::remove_dir_all(&link).unwrap();
        assert!(!link.is_dir());
        assert!(target.join("do_not_delete").exists());
    });
}

#[test]
fn recursive_rmdir_of_file_fails() {
    everywhere(|| {
        let dir = tmpdir();
        put(dir.join("do_not_delete"), "foo");
        let error = fs::remove_dir_all(dir.join("do_not_delete")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        assert!(dir.join("do_not_delete").exists());
    });
}

/// std: its test runs for 1,000 seconds and is ignored.
#[test]
fn recursive_rmdir_toctou() {
    everywhere(|| {
        let dir = tmpdir();
        let victim = dir.join("victim_del");
        let precious = dir.join("attack_dest");
        fs::create_dir(&precious).unwrap();
        File::create(precious.join("attack_file")).unwrap();
        let removing = {
            let victim = victim.clone();
            spawn(move || (0..200).for_each(|_| drop(fs::remove_dir_all(&victim))))
        };
        while !removing.is_finished() {
            assert!(fs::exists(precious.join("attack_file")).unwrap());
            let _ = fs::create_dir(&victim);
            let _ = fs::remove_dir(&victim);
            let _ = symlink(&precious, &victim);
        }
        removing.join().unwrap();
    });
}

#[test]
fn unicode_path_is_dir() {
    everywhere(|| {
        assert!(fs::metadata(".").unwrap().is_dir());
        let dir = tmpdir();
        let path = dir.join("test-가一ー你好");
        fs::create_dir(&path).unwrap();
        assert!(fs::metadata(&path).unwrap().is_dir());
        let file = path.join("unicode-file-\u{ac00}\u{4e00}\u{30fc}\u{4f60}\u{597d}.rs");
        File::create(&file).unwrap();
        assert!(fs::metadata(&file).unwrap().is_file());
    });
}

#[test]
fn unicode_path_exists() {
    everywhere(|| {
        assert!(fs::exists(".").unwrap());
        assert!(!fs::exists("test/nonexistent-bogus-path").unwrap());
        let dir = tmpdir();
        fs::create_dir(dir.join("test-각丁ー再见")).unwrap();
        assert!(fs::exists(dir.join("test-각丁ー再见")).unwrap());
        assert!(!fs::exists(dir.join("bogus-각丁ー再见")).unwrap());
    });
}

#[test]
fn copy_file_does_not_exist() {
    everywhere(|| {
        let (from, to) = ("test/nonexistent-bogus-path", "test/other-bogus-path");
        fs::copy(from, to).unwrap_err();
        assert!(!fs::exists(from).unwrap() && !fs::exists(to).unwrap());
    });
}

#[test]
fn copy_src_does_not_exist() {
    everywhere(|| {
        let dir = tmpdir();
        put(dir.join("out.txt"), "hello");
        fs::copy("test/nonexistent-bogus-path", dir.join("out.txt")).unwrap_err();
        assert_eq!(get(dir.join("out.txt")), b"hello");
    });
}

#[test]
fn copy_file_ok() {
    everywhere(|| {
        let dir = tmpdir();
        let (input, out) = (dir.join("in.txt"), dir.join("out.txt"));
        put(&input, "hello");
        fs::copy(&input, &out).unwrap();
        assert_eq!(get(&out), b"hello");
        assert_eq!(
            fs::metadata(&input).unwrap().permissions(),
            fs::metadata(&out).unwrap().permissions()
        );
    });
}

#[test]
fn copy_file_dst_dir() {
    everywhere(|| {
        let dir = tmpdir();
        File::create(dir.join("out")).unwrap();
        fs::copy(dir.join("out"), dir.path()).unwrap_err();
    });
}

#[test]
fn copy_file_dst_exists() {
    everywhere(|| {
        let dir = tmpdir();
        put(dir.join("in"), "foo");
        put(dir.join("out"), "bar");
        fs::copy(dir.join("in"), dir.join("out")).unwrap();
        assert_eq!(get(dir.join("out")), b"foo");
    });
}

#[test]
fn copy_file_src_dir() {
    everywhere(|| {
        let dir = tmpdir();
        fs::copy(dir.path(), dir.join("out")).unwrap_err();
        assert!(!dir.join("out").exists());
    });
}

#[test]
fn copy_file_preserves_perm_bits() {
    everywhere(|| {
        let dir = tmpdir();
        let (input, out) = (dir.join("in.txt"), dir.join("out.txt"));
        let mut permissions = File::create(&input)
            .unwrap()
            .metadata()
            .unwrap()
            .permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&input, permissions).unwrap();
        fs::copy(&input, &out).unwrap();
        assert!(fs::metadata(&out).unwrap().permissions().readonly());
    });
}

#[test]
fn copy_file_returns_metadata_len() {
    everywhere(|| {
        let dir = tmpdir();
        put(dir.join("in.txt"), "lettuce");
        let copied = fs::copy(dir.join("in.txt"), dir.join("out.txt")).unwrap();
        assert_eq!(fs::metadata(dir.join("out.txt")).unwrap().len(), copied);
    });
}

#[test]
fn copy_file_follows_dst_symlink() {
    everywhere(|| {
        let dir = tmpdir();
        let (out, link) = (dir.join("out.txt"), dir.join("out_symlink.txt"));
        fs::write(dir.join("in.txt"), "foo").unwrap();
        fs::write(&out, "bar").unwrap();
        symlink(&out, &link).unwrap();
        fs::copy(dir.join("in.txt"), &link).unwrap();
        assert!(
            fs::symlink_metadata(&link)
                .unwrap()
                .file_type()
                .is_symlink()
        );
        assert_eq!(fs::read(&link).unwrap(), b"foo");
        assert_eq!(fs::read(&out).unwrap(), b"foo");
    });
}

#[test]
fn symlinks_work() {
    everywhere(|| {
        let dir = tmpdir();
        let (input, out) = (dir.join("in.txt"), dir.join("out.txt"));
        put(&input, "foobar");
        symlink(&input, &out).unwrap();
        assert!(fs::symlink_metadata(&out).unwrap().file_type().is_symlink());
        assert_eq!(fs::metadata(&out).unwrap().len(), 6);
        assert_eq!(get(&out), b"foobar");
    });
}

#[test]
fn symlink_noexist() {
    everywhere(|| {
        let dir = tmpdir();
        symlink("foo", dir.join("bar")).unwrap();
        assert_eq!(fs::read_link(dir.join("bar")).unwrap(), Path::new("foo"));
    });
}

#[test]
fn read_link() {
    everywhere(|| {
        let dir = tmpdir();
        symlink("foo", dir.join("link")).unwrap();
        assert_eq!(fs::read_link(dir.join("link")).unwrap(), Path::new("foo"));
    });
}

#[test]
fn readlink_not_symlink() {
    everywhere(|| {
        fs::read_link(tmpdir().path()).unwrap_err();
    });
}

#[test]
fn links_work() {
    everywhere(|| {
        let dir = tmpdir();
        let (input, out) = (dir.join("in.txt"), dir.join("out.txt"));
        put(&input, "foobar");
        fs::hard_link(&input, &out).unwrap();
        assert_eq!(fs::metadata(&out).unwrap().len(), 6);
        assert_eq!(get(&out), b"foobar");
        fs::hard_link(&input, &input).unwrap_err();
        fs::hard_link(dir.join("foo"), dir.join("bar")).unwrap_err();
    });
}

#[test]
fn chmod_works() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("in.txt");
        File::create(&path).unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        assert!(!permissions.readonly());
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions.clone()).unwrap();
        assert!(fs::metadata(&path).unwrap().permissions().readonly());
        fs::set_permissions(dir.join("foo"), permissions).unwrap_err();
    });
}

#[test]
fn fchmod_works() {
    everywhere(|| {
        let dir = tmpdir();
        let file = File::create(dir.join("in.txt")).unwrap();
        let mut permissions = file.metadata().unwrap().permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions).unwrap();
        assert!(file.metadata().unwrap().permissions().readonly());
    });
}

#[test]
fn sync_doesnt_kill_anything() {
    everywhere(|| {
        let dir = tmpdir();
        let mut file = File::create(dir.join("in.txt")).unwrap();
        file.sync_all().unwrap();
        file.sync_data().unwrap();
        file.write_all(b"foo").unwrap();
        file.sync_all().unwrap();
        file.sync_data().unwrap();
    });
}

#[test]
fn truncate_works() {
    everywhere(|| {
        let dir = tmpdir();
        let path = dir.join("in.txt");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"foo").unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3);
        file.set_len(10).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 10);
        file.write_all(b"bar").unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 10);
        assert_eq!(get(&path), b"foobar\0\0\0\0");
        file.set_len(2).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 2);
        file.write_all(b"wut").unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 9);
        assert_eq!(get(&path), b"fo\0\0\0\0wut");
    });
}

#[track_caller]
fn assert_says(result: std::io::Result<File>, message: &str) {
    assert!(result.unwrap_err().to_string().contains(message));
}

#[test]
fn open_flavors() {
    everywhere(|| {
        let dir = tmpdir();
        let at = |name| dir.join(name);
        let options = |read, write, append| {
            let mut options = OpenOptions::new();
            options.read(read).write(write).append(append).clone()
        };
        let r = options(true, false, false);
        let w = options(false, true, false);
        let a = options(false, false, true);
        for (name, access) in [("a", &w), ("c", &options(true, true, false))] {
            access.clone().create_new(true).open(at(name)).unwrap();
            let mut both = access.clone();
            both.create(true).truncate(true).open(at(name)).unwrap();
            access.clone().truncate(true).open(at(name)).unwrap();
            access.clone().create(true).open(at(name)).unwrap();
            access.open(at(name)).unwrap();
        }
        assert_says(r.clone().create_new(true).open(at("b")), NO_ACCESS);
        let mut both = r.clone();
        assert_says(both.create(true).truncate(true).open(at("b")), NO_ACCESS);
        assert_says(r.clone().truncate(true).open(at("b")), NO_ACCESS);
        assert_says(r.clone().create(true).open(at("b")), NO_ACCESS);
        r.open(at("a")).unwrap();
        for (name, access) in [("d", &a), ("e", &options(true, false, true))] {
            access.clone().create_new(true).open(at(name)).unwrap();
            let mut both = access.clone();
            assert_says(both.create(true).truncate(true).open(at(name)), NO_ACCESS);
            assert_says(access.clone().truncate(true).open(at(name)), NO_ACCESS);
            access.clone().create(true).open(at(name)).unwrap();
            access.open(at(name)).unwrap();
        }
        assert_says(OpenOptions::new().create(true).open(at("f")), NO_ACCESS);

        put(at("h"), "foobar");
        assert!(r.open(at("h")).unwrap().write(b"wut").is_err());
        w.open(at("h")).unwrap().write_all(b"baz").unwrap();
        assert_eq!(get(at("h")), b"bazbar");
        let mut truncating = w.clone();
        let mut file = truncating.truncate(true).open(at("h")).unwrap();
        file.write_all(b"foo").unwrap();
        assert_eq!(fs::metadata(at("h")).unwrap().len(), 3);
        a.open(at("h")).unwrap().write_all(b"bar").unwrap();
        assert_eq!(fs::metadata(at("h")).unwrap().len(), 6);
        let mut appending = w.clone();
        let mut file = appending.append(true).open(at("h")).unwrap();
        file.write_all(b"baz").unwrap();
        assert_eq!(fs::metadata(at("h")).unwrap().len(), 9);
    });
}

#[test]
fn _assert_send_sync() {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<OpenOptions>();
}

#[test]
fn binary_file() {
    everywhere(|| {
        let (dir, bytes) = (tmpdir(), noise());
        File::create(dir.join("test"))
            .unwrap()
            .write_all(&bytes)
            .unwrap();
        assert_eq!(get(dir.join("test")), bytes);
    });
}

#[test]
fn write_then_read() {
    everywhere(|| {
        let (dir, bytes) = (tmpdir(), noise());
        fs::write(dir.join("test"), &bytes).unwrap();
        assert_eq!(fs::read(dir.join("test")).unwrap(), bytes);
        fs::write(dir.join("not-utf8"), [0xFF]).unwrap();
        let error = fs::read_to_string(dir.join("not-utf8")).unwrap_err();
        assert!(error.to_string().contains(NOT_UTF8), "{error}");
        let text = "𐁁𐀓𐀠𐀴𐀍";
        fs::write(dir.join("utf8"), text.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(dir.join("utf8")).unwrap(), text);
    });
}

#[test]
fn file_try_clone() {
    everywhere(|| {
        let dir = tmpdir();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let mut f1 = options.open(dir.join("test")).unwrap();
        let mut f2 = f1.try_clone().unwrap();
        f1.write_all(b"hello world").unwrap();
        f1.seek(SeekFrom::Start(2)).unwrap();
        let mut rest = vec![];
        f2.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"llo world");
        drop(f2);
        f1.write_all(b"!").unwrap();
    });
}

#[test]
fn unlink_readonly() {
    everywhere(|| {
        let dir = tmpdir();
        File::create(dir.join("file")).unwrap();
        let mut permissions = fs::metadata(dir.join("file")).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(dir.join("file"), permissions).unwrap();
        fs::remove_file(dir.join("file")).unwrap();
    });
}

#[test]
fn mkdir_trailing_slash() {
    everywhere(|| fs::create_dir_all(tmpdir().join("file/a/")).unwrap());
}

#[test]
fn canonicalize_works_simple() {
    everywhere(|| {
        let dir = tmpdir();
        let file = fs::canonicalize(dir.path()).unwrap().join("test");
        File::create(&file).unwrap();
        assert_eq!(fs::canonicalize(&file).unwrap(), file);
    });
}

#[test]
fn realpath_works() {
    everywhere(|| {
        let dir = tmpdir();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (file, dir) = (root.join("test"), root.join("test2"));
        let (link, linkdir) = (dir.join("link"), root.join("test3"));
        File::create(&file).unwrap();
        fs::create_dir(&dir).unwrap();
        symlink(&file, &link).unwrap();
        symlink(&dir, &linkdir).unwrap();
        assert_eq!(fs::canonicalize(&root).unwrap(), root);
        assert_eq!(fs::canonicalize(&file).unwrap(), file);
        assert_eq!(fs::canonicalize(&link).unwrap(), file);
        assert_eq!(fs::canonicalize(&linkdir).unwrap(), dir);
        assert_eq!(fs::canonicalize(linkdir.join("link")).unwrap(), file);
    });
}

#[test]
fn realpath_works_tricky() {
    everywhere(|| {
        let dir = tmpdir();
        let root = fs::canonicalize(dir.path()).unwrap();
        let a = root.join("a");
        let (c, e, f) = (a.join("b/c"), a.join("d/e"), a.join("f"));
        fs::create_dir_all(a.join("b")).unwrap();
        fs::create_dir_all(a.join("d")).unwrap();
        File::create(&f).unwrap();
        symlink("../d/e", &c).unwrap();
        symlink("../f", &e).unwrap();
        assert_eq!(fs::canonicalize(&c).unwrap(), f);
        assert_eq!(fs::canonicalize(&e).unwrap(), f);
    });
}

#[test]
fn dir_entry_methods() {
    everywhere(|| {
        let dir = tmpdir();
        fs::create_dir_all(dir.join("a")).unwrap();
        File::create(dir.join("b")).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            let (file_type, metadata) = (entry.file_type().unwrap(), entry.metadata().unwrap());
            match entry.file_name().to_str() {
                Some("a") => assert!(file_type.is_dir() && metadata.is_dir()),
                Some("b") => assert!(file_type.is_file() && metadata.is_file()),
                name => panic!("unknown file name: {name:?}"),
            }
        }
    });
}

#[test]
fn dir_entry_debug() {
    everywhere(|| {
        let dir = tmpdir();
        File::create(dir.join("b")).unwrap();
        let entry = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(
            format!("{entry:?}"),
            format!("DirEntry({:?})", entry.path())
        );
    });
}

#[test]
fn read_dir_not_found() {
    everywhere(|| {
        let error = fs::read_dir("/path/that/does/not/exist").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn file_open_not_found() {
    everywhere(|| {
        let error = File::open("/path/that/does/not/exist").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn create_dir_all_with_junctions() {
    everywhere(|| {
        let dir = tmpdir();
        let (target, link) = (dir.join("target"), dir.join("link"));
        fs::create_dir(&target).unwrap();
        symlink(&target, &link).unwrap();
        fs::create_dir_all(link.join("c/d")).unwrap();
        assert!(link.is_dir());
        assert!(link.join("c/d").exists());
    });
}

#[test]
fn metadata_access_times() {
    everywhere(|| {
        let dir = tmpdir();
        File::create(dir.join("b")).unwrap();
        let a = fs::metadata(dir.path()).unwrap();
        let b = fs::metadata(dir.join("b")).unwrap();
        assert_eq!(a.accessed().unwrap(), a.accessed().unwrap());
        assert_eq!(a.modified().unwrap(), a.modified().unwrap());
        assert_eq!(b.accessed().unwrap(), b.modified().unwrap());
        assert_eq!(a.created().is_ok(), b.created().is_ok());
    });
}

#[test]
fn symlink_hard_link() {
    everywhere(|| {
        let dir = tmpdir();
        let at = |name| dir.join(name);
        let is_link = |name| {
            let found = fs::symlink_metadata(dir.join(name)).unwrap();
            found.file_type().is_symlink()
        };
        File::create(at("file")).unwrap();
        symlink("file", at("symlink")).unwrap();
        fs::hard_link(at("symlink"), at("hard_link")).unwrap();
        assert!(is_link("hard_link"));
        for name in ["file", "symlink", "hard_link"] {
            File::open(at(name)).unwrap();
        }
        fs::rename(at("file"), at("file.renamed")).unwrap();
        for name in ["file", "symlink", "hard_link"] {
            File::open(at(name)).unwrap_err();
        }
        File::open(at("file.renamed")).unwrap();
        fs::read_link(at("file.renamed")).unwrap_err();
        assert_eq!(fs::read_link(at("symlink")).unwrap(), Path::new("file"));
        assert_eq!(fs::read_link(at("hard_link")).unwrap(), Path::new("file"));
        fs::remove_file(at("file.renamed")).unwrap();
        File::open(at("hard_link")).unwrap_err();
        assert!(is_link("hard_link"));
    });
}

/// std: 32,768 files.
#[test]
fn read_large_dir() {
    everywhere(|| {
        let dir = tmpdir();
        greenlet::blocking(|| {
            for number in 0..2 * 1024 {
                std::fs::File::create(dir.join(number.to_string())).unwrap();
            }
        });
        let entries = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        assert_eq!(entries.count(), 2 * 1024);
    });
}

#[test]
fn test_eq_direntry_metadata() {
    everywhere(|| {
        let dir = tmpdir();
        File::create(dir.join("file")).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            let found = fs::metadata(entry.path()).unwrap().file_type();
            assert_eq!(entry.file_type().unwrap(), found);
        }
    });
}

#[test]
fn test_read_dir_infinite_loop() {
    everywhere(|| {
        let one_begins = one_begins();
        let Ok(mut child) = Command::new("true").spawn() else {
            return;
        };
        drop(one_begins);
        let _ = child.kill();
        // It can be opened, and not read.
        if let Ok(entries) = fs::read_dir(format!("/proc/{}/net", child.id())) {
            assert!(entries.filter(Result::is_err).take(2).count() < 2);
        }
        greenlet::blocking(|| child.wait()).unwrap();
    });
}

#[test]
fn rename_directory() {
    everywhere(|| {
        let dir = tmpdir();
        let (old, new) = (dir.join("foo/bar/baz"), dir.join("quux/blat"));
        fs::create_dir_all(&old).unwrap();
        File::create(old.join("temp.txt")).unwrap();
        fs::create_dir_all(&new).unwrap();
        fs::rename(&old, new.join("newdir")).unwrap();
        assert!(new.join("newdir").is_dir());
        assert!(new.join("newdir/temp.txt").exists());
    });
}

#[test]
fn test_file_times() {
    everywhere(|| {
        let dir = tmpdir();
        let file = File::create(dir.join("foo")).unwrap();
        let accessed = SystemTime::UNIX_EPOCH + Duration::from_secs(12345);
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(54321);
        let times = FileTimes::new();
        file.set_times(times.set_accessed(accessed).set_modified(modified))
            .unwrap();
        let found = file.metadata().unwrap();
        assert_eq!(found.accessed().unwrap(), accessed);
        assert_eq!(found.modified().unwrap(), modified);
        file.set_modified(accessed).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), accessed);
    });
}

#[test]
fn test_rename_file_over_open_file() {
    everywhere(|| {
        let dir = tmpdir();
        let (source, target) = (dir.join("source_file.txt"), dir.join("target_file.txt"));
        fs::write(&source, b"source hello world").unwrap();
        fs::write(&target, b"target hello world").unwrap();
        let open = File::open(&target).unwrap();
        fs::rename(&source, &target).unwrap();
        drop(open);
        assert_eq!(fs::read(&target).unwrap(), b"source hello world");
    });
}

#[test]
fn test_rename_directory_to_non_empty_directory() {
    everywhere(|| {
        let dir = tmpdir();
        let (source, target) = (dir.join("source"), dir.join("target"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("target_file.txt"), b"target hello world").unwrap();
        let error = fs::rename(source, target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
    });
}

#[test]
fn test_rename_symlink() {
    everywhere(|| {
        let dir = tmpdir();
        symlink("does not exist", dir.join("original")).unwrap();
        fs::rename(dir.join("original"), dir.join("dest")).unwrap();
        let target = fs::read_link(dir.join("dest")).unwrap();
        assert_eq!(target, Path::new("does not exist"));
    });
}

#[test]
fn test_open_options_invalid_combinations() {
    everywhere(|| {
        let contradictions: [fn(&mut OpenOptions) -> &mut OpenOptions; 4] = [
            |options| options.create(true).read(true),
            |options| options.create_new(true).read(true),
            |options| options.truncate(true).read(true),
            |options| options.truncate(true).append(true),
        ];
        for contradiction in contradictions {
            let error = contradiction(&mut OpenOptions::new())
                .open("nonexistent.txt")
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), NO_ACCESS);
        }
        let error = OpenOptions::new().open("nonexistent.txt").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let std_error = std::fs::OpenOptions::new().open("nonexistent.txt");
        assert_eq!(error.to_string(), std_error.unwrap_err().to_string());
    });
}
