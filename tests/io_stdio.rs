//! Standard input, output and error: they park, hold their locks over waits, and never leave
//! `O_NONBLOCK` behind. Each test runs in a process of its own, with streams that it is given.

use std::env;
use std::fs::{self, File};
use std::io as std_io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use greenlet::io::{self, IsTerminal, Read, Write};

mod support;

use support::sockets::has_status_flag;
use support::{runtime, watched};

/// Set in the child to the name of its test.
const CHILD: &str = "GREENLET_TEST_STREAMS";

/// Written by the child to standard error when it waits, or is where the test wants it.
const READY: &[u8] = b"READY\n";

/// Whether this is the child of that test. Then nothing but the test may write to its streams, so it ends
/// with [`leave`].
fn is_child(test: &str) -> bool {
    env::var(CHILD).is_ok_and(|name| name == test)
}

/// Ends the child, as a `main` that returns does.
fn leave() -> ! {
    std::process::exit(0);
}

fn command(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", "--test-threads=1", test])
        .env(CHILD, test)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The child's standard output, without what the test harness writes before the test.
fn output_of(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}\n{text}\n{errors}",
        output.status
    );
    without_head(text)
}

fn without_head(text: String) -> String {
    let place = text
        .find("running 1 test\n")
        .expect("the harness writes it");
    let rest = &text[place + "running 1 test\n".len()..];
    let rest = match rest.strip_prefix("test ") {
        Some(named) => named.split_once(" ... ").map_or(rest, |(_, rest)| rest),
        None => rest,
    };
    rest.to_owned()
}

fn wait_until_ready(child: &mut Child) {
    let stderr = child.stderr.as_mut().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(READY) {
        let mut byte = [0];
        assert_eq!(
            stderr.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&seen)
        );
        seen.push(byte[0]);
    }
}

fn ready() {
    std_io::stderr().write_all(READY).unwrap();
}

/// Runs `wait` in a greenlet on one hub; others run meanwhile; then tells the test.
fn parks<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    let _watchdog = watched();
    runtime(1).run(|| {
        let before = greenlet::stats().unwrap().parks;
        let waiting = greenlet::spawn(wait);
        for _ in 0..1_000 {
            greenlet::yield_now();
        }
        greenlet::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished(), "there was nothing to wait for");
        assert!(greenlet::stats().unwrap().parks - before >= 2);
        ready();
        waiting.join().unwrap()
    })
}

fn streams(child: &mut Child) -> (Option<ChildStdin>, ChildStdout) {
    (child.stdin.take(), child.stdout.take().unwrap())
}

#[test]
fn a_read_of_standard_input_parks_and_leaves_the_mode() {
    const NAME: &str = "a_read_of_standard_input_parks_and_leaves_the_mode";
    if is_child(NAME) {
        let line = parks(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).unwrap();
            line
        });
        assert_eq!(line, "hello\n");
        assert!(!has_status_flag(&0, libc::O_NONBLOCK));
        leave();
    }
    let mut child = command(NAME).stdin(Stdio::piped()).spawn().unwrap();
    wait_until_ready(&mut child);
    let stdin = child.stdin.as_mut().unwrap();
    assert!(!has_status_flag(stdin, libc::O_NONBLOCK));
    stdin.write_all(b"hello\nmore").unwrap();
    output_of(child);
}

#[test]
fn lines_come_one_after_the_other_while_others_run() {
    const NAME: &str = "lines_come_one_after_the_other_while_others_run";
    if is_child(NAME) {
        let _watchdog = watched();
        for hubs in [1, 2, 8] {
            runtime(hubs).run(|| {
                let reader = greenlet::spawn(|| {
                    let lines = io::stdin().lines().take(10);
                    lines.map(Result::unwrap).collect::<Vec<_>>()
                });
                ready();
                let lines = reader.join().unwrap();
                assert_eq!(
                    lines,
                    (0..10).map(|n| format!("line {n}")).collect::<Vec<_>>()
                );
            });
        }
        // And a thread goes on where the greenlets have stopped.
        let mut rest = String::new();
        io::stdin().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "the rest\n");
        leave();
    }
    let mut child = command(NAME).stdin(Stdio::piped()).spawn().unwrap();
    for _ in 0..3 {
        wait_until_ready(&mut child);
        for n in 0..10 {
            writeln!(child.stdin.as_mut().unwrap(), "line {n}").unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"the rest\n")
        .unwrap();
    output_of(child);
}

