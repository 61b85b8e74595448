//! `Runtime`: building and running. How it ends is in `runtime_drop.rs`.

mod support;

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread;

use greenlet::{BuildError, Cancelled, RunError, Runtime};
use support::recursion::use_stack;
use support::{Barrier, Flag, child, on_hubs, runtime, watched, with_hubs};

#[test]
fn a_number_of_hubs_out_of_range_is_an_error() {
    for hubs in [0, 1025, usize::MAX] {
        let error = Runtime::builder().hubs(hubs).build().unwrap_err();
        assert!(matches!(&error, BuildError::Hubs(found) if *found == hubs.to_string()));
        assert!(error.to_string().contains(&hubs.to_string()), "{error}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_stack_size_out_of_range_is_an_error() {
    for size in [0, 1, 16 * 1024 - 1, 1 << 60, usize::MAX] {
        let error = Runtime::builder()
            .hubs(1)
            .stack_size(size)
            .build()
            .unwrap_err();
        assert!(matches!(error, BuildError::StackSize(found) if found == size));
        assert!(error.to_string().contains(&size.to_string()), "{error}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn after_errors_a_runtime_is_built_as_ever() {
    let _watchdog = watched();
    assert!(Runtime::builder().hubs(0).build().is_err());
    assert!(Runtime::builder().stack_size(1).build().is_err());
    assert_eq!(runtime(1).run(|| 1), 1);
}

#[test]
fn greenlet_hubs_says_how_many_hubs() {
    let test = "greenlet_hubs_says_how_many_hubs";
    child::passes(test, &[("GREENLET_HUBS", " 5\n")], || {
        assert_eq!(Runtime::builder().build().unwrap().hubs(), 5);
        assert_eq!(Runtime::builder().hubs(2).build().unwrap().hubs(), 2);
    });
}

#[test]
fn without_greenlet_hubs_there_is_one_for_each_processor() {
    let test = "without_greenlet_hubs_there_is_one_for_each_processor";
    child::alone(test, || {
        // SAFETY: nobody else reads the environment now.
        unsafe { std::env::remove_var("GREENLET_HUBS") };
        let processors = thread::available_parallelism().unwrap().get();
        assert_eq!(Runtime::builder().build().unwrap().hubs(), processors);
    });
}

/// What `run` says in a process with this variable.
fn nonsense(test: &str, variable: (&str, &str), shown: &str) {
    let _ = child::passes(test, &[variable], || build_shows(shown));
}

/// A runtime cannot be built, and every way to build one shows this.
fn build_shows(shown: &str) {
    let error = Runtime::builder().build().unwrap_err();
    assert!(matches!(
        error,
        BuildError::Hubs(_) | BuildError::StackSize(_) | BuildError::Environment { .. }
    ));
    assert!(error.to_string().contains(shown), "{error}");
    let error = greenlet::try_run(|| ()).unwrap_err();
    assert!(matches!(error, RunError::Build(_)));
    let payload = std::panic::catch_unwind(|| greenlet::run(|| ())).unwrap_err();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(message.contains(shown), "{message}");
}

/// What is not UTF-8 cannot be given to `child::passes`; the child sets it itself.
fn bytes(test: &str, name: &str, shown: &str) {
    child::alone(test, || {
        let value = OsStr::from_bytes(b"4\xff");
        // SAFETY: nobody else reads the environment now.
        unsafe { std::env::set_var(name, value) };
        build_shows(shown);
    });
}

#[test]
fn bytes_that_are_no_text_in_greenlet_hubs_are_an_error() {
    let test = "bytes_that_are_no_text_in_greenlet_hubs_are_an_error";
    bytes(test, "GREENLET_HUBS", "1 to 1024, not 4\u{fffd}");
}

#[test]
fn bytes_that_are_no_text_in_greenlet_stack_size_are_an_error() {
    let test = "bytes_that_are_no_text_in_greenlet_stack_size_are_an_error";
    let shown = "GREENLET_STACK_SIZE must be a positive number, not \"4\u{fffd}\"";
    bytes(test, "GREENLET_STACK_SIZE", shown);
}

#[test]
fn nonsense_in_greenlet_hubs_is_an_error_that_shows_it() {
    let test = "nonsense_in_greenlet_hubs_is_an_error_that_shows_it";
    nonsense(test, ("GREENLET_HUBS", "two"), "two");
}

#[test]
fn an_empty_greenlet_hubs_is_an_error() {
    nonsense(
        "an_empty_greenlet_hubs_is_an_error",
        ("GREENLET_HUBS", ""),
        "1 to 1024",
    );
}

#[test]
fn zero_in_greenlet_hubs_is_an_error() {
    nonsense(
        "zero_in_greenlet_hubs_is_an_error",
        ("GREENLET_HUBS", "0"),
        "not 0",
    );
}

#[test]
fn a_small_greenlet_stack_size_is_an_error() {
    let test = "a_small_greenlet_stack_size_is_an_error";
    nonsense(test, ("GREENLET_STACK_SIZE", "12"), "12");
}

#[test]
fn nonsense_in_greenlet_stack_size_is_an_error() {
    let test = "nonsense_in_greenlet_stack_size_is_an_error";
    nonsense(
        test,
        ("GREENLET_STACK_SIZE", "big"),
        "GREENLET_STACK_SIZE must be a positive number",
    );
}

#[test]
fn greenlet_stack_size_says_how_large_stacks_are() {
    let test = "greenlet_stack_size_says_how_large_stacks_are";
    child::passes(test, &[("GREENLET_STACK_SIZE", "4194304")], || {
        let _watchdog = watched();
        runtime(1).run(|| greenlet::spawn(|| use_stack(3 << 20)).join().unwrap());
    });
}

#[test]
fn stack_size_is_that_of_every_greenlet_which_asks_for_none() {
    let _watchdog = watched();
    let runtime = Runtime::builder()
        .hubs(2)
        .stack_size(4 << 20)
        .build()
        .unwrap();
    runtime.spawn(|| use_stack(3 << 20)).join().unwrap();
    runtime.run(|| greenlet::spawn(|| use_stack(3 << 20)).join().unwrap());
}

#[test]
fn a_runtime_has_as_many_hubs_as_it_was_built_with() {
    with_hubs(|runtime| {
        let hubs = runtime.hubs();
        runtime.run(|| {
            for hub in 0..hubs {
                support::go_to_hub(hub);
                assert_eq!(greenlet::hub_id(), Some(hub));
            }
        });
    });
}

#[test]
fn run_answers_with_the_result() {
    with_hubs(|runtime| assert_eq!(runtime.run(|| "yes".to_owned()), "yes"));
    assert_eq!(greenlet::run(|| 1), 1);
    assert_eq!(greenlet::try_run(|| 2).unwrap(), 2);
}

#[test]
fn run_may_borrow_from_its_caller() {
    with_hubs(|runtime| {
        let mut numbers = vec![3, 1, 2];
        let text = String::from("text");
        let borrowed: &str = runtime.run(|| {
            numbers.sort_unstable();
            greenlet::yield_now();
            numbers.push(4);
            &text[1..]
        });
        assert_eq!((numbers, borrowed), (vec![1, 2, 3, 4], "ext"));
    });
}

#[test]
fn run_may_be_called_again() {
    with_hubs(|runtime| {
        for n in 0..100 {
            assert_eq!(
                runtime.run(|| greenlet::spawn(move || n).join().unwrap()),
                n
            );
        }
    });
}

#[test]
fn threads_may_run_at_once() {
    with_hubs(|runtime| {
        // Each of them waits in its greenlet until all are there.
        let all = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    runtime.run(|| all.wait());
                });
            }
        });
    });
}

