//! Children: started, talked to and waited for without blocking a hub.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::Command as StdCommand;
use std::time::{Duration, Instant};

use greenlet::io::{self, ErrorKind, Read, Write};
use greenlet::os::unix::process::{CommandExt, ExitStatusExt};
use greenlet::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

mod support;

use support::child::{alone, passes};
use support::sockets::{
    descriptor_limit, everywhere, has_status_flag, in_greenlets, set_descriptor_limit, settle,
};
use support::{at_once, does_not_park, on_hubs, parks, runtime, watched};

/// More than a pipe has room for.
const MUCH: usize = 300_000;

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// `cat` between two pipes.
fn cat() -> Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn is_alive(process: u32) -> bool {
    // SAFETY: signal 0 is none.
    unsafe { libc::kill(process as i32, 0) == 0 }
}

/// Its state in the kernel's words: `S`, `Z` and so on.
fn state_of(process: u32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    text.rsplit(')').next()?.trim_start().chars().next()
}

fn wait_for_end(process: u32) {
    let start = Instant::now();
    while state_of(process) != Some('Z') {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not end");
        greenlet::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_wait_parks_until_the_child_has_ended() {
    let mut child = cat();
    let stdin = child.stdin.take();
    let status = parks(move || child.wait().unwrap(), || drop(stdin));
    assert!(status.success());
}

#[test]
fn output_parks_until_the_child_has_ended() {
    let (reader, mut writer) = io::pipe().unwrap();
    let output = parks(
        move || {
            let mut command = sh("read line; echo got $line; echo errors >&2; exit 7");
            command.stdin(reader).output().unwrap()
        },
        move || writer.write_all(b"it\n").unwrap(),
    );
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"got it\n");
    assert_eq!(output.stderr, b"errors\n");
}

#[test]
fn status_parks_until_the_child_has_ended() {
    let (reader, writer) = io::pipe().unwrap();
    let status = parks(
        move || sh("read line; exit 3").stdin(reader).status().unwrap(),
        || drop(writer),
    );
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_read_of_a_childs_output_parks() {
    let mut child = cat();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let text = parks(
        move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        },
        move || stdin.write_all(b"hello").unwrap(),
    );
    assert_eq!(text, "hello");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_write_to_a_childs_input_parks() {
    let mut child = cat();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut read = Vec::new();
    parks(
        move || stdin.write_all(&vec![7; 1 << 20]).unwrap(),
        || assert_eq!(stdout.read_to_end(&mut read).unwrap(), 1 << 20),
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_child_that_has_ended_is_waited_for_without_a_park() {
    let mut child = Command::new("true").spawn().unwrap();
    wait_for_end(child.id());
    does_not_park(|| {
        assert!(child.try_wait().unwrap().unwrap().success());
        assert!(child.wait().unwrap().success());
        assert!(child.wait().unwrap().success());
        child.kill().unwrap();
    });
}

#[test]
fn one_pipe_that_is_full_does_not_keep_the_other_from_being_read() {
    everywhere(|| {
        let first_errors = format!("head -c {MUCH} /dev/zero >&2; head -c {MUCH} /dev/zero");
        let first_output = format!("head -c {MUCH} /dev/zero; head -c {MUCH} /dev/zero >&2");
        for script in [first_errors, first_output] {
            let output = sh(&script).output().unwrap();
            assert!(output.status.success());
            assert_eq!((output.stdout.len(), output.stderr.len()), (MUCH, MUCH));
        }
    });
}

#[test]
fn a_child_that_closes_its_pipes_first_is_waited_for_all_the_same() {
    everywhere(|| {
        let output = sh("exec >&- 2>&-; sleep 0.1; exit 3").output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
    });
}

#[test]
fn a_child_that_does_not_read_is_a_broken_pipe() {
    everywhere(|| {
        let mut child = sh("exec <&-; exit 0")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let error = stdin.write_all(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn two_hundred_children_run_at_once_on_one_hub() {
    let _watchdog = watched();
    runtime(1).run(|| {
        let start = Instant::now();
        at_once(200, |number| {
            let code = (number % 100) as i32;
            let status = sh(&format!("sleep 0.5; exit {code}")).status().unwrap();
            assert_eq!(status.code(), Some(code));
        });
        // One after the other it takes a hundred.
        assert!(start.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn many_children_are_talked_to_on_all_hubs() {
    on_hubs(|_| {
        at_once(30, |number| {
            let mut child = cat();
            let text = format!("number {number}\n").repeat(100);
            child
                .stdin
                .take()
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            assert_eq!(output.stdout, text.as_bytes());
        });
    });
}

#[test]
fn a_child_outlives_a_runtime_in_which_somebody_waits_for_it() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let runtime = runtime(hubs);
        let waiting = runtime.spawn(move || {
            let mut child = sh("exec sleep 1000").spawn().unwrap();
            sender.send(child.id()).unwrap();
            child.wait()
        });
        let process = receiver.recv().unwrap();
        settle();
        drop(runtime);
        assert!(waiting.join().unwrap_err().is::<greenlet::Cancelled>());
        assert!(is_alive(process));
        assert_ne!(state_of(process), Some('Z'));
        // SAFETY: the child is ours, and nobody has waited for it.
        unsafe {
            assert_eq!(libc::kill(process as i32, libc::SIGKILL), 0);
            let waited = libc::waitpid(process as i32, std::ptr::null_mut(), 0);
            assert_eq!(waited, process as i32);
        }
    }
}

#[test]
fn a_cancelled_wait_for_output_leaves_the_child_alone() {
    let _watchdog = watched();
    let runtime = runtime(2);
    let (sender, receiver) = std::sync::mpsc::channel();
    let waiting = runtime.spawn(move || {
        let mut command = sh("echo; exec sleep 1000");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        sender.send(child.id()).unwrap();
        child.wait_with_output()
    });
    let process = receiver.recv().unwrap();
    settle();
    drop(runtime);
    assert!(waiting.join().is_err());
    assert!(is_alive(process));
    // SAFETY: the child is ours, and nobody has waited for it.
    unsafe {
        assert_eq!(libc::kill(process as i32, libc::SIGKILL), 0);
        libc::waitpid(process as i32, std::ptr::null_mut(), 0);
    }
}

#[test]
fn a_program_that_is_not_there_is_not_found() {
    everywhere(|| {
        let mut command = Command::new("/no/such/program");
        assert_eq!(command.spawn().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(command.output().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(command.status().unwrap_err().kind(), ErrorKind::NotFound);
        let mut command = Command::new("/dev/null");
        let error = command.spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn without_descriptors_starting_fails_and_waiting_does_not() {
    alone(
        "without_descriptors_starting_fails_and_waiting_does_not",
        || {
            let _watchdog = watched();
            for hubs in [1, 2] {
                let runtime = runtime(hubs);
                runtime.run(|| {
                    // Whatever the pool and the first look-ups open.
                    sh("exit 0").output().unwrap();
                    let mut child = cat();
                    let stdin = child.stdin.take();
                    let limit = descriptor_limit();
                    let mut held = Vec::new();
                    set_descriptor_limit(libc::rlimit {
                        rlim_cur: 64,
                        ..limit
                    });
                    while let Ok(file) = fs::File::open("/dev/null") {
                        held.push(file);
                    }
                    let error = sh("exit 0").output().unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    let waiting = greenlet::spawn(move || child.wait().unwrap());
                    settle();
                    assert!(!waiting.is_finished());
                    drop(stdin);
                    held.pop();
                    assert!(waiting.join().unwrap().success());
                    drop(held);
                    set_descriptor_limit(limit);
                    assert!(sh("exit 0").status().unwrap().success());
                });
            }
        },
    );
}

#[test]
fn a_storm_of_signals_disturbs_nothing() {
    alone("a_storm_of_signals_disturbs_nothing", || {
        let _watchdog = watched();
        let storm = support::storm::begin();
        in_greenlets(|| {
            at_once(10, |_| {
                let script = format!("head -c {MUCH} /dev/zero; echo errors >&2; exit 5");
                let output = sh(&script).output().unwrap();
                assert_eq!(output.status.code(), Some(5));
                assert_eq!((output.stdout.len(), output.stderr.len()), (MUCH, 7));
            });
        });
        support::process::wait_until("signals", || storm.count() > 20);
    });
}

#[test]
fn a_child_gets_its_environment_directory_and_names() {
    everywhere(|| {
        let mut command = sh("pwd; echo $0 $FIRST $SECOND $THIRD");
        command
            .current_dir("/")
            .arg0("zero")
            .arg("named")
            .env("FIRST", "1")
            .envs(HashMap::from([("SECOND", "2")]))
            .env("THIRD", "3")
            .env_remove("THIRD");
        let output = command.output().unwrap();
        assert_eq!(output.stdout, b"/\nnamed 1 2\n");
        assert_eq!(command.get_program(), "sh");
        assert_eq!(command.get_args().count(), 3);
        assert_eq!(command.get_envs().count(), 3);
        assert_eq!(command.get_current_dir(), Some("/".as_ref()));
        let output = Command::new("/usr/bin/env").env_clear().output().unwrap();
        assert!(output.stdout.is_empty());
    });
}

#[test]
fn a_child_gets_another_user_and_group() {
    // SAFETY: takes nothing.
    if unsafe { libc::getuid() } != 0 {
        return;
    }
    everywhere(|| {
        let mut command = sh("id -u; id -g");
        let output = command.uid(65_534).gid(65_534).output().unwrap();
        assert_eq!(output.stdout, b"65534\n65534\n");
    });
}

#[test]
fn a_child_leads_its_process_group() {
    everywhere(|| {
        let mut child = sh("read line")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        // SAFETY: takes a number.
        let group = unsafe { libc::getpgid(child.id() as i32) };
        assert_eq!(group, child.id() as i32);
        child.wait().unwrap();
    });
}

thread_local! {
    static MARK: std::cell::Cell<i32> = const { std::cell::Cell::new(0) };
}

#[test]
fn code_before_exec_runs_in_the_child_with_the_thread_locals_of_who_spawns() {
    everywhere(|| {
        MARK.set(7);
        let mut command = sh("umask");
        // SAFETY: one system call, and a thread-local that is there.
        unsafe {
            command.pre_exec(|| {
                libc::umask(if MARK.get() == 7 { 0o123 } else { 0 });
                Ok(())
            });
        }
        for _ in 0..3 {
            assert_eq!(command.output().unwrap().stdout, b"0123\n");
        }
        MARK.set(0);
    });
}

#[test]
fn what_fails_before_exec_fails_the_spawn() {
    everywhere(|| {
        let mut command = sh("exit 0");
        // SAFETY: makes a number an error.
        unsafe { command.pre_exec(|| Err(io::Error::from_raw_os_error(libc::EXDEV))) };
        let error = command.spawn().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
    });
}

#[test]
fn code_before_exec_may_need_more_stack_than_the_greenlet_has() {
    let _watchdog = watched();
    runtime(1).run(|| {
        let small = greenlet::Builder::new().stack_size(32 << 10).spawn(|| {
            let mut command = sh("exit 0");
            // SAFETY: uses stack only.
            unsafe {
                command.pre_exec(|| {
                    support::recursion::use_stack(200 << 10);
                    Ok(())
                });
            }
            command.status().unwrap()
        });
        assert!(small.unwrap().join().unwrap().success());
    });
}

#[test]
fn greenlets_fork_on_all_hubs_at_once() {
    on_hubs(|_| {
        at_once(20, |number| {
            let mut command = sh("umask");
            // SAFETY: one system call.
            unsafe {
                command.pre_exec(move || {
                    libc::umask(number as u32);
                    Ok(())
                });
            }
            let output = command.output().unwrap();
            assert_eq!(output.stdout, format!("{number:04o}\n").as_bytes());
        });
    });
}

#[test]
fn a_child_inherits_no_descriptors_no_masks_and_no_modes() {
    // Those that this process has itself inherited.
    let mut list = StdCommand::new("sh");
    let inherited = list.args(["-c", "ls /proc/self/fd"]).output().unwrap();
    let inherited = String::from_utf8(inherited.stdout).unwrap();
    let count = inherited.lines().count();
    on_hubs(|_| {
        let (reader, writer) = io::pipe().unwrap();
        // A reactor, timers and sockets that are in use.
        let listener = greenlet::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let other = greenlet::spawn(move || (&reader).read(&mut [0; 1]));
        greenlet::sleep(Duration::from_millis(2));
        let script = "ls /proc/self/fd; grep SigBlk /proc/self/status; \
             grep -h flags /proc/self/fdinfo/0 /proc/self/fdinfo/1 /proc/self/fdinfo/2";
        let child = sh(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.as_ref().unwrap();
        assert!(!has_status_flag(stdin, libc::O_NONBLOCK));
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let descriptors = inherited.lines().collect::<Vec<_>>();
        assert_eq!(lines[..count], descriptors, "{text}");
        assert_eq!(lines[count], "SigBlk:\t0000000000000000");
        for line in &lines[count + 1..] {
            let flags = line.strip_prefix("flags:").unwrap().trim();
            let flags = i32::from_str_radix(flags, 8).unwrap();
            assert_eq!(flags & libc::O_NONBLOCK, 0, "{text}");
        }
        drop((writer, listener));
        other.join().unwrap().unwrap();
    });
}

#[test]
fn children_are_connected_by_pipes() {
    everywhere(|| {
        let (reader, writer) = io::pipe().unwrap();
        let mut first = sh("echo b; echo a").stdout(writer).spawn().unwrap();
        let mut sort = Command::new("sort")
            .stdin(reader)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let sorted = sort.stdout.take().unwrap();
        let output = Command::new("cat").stdin(sorted).output().unwrap();
        assert_eq!(output.stdout, b"a\nb\n");
        assert!(first.wait().unwrap().success() && sort.wait().unwrap().success());
    });
}

#[test]
fn a_pipe_that_was_waited_on_is_given_to_a_child_as_it_was() {
    on_hubs(|_| {
        let (reader, writer) = io::pipe().unwrap();
        let mut reader = reader;
        let mut clone = writer.try_clone().unwrap();
        let other = greenlet::spawn(move || {
            greenlet::sleep(Duration::from_millis(1));
            clone.write_all(b"x").unwrap();
        });
        reader.read_exact(&mut [0]).unwrap();
        other.join().unwrap();
        drop(writer);
        let mut command = sh("grep flags /proc/self/fdinfo/0");
        let output = command.stdin(reader).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with("0\n") && !text.contains("4000"), "{text}");
    });
}

#[test]
fn a_child_that_is_to_die_with_its_parent_thread_lives_as_long_as_the_runtime() {
    let _watchdog = watched();
    for hubs in [1, 2, 8] {
        let runtime = runtime(hubs);
        let mut child = runtime.run(|| {
            let mut command = Command::new("sleep");
            command.arg("1000");
            // SAFETY: one system call.
            unsafe {
                command.pre_exec(
                    || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                        0 => Ok(()),
                        _ => Err(io::Error::last_os_error()),
                    },
                );
            }
            command.spawn().unwrap()
        });
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(child.try_wait().unwrap(), None);
        drop(runtime);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}

#[test]
fn a_pinned_greenlet_s_child_inherits_from_the_worker() {
    let _watchdog = watched();
    // SAFETY: one system call, about the calling thread.
    let affinity = |set: &mut libc::cpu_set_t, write: bool| unsafe {
        let size = size_of::<libc::cpu_set_t>();
        let result = if write {
            libc::syscall(libc::SYS_sched_setaffinity, 0, size, &raw const *set)
        } else {
            libc::syscall(libc::SYS_sched_getaffinity, 0, size, &raw mut *set)
        };
        assert!(result >= 0);
    };
    runtime(2).run(|| {
        let pinned = greenlet::Builder::new().hub(1).spawn(move || {
            // SAFETY: all zero is the empty set.
            let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            affinity(&mut set, false);
            // SAFETY: the numbers are in range.
            let last = (0..1024).rfind(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) });
            let last = last.unwrap();
            // SAFETY: as above.
            unsafe {
                libc::CPU_ZERO(&mut set);
                libc::CPU_SET(last, &mut set);
            }
            affinity(&mut set, true);
            let script = "grep Cpus_allowed_list /proc/self/status";
            let output = sh(script).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(text, format!("Cpus_allowed_list:\t{last}\n"));
        });
        pinned.unwrap().join().unwrap();
    });
}

#[test]
fn a_child_that_is_killed_says_so() {
    everywhere(|| {
        let mut child = cat();
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        child.kill().unwrap();
        assert_eq!(child.try_wait().unwrap(), Some(status));
    });
}

#[test]
fn with_sigchld_ignored_a_wait_ends_without_a_status() {
    alone("with_sigchld_ignored_a_wait_ends_without_a_status", || {
        // SAFETY: no other thread has children.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        everywhere(|| {
            let start = Instant::now();
            let mut child = sh("sleep 0.1").spawn().unwrap();
            let error = child.wait().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
            assert!(start.elapsed() >= Duration::from_millis(100));
        });
    });
}

#[test]
fn nothing_is_done_about_sigchld() {
    alone("nothing_is_done_about_sigchld", || {
        in_greenlets(|| {
            sh("exit 0").output().unwrap();
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let caught = status
                .lines()
                .find(|line| line.starts_with("SigCgt"))
                .unwrap();
            let caught = u64::from_str_radix(caught[7..].trim(), 16).unwrap();
            assert_eq!(caught & (1 << (libc::SIGCHLD - 1)), 0);
        });
    });
}

#[test]
fn without_pidfd_a_wait_asks_again_and_again() {
    const NAME: &str = "without_pidfd_a_wait_asks_again_and_again";
    passes(NAME, &[("GREENLET_WITHOUT", "pidfd")], || {
        a_wait_parks_until_the_child_has_ended();
        two_hundred_children_run_at_once_on_one_hub();
        a_child_outlives_a_runtime_in_which_somebody_waits_for_it();
    });
}

#[test]
fn exec_makes_a_greenlet_s_process_another_program() {
    const NAME: &str = "exec_makes_a_greenlet_s_process_another_program";
    let body = || {
        runtime(2).run(|| {
            assert_eq!(Command::new("/no/such").exec().kind(), ErrorKind::NotFound);
            let error = sh("echo running 1 test; echo another program").exec();
            panic!("{error}");
        });
    };
    if let Some(output) = support::child::output(NAME, &[], body) {
        assert!(output.status.success());
        assert!(
            String::from_utf8(output.stdout)
                .unwrap()
                .contains("another program")
        );
    }
}

#[test]
fn descriptors_are_not_leaked() {
    alone("descriptors_are_not_leaked", || {
        let _watchdog = watched();
        let runtime = runtime(2);
        runtime.run(|| {
            let round = || {
                at_once(5, |_| {
                    sh("sleep 0.01; echo").output().unwrap();
                });
                support::process::descriptors().len()
            };
            let before = round();
            for _ in 0..5 {
                assert_eq!(round(), before);
            }
        });
    });
}

#[test]
fn types_are_shown_and_shared_as_std_s() {
    fn check<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    check::<Child>();
    check::<ChildStdin>();
    check::<ChildStdout>();
    check::<ChildStderr>();
    check::<io::PipeReader>();
    check::<io::PipeWriter>();
    everywhere(|| {
        let mut child = cat();
        assert_eq!(
            format!("{child:?}"),
            "Child { stdin: Some(ChildStdin { .. }), stdout: Some(ChildStdout { .. }), \
             stderr: None, .. }"
        );
        // Descriptors of the same pipe, through std's types and back.
        let stdin = std::process::ChildStdin::from(child.stdin.take().unwrap());
        child.stdin = Some(OwnedFd::from(stdin).into());
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"x");
        let (mut ours, mut theirs) = (sh("a b"), StdCommand::new("sh"));
        ours.env("A", "b").current_dir("/tmp");
        theirs.args(["-c", "a b"]).env("A", "b").current_dir("/tmp");
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert_eq!(format!("{ours:#?}"), format!("{theirs:#?}"));
    });
}