/// Reads all from standard input, in a greenlet and on a thread, and writes it to standard output.
fn echo() -> ! {
    let _watchdog = watched();
    let mut read = Vec::new();
    runtime(2).run(|| {
        let mut stdin = io::stdin().lock();
        stdin.read_to_end(&mut read).unwrap();
        assert_eq!(stdin.read(&mut [0; 10]).unwrap(), 0);
        io::stdout().write_all(&read).unwrap();
    });
    assert_eq!(io::stdin().read(&mut [0; 10]).unwrap(), 0);
    leave();
}

#[test]
fn standard_input_may_be_a_file() {
    const NAME: &str = "standard_input_may_be_a_file";
    if is_child(NAME) {
        echo();
    }
    let path = env::temp_dir().join(format!("greenlet-stdin-{}", std::process::id()));
    let text = "some line\n".repeat(10_000);
    fs::write(&path, &text).unwrap();
    let child = command(NAME).stdin(File::open(&path).unwrap()).spawn();
    assert_eq!(output_of(child.unwrap()), text);
    fs::remove_file(path).unwrap();
}

#[test]
fn standard_input_may_be_nothing() {
    const NAME: &str = "standard_input_may_be_nothing";
    if is_child(NAME) {
        echo();
    }
    assert_eq!(output_of(command(NAME).spawn().unwrap()), "");
}

#[test]
fn standard_input_may_be_a_socket() {
    const NAME: &str = "standard_input_may_be_a_socket";
    if is_child(NAME) {
        echo();
    }
    let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let child = command(NAME).stdin(OwnedFd::from(far)).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    near.write_all(b"by a socket").unwrap();
    drop(near);
    assert_eq!(output_of(child), "by a socket");
}

#[test]
fn standard_input_and_output_may_be_closed() {
    const NAME: &str = "standard_input_and_output_may_be_closed";
    if is_child(NAME) {
        let _watchdog = watched();
        runtime(1).run(|| {
            // SAFETY: nobody else uses them in this process.
            unsafe {
                libc::close(0);
                libc::close(1);
                libc::close(2);
            }
            assert_eq!(io::stdin().read(&mut [0; 10]).unwrap(), 0);
            io::stdout().write_all(b"into the void\n").unwrap();
            io::stdout().write_all(b"a start").unwrap();
            io::stdout().flush().unwrap();
            io::stderr().write_all(b"into the void\n").unwrap();
        });
        // SAFETY: ends the process.
        unsafe { libc::_exit(7) };
    }
    let status = command(NAME).status().unwrap();
    assert_eq!(status.code(), Some(7));
}

/// Both sides of a terminal; the second is what programs have.
fn terminal() -> (File, OwnedFd) {
    // SAFETY: the calls are given descriptors that are open and room for the name.
    unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert_ne!(master, -1);
        assert_eq!(libc::grantpt(master), 0);
        assert_eq!(libc::unlockpt(master), 0);
        let mut name = [0; 100];
        assert_eq!(libc::ptsname_r(master, name.as_mut_ptr(), name.len()), 0);
        let slave = libc::open(
            name.as_ptr(),
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        );
        assert_ne!(slave, -1);
        (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    }
}

#[test]
fn standard_streams_may_be_a_terminal() {
    const NAME: &str = "standard_streams_may_be_a_terminal";
    if is_child(NAME) {
        assert!(io::stdin().is_terminal() && io::stdout().is_terminal());
        assert!(!io::stderr().is_terminal());
        let line = parks(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).unwrap();
            line
        });
        assert_eq!(line, "typed\n");
        runtime(1).run(|| writeln!(io::stdout(), "answer to {line}").unwrap());
        for number in [0, 1] {
            assert!(!has_status_flag(&number, libc::O_NONBLOCK));
        }
        leave();
    }
    let (mut master, slave) = terminal();
    let mut child = command(NAME)
        .stdin(slave.try_clone().unwrap())
        .stdout(slave.try_clone().unwrap())
        .spawn()
        .unwrap();
    wait_until_ready(&mut child);
    master.write_all(b"typed\n").unwrap();
    let mut text = String::new();
    while !text.contains("answer to typed") {
        let mut buf = [0; 100];
        let count = master.read(&mut buf).unwrap();
        text.push_str(&String::from_utf8_lossy(&buf[..count]));
    }
    assert!(child.wait().unwrap().success());
    drop(slave);
}

