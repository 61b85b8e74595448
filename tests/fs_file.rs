//! `fs::File`: which operations park, and what they do when something goes wrong.

mod support;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use greenlet::fs::{self, File, OpenOptions, TryLockError};
use greenlet::os::unix::fs::{FileExt, OpenOptionsExt};
use support::child::{alone, without};
use support::hubs::{at_once, on_hubs, runtime, watched};
use support::parks::{does_not_park, parks, parks_for_a_while};
use support::process::{descriptors, wait_until};
use support::sockets::{
    descriptor_limit, everywhere, has_status_flag, set_descriptor_limit, spawn,
};
use support::temp::TempDir;

/// A file of so many bytes that tell where they are, opened for both.
fn file_of(dir: &TempDir, length: usize) -> File {
    let path = dir.join("file");
    std::fs::write(&path, contents(length)).unwrap();
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).open(path).unwrap().into()
}

fn contents(length: usize) -> Vec<u8> {
    (0..length).map(byte_at).collect()
}

/// No power of two, so that pages differ.
fn byte_at(offset: usize) -> u8 {
    (offset % 251) as u8
}

/// Whether a read of that page would have to wait. `None` if the filesystem does not tell.
fn is_cold(file: &File, offset: i64) -> Option<bool> {
    let mut byte = 0_u8;
    let buffer = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let fd = file.as_raw_fd();
    // SAFETY: one buffer of one byte, valid for the call.
    let read = unsafe { libc::preadv2(fd, &raw const buffer, 1, offset, libc::RWF_NOWAIT) };
    match (read, io::Error::last_os_error().raw_os_error()) {
        (1, _) => Some(false),
        (_, Some(libc::EAGAIN)) => Some(true),
        _ => None,
    }
}

