//! The tests of `std::process`, by their names, on plain threads and in greenlets.
//!
//! Not here: those of Windows, and of what is not stable (`read_buf`, `setsid`, `PidFd`).

use greenlet::io::{ErrorKind, Read, Write};
use greenlet::os::unix::process::{CommandExt, ExitStatusExt};
use greenlet::process::{Command, ExitStatus, Output, Stdio};

mod support;

use support::runtime;
use support::sockets::everywhere;

fn shell_cmd() -> Command {
    Command::new("/bin/sh")
}

fn run_output(mut command: Command) -> String {
    let mut child = command.spawn().expect("a child");
    assert!(child.stdout.is_some());
    let mut text = String::new();
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success());
    text
}

fn env_cmd() -> Command {
    Command::new("env")
}

#[test]
fn smoke() {
    everywhere(|| {
        let mut child = shell_cmd().arg("-c").arg("true").spawn().unwrap();
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn smoke_failure() {
    everywhere(|| {
        assert!(
            Command::new("if-this-is-a-binary-then-the-world-has-ended")
                .spawn()
                .is_err()
        );
    });
}

#[test]
fn exit_reported_right() {
    everywhere(|| {
        let mut child = shell_cmd().arg("-c").arg("false").spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        drop(child.wait());
    });
}

#[test]
fn signal_reported_right() {
    everywhere(|| {
        let mut command = shell_cmd();
        let mut child = command
            .arg("-c")
            .arg("read a")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    });
}

#[test]
fn stdout_works() {
    everywhere(|| {
        let mut command = shell_cmd();
        command.arg("-c").arg("echo foobar").stdout(Stdio::piped());
        assert_eq!(run_output(command), "foobar\n");
    });
}

#[test]
fn set_current_dir_works() {
    everywhere(|| {
        let mut command = shell_cmd();
        command
            .arg("-c")
            .arg("pwd")
            .current_dir("/")
            .stdout(Stdio::piped());
        assert_eq!(run_output(command), "/\n");
    });
}

#[test]
fn stdin_works() {
    everywhere(|| {
        let mut child = shell_cmd()
            .arg("-c")
            .arg("read line; echo $line")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"foobar").unwrap();
        drop(child.stdin.take());
        let mut text = String::new();
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(text, "foobar\n");
    });
}

#[test]
fn test_process_status() {
    everywhere(|| {
        let status = shell_cmd().arg("-c").arg("false").status().unwrap();
        assert_eq!(status.code(), Some(1));
        assert!(
            shell_cmd()
                .arg("-c")
                .arg("true")
                .status()
                .unwrap()
                .success()
        );
    });
}

#[test]
fn test_process_output_fail_to_start() {
    everywhere(|| {
        let error = Command::new("/no-binary-by-this-name-should-exist")
            .output()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn test_process_output_output() {
    everywhere(|| {
        let Output {
            status,
            stdout,
            stderr,
        } = shell_cmd().arg("-c").arg("echo hello").output().unwrap();
        assert!(status.success());
        assert_eq!(std::str::from_utf8(&stdout).unwrap(), "hello\n");
        assert_eq!(stderr, Vec::<u8>::new());
    });
}

#[test]
fn test_process_output_error() {
    everywhere(|| {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new("mkdir").arg(".").output().unwrap();
        assert_eq!(status.code(), Some(1));
        assert_eq!(stdout, Vec::<u8>::new());
        assert!(!stderr.is_empty());
    });
}

#[test]
fn test_finish_once() {
    everywhere(|| {
        let mut child = shell_cmd().arg("-c").arg("false").spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
    });
}

#[test]
fn test_finish_twice() {
    everywhere(|| {
        let mut child = shell_cmd().arg("-c").arg("false").spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert_eq!(child.wait().unwrap().code(), Some(1));
    });
}

#[test]
fn test_wait_with_output_once() {
    everywhere(|| {
        let mut command = shell_cmd();
        command.arg("-c").arg("echo hello").stdout(Stdio::piped());
        let Output {
            status,
            stdout,
            stderr,
        } = command.spawn().unwrap().wait_with_output().unwrap();
        assert!(status.success());
        assert_eq!(std::str::from_utf8(&stdout).unwrap(), "hello\n");
        assert_eq!(stderr, Vec::<u8>::new());
    });
}

#[test]
fn test_override_env() {
    everywhere(|| {
        let mut command = env_cmd();
        command.env_clear().env("RUN_TEST_NEW_ENV", "123");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(text.contains("RUN_TEST_NEW_ENV=123"), "{text}");
    });
}

#[test]
fn test_add_to_env() {
    everywhere(|| {
        let output = env_cmd().env("RUN_TEST_NEW_ENV", "123").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("RUN_TEST_NEW_ENV=123"), "{text}");
    });
}

#[test]
fn test_capture_env_at_spawn() {
    const NAME: &str = "test_capture_env_at_spawn";
    support::child::alone(NAME, || {
        let mut command = env_cmd();
        command.env("RUN_TEST_NEW_ENV1", "123");
        // SAFETY: no other test runs in this process.
        unsafe { std::env::set_var("RUN_TEST_NEW_ENV2", "456") };
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(text.contains("RUN_TEST_NEW_ENV1=123"), "{text}");
        assert!(text.contains("RUN_TEST_NEW_ENV2=456"), "{text}");
    });
}

fn is_invalid_input<T: std::fmt::Debug>(result: std::io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn test_interior_nul_in_progname_is_error() {
    everywhere(|| is_invalid_input(Command::new("has-some-\0\0s-inside").spawn()));
}

#[test]
fn test_interior_nul_in_arg_is_error() {
    everywhere(|| is_invalid_input(Command::new("rustc").arg("has-some-\0\0s-inside").spawn()));
}

#[test]
fn test_interior_nul_in_args_is_error() {
    everywhere(|| {
        is_invalid_input(
            Command::new("rustc")
                .args(["has-some-\0\0s-inside"])
                .spawn(),
        )
    });
}

#[test]
fn test_interior_nul_in_current_dir_is_error() {
    everywhere(|| {
        is_invalid_input(
            Command::new("rustc")
                .current_dir("has-some-\0\0s-inside")
                .spawn(),
        );
    });
}

#[test]
fn test_interior_nul_in_env_key_is_error() {
    everywhere(|| is_invalid_input(env_cmd().env("has-some-\0\0s-inside", "value").spawn()));
}

#[test]
fn test_interior_nul_in_env_value_is_error() {
    everywhere(|| is_invalid_input(env_cmd().env("key", "has-some-\0\0s-inside").spawn()));
}

#[test]
fn test_command_implements_send_sync() {
    fn take_send_sync_type<T: Send + Sync>(_: T) {}
    take_send_sync_type(Command::new(""));
}

#[test]
fn env_empty() {
    everywhere(|| {
        let mut child = Command::new("env")
            .env_clear()
            .env_remove("PATH")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn debug_print() {
    const PIDFD: &str = "\n    create_pidfd: false,";
    let mut command = Command::new("some-boring-name");
    assert_eq!(format!("{command:?}"), r#""some-boring-name""#);
    let shown = format!("{command:#?}");
    assert!(shown.starts_with("Command {\n    program: \"some-boring-name\",\n    args: [\n"));
    assert!(shown.contains(PIDFD));
    command.arg("1").arg("2");
    assert_eq!(format!("{command:?}"), r#""some-boring-name" "1" "2""#);
    command.arg0("exciting-name");
    assert_eq!(
        format!("{command:?}"),
        r#"["some-boring-name"] "exciting-name" "1" "2""#
    );
    command.current_dir("/some/path").env("FOO", "bar");
    assert_eq!(
        format!("{command:?}"),
        r#"cd "/some/path" && FOO="bar" ["some-boring-name"] "exciting-name" "1" "2""#
    );
}

/// A child inherits the mask of the thread that spawns it.
fn test_process_mask(no_posix_spawn: bool) {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    if no_posix_spawn {
        // SAFETY: does nothing.
        unsafe { command.pre_exec(|| Ok(())) };
    }
    // SAFETY: the sets are initialised before they are used.
    let set_mask = |signals: &[i32]| unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    };
    set_mask(&[libc::SIGINT]);
    let mut cat = command.spawn().unwrap();
    set_mask(&[]);
    // SAFETY: the child is ours.
    assert_eq!(unsafe { libc::kill(cat.id() as i32, libc::SIGINT) }, 0);
    // It would be gone before it writes.
    cat.stdin.take().unwrap().write_all(b"Hello").unwrap();
    let mut buf = [0; 5];
    cat.stdout.take().unwrap().read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"Hello");
    assert!(cat.wait().unwrap().success());
}

#[test]
fn test_process_mask_posix_spawn() {
    test_process_mask(false);
    // The mask is the worker's: with one of them it is put back where it was set.
    runtime(1).run(|| test_process_mask(false));
}

#[test]
fn test_process_mask_no_posix_spawn() {
    everywhere(|| test_process_mask(true));
}

fn test_process_group(no_posix_spawn: bool) {
    let mut command = Command::new("cat");
    command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if no_posix_spawn {
        // SAFETY: does nothing.
        unsafe { command.pre_exec(|| Ok(())) };
    }
    let mut cat = command.spawn().unwrap();
    // A signal to its group ends it, and not us.
    // SAFETY: the group is the child's own.
    assert_eq!(unsafe { libc::kill(-(cat.id() as i32), libc::SIGINT) }, 0);
    assert_eq!(cat.wait().unwrap().signal(), Some(libc::SIGINT));
}

#[test]
fn test_process_group_posix_spawn() {
    everywhere(|| test_process_group(false));
}

#[test]
fn test_process_group_no_posix_spawn() {
    everywhere(|| test_process_group(true));
}

#[test]
fn unix_exit_statuses() {
    for code in 0..256 {
        let status = ExitStatus::from_raw(code << 8);
        assert_eq!((status.code(), status.success()), (Some(code), code == 0));
    }
}