#[test]
fn a_write_to_standard_output_parks_and_leaves_the_mode() {
    const NAME: &str = "a_write_to_standard_output_parks_and_leaves_the_mode";
    const MUCH: usize = 300_000;
    if is_child(NAME) {
        parks(|| {
            let mut text = vec![b'x'; MUCH];
            text.push(b'\n');
            io::stdout().write_all(&text).unwrap();
            assert!(!has_status_flag(&1, libc::O_NONBLOCK));
        });
        leave();
    }
    let mut child = command(NAME).spawn().unwrap();
    wait_until_ready(&mut child);
    assert!(!has_status_flag(
        child.stdout.as_ref().unwrap(),
        libc::O_NONBLOCK
    ));
    let text = output_of(child);
    assert!(text.starts_with(&("x".repeat(MUCH) + "\n")));
}

#[test]
fn a_write_to_standard_error_parks() {
    const NAME: &str = "a_write_to_standard_error_parks";
    if is_child(NAME) {
        let _watchdog = watched();
        runtime(1).run(|| {
            let text = vec![b'x'; 300_000];
            let waiting = greenlet::spawn(move || io::stderr().write_all(&text).unwrap());
            greenlet::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            writeln!(io::stdout(), "waits").unwrap();
            waiting.join().unwrap();
        });
        leave();
    }
    let mut child = command(NAME).spawn().unwrap();
    let (_, mut stdout) = streams(&mut child);
    let mut text = Vec::new();
    while !text.ends_with(b"waits\n") {
        let mut byte = [0];
        assert_eq!(stdout.read(&mut byte).unwrap(), 1);
        text.push(byte[0]);
    }
    let mut errors = Vec::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut errors)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(errors == vec![b'x'; 300_000]);
}

#[test]
fn the_start_of_a_line_is_kept_until_it_is_flushed_or_the_process_ends() {
    const NAME: &str = "the_start_of_a_line_is_kept_until_it_is_flushed_or_the_process_ends";
    if is_child(NAME) {
        let _watchdog = watched();
        runtime(1).run(|| {
            let mut stdout = io::stdout();
            stdout.write_all(b"one\nstart").unwrap();
            ready();
            io::stdin().read_exact(&mut [0]).unwrap();
            stdout.flush().unwrap();
            ready();
            io::stdin().read_exact(&mut [0]).unwrap();
            // In order with std's.
            print!(" of");
            stdout.write_all(b" a").unwrap();
            print!(" line\nrest");
            stdout.write_all(b" of it").unwrap();
            assert_eq!(stdout.write(&[]).unwrap(), 0);
        });
        leave();
    }
    let mut child = command(NAME).stdin(Stdio::piped()).spawn().unwrap();
    let (stdin, mut stdout) = streams(&mut child);
    let mut stdin = stdin.unwrap();
    let mut text = String::new();
    let mut read = |text: &mut String| {
        let mut buf = [0; 1000];
        let count = stdout.read(&mut buf).unwrap();
        text.push_str(std::str::from_utf8(&buf[..count]).unwrap());
        count
    };
    wait_until_ready(&mut child);
    while !text.contains("one\n") {
        read(&mut text);
    }
    assert!(text.ends_with("one\n"), "{text}");
    stdin.write_all(b"x").unwrap();
    wait_until_ready(&mut child);
    read(&mut text);
    assert!(text.ends_with("one\nstart"), "{text}");
    stdin.write_all(b"x").unwrap();
    while read(&mut text) > 0 {}
    assert!(text.ends_with("one\nstart of a line\nrest of it"), "{text}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_lock_is_held_over_waits_and_who_wants_it_parks() {
    const NAME: &str = "a_lock_is_held_over_waits_and_who_wants_it_parks";
    if is_child(NAME) {
        let _watchdog = watched();
        for hubs in [1, 2, 8] {
            runtime(hubs).run(|| {
                let greenlets: Vec<_> = (0..10)
                    .map(|number| {
                        greenlet::spawn(move || {
                            let mut stdout = io::stdout().lock();
                            for _ in 0..3 {
                                // Its owner may take it again.
                                writeln!(io::stdout(), "{number}").unwrap();
                                greenlet::sleep(Duration::from_micros(100));
                                greenlet::yield_now();
                                stdout.write_all(b"+\n").unwrap();
                            }
                        })
                    })
                    .collect();
                let thread = std::thread::spawn(|| {
                    let mut stdout = io::stdout().lock();
                    for _ in 0..3 {
                        stdout.write_all(b"thread\n+\n").unwrap();
                        std::thread::sleep(Duration::from_micros(100));
                    }
                });
                greenlets
                    .into_iter()
                    .for_each(|greenlet| greenlet.join().unwrap());
                greenlet::on_thread_stack(|| thread.join().unwrap());
            });
        }
        leave();
    }
    let text = output_of(command(NAME).spawn().unwrap());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3 * 11 * 6, "{text}");
    for part in lines.chunks(6) {
        assert_eq!((part[0], part[1]), (part[2], part[3]), "{text}");
        assert_eq!((part[0], part[1]), (part[4], "+"), "{text}");
    }
}

