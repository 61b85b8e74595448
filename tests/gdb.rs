//! The script for gdb: in a live process, and in core files. Without gdb the tests say so and pass, unless
//! `GREENLET_REQUIRE_TOOLS` is set.

mod support;

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::sync::Mutex;
use greenlet::{Builder, DumpOptions, GreenletState, Runtime};
use support::temp::TempDir;

/// Set in the process that is looked at.
const CHILD: &str = "GREENLET_TEST_GDB";

const LONG: Duration = Duration::from_secs(100);

#[inline(never)]
fn sleeps_in_here() {
    greenlet::sleep(LONG);
    std::hint::black_box(());
}

#[inline(never)]
fn waits_for_a_lock_in_here(mutex: &Mutex<()>) {
    drop(std::hint::black_box(mutex.lock()));
}

#[inline(never)]
fn blocks_in_here() {
    thread::sleep(LONG);
    std::hint::black_box(());
}

/// The program that is looked at.
fn program() {
    // SAFETY: takes numbers. It lets gdb attach where only parents may.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    let runtime = Runtime::builder()
        .hubs(2)
        .on_blocked(|_| ())
        .build()
        .unwrap();
    runtime.run(|| {
        let named = |name: &str| Builder::new().name(name.into());
        drop(named("sleeper").spawn(sleeps_in_here).unwrap());
        let mutex = Arc::new(Mutex::new(()));
        let _guard = mutex.lock().unwrap();
        let theirs = mutex.clone();
        let locker = named("locker").spawn(move || waits_for_a_lock_in_here(&theirs));
        drop(locker.unwrap());
        let blocker = named("blocker").hub(1).spawn(blocks_in_here);
        drop(blocker.unwrap());
        thread::spawn(|| {
            while !all_are_in_place() {
                thread::sleep(Duration::from_millis(10));
            }
            println!("ready");
        });
        greenlet::sleep(LONG);
    });
}

fn all_are_in_place() -> bool {
    let dump = DumpOptions::new().stacks(false).take();
    let does = |name: &str, does: fn(&GreenletState) -> bool| {
        let mut greenlets = dump.greenlets();
        greenlets.any(|greenlet| greenlet.name.as_deref() == Some(name) && does(&greenlet.state))
    };
    let waits = |state: &GreenletState| matches!(state, GreenletState::Waiting { .. });
    ["main", "sleeper", "locker"]
        .iter()
        .all(|name| does(name, waits))
        && does("blocker", |state| {
            matches!(state, GreenletState::Running { .. })
        })
}