/// Takes the file out of the page cache, if the filesystem does that. Looks at `offset`, the
/// neighbourhood of which the kernel then begins to read.
fn chill(file: &File, offset: i64) -> bool {
    let std: std::fs::File = file.as_fd().try_clone_to_owned().unwrap().into();
    std.sync_all().unwrap();
    // SAFETY: the call takes numbers only.
    unsafe { libc::posix_fadvise(std.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    is_cold(file, offset) == Some(true)
}

#[test]
fn a_cached_read_does_not_park_and_is_whole() {
    let dir = TempDir::new();
    let mut file = file_of(&dir, 100_000);
    if without("rwf_nowait") || is_cold(&file, 0) != Some(false) {
        return;
    }
    does_not_park(move || {
        let before = greenlet::stats().unwrap();
        let mut page = [0; 4096];
        for offset in [0, 1, 4096, 50_000, 95_904] {
            assert_eq!(file.read_at(&mut page, offset).unwrap(), 4096);
            assert_eq!(page[..], contents(100_000)[offset as usize..][..4096]);
        }
        assert_eq!(file.read(&mut page).unwrap(), 4096);
        // What is left before the end, and the end.
        assert_eq!(file.read_at(&mut page, 99_000).unwrap(), 1000);
        assert_eq!(file.read_at(&mut page, 100_000).unwrap(), 0);
        assert_eq!(file.read_at(&mut page, 1 << 40).unwrap(), 0);
        let after = greenlet::stats().unwrap();
        assert_eq!(after.reads_inline - before.reads_inline, 9);
        assert_eq!(after.reads_offloaded, before.reads_offloaded);
    });
}

#[test]
fn a_read_that_needs_the_disk_parks_and_goes_to_the_pool() {
    let dir = TempDir::new();
    let file = file_of(&dir, 1 << 20);
    if !chill(&file, (1 << 20) - 1) {
        return;
    }
    let counted = parks_for_a_while(|| {
        let before = greenlet::stats().unwrap();
        let mut page = [0; 4096];
        assert_eq!(file.read_at(&mut page, 0).unwrap(), 4096);
        assert_eq!(page[..], contents(4096));
        let after = greenlet::stats().unwrap();
        assert_eq!(after.reads_inline, before.reads_inline);
        after.reads_offloaded - before.reads_offloaded
    });
    assert_eq!(counted, 1);
}

#[test]
fn a_cold_file_is_read_as_it_is() {
    everywhere(|| {
        let dir = TempDir::new();
        let mut file = file_of(&dir, 3_000_000);
        for _ in 0..3 {
            chill(&file, 0);
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            assert_eq!(file.read_to_end(&mut bytes).unwrap(), 3_000_000);
            assert!(bytes == contents(3_000_000));
            chill(&file, 0);
            file.rewind().unwrap();
            let mut bytes = vec![0; 1_000_000];
            file.read_exact(&mut bytes).unwrap();
            assert!(bytes == contents(1_000_000));
        }
    });
}

#[test]
fn in_memory_files_do_not_park() {
    if !Path::new("/dev/shm").is_dir() {
        return;
    }
    let dir = TempDir::in_dir(Path::new("/dev/shm"));
    let mut file = file_of(&dir, 10_000);
    does_not_park(move || {
        let mut page = [0; 4096];
        assert_eq!(file.read_at(&mut page, 4096).unwrap(), 4096);
        assert_eq!(page[..], contents(8192)[4096..]);
        assert_eq!(file.write(b"abc").unwrap(), 3);
        assert_eq!(file.write_at(b"abc", 9000).unwrap(), 3);
        assert!(greenlet::stats().unwrap().reads_inline >= 1);
    });
}

#[test]
fn what_needs_no_wait_does_not_park() {
    let dir = TempDir::new();
    let mut file = file_of(&dir, 10);
    does_not_park(move || {
        file.seek(SeekFrom::Start(3)).unwrap();
        assert_eq!(file.seek(SeekFrom::Current(2)).unwrap(), 5);
        assert_eq!(file.stream_position().unwrap(), 5);
        file.flush().unwrap();
        let clone = file.try_clone().unwrap();
        file.lock().unwrap();
        file.unlock().unwrap();
        file.lock_shared().unwrap();
        clone.try_lock().unwrap();
        clone.unlock().unwrap();
        assert!(!file.is_terminal());
        let _ = format!("{file:?}");
    });
}

#[test]
fn what_asks_the_filesystem_parks() {
    let dir = TempDir::new();
    let file = file_of(&dir, 10);
    let path = dir.join("file");
    parks_for_a_while(|| drop(File::open(&path).unwrap()));
    parks_for_a_while(|| file.sync_all().unwrap());
    parks_for_a_while(|| file.sync_data().unwrap());
    parks_for_a_while(|| assert!(file.metadata().unwrap().is_file()));
    parks_for_a_while(|| file.set_len(20).unwrap());
    parks_for_a_while(|| assert_eq!((&file).seek(SeekFrom::End(0)).unwrap(), 20));
    parks_for_a_while(|| file.set_permissions(std::fs::metadata(&path).unwrap().permissions()))
        .unwrap();
    parks_for_a_while(|| file.set_modified(std::time::SystemTime::now()).unwrap());
}

#[test]
fn a_large_read_is_whole_and_leaves_the_hub_to_others() {
    let dir = TempDir::new();
    let mut file = file_of(&dir, 1 << 20);
    let bytes = parks_for_a_while(move || {
        let mut bytes = vec![0; 1 << 20];
        assert_eq!(file.read(&mut bytes).unwrap(), 1 << 20);
        bytes
    });
    assert!(bytes == contents(1 << 20));
}

#[test]
fn a_greenlet_that_reads_and_reads_lets_others_run() {
    let _watchdog = watched();
    let dir = TempDir::new();
    let file = file_of(&dir, 4096);
    runtime(1).run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let reader = greenlet::spawn({
            let stop = stop.clone();
            move || {
                let mut page = [0; 4096];
                while !stop.load(SeqCst) {
                    assert_eq!(file.read_at(&mut page, 0).unwrap(), 4096);
                }
            }
        });
        (0..100).for_each(|_| greenlet::yield_now());
        stop.store(true, SeqCst);
        reader.join().unwrap();
    });
}