#[test]
fn a_runtime_that_ends_cancels_who_waits_for_a_lock_and_the_next_one_has_it() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let first = runtime(hubs);
        let second = runtime(hubs);
        let held = io::stderr().lock();
        let cancelled: Vec<_> = (0..5)
            .map(|_| first.spawn(|| drop(io::stderr().lock())))
            .collect();
        std::thread::sleep(Duration::from_millis(10));
        let others: Vec<_> = (0..5)
            .map(|_| second.spawn(|| drop(io::stderr().lock())))
            .collect();
        std::thread::sleep(Duration::from_millis(10));
        drop(first);
        for greenlet in cancelled {
            assert!(greenlet.join().unwrap_err().is::<greenlet::Cancelled>());
        }
        drop(held);
        others
            .into_iter()
            .for_each(|greenlet| greenlet.join().unwrap());
    }
}

#[test]
fn a_stream_that_another_process_made_non_blocking_answers_as_std_s() {
    const NAME: &str = "a_stream_that_another_process_made_non_blocking_answers_as_std_s";
    if is_child(NAME) {
        let _watchdog = watched();
        runtime(1).run(|| {
            let error = io::stdin().read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        });
        let error = std_io::stdin().read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        leave();
    }
    let (reader, writer) = std_io::pipe().unwrap();
    // SAFETY: the call takes numbers only.
    unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    output_of(command(NAME).stdin(reader).spawn().unwrap());
    drop(writer);
}

#[test]
fn without_descriptors_the_pool_reads() {
    const NAME: &str = "without_descriptors_the_pool_reads";
    if is_child(NAME) {
        let _watchdog = watched();
        runtime(1).run(|| {
            support::sockets::set_descriptor_limit(libc::rlimit {
                rlim_cur: 64,
                ..support::sockets::descriptor_limit()
            });
            let mut held = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                held.push(file);
            }
            let waiting = greenlet::spawn(|| io::stdin().read(&mut [0; 10]).unwrap());
            greenlet::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            ready();
            assert_eq!(waiting.join().unwrap(), 5);
        });
        leave();
    }
    let mut child = command(NAME).stdin(Stdio::piped()).spawn().unwrap();
    wait_until_ready(&mut child);
    child.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
    output_of(child);
}

#[test]
fn what_a_descriptor_is_replaced_by_is_what_is_read() {
    const NAME: &str = "what_a_descriptor_is_replaced_by_is_what_is_read";
    if is_child(NAME) {
        let _watchdog = watched();
        runtime(1).run(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).unwrap();
            let (reader, mut writer) = io::pipe().unwrap();
            // SAFETY: both are open.
            assert_eq!(unsafe { libc::dup2(reader.as_raw_fd(), 0) }, 0);
            let waiting = greenlet::spawn(move || {
                let mut line = String::new();
                io::stdin().read_line(&mut line).unwrap();
                line
            });
            greenlet::sleep(Duration::from_millis(5));
            writer.write_all(b"second\n").unwrap();
            assert_eq!(
                (line.as_str(), waiting.join().unwrap().as_str()),
                ("first\n", "second\n")
            );
        });
        leave();
    }
    let mut child = command(NAME).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"first\n").unwrap();
    output_of(child);
}

