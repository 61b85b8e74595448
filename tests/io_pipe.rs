//! `io::pipe`: std's meaning, without a hub that blocks and without `O_NONBLOCK`.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use greenlet::io::{self, ErrorKind, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write};

mod support;

use support::child::{none_begins, passes, without};
use support::sockets::{everywhere, has_status_flag, is_closed_on_exec, settle, spawn, wait_until};
use support::{does_not_park, on_hubs, parks, runtime, watched};

/// More than a pipe has room for.
const MUCH: usize = 1 << 20;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

fn set_nonblocking(fd: &impl AsRawFd) {
    // SAFETY: the call takes numbers only.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(result, 0);
}

#[test]
fn a_read_of_an_empty_pipe_parks_until_there_is_something() {
    let (mut reader, mut writer) = io::pipe().unwrap();
    let read = parks(
        move || {
            let mut buf = [0; 10];
            let count = reader.read(&mut buf).unwrap();
            buf[..count].to_vec()
        },
        move || writer.write_all(b"hello").unwrap(),
    );
    assert_eq!(read, b"hello");
}

#[test]
fn a_read_parks_until_the_last_writer_is_gone() {
    let (mut reader, writer) = io::pipe().unwrap();
    let clone = writer.try_clone().unwrap();
    drop(writer);
    let count = parks(move || reader.read(&mut [0; 10]).unwrap(), || drop(clone));
    assert_eq!(count, 0);
}

#[test]
fn a_vectored_read_parks() {
    let (mut reader, mut writer) = io::pipe().unwrap();
    let (first, second) = parks(
        move || {
            let (mut first, mut second) = ([0; 2], [0; 4]);
            let bufs = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            assert_eq!(reader.read_vectored(bufs).unwrap(), 5);
            (first, second)
        },
        move || {
            let bufs = [IoSlice::new(b"he"), IoSlice::new(b"llo")];
            assert_eq!(writer.write_vectored(&bufs).unwrap(), 5);
        },
    );
    assert_eq!((&first, &second), (b"he", b"llo\0"));
}

#[test]
fn a_write_without_room_parks_and_writes_all_in_the_end() {
    let (mut reader, mut writer) = io::pipe().unwrap();
    let mut read = Vec::new();
    let count = parks(
        move || writer.write(&pattern(MUCH)).unwrap(),
        || {
            let count = reader.read_to_end(&mut read).unwrap();
            assert_eq!(count, MUCH);
        },
    );
    assert_eq!(count, MUCH);
    assert!(read == pattern(MUCH));
}

#[test]
fn a_vectored_write_without_room_parks() {
    let (mut reader, mut writer) = io::pipe().unwrap();
    let filled = (&writer).write(&pattern(65_536)).unwrap();
    assert_eq!(filled, 65_536);
    let mut read = vec![0; 65_536];
    let count = parks(
        move || {
            let bufs = [IoSlice::new(b"he"), IoSlice::new(b"llo")];
            writer.write_vectored(&bufs).unwrap()
        },
        || reader.read_exact(&mut read).unwrap(),
    );
    assert_eq!(count, 5);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello");
}

#[test]
fn what_is_there_is_read_and_what_there_is_room_for_is_written_without_a_park() {
    let _none_begins = none_begins();
    if without("rwf_nowait") {
        return;
    }
    let (mut reader, mut writer) = io::pipe().unwrap();
    does_not_park(|| {
        for _ in 0..20 {
            writer.write_all(&pattern(60_000)).unwrap();
            let mut buf = vec![0; 60_000];
            reader.read_exact(&mut buf).unwrap();
            assert!(buf == pattern(60_000));
        }
        drop(writer);
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    });
}

