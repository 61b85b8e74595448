//! Panics in greenlets: what is printed, and what is caught.

mod support;

use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::thread;

use greenlet::Builder;
use support::{child, on_hubs, quiet, runtime, watched};

#[test]
fn a_message_names_the_greenlet_and_where_it_was_spawned() {
    let test = "a_message_names_the_greenlet_and_where_it_was_spawned";
    let stderr = child::passes(test, &[], || {
        let _watchdog = watched();
        runtime(2).run(|| {
            let named = Builder::new()
                .name("wasp".into())
                .spawn(|| panic!("sting"))
                .unwrap();
            println!("number {}.", named.id());
            assert!(named.join().is_err());
        });
    });
    let Some(stderr) = stderr else { return };
    assert!(stderr.contains("in greenlet 'wasp' (number "), "{stderr}");
    assert!(stderr.contains("spawned at tests/panic.rs:"), "{stderr}");
    assert!(stderr.contains("sting"), "{stderr}");
    assert!(stderr.contains("panicked at tests/panic.rs:"), "{stderr}");
}

#[test]
fn a_message_of_a_greenlet_without_a_name_says_so() {
    let test = "a_message_of_a_greenlet_without_a_name_says_so";
    let stderr = child::passes(test, &[], || {
        let _watchdog = watched();
        runtime(1).run(|| assert!(greenlet::spawn(|| panic!("oh")).join().is_err()));
    });
    if let Some(stderr) = stderr {
        assert!(
            stderr.contains("in greenlet '<unnamed>' (number "),
            "{stderr}"
        );
    }
}

#[test]
fn a_message_of_a_plain_thread_names_no_greenlet() {
    let test = "a_message_of_a_plain_thread_names_no_greenlet";
    let stderr = child::passes(test, &[], || {
        let _watchdog = watched();
        let runtime = runtime(1);
        assert!(thread::spawn(|| panic!("plain")).join().is_err());
        runtime.run(|| assert!(thread::spawn(|| panic!("beside")).join().is_err()));
    });
    if let Some(stderr) = stderr {
        assert!(
            stderr.contains("plain") && stderr.contains("beside"),
            "{stderr}"
        );
        assert!(!stderr.contains("in greenlet"), "{stderr}");
    }
}

#[test]
fn a_hook_that_was_there_before_is_called() {
    let test = "a_hook_that_was_there_before_is_called";
    let stderr = child::passes(test, &[], || {
        let _watchdog = watched();
        std::panic::set_hook(Box::new(|_| eprintln!("the program's own")));
        runtime(1).run(|| assert!(greenlet::spawn(|| panic!("oh")).join().is_err()));
    });
    if let Some(stderr) = stderr {
        assert!(stderr.contains("the program's own"), "{stderr}");
        assert!(stderr.contains("in greenlet"), "{stderr}");
    }
}

#[test]
fn a_hook_that_is_set_later_replaces_the_runtimes() {
    let test = "a_hook_that_is_set_later_replaces_the_runtimes";
    let stderr = child::passes(test, &[], || {
        let _watchdog = watched();
        drop(runtime(1));
        std::panic::set_hook(Box::new(|_| eprintln!("the program's own")));
        runtime(1).run(|| assert!(greenlet::spawn(|| panic!("oh")).join().is_err()));
    });
    if let Some(stderr) = stderr {
        assert_eq!(stderr.trim(), "the program's own");
    }
}

#[test]
fn resume_unwind_prints_nothing() {
    let test = "resume_unwind_prints_nothing";
    let stderr = child::passes(test, &[], || {
        let _watchdog = watched();
        runtime(1).run(|| {
            let silent = greenlet::spawn(|| resume_unwind(Box::new("silent")));
            assert!(silent.join().is_err());
        });
    });
    if let Some(stderr) = stderr {
        assert_eq!(stderr, "");
    }
}

#[test]
fn a_full_backtrace_fits_into_the_default_stack() {
    let test = "a_full_backtrace_fits_into_the_default_stack";
    let stderr = child::passes(test, &[("RUST_BACKTRACE", "full")], || {
        let _watchdog = watched();
        // SAFETY: nobody else reads the environment now.
        unsafe { std::env::remove_var("GREENLET_STACK_SIZE") };
        let runtime = runtime(2);
        assert!(runtime.spawn(|| panic!("with a backtrace")).join().is_err());
        let run = std::panic::AssertUnwindSafe(|| runtime.run(|| panic!("in main")));
        assert!(catch_unwind(run).is_err());
    });
    let Some(stderr) = stderr else { return };
    assert!(stderr.contains("with a backtrace"), "{stderr}");
    assert_eq!(stderr.matches("stack backtrace:").count(), 2, "{stderr}");
    // It goes down to the greenlet's first frames.
    assert!(
        stderr.contains("a_full_backtrace_fits_into_the_default_stack"),
        "{stderr}"
    );
    assert!(stderr.contains("greenlet::sched"), "{stderr}");
}

#[test]
fn a_panic_is_caught_inside_the_greenlet() {
    on_hubs(|_| {
        let caught = greenlet::spawn(|| {
            let payload = catch_unwind(|| panic_any(5)).unwrap_err();
            greenlet::yield_now();
            *payload.downcast::<i32>().unwrap()
        });
        assert_eq!(caught.join().unwrap(), 5);
    });
}

#[test]
fn a_thousand_greenlets_panic_and_each_keeps_its_payload() {
    quiet::install();
    on_hubs(|_| {
        let panicking: Vec<_> = (0..1000_usize)
            .map(|n| {
                greenlet::spawn(move || {
                    greenlet::yield_now();
                    quiet::panic(n)
                })
            })
            .collect();
        for (n, greenlet) in panicking.into_iter().enumerate() {
            let result: thread::Result<()> = greenlet.join();
            assert!(quiet::is(&*result.unwrap_err(), n));
        }
    });
}

#[test]
fn a_result_that_panics_when_nobody_takes_it_aborts_as_stds_does() {
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }

    let test = "a_result_that_panics_when_nobody_takes_it_aborts_as_stds_does";
    let output = child::output(test, &[], || {
        let _watchdog = watched();
        runtime(1).run(|| {
            drop(greenlet::spawn(|| Bomb));
            greenlet::yield_now();
        });
    });
    let Some(output) = output else { return };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        stderr.contains("result panicked when it was dropped"),
        "{stderr}"
    );
}

/// Regression: the line that names the greenlet was written by `eprintln`, which panics.
#[test]
fn a_panic_comes_back_from_join_when_standard_error_is_full() {
    const CHILD: &str = "GREENLET_TEST_FULL";
    let test = "a_panic_comes_back_from_join_when_standard_error_is_full";
    if std::env::var_os(CHILD).is_some() {
        let result = greenlet::run(|| greenlet::spawn(|| panic!("unheard")).join());
        return assert_eq!(result.unwrap_err().downcast_ref(), Some(&"unheard"));
    }
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(CHILD, "1")
        .stdout(std::process::Stdio::null())
        .stderr(full)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}
