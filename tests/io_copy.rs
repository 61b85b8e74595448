//! `io::copy`: std's, and between pipes by the kernel.

use std::fs::File;
use std::os::fd::OwnedFd;

use greenlet::io::{self, Cursor, ErrorKind, PipeReader, Read, Write};
use greenlet::process::{Command, Stdio};

mod support;

use support::child::{none_begins, one_begins};
use support::sockets::{everywhere, settle, spawn};
use support::{does_not_park, parks, runtime, watched};

/// More than a pipe has room for.
const MUCH: usize = 1 << 20;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn anything_is_copied_to_anything() {
    everywhere(|| {
        let mut written = Vec::new();
        let count = io::copy(&mut Cursor::new(pattern(MUCH)), &mut written).unwrap();
        assert_eq!(count, MUCH as u64);
        assert!(written == pattern(MUCH));
        let reader: &mut dyn Read = &mut &b"dynamic"[..];
        let writer: &mut dyn Write = &mut io::sink();
        assert_eq!(io::copy(reader, writer).unwrap(), 7);
    });
}

#[test]
fn what_one_pipe_has_goes_to_another_up_to_its_end() {
    everywhere(|| {
        let (mut from, mut filler) = io::pipe().unwrap();
        let (mut drain, mut to) = io::pipe().unwrap();
        let fills = spawn(move || filler.write_all(&pattern(MUCH)).unwrap());
        let drains = spawn(move || {
            let mut read = Vec::new();
            drain.read_to_end(&mut read).unwrap();
            read
        });
        assert_eq!(io::copy(&mut from, &mut to).unwrap(), MUCH as u64);
        drop(to);
        fills.join().unwrap();
        assert!(drains.join().unwrap() == pattern(MUCH));
    });
}

#[test]
fn copying_between_pipes_parks_for_data() {
    let (mut from, mut filler) = io::pipe().unwrap();
    let (mut drain, mut to) = io::pipe().unwrap();
    let count = parks(
        move || io::copy(&mut from, &mut to).unwrap(),
        move || {
            filler.write_all(b"hello").unwrap();
            drop(filler);
        },
    );
    assert_eq!(count, 5);
    let mut text = String::new();
    drain.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn copying_between_pipes_parks_for_room() {
    let (mut from, mut filler) = io::pipe().unwrap();
    let (mut drain, mut to) = io::pipe().unwrap();
    to.write_all(&pattern(65_536)).unwrap();
    filler.write_all(b"hello").unwrap();
    drop(filler);
    let mut read = vec![0; 65_536];
    let count = parks(
        move || io::copy(&mut from, &mut to).unwrap(),
        || drain.read_exact(&mut read).unwrap(),
    );
    assert_eq!(count, 5);
    let mut text = String::new();
    drain.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn what_is_there_is_copied_without_a_park() {
    let _none_begins = none_begins();
    let (mut from, mut filler) = io::pipe().unwrap();
    let (_drain, mut to) = io::pipe().unwrap();
    filler.write_all(&pattern(60_000)).unwrap();
    drop(filler);
    does_not_park(|| assert_eq!(io::copy(&mut from, &mut to).unwrap(), 60_000));
}

#[test]
fn a_child_s_output_is_copied_to_another_s_input() {
    everywhere(|| {
        let one_begins = one_begins();
        let script = ["-c", "head -c 300000 /dev/zero"];
        let first = Command::new("sh")
            .args(script)
            .stdout(Stdio::piped())
            .spawn();
        let mut first = first.unwrap();
        let mut second = Command::new("wc")
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(one_begins);
        let (mut from, mut to) = (first.stdout.take().unwrap(), second.stdin.take().unwrap());
        assert_eq!(io::copy(&mut from, &mut to).unwrap(), 300_000);
        drop(to);
        let counted = second.wait_with_output().unwrap().stdout;
        assert_eq!(counted.trim_ascii(), b"300000");
        assert!(first.wait().unwrap().success());
    });
}

#[test]
fn a_pipe_s_type_need_not_be_a_pipe() {
    everywhere(|| {
        let path = std::env::temp_dir().join(format!("greenlet-copy-{}", std::process::id()));
        std::fs::write(&path, pattern(MUCH)).unwrap();
        let mut from = PipeReader::from(OwnedFd::from(File::open(&path).unwrap()));
        let (mut drain, mut to) = io::pipe().unwrap();
        let drains = spawn(move || {
            let mut read = Vec::new();
            drain.read_to_end(&mut read).unwrap();
            read
        });
        assert_eq!(io::copy(&mut from, &mut to).unwrap(), MUCH as u64);
        drop(to);
        assert!(drains.join().unwrap() == pattern(MUCH));
        let (mut from, mut to) = (File::open("/dev/null").unwrap(), io::sink());
        assert_eq!(io::copy(&mut from, &mut to).unwrap(), 0);
    });
    let path = std::env::temp_dir().join(format!("greenlet-copy-{}", std::process::id()));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn copying_to_a_pipe_without_readers_is_broken() {
    let _none_begins = none_begins();
    everywhere(|| {
        let (mut from, mut filler) = io::pipe().unwrap();
        let (drain, mut to) = io::pipe().unwrap();
        drop(drain);
        filler.write_all(b"x").unwrap();
        let error = io::copy(&mut from, &mut to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_runtime_that_ends_cancels_a_copy_and_what_was_not_moved_stays() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let (from, mut filler) = io::pipe().unwrap();
        let (mut drain, mut to) = io::pipe().unwrap();
        let mut clone = from.try_clone().unwrap();
        let runtime = runtime(hubs);
        let copying = runtime.spawn(move || io::copy(&mut clone, &mut to));
        filler.write_all(b"before").unwrap();
        let mut text = [0; 6];
        drain.read_exact(&mut text).unwrap();
        settle();
        drop(runtime);
        assert!(copying.join().unwrap_err().is::<greenlet::Cancelled>());
        filler.write_all(b"behind").unwrap();
        (&from).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"behind");
    }
}

#[test]
fn a_borrowed_reader_is_read() {
    everywhere(|| {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"borrowed").unwrap();
        drop(writer);
        let mut written = Vec::new();
        assert_eq!(io::copy(&mut &reader, &mut written).unwrap(), 8);
        assert_eq!(written, b"borrowed");
    });
}