#[test]
fn nobody_else_sees_a_mode_that_was_not_asked_for() {
    everywhere(|| {
        let (mut reader, mut writer) = io::pipe().unwrap();
        assert!(is_closed_on_exec(&reader) && is_closed_on_exec(&writer));
        let other = spawn(move || {
            writer.write_all(&pattern(MUCH)).unwrap();
            assert!(!has_status_flag(&writer, libc::O_NONBLOCK));
            OwnedFd::from(writer)
        });
        let mut buf = vec![0; MUCH];
        reader.read_exact(&mut buf).unwrap();
        assert!(buf == pattern(MUCH));
        assert!(!has_status_flag(&reader, libc::O_NONBLOCK));
        let (reader, writer) = (OwnedFd::from(reader), other.join().unwrap());
        assert!(!has_status_flag(&reader, libc::O_NONBLOCK));
        assert!(!has_status_flag(&writer, libc::O_NONBLOCK));
    });
}

#[test]
fn while_a_greenlet_waits_the_mode_is_not_changed() {
    let (mut reader, writer) = io::pipe().unwrap();
    let number = reader.as_raw_fd();
    parks(
        move || reader.read(&mut [0; 1]).unwrap(),
        move || {
            assert!(!has_status_flag(&number, libc::O_NONBLOCK));
            drop(writer);
        },
    );
}

