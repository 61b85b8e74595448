//! `fs::File` on what waits for others: FIFOs, pipes, terminals, sockets, devices.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenlet::fs::{self, File, OpenOptions};
use greenlet::os::unix::fs::{FileExt, OpenOptionsExt};
use support::child::none_begins;
use support::hubs::{on_hubs, runtime, watched};
use support::parks::{does_not_park, parks};
use support::process::descriptors;
use support::sockets::{everywhere, has_status_flag, in_greenlets, spawn};
use support::temp::TempDir;

/// What both ends are opened with, without waiting for each other.
fn ends(path: &PathBuf) -> (File, File) {
    let both = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path);
    let reader = std::fs::File::open(path).unwrap();
    let writer = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    drop(both.unwrap());
    (reader.into(), writer.into())
}

fn writer() -> OpenOptions {
    OpenOptions::new().write(true).clone()
}

/// A terminal: what a person types into the first is read from the second.
fn terminal() -> (File, File) {
    let (mut person, mut program) = (0, 0);
    // SAFETY: both are valid for the call, and the rest may be null.
    let result = unsafe {
        libc::openpty(
            &raw mut person,
            &raw mut program,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    assert_eq!(result, 0);
    // SAFETY: both are new.
    unsafe { (File::from_raw_fd(person), File::from_raw_fd(program)) }
}

#[test]
fn reading_an_empty_fifo_parks() {
    let dir = TempDir::new();
    let (mut reader, mut writer) = ends(&dir.fifo("fifo"));
    let bytes = parks(
        move || {
            let mut bytes = [0; 8];
            let length = reader.read(&mut bytes).unwrap();
            bytes[..length].to_vec()
        },
        || assert_eq!(writer.write(b"hello").unwrap(), 5),
    );
    assert_eq!(bytes, b"hello");
}

#[test]
fn writing_to_a_full_fifo_parks_until_all_is_written() {
    let dir = TempDir::new();
    let (mut reader, mut writer) = ends(&dir.fifo("fifo"));
    let mut bytes = vec![0; 300_000];
    parks(
        move || assert_eq!(writer.write(&vec![7; 300_000]).unwrap(), 300_000),
        || reader.read_exact(&mut bytes).unwrap(),
    );
    assert!(bytes == vec![7; 300_000]);
}

#[test]
fn opening_a_fifo_to_read_parks_until_there_is_a_writer() {
    let dir = TempDir::new();
    let path = dir.fifo("fifo");
    let mut writing = None;
    // One that does not write: the kernel tells nobody.
    let mut file = parks(
        || File::open(&path).unwrap(),
        || writing = Some(writer().open(&path).unwrap()),
    );
    assert!(!has_status_flag(&file, libc::O_NONBLOCK));
    writing.unwrap().write_all(b"text").unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
}

#[test]
fn opening_a_fifo_to_write_parks_until_there_is_a_reader() {
    let _none_begins = none_begins();
    let dir = TempDir::new();
    let path = dir.fifo("fifo");
    for options in [writer(), OpenOptions::new().append(true).clone()] {
        let mut reader = None;
        let file = parks(
            || options.open(&path).unwrap(),
            || reader = Some(File::open(&path).unwrap()),
        );
        assert!(!has_status_flag(&file, libc::O_NONBLOCK));
    }
}

#[test]
fn a_writer_that_has_come_and_gone_has_been_there() {
    let dir = TempDir::new();
    let path = dir.fifo("fifo");
    let mut file = parks(
        || File::open(&path).unwrap(),
        || drop(writer().open(&path).unwrap()),
    );
    assert_eq!(file.read(&mut [0; 4]).unwrap(), 0);
}

#[test]
fn both_ends_meet_wherever_they_are() {
    everywhere(|| {
        let dir = TempDir::new();
        for turn in 0..10 {
            let path = dir.fifo(&turn.to_string());
            let other = path.clone();
            let writing = spawn(move || fs::write(other, vec![turn; 200_000]).unwrap());
            assert!(fs::read(&path).unwrap() == vec![turn; 200_000]);
            writing.join().unwrap();
        }
    });
}

#[test]
fn greenlets_and_threads_meet_in_a_fifo() {
    let _none_begins = none_begins();
    on_hubs(|_| {
        let dir = TempDir::new();
        let path = dir.fifo("fifo");
        let other = path.clone();
        let thread = thread::spawn(move || std::fs::write(other, b"from a thread").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "from a thread");
        greenlet::blocking(|| thread.join().unwrap());
        let other = path.clone();
        let thread = thread::spawn(move || std::fs::read(other).unwrap());
        fs::write(&path, b"to a thread").unwrap();
        let read = greenlet::blocking(|| thread.join().unwrap());
        assert_eq!(read, b"to a thread");
    });
}

/// Each would need a thread of the pool, and there would be none for those that they wait for.
#[test]
fn more_wait_for_the_other_end_than_there_are_threads() {
    let _watchdog = watched();
    let dir = TempDir::new();
    let runtime = runtime(2);
    let paths: Vec<_> = (0..700).map(|n| dir.fifo(&n.to_string())).collect();
    let readers: Vec<_> = paths
        .iter()
        .map(|path| {
            let path = path.clone();
            runtime.spawn(move || fs::read(path).unwrap())
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    runtime.run(|| {
        for path in &paths {
            fs::write(path, "text").unwrap();
        }
    });
    for reader in readers {
        assert_eq!(reader.join().unwrap(), b"text");
    }
}

#[test]
fn a_greenlet_that_waits_for_the_other_end_ends_with_its_runtime() {
    let _watchdog = watched();
    let dir = TempDir::new();
    let path = dir.fifo("fifo");
    for _ in 0..10 {
        let runtime = runtime(1);
        let (read, write) = (path.clone(), dir.fifo("other"));
        let other = write.clone();
        runtime.spawn(move || drop(File::open(read)));
        runtime.spawn(move || drop(writer().open(write)));
        thread::sleep(Duration::from_millis(5));
        drop(runtime);
        std::fs::remove_file(other).unwrap();
    }
}

#[test]
fn a_greenlet_that_reads_a_fifo_ends_with_its_runtime_and_loses_nothing() {
    let _watchdog = watched();
    let dir = TempDir::new();
    let (reader, mut writer) = ends(&dir.fifo("fifo"));
    for _ in 0..10 {
        let runtime = runtime(1);
        let mut clone = reader.try_clone().unwrap();
        runtime.spawn(move || clone.read(&mut [0; 10]).unwrap());
        thread::sleep(Duration::from_millis(5));
        drop(runtime);
    }
    writer.write_all(b"text").unwrap();
    let mut bytes = [0; 4];
    (&reader).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"text");
}

#[test]
fn several_readers_of_a_fifo_get_each_byte_once() {
    in_greenlets(|| {
        let dir = TempDir::new();
        let (reader, mut writer) = ends(&dir.fifo("fifo"));
        let reader = Arc::new(reader);
        let seen = Arc::new(Mutex::new(Vec::<u8>::new()));
        let readers: Vec<_> = (0..5)
            .map(|_| {
                let (reader, seen) = (reader.clone(), seen.clone());
                greenlet::spawn(move || {
                    let mut bytes = [0; 7];
                    loop {
                        match (&*reader).read(&mut bytes).unwrap() {
                            0 => break,
                            length => seen.lock().unwrap().extend(&bytes[..length]),
                        }
                    }
                })
            })
            .collect();
        for byte in 0..200 {
            writer.write_all(&[byte; 3]).unwrap();
            greenlet::yield_now();
        }
        drop(writer);
        readers.into_iter().for_each(|one| one.join().unwrap());
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        let expected: Vec<_> = (0..200).flat_map(|byte| [byte; 3]).collect();
        assert_eq!(seen, expected);
    });
}

#[test]
fn a_fifo_has_no_position() {
    everywhere(|| {
        let dir = TempDir::new();
        let (reader, writer) = ends(&dir.fifo("fifo"));
        for result in [
            reader.read_at(&mut [0; 4], 0),
            writer.write_at(b"x", 0),
            io::Seek::seek(&mut &reader, io::SeekFrom::Start(0)).map(|_| 0),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::NotSeekable);
        }
    });
}

#[test]
fn a_writer_whose_readers_are_gone_gets_a_broken_pipe() {
    let _none_begins = none_begins();
    everywhere(|| {
        let dir = TempDir::new();
        let (reader, mut writer) = ends(&dir.fifo("fifo"));
        drop(reader);
        assert_eq!(
            writer.write(b"x").unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    });
}

#[test]
fn a_reader_whose_writers_go_reads_the_end() {
    let dir = TempDir::new();
    let (mut reader, writer) = ends(&dir.fifo("fifo"));
    let length = parks(move || reader.read(&mut [0; 4]).unwrap(), || drop(writer));
    assert_eq!(length, 0);
}

/// Somebody else has made the description non-blocking; that is what a read then is.
#[test]
fn a_description_that_is_nonblocking_answers_would_block() {
    let _none_begins = none_begins();
    everywhere(|| {
        let dir = TempDir::new();
        let path = dir.fifo("fifo");
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let mut reader = options.open(&path).unwrap();
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
        let mut writer = writer().open(&path).unwrap();
        let error = reader.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        writer.write_all(b"text").unwrap();
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 4);
        // And without a reader there is none to open.
        drop((reader, writer));
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        let error = options.open(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    });
}

#[test]
fn a_pipe_that_becomes_a_file_parks() {
    let (reader, writer) = io::pipe().unwrap();
    let mut reader = File::from(OwnedFd::from(reader));
    let mut writer = File::from(OwnedFd::from(writer));
    let bytes = parks(
        move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        },
        move || writer.write_all(b"hello").unwrap(),
    );
    assert_eq!(bytes, b"hello");
    let (reader, writer) = io::pipe().unwrap();
    let reader = File::from(OwnedFd::from(reader));
    let mut writer = File::from(OwnedFd::from(writer));
    let other = writer.as_fd().try_clone_to_owned().unwrap();
    let mut read = vec![0; 200_000];
    parks(
        move || writer.write_all(&vec![3; 200_000]).unwrap(),
        || (&reader).read_exact(&mut read).unwrap(),
    );
    assert!(read == vec![3; 200_000]);
    assert!(!has_status_flag(&other, libc::O_NONBLOCK));
}

#[test]
fn a_socket_that_becomes_a_file_parks() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut near = File::from(OwnedFd::from(near));
    let bytes = parks(
        move || {
            let mut bytes = [0; 5];
            near.read_exact(&mut bytes).unwrap();
            bytes
        },
        || far.write_all(b"hello").unwrap(),
    );
    assert_eq!(&bytes, b"hello");
}

#[test]
fn reading_a_terminal_parks() {
    let (mut person, mut program) = terminal();
    assert!(program.is_terminal());
    let line = parks(
        move || {
            let mut bytes = [0; 100];
            let length = program.read(&mut bytes).unwrap();
            (bytes[..length].to_vec(), program)
        },
        || person.write_all(b"a line\n").unwrap(),
    );
    assert_eq!(line.0, b"a line\n");
    assert!(!has_status_flag(&line.1, libc::O_NONBLOCK));
    runtime(1).run(|| {
        let mut program = line.1;
        program.write_all(b"an answer\n").unwrap();
        let mut bytes = [0; 19];
        person.read_exact(&mut bytes).unwrap();
        assert!(bytes.ends_with(b"an answer\r\n"), "{bytes:?}");
    });
}

#[test]
fn devices_that_never_wait_do_not_park() {
    if support::child::without("rwf_nowait") {
        return;
    }
    let open = |path| -> File {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).open(path).unwrap().into()
    };
    let (mut null, mut zero) = (open("/dev/null"), open("/dev/zero"));
    does_not_park(move || {
        let mut bytes = [1; 10];
        assert_eq!(null.read(&mut bytes).unwrap(), 0);
        assert_eq!(null.write(&bytes).unwrap(), 10);
        assert_eq!(zero.read(&mut bytes).unwrap(), 10);
        assert_eq!(bytes, [0; 10]);
    });
}

