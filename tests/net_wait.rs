//! `wait_readable`, `wait_writable` and `select`: descriptors that are not this crate's.

mod support;

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::net::{WaitFor, select, wait_readable, wait_writable};
use support::sockets::{
    self, alone, descriptor_limit, everywhere, open_descriptors, set_descriptor_limit, settle,
    spawn,
};
use support::{does_not_park, parks, runtime, watched};

#[track_caller]
fn assert_kind<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().unwrap()
}

/// A pipe that has no room.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe();
    // SAFETY: the call takes numbers only.
    let room = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
    writer.write_all(&vec![0; room as usize]).unwrap();
    (reader, writer)
}

fn soon(milliseconds: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(milliseconds))
}

#[test]
fn waiting_parks_until_a_pipe_can_be_read_or_written() {
    let (mut reader, mut writer) = pipe();
    let end = || writer.write_all(b"x").unwrap();
    parks(|| wait_readable(&reader, None), end).unwrap();
    reader.read_exact(&mut [0]).unwrap();

    let (mut reader, writer) = full_pipe();
    let end = || reader.read_exact(&mut [0; 65536]).unwrap();
    parks(|| wait_writable(&writer, None), end).unwrap();
}

#[test]
fn selecting_parks_until_one_is_ready() {
    let all: Vec<_> = (0..5).map(|_| pipe()).collect();
    let waits: Vec<_> = all
        .iter()
        .map(|(reader, _)| WaitFor::readable(reader))
        .collect();
    let end = || (&all[3].1).write_all(b"x").unwrap();
    assert_eq!(parks(|| select(&waits, None), end).unwrap(), [3]);
}

#[test]
fn what_is_ready_is_told_at_once_and_again_for_as_long_as_it_is() {
    let (one, other) = (pipe(), pipe());
    (&one.1).write_all(b"x").unwrap();
    let file = File::open("/proc/self/exe").unwrap();
    let null = File::open("/dev/null").unwrap();
    does_not_park(|| {
        for _ in 0..20 {
            wait_readable(&one.0, None).unwrap();
            wait_writable(&one.1, None).unwrap();
            // Regular files and devices that never wait.
            wait_readable(&file, None).unwrap();
            wait_writable(&null, None).unwrap();
            // A deadline that has passed leaves time for a look.
            wait_readable(&one.0, Some(Instant::now())).unwrap();
            let all = [
                WaitFor::readable(&other.0),
                WaitFor::readable(&one.0),
                WaitFor::writable(&other.1),
                WaitFor::readable(&one.0),
            ];
            assert_eq!(select(&all, None).unwrap(), [1, 2, 3]);
        }
    });
}

#[test]
fn a_deadline_that_passes_is_timed_out_and_nothing_is_left_behind() {
    everywhere(|| {
        let (reader, mut writer) = pipe();
        for _ in 0..3 {
            let start = Instant::now();
            assert_kind(wait_readable(&reader, soon(20)), ErrorKind::TimedOut);
            assert!(start.elapsed() >= Duration::from_millis(20));
            assert_kind(wait_readable(&reader, Some(start)), ErrorKind::TimedOut);
        }
        writer.write_all(b"x").unwrap();
        wait_readable(&reader, soon(20)).unwrap();
    });
}

#[test]
fn the_other_end_that_closes_ends_the_wait() {
    everywhere(|| {
        let (reader, writer) = pipe();
        let (full_reader, full_writer) = full_pipe();
        let waiting = spawn(move || wait_readable(&reader, None));
        let waiting_to_write = spawn(move || wait_writable(&full_writer, None));
        settle();
        drop((writer, full_reader));
        waiting.join().unwrap().unwrap();
        waiting_to_write.join().unwrap().unwrap();
    });
}

#[test]
fn one_descriptor_is_waited_for_by_many_in_both_directions_and_all_are_told() {
    everywhere(|| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = Arc::new(near);
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let near = near.clone();
                spawn(move || wait_readable(&near, None))
            })
            .collect();
        settle();
        let both = [WaitFor::readable(&near), WaitFor::writable(&near)];
        assert_eq!(select(&both, None).unwrap(), [1]);
        far.write_all(b"x").unwrap();
        for waiter in waiting {
            waiter.join().unwrap().unwrap();
        }
        assert_eq!(select(&both, None).unwrap(), [0, 1]);
    });
}

#[test]
fn a_socket_of_ours_is_waited_for_beside_its_own_readers() {
    everywhere(|| {
        let (mut near, far) = sockets::pair();
        let far = Arc::new(far);
        let reading = spawn({
            let far = far.clone();
            move || (&*far).read(&mut [0]).unwrap()
        });
        let waiting = spawn({
            let far = far.clone();
            move || wait_readable(&far, None)
        });
        settle();
        assert!(!reading.is_finished() && !waiting.is_finished());
        // One for the reader, and one that stays.
        near.write_all(b"xy").unwrap();
        assert_eq!(reading.join().unwrap(), 1);
        waiting.join().unwrap().unwrap();
        wait_readable(&far, soon(1000)).unwrap();
    });
}

