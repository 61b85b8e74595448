//! Ctrl-C ends `run`. Each test sends SIGINT to a process of its own.

use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use greenlet::signal::{self, Signal};
use greenlet::{Cancelled, RunError, Runtime};

mod support;

use support::child::{alone, output};
use support::process::wait_until;
use support::watched;

const LONG: Duration = Duration::from_secs(30);

/// As the terminal does it: any thread handles it, at once or a little later.
fn send_to_process() {
    // SAFETY: the signal goes to this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
}

/// Returns when it was handled, by the calling thread.
fn send() {
    // SAFETY: the signal goes to this thread.
    unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::getpid(),
            libc::gettid(),
            libc::SIGINT,
        )
    };
}

fn action() -> usize {
    // SAFETY: there is room for what is written.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut action);
        action.sa_sigaction
    }
}

fn set_action(action: usize) {
    // SAFETY: the handler of this file does nothing.
    unsafe { libc::signal(libc::SIGINT, action) };
}

fn runtime() -> Runtime {
    Runtime::builder().hubs(2).build().unwrap()
}

#[track_caller]
fn assert_interrupted<T: std::fmt::Debug>(result: Result<T, RunError>) {
    assert!(matches!(result, Err(RunError::Interrupted)), "{result:?}");
}

/// Asserts that the child of this test was ended by SIGINT.
fn is_ended(test: &str, body: impl FnOnce()) {
    if let Some(Output { status, stderr, .. }) = output(test, &[], body) {
        let text = String::from_utf8_lossy(&stderr);
        assert_eq!(status.signal(), Some(libc::SIGINT), "{status}: {text}");
    }
}

#[test]
fn ctrl_c_ends_a_run_and_destructors_run() {
    alone("ctrl_c_ends_a_run_and_destructors_run", || {
        struct Sets<'a>(&'a mut bool);

        impl Drop for Sets<'_> {
            fn drop(&mut self) {
                // A wait in a destructor is not interrupted.
                greenlet::sleep(Duration::from_millis(20));
                *self.0 = true;
            }
        }

        let _watchdog = watched();
        assert_eq!(action(), libc::SIG_DFL);
        for _ in 0..3 {
            let mut dropped = false;
            let result = runtime().try_run(|| {
                let _sets = Sets(&mut dropped);
                send();
                greenlet::sleep(LONG);
            });
            assert_interrupted(result);
            assert!(dropped);
            assert_eq!(action(), libc::SIG_DFL);
        }
        let result = greenlet::try_run(|| {
            send_to_process();
            greenlet::park();
        });
        assert_interrupted(result);
    });
}

#[test]
fn a_run_unwinds_without_a_message() {
    const NAME: &str = "a_run_unwinds_without_a_message";
    let body = || {
        let _watchdog = watched();
        let interrupted = || {
            greenlet::run(|| {
                greenlet::spawn(|| {
                    greenlet::sleep(Duration::from_millis(20));
                    send_to_process();
                });
                greenlet::sleep(LONG);
            })
        };
        let payload = catch_unwind(interrupted).unwrap_err();
        assert!(matches!(
            payload.downcast_ref(),
            Some(RunError::Interrupted)
        ));
        let runtime = runtime();
        let interrupted = || {
            runtime.run(|| {
                send();
                greenlet::sleep(LONG);
            })
        };
        let payload = catch_unwind(AssertUnwindSafe(interrupted)).unwrap_err();
        assert!(matches!(
            payload.downcast_ref(),
            Some(RunError::Interrupted)
        ));
        // The runtime is well.
        assert_eq!(runtime.run(|| 7), 7);
    };
    if let Some(output) = output(NAME, &[], body) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn what_was_already_done_is_kept() {
    alone("what_was_already_done_is_kept", || {
        let _watchdog = watched();
        // It does not wait any more.
        let start = Instant::now();
        let result = runtime().try_run(|| {
            send();
            while start.elapsed() < Duration::from_millis(50) {
                std::hint::spin_loop();
            }
            5
        });
        assert_eq!(result.unwrap(), 5);
        // It catches the cancellation, and goes on.
        let result = runtime().try_run(|| {
            send();
            let payload = catch_unwind(|| greenlet::sleep(LONG)).unwrap_err();
            assert!(payload.is::<Cancelled>());
            6
        });
        assert_eq!(result.unwrap(), 6);
        // It panics on its own account.
        let panics = || {
            runtime().try_run(|| {
                send();
                let _ = catch_unwind(|| greenlet::sleep(LONG));
                std::panic::resume_unwind(Box::new("own"));
            })
        };
        let payload = catch_unwind(panics).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"own"));
    });
}