#[test]
fn greenlets_outlive_the_run_that_spawned_them() {
    with_hubs(|runtime| {
        let flag = Arc::new(Flag::default());
        let waiting = flag.clone();
        let greenlet = runtime.run(|| greenlet::spawn(move || waiting.wait()));
        flag.raise();
        greenlet.join().unwrap();
    });
}

#[test]
fn a_panic_of_the_closure_goes_on_in_the_caller() {
    with_hubs(|runtime| {
        let run = std::panic::AssertUnwindSafe(|| runtime.run(|| panic!("out of run")));
        let payload = std::panic::catch_unwind(run).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"out of run"));
        assert_eq!(runtime.run(|| 5), 5);
    });
    let payload = std::panic::catch_unwind(|| greenlet::run(|| panic!("again"))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"again"));
}

#[test]
fn run_in_a_greenlet_panics() {
    on_hubs(|_| {
        let payload = std::panic::catch_unwind(|| greenlet::run(|| ())).unwrap_err();
        let message = payload.downcast_ref::<&str>().unwrap();
        assert!(message.contains("would block the hub"), "{message}");
    });
    let _watchdog = watched();
    let (one, other) = (runtime(1), runtime(1));
    let run = std::panic::AssertUnwindSafe(|| one.run(|| other.run(|| ())));
    assert!(std::panic::catch_unwind(run).is_err());
}

#[test]
fn the_greenlet_of_run_has_8_mib() {
    with_hubs(|runtime| runtime.run(|| use_stack(7 << 20)));
}

#[test]
fn greenlet_run_ends_what_its_closure_leaves() {
    let _watchdog = watched();
    let left = greenlet::run(|| {
        greenlet::spawn(|| {
            loop {
                greenlet::park();
            }
        })
    });
    let left: std::thread::Result<()> = left.join();
    assert!(left.unwrap_err().is::<Cancelled>());
}

#[test]
fn runtimes_live_side_by_side() {
    let _watchdog = watched();
    let runtimes: Vec<_> = (1..5).map(runtime).collect();
    let greenlets: Vec<_> = (0..400)
        .map(|n| runtimes[n % runtimes.len()].spawn(move || (n, greenlet::hub_id().unwrap())))
        .collect();
    for (n, greenlet) in greenlets.into_iter().enumerate() {
        let (number, hub) = greenlet.join().unwrap();
        assert_eq!(number, n);
        assert!(hub < runtimes[n % runtimes.len()].hubs());
    }
}

#[test]
fn a_runtime_of_1024_hubs_runs() {
    let _watchdog = watched();
    let runtime = runtime(1024);
    assert_eq!(
        runtime.run(greenlet::hub_id).map(|hub| hub < 1024),
        Some(true)
    );
}

#[test]
fn a_runtime_may_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<Runtime>();
}