#[test]
fn a_listener_is_readable_when_somebody_connects() {
    everywhere(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let waiting = spawn(move || {
            wait_readable(&listener, None).unwrap();
            listener.accept().map(drop)
        });
        settle();
        let _near = std::net::TcpStream::connect(addr).unwrap();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn greenlets_of_two_runtimes_and_threads_wait_for_one_descriptor() {
    let _watchdog = watched();
    let (reader, mut writer) = pipe();
    let reader = Arc::new(reader);
    let runtimes = [runtime(1), runtime(2)];
    let wait = |reader: Arc<PipeReader>| move || wait_readable(&reader, None).unwrap();
    let greenlets: Vec<_> = (0..6)
        .map(|number| runtimes[number % 2].spawn(wait(reader.clone())))
        .collect();
    let threads: Vec<_> = (0..3)
        .map(|_| thread::spawn(wait(reader.clone())))
        .collect();
    settle();
    writer.write_all(b"x").unwrap();
    for greenlet in greenlets {
        greenlet.join().unwrap();
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn who_was_told_and_finds_nothing_waits_again() {
    everywhere(|| {
        // Each byte goes to one of them.
        const READERS: usize = 4;
        const BYTES: usize = 100;
        let (reader, mut writer) = pipe();
        // SAFETY: the call takes numbers only.
        let result = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        assert_eq!(result, 0);
        let reader = Arc::new(reader);
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let reader = reader.clone();
                spawn(move || {
                    let mut count = 0;
                    loop {
                        wait_readable(&reader, None).unwrap();
                        match (&*reader).read(&mut [0]) {
                            Ok(0) => return count,
                            Ok(_) => count += 1,
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                })
            })
            .collect();
        for _ in 0..BYTES {
            writer.write_all(b"x").unwrap();
            sockets::sleep(Duration::from_micros(50));
        }
        drop(writer);
        let counts = readers.into_iter().map(|reader| reader.join().unwrap());
        assert_eq!(counts.sum::<usize>(), BYTES);
    });
}

#[test]
fn a_descriptor_that_is_not_open_is_an_error() {
    everywhere(|| {
        // SAFETY: nothing is read or written, and the number is beyond all limits.
        let closed = unsafe { BorrowedFd::borrow_raw(i32::MAX - 1) };
        let error = wait_readable(closed, None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        let (reader, _writer) = pipe();
        let all = [WaitFor::readable(&reader), WaitFor::writable(&closed)];
        let error = select(&all, soon(20)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert_kind(select(&[], None), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_descriptor_that_is_closed_under_its_waiter_leaves_it_waiting_up_to_its_deadline() {
    // Alone: the number must not become another file's meanwhile.
    alone(
        "a_descriptor_that_is_closed_under_its_waiter_leaves_it_waiting_up_to_its_deadline",
        || {
            everywhere(|| {
                let (reader, _writer) = pipe();
                // SAFETY: what is tested is that the promise is broken.
                let borrowed = unsafe { BorrowedFd::borrow_raw(reader.as_raw_fd()) };
                let waiting = spawn(move || wait_readable(borrowed, soon(100)));
                settle();
                drop(reader);
                let error = waiting.join().unwrap().unwrap_err();
                // The last look may see that it is closed.
                let is_closed = error.raw_os_error() == Some(libc::EBADF);
                assert!(is_closed || error.kind() == ErrorKind::TimedOut, "{error}");
            });
        },
    );
}

#[test]
fn the_mode_of_the_descriptor_stays_as_it_is() {
    everywhere(|| {
        let (near, _far) = UnixStream::pair().unwrap();
        assert_kind(wait_readable(&near, soon(5)), ErrorKind::TimedOut);
        assert!(!sockets::has_status_flag(&near, libc::O_NONBLOCK));
    });
}

#[test]
fn dropping_the_runtime_ends_the_waits() {
    let _watchdog = watched();
    let (reader, _writer) = pipe();
    let runtime = runtime(2);
    let waiting = runtime.spawn(move || wait_readable(&reader, None).map(drop));
    settle();
    drop(runtime);
    assert!(waiting.join().is_err());
}

#[test]
fn without_descriptors_a_greenlet_cannot_wait_but_can_look() {
    alone(
        "without_descriptors_a_greenlet_cannot_wait_but_can_look",
        || {
            let _watchdog = watched();
            let (mut reader, mut writer) = pipe();
            runtime(1).run(|| {
                let limit = descriptor_limit();
                set_descriptor_limit(libc::rlimit {
                    rlim_cur: 4,
                    ..limit
                });
                let waited = wait_readable(&reader, None);
                writer.write_all(b"x").unwrap();
                let looked = wait_readable(&reader, None);
                set_descriptor_limit(limit);
                assert_eq!(waited.unwrap_err().raw_os_error(), Some(libc::EMFILE));
                looked.unwrap();
                reader.read_exact(&mut [0]).unwrap();
            });
        },
    );
}

#[test]
fn waits_leave_no_descriptor_behind() {
    alone("waits_leave_no_descriptor_behind", || {
        let _watchdog = watched();
        let runtime = runtime(2);
        // What the runtime itself opens is open now.
        let before = runtime.run(open_descriptors);
        runtime.run(|| {
            let (reader, writer) = pipe();
            for _ in 0..100 {
                let all = [WaitFor::readable(&reader), WaitFor::readable(&writer)];
                assert_kind(select(&all, soon(1)), ErrorKind::TimedOut);
            }
        });
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_wait_by_reference_by_value_and_by_borrowed_descriptor_is_the_same() {
    everywhere(|| {
        let (reader, mut writer) = pipe();
        writer.write_all(b"x").unwrap();
        wait_readable(&reader, None).unwrap();
        wait_readable(reader.as_fd(), None).unwrap();
        wait_readable(reader, None).unwrap();
    });
}