#[test]
fn a_storm_of_signals_loses_no_byte() {
    const NAME: &str = "a_storm_of_signals_loses_no_byte";
    if is_child(NAME) {
        let storm = support::storm::begin();
        let _watchdog = watched();
        runtime(2).run(|| {
            let copied = std_io::copy(&mut io::stdin(), &mut io::stdout()).unwrap();
            assert_eq!(copied, 1_000_000);
        });
        drop(storm);
        leave();
    }
    let mut child = command(NAME).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for _ in 0..1_000 {
            stdin.write_all(&[b'y'; 1_000]).unwrap();
            std::thread::sleep(Duration::from_micros(300));
        }
    });
    assert!(output_of(child) == "y".repeat(1_000_000));
    writer.join().unwrap();
}

#[test]
fn what_is_buffered_and_what_has_room_needs_no_park() {
    const NAME: &str = "what_is_buffered_and_what_has_room_needs_no_park";
    if support::child::without("rwf_nowait") {
        return;
    }
    if is_child(NAME) {
        support::does_not_park(|| {
            let mut line = String::new();
            for _ in 0..3 {
                io::stdin().read_line(&mut line).unwrap();
                writeln!(io::stdout(), "out").unwrap();
                io::stdout().write_all(b"start").unwrap();
                io::stdout().flush().unwrap();
                writeln!(io::stderr(), "errors").unwrap();
            }
            assert_eq!(line, "a\nb\nc\n");
        });
        leave();
    }
    let (reader, mut writer) = std_io::pipe().unwrap();
    writer.write_all(b"a\nb\nc\n").unwrap();
    output_of(command(NAME).stdin(reader).spawn().unwrap());
}

#[test]
fn standard_output_may_be_a_file() {
    const NAME: &str = "standard_output_may_be_a_file";
    if is_child(NAME) {
        let _watchdog = watched();
        runtime(2).run(|| {
            for n in 0..100 {
                writeln!(io::stdout(), "line {n}").unwrap();
            }
        });
        leave();
    }
    let path = env::temp_dir().join(format!("greenlet-stdout-{}", std::process::id()));
    let status = command(NAME).stdout(File::create(&path).unwrap()).status();
    assert!(status.unwrap().success());
    let text = without_head(fs::read_to_string(&path).unwrap());
    let wanted: String = (0..100).map(|n| format!("line {n}\n")).collect();
    assert_eq!(text, wanted);
    fs::remove_file(path).unwrap();
}

/// Both ends of what keeps writes apart, as packets.
fn packets() -> [(File, OwnedFd); 2] {
    let mut pipe = [0; 2];
    let mut socket = [0; 2];
    // SAFETY: room for two descriptors each, which are then owned by what is returned.
    unsafe {
        assert_eq!(
            libc::pipe2(pipe.as_mut_ptr(), libc::O_DIRECT | libc::O_CLOEXEC),
            0
        );
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        assert_eq!(
            libc::socketpair(libc::AF_UNIX, kind, 0, socket.as_mut_ptr()),
            0
        );
        [pipe, socket].map(|[near, far]| (File::from_raw_fd(near), OwnedFd::from_raw_fd(far)))
    }
}