#[test]
fn readers_of_one_position_get_each_byte_once() {
    on_hubs(|_| {
        let dir = TempDir::new();
        let file = Arc::new(greenlet::blocking(|| file_of(&dir, 500_000)));
        greenlet::blocking(|| chill(&file, 0));
        let sum = Arc::new(AtomicUsize::new(0));
        let length = Arc::new(AtomicUsize::new(0));
        let (total, so_far) = (sum.clone(), length.clone());
        at_once(8, move |number| {
            let mut buffer = vec![0; 1000 + number];
            // A clone has the same position.
            let clone = file.try_clone().unwrap();
            let mut reader = if number % 2 == 0 { &clone } else { &*file };
            loop {
                let read = reader.read(&mut buffer).unwrap();
                if read == 0 {
                    break;
                }
                so_far.fetch_add(read, SeqCst);
                let bytes = buffer[..read].iter().map(|byte| usize::from(*byte));
                total.fetch_add(bytes.sum(), SeqCst);
            }
        });
        assert_eq!(length.load(SeqCst), 500_000);
        let expected: usize = contents(500_000).into_iter().map(usize::from).sum();
        assert_eq!(sum.load(SeqCst), expected);
    });
}

#[test]
fn appended_lines_stay_whole() {
    on_hubs(|_| {
        let dir = TempDir::new();
        let path = dir.join("log");
        let log = path.clone();
        at_once(20, move |number| {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).create(true).open(&log).unwrap();
            for _ in 0..20 {
                let line = format!("{}\n", number.to_string().repeat(100));
                assert_eq!(file.write(line.as_bytes()).unwrap(), line.len());
            }
        });
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 400);
        for line in text.lines() {
            let number = &line[..line.len() / 100];
            assert_eq!(line, number.repeat(100));
        }
    });
}

#[test]
fn vectored_reads_and_writes_take_all_buffers() {
    everywhere(|| {
        let dir = TempDir::new();
        let mut file = greenlet::blocking(|| file_of(&dir, 0));
        let parts = [
            IoSlice::new(b"one"),
            IoSlice::new(b""),
            IoSlice::new(b"two"),
        ];
        assert_eq!(file.write_vectored(&parts).unwrap(), 6);
        file.rewind().unwrap();
        let (mut first, mut second) = ([0; 4], [0; 10]);
        let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(file.read_vectored(&mut parts).unwrap(), 6);
        assert_eq!((&first, &second[..2]), (b"onet", &b"wo"[..]));
        // More than the kernel takes in one call.
        let many = vec![IoSlice::new(b"x"); 3000];
        let written = file.write_vectored(&many).unwrap();
        assert!((1..=3000).contains(&written), "{written}");
    });
}