#[test]
fn a_pipe_that_the_user_made_non_blocking_answers_would_block() {
    everywhere(|| {
        let (mut reader, mut writer) = io::pipe().unwrap();
        set_nonblocking(&reader);
        set_nonblocking(&writer);
        let error = reader.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(writer.write(&pattern(MUCH)).unwrap(), 65_536);
        let error = writer.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_pipe_without_readers_is_broken() {
    let _none_begins = none_begins();
    everywhere(|| {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let error = writer.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_writer_that_waits_is_told_that_the_reader_is_gone() {
    let _none_begins = none_begins();
    if without("rwf_nowait") {
        return;
    }
    let (reader, mut writer) = io::pipe().unwrap();
    let result = parks(
        move || {
            let count = writer.write(&pattern(MUCH)).unwrap();
            (count, writer.write(b"x").unwrap_err().kind())
        },
        || drop(reader),
    );
    assert_eq!(result, (65_536, ErrorKind::BrokenPipe));
}

const LINES: usize = 1_000;

fn write_lines(mut writer: PipeWriter, number: usize) {
    for line in number * LINES..(number + 1) * LINES {
        writer.write_all(format!("{line:07}\n").as_bytes()).unwrap();
    }
}

/// Lines of one length are never torn: a read takes whole ones, as a write puts them.
fn read_lines(mut reader: PipeReader) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut buf = [0; 8];
    while reader.read(&mut buf).unwrap() == buf.len() {
        let text = std::str::from_utf8(&buf[..7]).unwrap();
        lines.push(text.parse().unwrap());
    }
    lines
}

#[test]
fn greenlets_and_threads_share_the_ends() {
    on_hubs(|_| {
        let (reader, writer) = io::pipe().unwrap();
        let mut greenlets = Vec::new();
        let mut threads = Vec::new();
        for number in 0..8 {
            let writer = writer.try_clone().unwrap();
            let reader = reader.try_clone().unwrap();
            let write = move || {
                write_lines(writer, number);
                Vec::new()
            };
            let read = move || read_lines(reader);
            if number % 4 == 0 {
                threads.push(std::thread::spawn(write));
                threads.push(std::thread::spawn(read));
            } else {
                greenlets.push(greenlet::spawn(write));
                greenlets.push(greenlet::spawn(read));
            }
        }
        drop((reader, writer));
        let mut lines = Vec::new();
        for greenlet in greenlets {
            lines.extend(greenlet.join().unwrap());
        }
        for thread in threads {
            lines.extend(thread.join().unwrap());
        }
        lines.sort_unstable();
        assert_eq!(lines, (0..8 * LINES).collect::<Vec<_>>());
    });
}

#[test]
fn a_runtime_that_ends_cancels_the_wait_and_nothing_is_lost() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let clone = reader.try_clone().unwrap();
        let runtime = runtime(hubs);
        let waiting = runtime.spawn(move || (&clone).read(&mut [0; 8]).unwrap());
        settle();
        drop(runtime);
        assert!(waiting.join().unwrap_err().is::<greenlet::Cancelled>());
        writer.write_all(b"here").unwrap();
        let mut buf = [0; 8];
        assert_eq!(reader.read(&mut buf).unwrap(), 4);
    }
}

#[test]
fn a_pipe_outlives_runtimes() {
    let _watchdog = watched();
    let (reader, writer) = io::pipe().unwrap();
    for _ in 0..3 {
        let (mut reader, mut writer) = (&reader, &writer);
        runtime(2).run(|| {
            let mut buf = [0; 5];
            let clone = writer.try_clone().unwrap();
            let other = greenlet::spawn(move || {
                settle();
                (&clone).write_all(b"hello").unwrap();
            });
            reader.read_exact(&mut buf).unwrap();
            other.join().unwrap();
        });
        writer.write_all(b"thread").unwrap();
        reader.read_exact(&mut [0; 6]).unwrap();
    }
}

#[test]
fn a_file_is_read_and_written_through_a_pipes_types() {
    let path = std::env::temp_dir().join(format!("greenlet-io-pipe-{}", std::process::id()));
    let file = |path| {
        let options = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        OwnedFd::from(options.unwrap())
    };
    let _watchdog = watched();
    for hubs in [1, 2] {
        runtime(hubs).run(|| {
            let mut writer = PipeWriter::from(file(&path));
            writer.write_all(&pattern(MUCH)).unwrap();
            let mut read = Vec::new();
            PipeReader::from(file(&path))
                .read_to_end(&mut read)
                .unwrap();
            assert!(read == pattern(MUCH));
        });
    }
    fs::remove_file(path).unwrap();
}

#[test]
fn conversions_keep_the_pipe() {
    everywhere(|| {
        let (reader, writer) = io::pipe().unwrap();
        let number = reader.as_raw_fd();
        let reader = std::io::PipeReader::from(reader);
        assert_eq!(reader.as_raw_fd(), number);
        // SAFETY: the descriptor was just given up.
        let mut reader = unsafe { PipeReader::from_raw_fd(PipeReader::from(reader).into_raw_fd()) };
        let mut writer = PipeWriter::from(std::io::PipeWriter::from(writer));
        writer.write_all(b"x").unwrap();
        assert_eq!(reader.read(&mut [0; 2]).unwrap(), 1);
        assert_eq!(reader.as_fd().as_raw_fd(), number);
        let shown = format!("{reader:?}");
        assert_eq!(
            shown,
            format!("PipeReader(FileDesc(OwnedFd {{ fd: {number} }}))")
        );
    });
}

#[test]
fn without_calls_that_do_not_wait_the_pool_reads_and_the_hub_runs_on() {
    const NAME: &str = "without_calls_that_do_not_wait_the_pool_reads_and_the_hub_runs_on";
    passes(NAME, &[("GREENLET_WITHOUT", "rwf_nowait")], || {
        a_read_of_an_empty_pipe_parks_until_there_is_something();
        a_read_parks_until_the_last_writer_is_gone();
        a_vectored_read_parks();
        a_write_without_room_parks_and_writes_all_in_the_end();
        a_pipe_without_readers_is_broken();
        greenlets_and_threads_share_the_ends();
        a_runtime_that_ends_cancels_the_wait_and_nothing_is_lost();
        a_file_is_read_and_written_through_a_pipes_types();
    });
}

#[test]
fn signals_disturb_neither_side() {
    let _watchdog = watched();
    support::child::alone("signals_disturb_neither_side", || {
        let storm = support::storm::begin();
        everywhere(|| {
            let (mut reader, mut writer) = io::pipe().unwrap();
            let other = spawn(move || {
                for part in pattern(MUCH).chunks(10_000) {
                    writer.write_all(part).unwrap();
                    std::thread::yield_now();
                }
            });
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            other.join().unwrap();
            assert!(read == pattern(MUCH));
        });
        wait_until(|| storm.count() > 50);
    });
}