#[test]
fn all_runs_are_interrupted() {
    alone("all_runs_are_interrupted", || {
        let _watchdog = watched();
        let begun = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let begun = begun.clone();
                std::thread::spawn(move || {
                    runtime().try_run(|| {
                        begun.fetch_add(1, SeqCst);
                        greenlet::park();
                    })
                })
            })
            .collect();
        wait_until("all have begun", || begun.load(SeqCst) == 4);
        send_to_process();
        for thread in threads {
            assert_interrupted(thread.join().unwrap());
        }
        assert_eq!(action(), libc::SIG_DFL);
    });
}

#[test]
fn a_second_ctrl_c_ends_the_process() {
    is_ended("a_second_ctrl_c_ends_the_process", || {
        let _watchdog = watched();
        let _ = runtime().try_run(|| {
            send();
            let _ = catch_unwind(|| greenlet::sleep(LONG));
            send();
            std::thread::sleep(LONG);
        });
    });
}

#[test]
fn a_second_ctrl_c_ends_a_loop_that_never_waits() {
    is_ended("a_second_ctrl_c_ends_a_loop_that_never_waits", || {
        let _watchdog = watched();
        std::thread::spawn(|| {
            // Of two that come before the first is handled, the kernel keeps one.
            loop {
                std::thread::sleep(Duration::from_millis(100));
                send_to_process();
            }
        });
        let _ = runtime().try_run(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    });
}

#[test]
fn outside_of_a_run_ctrl_c_ends_the_process() {
    is_ended("outside_of_a_run_ctrl_c_ends_the_process", || {
        let runtime = runtime();
        runtime.run(|| greenlet::sleep(Duration::from_millis(1)));
        runtime.spawn(greenlet::park);
        send();
        std::thread::sleep(LONG);
    });
}

#[test]
fn it_can_be_switched_off() {
    is_ended("it_can_be_switched_off", || {
        let runtime = Runtime::builder().hubs(1).ctrl_c(false).build().unwrap();
        let _ = runtime.try_run(|| {
            assert_eq!(action(), libc::SIG_DFL);
            send();
            greenlet::sleep(LONG);
        });
    });
}

extern "C" fn nothing(_: libc::c_int) {}

#[test]
fn what_the_program_does_about_it_is_left_alone() {
    alone("what_the_program_does_about_it_is_left_alone", || {
        let _watchdog = watched();
        for theirs in [libc::SIG_IGN, nothing as *const () as usize] {
            set_action(theirs);
            let result = runtime().try_run(|| {
                assert_eq!(action(), theirs);
                send();
                greenlet::sleep(Duration::from_millis(20));
            });
            result.unwrap();
            assert_eq!(action(), theirs);
        }
    });
}

#[test]
fn who_waits_for_the_signal_has_it() {
    alone("who_waits_for_the_signal_has_it", || {
        let _watchdog = watched();
        for _ in 0..3 {
            let result = runtime().try_run(|| {
                let signals = signal::listen(&[Signal::INTERRUPT]).unwrap();
                for _ in 0..3 {
                    send_to_process();
                    assert_eq!(signals.wait().unwrap(), Signal::INTERRUPT);
                }
                drop(signals);
                // From here on it is the run's again.
                send();
                greenlet::sleep(LONG);
            });
            assert_interrupted(result);
        }
        // And where somebody has listened before.
        let signals = signal::listen(&[Signal::INTERRUPT]).unwrap();
        let result = runtime().try_run(|| {
            send();
            signals.wait().unwrap();
        });
        result.unwrap();
        drop(signals);
        assert_eq!(action(), libc::SIG_DFL);
    });
}

#[test]
fn a_forked_child_ends_as_before() {
    alone("a_forked_child_ends_as_before", || {
        let _watchdog = watched();
        runtime().run(|| {
            // SAFETY: the child makes system calls only.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: as above.
                unsafe {
                    libc::kill(libc::getpid(), libc::SIGINT);
                    libc::_exit(0);
                }
            }
            let mut status = 0;
            // SAFETY: the child is ours, and there is room for its status.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert!(libc::WIFSIGNALED(status));
            assert_eq!(libc::WTERMSIG(status), libc::SIGINT);
        });
    });
}

#[test]
fn children_have_the_default_action() {
    alone("children_have_the_default_action", || {
        let _watchdog = watched();
        runtime().run(|| {
            let mut child = greenlet::process::Command::new("sleep")
                .arg("100")
                .spawn()
                .unwrap();
            // SAFETY: the child is ours.
            unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));
        });
    });
}

#[test]
fn an_interrupt_is_an_error_with_a_text() {
    assert_eq!(RunError::Interrupted.to_string(), "interrupted by Ctrl-C");
    let error = std::io::Error::from(RunError::Interrupted);
    assert_eq!(error.to_string(), "interrupted by Ctrl-C");
}