#[test]
fn offsets_beyond_32_bits_are_offsets() {
    everywhere(|| {
        let dir = TempDir::new();
        let mut file = greenlet::blocking(|| file_of(&dir, 0));
        const FAR: u64 = 5 << 30;
        file.write_all_at(b"far away", FAR).unwrap();
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, FAR).unwrap();
        assert_eq!(&bytes, b"far away");
        assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), FAR + 8);
        assert_eq!(file.seek(SeekFrom::Start(FAR + 4)).unwrap(), FAR + 4);
        assert_eq!(file.read(&mut bytes).unwrap(), 4);
        file.set_len(1 << 40).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 40);
        assert_eq!(file.read_at(&mut bytes, (1 << 40) - 3).unwrap(), 3);
        let error = file.read_exact_at(&mut bytes, (1 << 40) - 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

/// The kernel takes -1 for the file's position.
#[test]
fn an_offset_that_no_file_has_is_refused() {
    everywhere(|| {
        let dir = TempDir::new();
        let mut file = greenlet::blocking(|| file_of(&dir, 10));
        for offset in [u64::MAX, u64::MAX - 1, 1 << 63] {
            let error = file.read_at(&mut [0; 4], offset).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let error = file.write_at(b"abc", offset).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(file.stream_position().unwrap(), 0);
        let error = file.seek(SeekFrom::Current(-1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_file_that_is_not_open_for_it_is_neither_read_nor_written() {
    everywhere(|| {
        let dir = TempDir::new();
        fs::write(dir.join("f"), "text").unwrap();
        let mut read_only = File::open(dir.join("f")).unwrap();
        assert_eq!(
            read_only.write(b"x").unwrap_err().raw_os_error(),
            Some(libc::EBADF)
        );
        let mut write_only = OpenOptions::new().write(true).open(dir.join("f")).unwrap();
        let error = write_only.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        let mut directory = File::open(dir.path()).unwrap();
        let error = directory.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
    });
}

#[test]
fn a_file_becomes_stds_and_a_descriptor_and_back() {
    everywhere(|| {
        let dir = TempDir::new();
        let file = greenlet::blocking(|| file_of(&dir, 10));
        let expected = format!("{file:?}");
        let file = std::fs::File::from(file);
        assert_eq!(format!("{file:?}"), expected);
        let file = File::from(OwnedFd::from(File::from(file)));
        let fd = file.into_raw_fd();
        // SAFETY: the descriptor was given away just now.
        let file = unsafe { File::from_raw_fd(fd) };
        assert_eq!((file.as_raw_fd(), format!("{file:?}")), (fd, expected));
        let mut bytes = [0; 10];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes[..], contents(10));
    });
}

#[test]
fn a_file_is_a_childs_output() {
    everywhere(|| {
        let dir = TempDir::new();
        let file = File::create(dir.join("out")).unwrap();
        let status = greenlet::blocking(|| {
            let mut command = Command::new("echo");
            command.arg("hello").stdout(Stdio::from(file)).status()
        });
        assert!(status.unwrap().success());
        assert_eq!(fs::read_to_string(dir.join("out")).unwrap(), "hello\n");
    });
}

#[test]
fn a_file_is_all_that_stds_is() {
    fn is<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    is::<File>();
    is::<OpenOptions>();
    is::<fs::ReadDir>();
    is::<fs::DirEntry>();
    is::<fs::DirBuilder>();
}

#[test]
fn options_are_printed_and_flags_used_as_stds_are() {
    everywhere(|| {
        let dir = TempDir::new();
        let mut ours = OpenOptions::new();
        ours.read(true).append(true).create(true).mode(0o640);
        let mut theirs = std::fs::OpenOptions::new();
        theirs.read(true).append(true).create(true).mode(0o640);
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        let file = ours.open(dir.join("f")).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap());
        assert_eq!(mode & 0o137, 0);
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW);
        std::os::unix::fs::symlink("f", dir.join("link")).unwrap();
        let error = options.open(dir.join("link")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    });
}

#[test]
fn direct_and_synchronous_files_work() {
    everywhere(|| {
        let dir = TempDir::new();
        for flag in [libc::O_SYNC, libc::O_DSYNC] {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true);
            let file = options.custom_flags(flag).open(dir.join("s")).unwrap();
            file.write_all_at(b"text", 0).unwrap();
            let mut bytes = [0; 4];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"text");
        }
    });
}

/// The two descriptions of one file.
fn two(dir: &TempDir) -> (File, File) {
    let path = dir.join("lock");
    let first = std::fs::File::create(&path).unwrap();
    let second = std::fs::File::open(&path).unwrap();
    (first.into(), second.into())
}

#[test]
fn waiting_for_a_lock_parks() {
    let dir = TempDir::new();
    let (first, second) = two(&dir);
    first.lock().unwrap();
    parks(|| second.lock().unwrap(), || first.unlock().unwrap());
    assert!(matches!(
        first.try_lock_shared(),
        Err(TryLockError::WouldBlock)
    ));
    parks(|| first.lock_shared().unwrap(), || second.unlock().unwrap());
    parks(|| second.lock().unwrap(), || first.unlock().unwrap());
}

#[test]
fn a_lock_that_goes_with_its_file_wakes_who_waits() {
    let dir = TempDir::new();
    let (first, second) = two(&dir);
    first.lock().unwrap();
    let start = Instant::now();
    parks(|| second.lock().unwrap(), || drop(first));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_lock_that_another_process_gives_up_is_seen() {
    let _watchdog = watched();
    let dir = TempDir::new();
    let (first, second) = two(&dir);
    let path = dir.join("lock");
    let mut holder = Command::new("flock")
        .arg(&path)
        .args(["sh", "-c", "echo locked; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock of util-linux");
    let mut said = [0; 7];
    let output = holder.stdout.as_mut().unwrap();
    output.read_exact(&mut said).unwrap();
    parks(|| second.lock().unwrap(), || drop(holder.stdin.take()));
    holder.wait().unwrap();
    drop(first);
}

#[test]
fn greenlets_get_a_lock_in_the_order_in_which_they_came() {
    let _watchdog = watched();
    let dir = TempDir::new();
    let (holder, _) = two(&dir);
    let runtime = runtime(1);
    runtime.run(|| {
        holder.lock().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..100)
            .map(|number| {
                let file = File::open(dir.join("lock")).unwrap();
                let order = order.clone();
                let waiting = greenlet::spawn(move || {
                    file.lock().unwrap();
                    order.lock().unwrap().push(number);
                    greenlet::yield_now();
                });
                greenlet::yield_now();
                waiting
            })
            .collect();
        greenlet::sleep(Duration::from_millis(5));
        holder.unlock().unwrap();
        waiting.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn shared_locks_are_held_together() {
    on_hubs(|_| {
        let dir = TempDir::new();
        let (holder, _) = greenlet::blocking(|| two(&dir));
        holder.lock().unwrap();
        let all = Arc::new(support::Barrier::new(20));
        let path = dir.join("lock");
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let (path, all) = (path.clone(), all.clone());
                greenlet::spawn(move || {
                    let file = File::open(path).unwrap();
                    file.lock_shared().unwrap();
                    all.wait();
                    // Not by the drop: a child that another test forks has the description up to its exec.
                    file.unlock().unwrap();
                })
            })
            .collect();
        greenlet::sleep(Duration::from_millis(5));
        holder.unlock().unwrap();
        waiting.into_iter().for_each(|one| one.join().unwrap());
        holder.try_lock().unwrap();
    });
}

#[test]
fn a_lock_excludes_greenlets_and_threads() {
    on_hubs(|_| {
        let dir = TempDir::new();
        let path = dir.join("lock");
        fs::write(&path, "").unwrap();
        let inside = Arc::new(AtomicBool::new(false));
        let work = move || {
            let file = File::open(&path).unwrap();
            for _ in 0..20 {
                file.lock().unwrap();
                assert!(!inside.swap(true, SeqCst));
                greenlet::yield_now();
                inside.store(false, SeqCst);
                file.unlock().unwrap();
            }
        };
        let threads: Vec<_> = (0..2).map(|_| thread::spawn(work.clone())).collect();
        let greenlets: Vec<_> = (0..4).map(|_| greenlet::spawn(work.clone())).collect();
        greenlets.into_iter().for_each(|one| one.join().unwrap());
        greenlet::blocking(|| threads.into_iter().for_each(|one| one.join().unwrap()));
    });
}

/// More than there are threads in the pool, and the one who unlocks needs one of them.
#[test]
fn ten_thousand_wait_for_one_lock() {
    alone("ten_thousand_wait_for_one_lock", || {
        let _watchdog = watched();
        let mut limit = descriptor_limit();
        limit.rlim_cur = limit.rlim_max;
        set_descriptor_limit(limit);
        let greenlets = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
        let greenlets = 10_000.min(greenlets.saturating_sub(100));
        let dir = TempDir::new();
        let (holder, _) = two(&dir);
        let runtime = runtime(2);
        holder.lock().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..greenlets)
            .map(|_| {
                let (file, count) = (
                    File::from(std::fs::File::open(dir.join("lock")).unwrap()),
                    count.clone(),
                );
                runtime.spawn(move || {
                    file.lock().unwrap();
                    count.fetch_add(1, SeqCst);
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(count.load(SeqCst), 0);
        // They wait without a thread.
        assert_eq!(runtime.stats().blocking_jobs, 0);
        runtime.run(|| {
            holder.sync_all().unwrap();
            holder.unlock().unwrap();
        });
        waiting.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(count.load(SeqCst), greenlets);
    });
}

#[test]
fn a_greenlet_that_is_cancelled_does_not_get_the_lock() {
    let _watchdog = watched();
    let dir = TempDir::new();
    let (holder, _) = two(&dir);
    for _ in 0..20 {
        holder.lock().unwrap();
        let runtime = runtime(2);
        for _ in 0..10 {
            let file = File::from(std::fs::File::open(dir.join("lock")).unwrap());
            runtime.spawn(move || {
                file.lock().unwrap();
                unreachable!("it is taken");
            });
        }
        thread::sleep(Duration::from_millis(2));
        drop(runtime);
        holder.unlock().unwrap();
        let other = std::fs::File::open(dir.join("lock")).unwrap();
        other.try_lock().unwrap();
    }
}

#[test]
fn a_file_that_is_truncated_while_it_is_read_ends_early() {
    on_hubs(|_| {
        let dir = TempDir::new();
        let path = dir.join("file");
        let writer = greenlet::spawn({
            let path = path.clone();
            move || {
                let file = File::create(&path).unwrap();
                for turn in 0..60 {
                    file.set_len(0).unwrap();
                    file.write_all_at(&vec![7; 10_000 * (turn % 7)], 0).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let Ok(bytes) = fs::read(&path) else {
                greenlet::yield_now();
                continue;
            };
            assert!(bytes.len() <= 60_000 && bytes.iter().all(|byte| [0, 7].contains(byte)));
            let mut file = File::open(&path).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            assert!(bytes.len() <= 60_000 && bytes.iter().all(|byte| [0, 7].contains(byte)));
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_full_disk_is_an_error() {
    everywhere(|| {
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        for _ in 0..3 {
            let error = full.write(b"text").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
        let error = fs::write("/dev/full", "text").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    });
}

/// What fits is written, and the rest is an error: as on a disk that fills up.
#[test]
fn a_file_that_may_not_grow_keeps_what_fits() {
    alone("a_file_that_may_not_grow_keeps_what_fits", || {
        let limit = libc::rlimit {
            rlim_cur: 10_000,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: the pointer is valid for the call, and the signal is to be ignored.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
        }
        everywhere(|| {
            let dir = TempDir::new();
            let mut file = File::create(dir.join("f")).unwrap();
            assert_eq!(file.write(&[1; 6000]).unwrap(), 6000);
            assert_eq!(file.write(&[1; 6000]).unwrap(), 4000);
            let error = file.write(&[1; 6000]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
            let error = fs::write(dir.join("g"), vec![1; 20_000]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
            assert_eq!(fs::metadata(dir.join("g")).unwrap().len(), 10_000);
            let error = file.set_len(20_000).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        });
    });
}

#[test]
fn without_a_descriptor_left_opening_is_an_error_and_works_later() {
    let name = "without_a_descriptor_left_opening_is_an_error_and_works_later";
    alone(name, || {
        everywhere(|| {
            let dir = TempDir::new();
            fs::write(dir.join("f"), "text").unwrap();
            let file = File::open(dir.join("f")).unwrap();
            let before = descriptor_limit();
            let mut few = before;
            few.rlim_cur = 64;
            set_descriptor_limit(few);
            let all: Vec<_> =
                std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
            let results = [
                File::open(dir.join("f")).map(drop),
                fs::read(dir.join("f")).map(drop),
                fs::write(dir.join("g"), "x"),
                fs::read_dir(dir.path()).map(drop),
                fs::copy(dir.join("f"), dir.join("g")).map(drop),
                file.try_clone().map(drop),
            ];
            // What is open still works.
            let mut bytes = [0; 4];
            let read = file.read_at(&mut bytes, 0);
            drop(all);
            set_descriptor_limit(before);
            for (number, result) in results.into_iter().enumerate() {
                let error = result.unwrap_err().raw_os_error();
                assert_eq!(error, Some(libc::EMFILE), "call {number}");
            }
            assert_eq!((read.unwrap(), &bytes), (4, b"text"));
            assert_eq!(fs::read(dir.join("f")).unwrap(), b"text");
        });
    });
}

/// Signals without SA_RESTART, a thousand times a second, at all threads.
#[test]
fn a_storm_of_signals_disturbs_nobody() {
    alone("a_storm_of_signals_disturbs_nobody", || {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: the handler does nothing.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            assert_eq!(
                libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
                0
            );
        }
        let _watchdog = watched();
        static STOP: AtomicBool = AtomicBool::new(false);
        let storm = thread::spawn(|| {
            while !STOP.load(SeqCst) {
                // SAFETY: a signal to this process, which has a handler for it.
                unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                thread::sleep(Duration::from_millis(1));
            }
        });
        on_hubs(|_| {
            let end = Instant::now() + Duration::from_millis(400);
            at_once(8, move |number| {
                let dir = TempDir::new();
                while Instant::now() < end {
                    let path = dir.join("f");
                    fs::write(&path, contents(50_000)).unwrap();
                    assert!(fs::read(&path).unwrap() == contents(50_000));
                    let mut file = File::open(&path).unwrap();
                    chill(&file, 0);
                    let mut bytes = Vec::new();
                    assert_eq!(file.read_to_end(&mut bytes).unwrap(), 50_000);
                    file.lock().unwrap();
                    file.unlock().unwrap();
                    assert_eq!(fs::copy(&path, dir.join("g")).unwrap(), 50_000);
                    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
                    fs::remove_file(dir.join("g")).unwrap();
                    let fifo = dir.fifo("fifo");
                    let other = fifo.clone();
                    let writer = greenlet::spawn(move || fs::write(other, vec![1; 100_000]));
                    assert_eq!(fs::read(&fifo).unwrap().len(), 100_000, "{number}");
                    writer.join().unwrap().unwrap();
                    fs::remove_file(fifo).unwrap();
                }
            });
        });
        STOP.store(true, SeqCst);
        storm.join().unwrap();
    });
}

/// Whatever they are at, greenlets end with their runtime, and no descriptor stays open.
#[test]
fn a_runtime_that_is_dropped_ends_all_operations() {
    alone("a_runtime_that_is_dropped_ends_all_operations", || {
        let _watchdog = watched();
        let dir = Arc::new(TempDir::new());
        let fifo = dir.fifo("fifo");
        drop(runtime(1));
        let before = descriptors();
        for turn in 0..30 {
            let runtime = runtime(2);
            for number in 0..6 {
                let (dir, fifo) = (dir.clone(), fifo.clone());
                runtime.spawn(move || {
                    loop {
                        let path = dir.join(number.to_string());
                        match number {
                            0 => drop(File::open(&fifo)),
                            1 => drop(OpenOptions::new().write(true).open(&fifo)),
                            2 => drop(fs::metadata(&path)),
                            3 => drop(fs::read_dir(dir.path()).map(Iterator::count)),
                            4 => drop(fs::write(&path, [1; 10_000])),
                            _ => drop(File::create(&path).map(|file| file.sync_all())),
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(turn));
            drop(runtime);
        }
        wait_until("all is closed", || descriptors() == before);
    });
}

#[test]
fn a_description_that_is_shared_is_left_as_it_was() {
    everywhere(|| {
        let dir = TempDir::new();
        let mut file = greenlet::blocking(|| file_of(&dir, 10));
        let clone = file.try_clone().unwrap();
        file.read_exact(&mut [0; 4]).unwrap();
        file.write_all(b"text").unwrap();
        assert!(!has_status_flag(&clone, libc::O_NONBLOCK));
    });
}

#[test]
fn many_files_at_once_are_what_they_should_be() {
    on_hubs(|_| {
        let dir = Arc::new(TempDir::new());
        let path = dir.path().to_owned();
        at_once(200, move |number| {
            let path = path.join(number.to_string());
            let mut file = File::create_new(&path).unwrap();
            file.write_all(&contents(number * 10)).unwrap();
            file.rewind().unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, contents(number * 10));
            fs::remove_file(&path).unwrap();
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    });
}

#[test]
fn a_file_opened_on_a_thread_is_used_in_greenlets_and_back() {
    let _watchdog = watched();
    let dir = TempDir::new();
    let mut file = File::create_new(dir.join("f")).unwrap();
    file.write_all(b"one ").unwrap();
    runtime(2).run(|| {
        file.write_all(b"two ").unwrap();
        let mut clone = file.try_clone().unwrap();
        spawn(move || clone.write_all(b"three ").unwrap())
            .join()
            .unwrap();
    });
    file.write_all(b"four").unwrap();
    assert_eq!(fs::read(dir.join("f")).unwrap(), b"one two three four");
}