#[test]
fn each_line_is_one_write() {
    const NAME: &str = "each_line_is_one_write";
    const LINES: usize = 200;
    if is_child(NAME) {
        fn write_lines(who: &str) {
            let mut stdout = io::stdout();
            for n in 0..LINES {
                writeln!(stdout, "{who} {n} {n}").unwrap();
                write!(stdout, "{who} ").unwrap();
                writeln!(stdout, "{n}").unwrap();
                stdout.write_all(b"start").unwrap();
                stdout.write_all(b" and end\n").unwrap();
            }
        }
        let _watchdog = watched();
        std_io::stdout().write_all(b"BEGIN\n").unwrap();
        runtime(2).run(|| write_lines("greenlet"));
        write_lines("thread");
        leave();
    }
    let wanted: Vec<_> = ["greenlet", "thread"]
        .into_iter()
        .flat_map(|who| {
            (0..LINES).flat_map(move |n| {
                [
                    format!("{who} {n} {n}\n"),
                    format!("{who} {n}\n"),
                    "start and end\n".to_owned(),
                ]
            })
        })
        .collect();
    for (mut near, far) in packets() {
        let mut child = command(NAME).stdout(far).spawn().unwrap();
        let mut seen = Vec::new();
        let mut packet = [0; 4096];
        loop {
            let count = near.read(&mut packet).unwrap();
            if count == 0 {
                break;
            }
            seen.push(String::from_utf8(packet[..count].to_vec()).unwrap());
        }
        assert!(child.wait().unwrap().success());
        let begin = seen.iter().position(|packet| packet.ends_with("BEGIN\n"));
        assert_eq!(seen[begin.unwrap() + 1..], wanted);
    }
}

#[test]
fn lines_of_processes_that_append_to_one_file_stay_whole() {
    const NAME: &str = "lines_of_processes_that_append_to_one_file_stay_whole";
    const LINES: usize = 2_000;
    if is_child(NAME) {
        let _watchdog = watched();
        println!();
        runtime(2).run(|| {
            let greenlets = [1, 2].map(|number| {
                greenlet::spawn(move || {
                    for n in 0..LINES {
                        writeln!(io::stdout(), "line {number} {n}").unwrap();
                    }
                    // More than is written on the hub.
                    let much = "much\n".repeat(2_000);
                    io::stdout().write_all(much.as_bytes()).unwrap();
                })
            });
            for greenlet in greenlets {
                greenlet.join().unwrap();
            }
        });
        leave();
    }
    let path = env::temp_dir().join(format!("greenlet-append-{}", std::process::id()));
    let file = File::options()
        .create_new(true)
        .append(true)
        .open(&path)
        .unwrap();
    let children = [0; 3].map(|_| {
        let stdout = file.try_clone().unwrap();
        command(NAME).stdout(stdout).spawn().unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let text = fs::read_to_string(&path).unwrap();
    let count = |wanted: &str| text.lines().filter(|line| *line == wanted).count();
    for number in [1, 2] {
        for n in [0, 1, LINES / 2, LINES - 1] {
            assert_eq!(count(&format!("line {number} {n}")), 3);
        }
    }
    assert_eq!(count("much"), 3 * 2 * 2_000);
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("line "))
            .count(),
        3 * 2 * LINES
    );
    fs::remove_file(path).unwrap();
}

#[test]
fn children_get_our_streams() {
    const NAME: &str = "children_get_our_streams";
    if is_child(NAME) {
        let _watchdog = watched();
        runtime(1).run(|| {
            let mut command = greenlet::process::Command::new("sh");
            command.args(["-c", "echo to errors; echo to output >&2"]);
            command.stdout(io::stderr()).stderr(io::stdout());
            assert!(command.status().unwrap().success());
        });
        leave();
    }
    assert_eq!(output_of(command(NAME).spawn().unwrap()), "to output\n");
}

#[test]
#[should_panic = "locked by the caller already"]
fn standard_input_is_locked_once() {
    let _first = io::stdin().lock();
    let _second = io::stdin().lock();
}

#[test]
fn types_are_shown_and_shared_as_std_s() {
    use std::panic::{RefUnwindSafe, UnwindSafe};

    fn check<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    fn check_lock<T: Sync + UnwindSafe + RefUnwindSafe>() {}
    check::<io::Stdin>();
    check::<io::Stdout>();
    check::<io::Stderr>();
    check_lock::<io::StdinLock<'_>>();
    check_lock::<io::StdoutLock<'_>>();
    check_lock::<io::StderrLock<'_>>();
    assert_eq!(format!("{:?}", io::stdin()), "Stdin { .. }");
    assert_eq!(format!("{:?}", io::stdout().lock()), "StdoutLock { .. }");
    assert_eq!(io::stderr().as_fd().as_raw_fd(), 2);
    let start = Instant::now();
    drop(io::stderr().lock());
    assert!(start.elapsed() < Duration::from_secs(5));
}