/// Ends the program with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program in a folder of its own, and waits until its greenlets are where they are to be. `None` in that
/// program, and without gdb.
fn start(test: &str, variables: &[(&str, &str)]) -> Option<(Running, TempDir)> {
    if env::var_os(CHILD).is_some_and(|name| name == test) {
        program();
        return None;
    }
    if !has_gdb() {
        return None;
    }
    let folder = TempDir::new();
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", test])
        .env(CHILD, test)
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .stdout(Stdio::piped());
    // SAFETY: a system call that takes two numbers.
    unsafe {
        command.pre_exec(|| {
            let all = libc::rlimit {
                rlim_cur: libc::RLIM_INFINITY,
                rlim_max: libc::RLIM_INFINITY,
            };
            // Where that is not allowed there are no core files.
            libc::setrlimit(libc::RLIMIT_CORE, &raw const all);
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = Running(child);
    assert!(lines.any(|line| line.unwrap().ends_with("ready")));
    Some((running, folder))
}

/// Whether there is gdb. Says so if not.
fn has_gdb() -> bool {
    let found = Command::new("gdb").arg("--version").output().is_ok();
    if !found {
        assert!(env::var_os("GREENLET_REQUIRE_TOOLS").is_none(), "no gdb");
        eprintln!("skipped: there is no gdb");
    }
    found
}

fn gdb(target: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/gdb/greenlet.py");
    let output = Command::new("gdb")
        .args(["-nx", "-batch"])
        .args(target)
        .arg("-x")
        .arg(script)
        .args(["-ex", "info greenlets", "-ex", "greenlet all bt"])
        .args(["-ex", "greenlet 999999 bt", "-ex", "greenlet 1"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!errors.contains("Traceback"), "{errors}");
    assert!(!errors.contains("Python Exception"), "{errors}");
    assert!(errors.contains("there is no greenlet 999999"), "{errors}");
    assert!(
        errors.contains("greenlet ID bt, or: greenlet all bt"),
        "{errors}"
    );
    format!("{text}\n{errors}")
}

/// What `greenlet all bt` shows of one greenlet, with its title.
fn shown<'a>(text: &'a str, name: &str) -> &'a str {
    let start = text
        .rfind(&format!(" {name}: "))
        .unwrap_or_else(|| panic!("{name}: {text}"));
    let rest = &text[start..];
    let end = rest[1..]
        .find("\ngreenlet ")
        .map_or(rest.len(), |end| end + 1);
    &rest[..end]
}

#[track_caller]
fn check(text: &str) {
    let count = text.lines().filter(|line| *line == "4 greenlets").count();
    assert_eq!(count, 1, "{text}");
    assert!(text.contains("hub 0 (thread "), "{text}");
    for (name, title, functions) in [
        ("'main'", "waits: sleep", &["gdb::program"][..]),
        (
            "'sleeper'",
            "waits: sleep",
            &["greenlet::greenlet::sleep", "gdb::sleeps_in_here"],
        ),
        (
            "'locker'",
            "waits: mutex 0x",
            &["lock_slow", "gdb::waits_for_a_lock_in_here"],
        ),
        (
            "'blocker'",
            "runs on hub 1",
            &["nanosleep", "gdb::blocks_in_here"],
        ),
    ] {
        let greenlet = shown(text, name);
        assert!(greenlet.contains(title), "{greenlet}\nof\n{text}");
        assert!(
            greenlet.contains("; spawned at tests/gdb.rs:"),
            "{greenlet}"
        );
        let by = greenlet.lines().next().unwrap().ends_with(" by 1");
        assert_eq!(by, name != "'main'", "{greenlet}");
        let mut from = 0;
        for function in functions {
            let found = greenlet[from..].find(function);
            from += found.unwrap_or_else(|| panic!("no {function} in {greenlet}\nof\n{text}"));
        }
        // Its own stack only.
        let others = [
            "sleeps_in_here",
            "waits_for_a_lock_in_here",
            "blocks_in_here",
        ];
        let foreign = others
            .iter()
            .filter(|other| greenlet.contains(**other))
            .count();
        assert_eq!(foreign, usize::from(name != "'main'"), "{greenlet}");
        assert!(
            greenlet.contains("greenlet::sched::life::main"),
            "{greenlet}"
        );
        assert!(!greenlet.contains("Hub::switch_in"), "{greenlet}");
    }
}

#[test]
fn a_live_process_shows_its_greenlets() {
    let Some((mut running, _folder)) = start("a_live_process_shows_its_greenlets", &[]) else {
        return;
    };
    let process = running.0.id().to_string();
    check(&gdb(&["-p", &process]));
    // It goes on.
    assert!(running.0.try_wait().unwrap().is_none());
}

#[test]
fn a_core_file_of_the_kernel_shows_its_greenlets() {
    let test = "a_core_file_of_the_kernel_shows_its_greenlets";
    let Some((mut running, folder)) = start(test, &[]) else {
        return;
    };
    // SAFETY: the signal goes to the child, which was not waited for.
    unsafe { libc::kill(running.0.id() as i32, libc::SIGABRT) };
    running.0.wait().unwrap();
    let start = Instant::now();
    let core = loop {
        let mut files = std::fs::read_dir(folder.path()).unwrap();
        if let Some(file) = files.next() {
            break file.unwrap().path();
        }
        if start.elapsed() > Duration::from_secs(2) {
            eprintln!("skipped: the kernel writes core files elsewhere, or none");
            return;
        }
        thread::sleep(Duration::from_millis(20));
    };
    check(&gdb(&[
        program_path().to_str().unwrap(),
        core.to_str().unwrap(),
    ]));
}

#[test]
fn a_core_file_of_gcore_shows_its_greenlets() {
    let test = "a_core_file_of_gcore_shows_its_greenlets";
    // gcore leaves out what is near guard pages that are no mappings.
    let variables = [("GREENLET_WITHOUT", "guard_install")];
    let Some((running, folder)) = start(test, &variables) else {
        return;
    };
    let process = running.0.id().to_string();
    let core = folder.path().join("core");
    let made = Command::new("gcore")
        .args(["-o", core.to_str().unwrap(), &process])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let core = format!("{}.{process}", core.display());
    check(&gdb(&[program_path().to_str().unwrap(), &core]));
}

fn program_path() -> PathBuf {
    env::current_exe().unwrap()
}