#[test]
fn devices_and_proc_are_read_and_written() {
    everywhere(|| {
        let mut random = File::open("/dev/urandom").unwrap();
        let mut bytes = [0; 64];
        random.read_exact(&mut bytes).unwrap();
        assert_ne!(bytes, [0; 64]);
        let mut full = File::open("/dev/full").unwrap();
        assert_eq!(full.read(&mut bytes).unwrap(), 64);
        assert_eq!(bytes, [0; 64]);
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.contains("VmSize"));
        let mut text = String::new();
        let mut status = File::open("/proc/self/stat").unwrap();
        status.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&std::process::id().to_string()));
        fs::write("/dev/null", [1; 100_000]).unwrap();
    });
}

#[test]
fn copies_to_and_from_what_waits() {
    everywhere(|| {
        let dir = TempDir::new();
        let (path, copy) = (dir.fifo("fifo"), dir.join("copy"));
        fs::write(&copy, vec![5; 100_000]).unwrap();
        let from = copy.clone();
        let other = path.clone();
        let copying = spawn(move || fs::copy(from, other).unwrap());
        assert!(fs::read(&path).unwrap() == vec![5; 100_000]);
        assert_eq!(copying.join().unwrap(), 100_000);
        assert_eq!(fs::copy(&copy, "/dev/null").unwrap(), 100_000);
        let error = fs::copy("/dev/null", dir.join("out")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let theirs = std::fs::copy("/dev/null", dir.join("out")).unwrap_err();
        assert_eq!(error.to_string(), theirs.to_string());
    });
}

#[test]
fn no_descriptor_is_left_by_fifos() {
    support::child::alone("no_descriptor_is_left_by_fifos", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let path = dir.fifo("fifo");
        let count = Arc::new(AtomicUsize::new(0));
        let runtime = runtime(2);
        runtime.run(|| ());
        let before = descriptors();
        runtime.run(|| {
            for _ in 0..50 {
                let (other, count) = (path.clone(), count.clone());
                let reading = greenlet::spawn(move || {
                    count.fetch_add(fs::read(other).unwrap().len(), SeqCst);
                });
                fs::write(&path, "text").unwrap();
                reading.join().unwrap();
            }
        });
        assert_eq!(descriptors(), before);
        assert_eq!(count.load(SeqCst), 200);
        assert_eq!(runtime.stats().descriptors, 0);
    });
}

#[test]
fn a_raw_descriptor_is_read_where_it_was_left() {
    everywhere(|| {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"abcdef").unwrap();
        let mut file = File::from(OwnedFd::from(reader));
        let mut bytes = [0; 3];
        file.read_exact(&mut bytes).unwrap();
        let fd = file.as_raw_fd();
        let back = OwnedFd::from(file);
        assert_eq!(back.as_raw_fd(), fd);
        let mut reader = io::PipeReader::from(back);
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"def");
    });
}
