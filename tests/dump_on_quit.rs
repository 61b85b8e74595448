//! SIGQUIT writes a dump to standard error. Each test sends it to a process of its own.

mod support;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use greenlet::signal::{self, Signal};
use greenlet::{Builder, Runtime};
use support::child::output;
use support::watched;

/// As the terminal does it: any thread handles it, at once or a little later.
fn send() {
    // SAFETY: the signal goes to this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGQUIT) };
}

fn action() -> usize {
    // SAFETY: there is room for what is written.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGQUIT, std::ptr::null(), &raw mut action);
        action.sa_sigaction
    }
}

/// The children end by a signal that writes core files, if they may.
fn no_core() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a limit to read.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
}

/// Standard error, which is looked at on its way to the parent.
struct Stderr {
    real: File,
    seen: Arc<Mutex<String>>,
    copying: Option<JoinHandle<()>>,
}

impl Stderr {
    fn look_at() -> Self {
        // The names of functions are looked up once, which takes its time.
        drop(greenlet::dump().to_string());
        let real = File::from(io::stderr().as_fd().try_clone_to_owned().unwrap());
        let (mut reader, writer) = io::pipe().unwrap();
        replace_stderr(writer.as_fd());
        drop(writer);
        let seen = Arc::<Mutex<String>>::default();
        let copying = thread::spawn({
            let (mut real, seen) = (real.try_clone().unwrap(), seen.clone());
            move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = reader.read(&mut buffer) {
                    real.write_all(&buffer[..length]).unwrap();
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    seen.lock().unwrap().push_str(&text);
                }
            }
        });
        Self {
            real,
            seen,
            copying: Some(copying),
        }
    }

    fn dumps(&self) -> usize {
        dumps(&self.seen.lock().unwrap())
    }
}

impl Drop for Stderr {
    fn drop(&mut self) {
        replace_stderr(self.real.as_fd());
        self.copying.take().unwrap().join().unwrap();
    }
}

fn replace_stderr(with: BorrowedFd<'_>) {
    // SAFETY: std takes the number for standard error, which it stays.
    let result = unsafe { libc::dup2(with.as_raw_fd(), libc::STDERR_FILENO) };
    assert_eq!(result, libc::STDERR_FILENO);
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_killed(output: &Output) {
    let signal = output.status.signal();
    assert_eq!(signal, Some(libc::SIGQUIT), "{}", stderr(output));
}

#[track_caller]
fn assert_passed(output: &Output) {
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        stderr(output)
    );
}

/// How many dumps were written.
fn dumps(stderr: &str) -> usize {
    stderr.matches("greenlet: dump of ").count()
}

#[test]
fn it_writes_a_dump_and_the_program_goes_on() {
    let ran = output("it_writes_a_dump_and_the_program_goes_on", &[], || {
        no_core();
        let _watchdog = watched();
        let stderr = Stderr::look_at();
        let before = action();
        assert_eq!(before, libc::SIG_DFL);
        let runtime = Runtime::builder().hubs(2).build().unwrap();
        let answer = runtime.run(|| {
            let parked = Builder::new().name("who-parks".into());
            drop(parked.spawn(greenlet::park).unwrap());
            // Not itself: it would be seen before it waits.
            let sender = thread::spawn(|| {
                let wait = [
                    "'who-parks': waits to be unparked",
                    "'main': waits for a time",
                ];
                let all_wait = |dump: &str| wait.iter().all(|wait| dump.contains(wait));
                while !all_wait(&greenlet::dump().to_string()) {
                    thread::sleep(Duration::from_millis(1));
                }
                send();
            });
            while stderr.dumps() == 0 {
                greenlet::sleep(Duration::from_millis(200));
            }
            sender.join().unwrap();
            7
        });
        assert_eq!(answer, 7);
        assert_eq!(action(), before);
    });
    let Some(output) = ran else { return };
    assert_passed(&output);
    let text = stderr(&output);
    assert_eq!(dumps(&text), 1, "{text}");
    assert!(text.contains("'who-parks': waits to be unparked"), "{text}");
    assert!(text.contains("'main': waits for a time"), "{text}");
    assert!(text.contains("spawned at tests/dump_on_quit.rs:"), "{text}");
    assert!(text.contains("hub 1 (thread "), "{text}");
}

#[test]
fn a_second_one_soon_after_ends_it() {
    let ran = output("a_second_one_soon_after_ends_it", &[], || {
        no_core();
        let _watchdog = watched();
        let stderr = Stderr::look_at();
        greenlet::run(|| {
            send();
            while stderr.dumps() == 0 {
                greenlet::sleep(Duration::from_millis(5));
            }
            // One that comes too late is a first one again; one that comes before another is handled is the same.
            loop {
                send();
                greenlet::sleep(Duration::from_millis(10));
            }
        });
    });
    let Some(output) = ran else { return };
    assert_killed(&output);
    assert_ne!(dumps(&stderr(&output)), 0);
}

#[test]
fn a_second_one_later_writes_another() {
    let ran = output("a_second_one_later_writes_another", &[], || {
        no_core();
        let _watchdog = watched();
        let stderr = Stderr::look_at();
        greenlet::run(|| {
            for number in 1..=2 {
                send();
                while stderr.dumps() < number {
                    greenlet::sleep(Duration::from_millis(5));
                }
                greenlet::sleep(Duration::from_millis(2500));
            }
        });
    });
    let Some(output) = ran else { return };
    assert_passed(&output);
    let text = stderr(&output);
    assert_eq!(dumps(&text), 2, "{text}");
}

#[test]
fn stuck_hubs_and_a_locked_stderr_do_not_matter() {
    let ran = output("stuck_hubs_and_a_locked_stderr_do_not_matter", &[], || {
        no_core();
        let _watchdog = watched();
        let stderr = Stderr::look_at();
        let runtime = Runtime::builder()
            .hubs(1)
            .blocked_after(Duration::from_secs(3600))
            .build()
            .unwrap();
        runtime.run(|| {
            let parked = Builder::new().name("behind-it".into());
            drop(parked.spawn(greenlet::park).unwrap());
            greenlet::sleep(Duration::from_millis(10));
            let _stderr = std::io::stderr().lock();
            send();
            while stderr.dumps() == 0 {
                thread::sleep(Duration::from_millis(1000));
            }
        });
    });
    let Some(output) = ran else { return };
    assert_passed(&output);
    let text = stderr(&output);
    assert!(text.contains("'behind-it': waits to be unparked"), "{text}");
    assert!(text.contains("hub 0 (thread "), "{text}");
    assert!(
        text.contains("it waits in the kernel, in `clock_nanosleep`"),
        "{text}"
    );
}

#[test]
fn it_does_as_before_where_it_is_not_wanted() {
    let ran = output("it_does_as_before_where_it_is_not_wanted", &[], || {
        no_core();
        let _watchdog = watched();
        let runtime = Runtime::builder().dump_on_quit(false).build().unwrap();
        runtime.run(|| {
            assert_eq!(action(), libc::SIG_DFL);
            send();
            greenlet::sleep(Duration::from_secs(20));
        });
    });
    let Some(output) = ran else { return };
    assert_killed(&output);
    assert_eq!(dumps(&stderr(&output)), 0);
}

#[test]
fn what_the_program_does_about_it_is_left_alone() {
    let ran = output("what_the_program_does_about_it_is_left_alone", &[], || {
        let _watchdog = watched();
        // SAFETY: no handler.
        unsafe { libc::signal(libc::SIGQUIT, libc::SIG_IGN) };
        greenlet::run(|| {
            assert_eq!(action(), libc::SIG_IGN);
            send();
            greenlet::sleep(Duration::from_millis(300));
        });
        assert_eq!(action(), libc::SIG_IGN);
    });
    let Some(output) = ran else { return };
    assert_passed(&output);
    assert_eq!(dumps(&stderr(&output)), 0);
}

#[test]
fn who_listens_gets_it_instead() {
    let ran = output("who_listens_gets_it_instead", &[], || {
        let _watchdog = watched();
        greenlet::run(|| {
            let listener = signal::listen(&[Signal::QUIT]).unwrap();
            send();
            assert_eq!(listener.wait().unwrap(), Signal::QUIT);
            greenlet::sleep(Duration::from_millis(300));
        });
    });
    let Some(output) = ran else { return };
    assert_passed(&output);
    assert_eq!(dumps(&stderr(&output)), 0);
}

#[test]
fn a_forked_child_ends_of_it() {
    let ran = output("a_forked_child_ends_of_it", &[], || {
        no_core();
        let _watchdog = watched();
        greenlet::run(|| {
            let (mut reader, writer) = std::io::pipe().unwrap();
            // SAFETY: the child makes system calls only.
            let child = unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::kill(libc::getpid(), libc::SIGQUIT);
                    libc::pause();
                    libc::_exit(3);
                }
                child
            };
            drop(writer);
            let _ = reader.read(&mut [0]);
            let mut status = 0;
            // SAFETY: there is room for the status.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert!(libc::WIFSIGNALED(status), "{status}");
            assert_eq!(libc::WTERMSIG(status), libc::SIGQUIT);
        });
    });
    let Some(output) = ran else { return };
    assert_passed(&output);
    assert_eq!(dumps(&stderr(&output)), 0);
}
