//! Deadlocks: what is reported, and what is not.
//!
//! A deadlock is one of the whole process, and any thread that is not the crate's might wake somebody.
//! So every test runs in a process of its own, on its only thread; and this program has no test
//! harness of Rust's, which would start another one.

use std::env;
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use greenlet::{Cancelled, Deadlock, LockOwner, RunError, Runtime};
use libtest_mimic::{Arguments, Failed, Trial};

mod support;

use support::temp::TempDir;

/// Set in the child, to the name of its test.
const CHILD: &str = "GREENLET_TEST_CHILD";

struct Test {
    name: &'static str,
    /// Runs in the child, on its main thread.
    body: fn(),
    /// Looks at what has become of the child.
    check: fn(&Output) -> Result<(), Failed>,
}

macro_rules! tests {
    ($($name:ident: $check:ident,)*) => {
        [$(Test { name: stringify!($name), body: $name, check: $check }),*]
    };
}

fn main() -> ExitCode {
    let tests = tests![
        a_deadlock_tells_who_waits_for_what_and_where_it_was_spawned: passes,
        run_panics_with_the_deadlock_and_every_greenlet_is_unwound: passes,
        a_runtime_goes_on_after_a_deadlock: passes,
        a_main_greenlet_that_recovers_gives_its_result: passes,
        joining_from_a_plain_thread_says_so_on_standard_error: is_told_once,
        what_a_plain_thread_may_still_wake_is_no_deadlock: passes,
        a_thread_that_ends_without_waking_anybody_leaves_a_deadlock: passes,
        threads_that_wait_in_this_crate_wake_nobody: passes,
        timers_descriptors_and_blocking_jobs_are_no_deadlock: passes,
        a_signal_handler_may_wake_somebody: passes,
        two_mutexes_that_are_locked_crosswise_are_a_deadlock: passes,
        waits_in_sync_that_nobody_ends_are_a_deadlock: passes,
        a_deadlock_is_found_while_it_is_recorded_and_written: passes,
        a_deadlock_within_a_scope_ends_the_scope: passes,
        an_open_live_view_hides_no_deadlock_and_makes_none: passes,
        a_deadlock_is_told_once_though_somebody_looks_on: is_told_once,
    ];
    if let Ok(name) = env::var(CHILD) {
        let test = tests.iter().find(|test| test.name == name);
        // A process that hangs is killed.
        // SAFETY: takes a number; the signal ends the process.
        unsafe { libc::alarm(60) };
        (test.expect("there is such a test").body)();
        return ExitCode::SUCCESS;
    }
    let trials = tests.map(|Test { name, check, .. }| {
        Trial::test(name, move || {
            let program = env::current_exe()?;
            check(&Command::new(program).env(CHILD, name).output()?)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

fn passes(output: &Output) -> Result<(), Failed> {
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{stderr}", output.status).into())
}

fn runtime(hubs: usize) -> Runtime {
    Runtime::builder().hubs(hubs).build().expect("a runtime")
}

#[track_caller]
fn deadlock<T: std::fmt::Debug>(result: Result<T, RunError>) -> Deadlock {
    match result {
        Err(RunError::Deadlock(deadlock)) => deadlock,
        other => panic!("{other:?} is no deadlock"),
    }
}

fn a_deadlock_tells_who_waits_for_what_and_where_it_was_spawned() {
    for hubs in [1, 2, 8] {
        let line = line!() + 4;
        let result = runtime(hubs).try_run(|| {
            let parked = greenlet::Builder::new()
                .name("parked".into())
                .spawn(greenlet::park);
            parked.unwrap().join()
        });
        let deadlock = deadlock(result);
        let [main, parked] = &deadlock.greenlets[..] else {
            panic!("{deadlock}");
        };
        assert_eq!(main.name.as_deref(), Some("main"));
        assert_eq!(main.waits_for, Some(parked.id.to_string().parse().unwrap()));
        assert_eq!(parked.name.as_deref(), Some("parked"));
        assert_eq!(parked.waits, "to be unparked");
        assert_eq!(parked.spawned_at.file(), file!());
        assert_eq!(parked.spawned_at.line(), line);
        assert!(parked.since < Duration::from_secs(30), "{:?}", parked.since);
        let text = deadlock.to_string();
        assert!(
            text.starts_with("deadlock: nothing can wake the 2"),
            "{text}"
        );
        let waits = format!("waits for the end of greenlet {}", parked.id);
        assert!(text.contains(&waits), "{text}");
    }
}

fn run_panics_with_the_deadlock_and_every_greenlet_is_unwound() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let panic = std::panic::catch_unwind(|| {
        greenlet::run(|| {
            for _ in 0..10 {
                let counts = Counts(dropped.clone());
                greenlet::spawn(move || {
                    greenlet::park();
                    drop(counts);
                });
            }
            let _counts = Counts(dropped.clone());
            greenlet::park();
        });
    });
    let message = *panic.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("the 11 greenlets"), "{message}");
    assert_eq!(dropped.load(SeqCst), 11);
}

fn a_runtime_goes_on_after_a_deadlock() {
    let runtime = runtime(2);
    let left = runtime.spawn(greenlet::park);
    for _ in 0..3 {
        let deadlock = deadlock(runtime.try_run(greenlet::park));
        assert_eq!(deadlock.greenlets.len(), 2, "{deadlock}");
        assert_eq!(runtime.run(|| 7), 7);
    }
    assert!(!left.is_finished());
    left.thread().unpark();
    left.join().unwrap();
}

fn a_main_greenlet_that_recovers_gives_its_result() {
    let result = runtime(1).try_run(|| {
        let parked = std::panic::catch_unwind(greenlet::park);
        parked.unwrap_err().is::<Cancelled>()
    });
    assert!(result.unwrap());
}

fn joining_from_a_plain_thread_says_so_on_standard_error() {
    // It would not end otherwise.
    // SAFETY: takes a number; the signal ends the process.
    unsafe { libc::alarm(3) };
    let _ = greenlet::spawn(greenlet::park).join();
}

fn is_told_once(output: &Output) -> Result<(), Failed> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let told = stderr
        .matches("deadlock: nothing can wake the greenlet that is left")
        .count();
    if output.status.success() || told != 1 {
        return Err(format!("{}, told {told} times\n{stderr}", output.status).into());
    }
    Ok(())
}

fn what_a_plain_thread_may_still_wake_is_no_deadlock() {
    runtime(2).run(|| {
        for _ in 0..3 {
            let me = greenlet::current();
            let waker = thread::spawn(move || {
                thread::sleep(Duration::from_millis(300));
                me.unpark();
            });
            greenlet::park();
            waker.join().unwrap();
        }
    });
}

fn a_thread_that_ends_without_waking_anybody_leaves_a_deadlock() {
    let ended = Arc::new(AtomicUsize::new(0));
    let its = ended.clone();
    drop(thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        its.store(1, SeqCst);
    }));
    deadlock(runtime(2).try_run(greenlet::park));
    assert_eq!(ended.load(SeqCst), 1);
}

fn threads_that_wait_in_this_crate_wake_nobody() {
    let runtime = Arc::new(runtime(2));
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let runtime = runtime.clone();
            thread::spawn(move || deadlock(runtime.try_run(greenlet::park)))
        })
        .collect();
    let own = deadlock(runtime.try_run(greenlet::park));
    assert_eq!(own.greenlets.len(), 4, "{own}");
    for thread in waiting {
        assert_eq!(thread.join().unwrap().greenlets.len(), 4);
    }
}

fn timers_descriptors_and_blocking_jobs_are_no_deadlock() {
    use std::io::{Read, Write};
    for hubs in [1, 2] {
        runtime(hubs).run(|| {
            greenlet::sleep(Duration::from_millis(200));
            greenlet::park_timeout(Duration::from_millis(200));
            let listener = greenlet::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = greenlet::spawn(move || listener.accept().unwrap().0);
            // Of another process, as far as this one can tell.
            let mut near = std::net::TcpStream::connect(address).unwrap();
            let mut far = server.join().unwrap();
            let reader = greenlet::spawn(move || {
                let mut byte = [0];
                far.read_exact(&mut byte).unwrap();
                byte[0]
            });
            let waker = greenlet::spawn(move || {
                greenlet::sleep(Duration::from_millis(200));
                near.write_all(&[7]).unwrap();
            });
            assert_eq!(reader.join().unwrap(), 7);
            waker.join().unwrap();
            // Resolved on the blocking pool.
            greenlet::net::TcpListener::bind("localhost:0").unwrap();
        });
    }
}

fn a_signal_handler_may_wake_somebody() {
    extern "C" fn handle(_: libc::c_int) {}
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, handle as *const () as usize) };
    let runtime = runtime(1);
    let parked = runtime.spawn(greenlet::park);
    let parked_too = parked.thread().clone();
    runtime.run(move || {
        let me = greenlet::current();
        // A thread that is gone before a second look would be a deadlock, were it not for the
        // handler, which lets nobody be sure.
        drop(thread::spawn(move || {
            thread::sleep(Duration::from_millis(500));
            parked_too.unpark();
            me.unpark();
        }));
        greenlet::park();
    });
    parked.join().unwrap();
}

fn a_deadlock_within_a_scope_ends_the_scope() {
    let runtime = runtime(2);
    let unwound = AtomicUsize::new(0);
    struct Unwinds<'a>(&'a AtomicUsize);
    impl Drop for Unwinds<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let deadlock = deadlock(runtime.try_run(|| {
        greenlet::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let _unwinds = Unwinds(&unwound);
                    loop {
                        greenlet::park();
                    }
                });
            }
        });
    }));
    assert_eq!(deadlock.greenlets.len(), 4);
    let main = &deadlock.greenlets[0];
    assert_eq!(main.waits, "for the greenlets of its scope");
    assert_eq!(unwound.load(SeqCst), 3, "before try_run returns");
}

/// Its threads are the crate's own: one that accepts, and one for each connection, however busy it is.
fn an_open_live_view_hides_no_deadlock_and_makes_none() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let path = env::temp_dir().join(format!("greenlet-deadlock-{}", std::process::id()));
    let server = greenlet::trace::serve(&path).unwrap();
    let ask = |request: &str| {
        let mut client = UnixStream::connect(&path).unwrap();
        writeln!(client, "{request}").unwrap();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ok ");
        client
    };
    let clients = ["info", "trace"].map(ask);
    let runtime = runtime(2);
    // Time and again, while threads of the view come and go.
    for _ in 0..5 {
        let dump = ask("dump");
        let deadlock = deadlock(runtime.try_run(greenlet::park));
        assert_eq!(deadlock.greenlets.len(), 1);
        drop(dump);
    }
    // This thread may wake it, and it waits in no call of the crate's.
    let parked = runtime.spawn(greenlet::park);
    for _ in 0..20 {
        drop(ask("dump"));
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!parked.is_finished());
    parked.thread().unpark();
    parked.join().unwrap();
    drop((clients, server));
    assert!(!path.exists());
}

fn a_deadlock_is_told_once_though_somebody_looks_on() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let path = env::temp_dir().join(format!("greenlet-deadlock-{}", std::process::id()));
    // Another process, as a thread of this one's might wake somebody.
    // SAFETY: there is one thread, so all goes on in the child.
    if unsafe { libc::fork() } == 0 {
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(500));
            if let Ok(mut client) = UnixStream::connect(&path) {
                let _ = writeln!(client, "info");
                let _ = client.read(&mut [0; 3]);
            }
        }
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    let _server = greenlet::trace::serve(&path).unwrap();
    // It would not end otherwise.
    // SAFETY: takes a number; the signal ends the process.
    unsafe { libc::alarm(4) };
    let _ = greenlet::spawn(greenlet::park).join();
}

fn two_mutexes_that_are_locked_crosswise_are_a_deadlock() {
    use greenlet::sync::{Barrier, Mutex};
    for hubs in [1, 2] {
        let both = Arc::new((Mutex::new(()), Mutex::new(()), Barrier::new(2)));
        let result = runtime(hubs).try_run(|| {
            let other = greenlet::Builder::new().name("other".into()).spawn({
                let both = both.clone();
                move || {
                    let _second = both.1.lock().unwrap();
                    both.2.wait();
                    drop(both.0.lock());
                }
            });
            let _first = both.0.lock().unwrap();
            both.2.wait();
            drop(both.1.lock());
            other.unwrap().join()
        });
        let deadlock = deadlock(result);
        assert_eq!(deadlock.greenlets.len(), 2, "{deadlock}");
        for greenlet in &deadlock.greenlets {
            assert!(
                greenlet.waits.starts_with("for the Mutex at 0x"),
                "{deadlock}"
            );
            assert_eq!(greenlet.waits_for, None);
        }
        // Each has what the other one waits for.
        let [first, second] = [&deadlock.greenlets[0], &deadlock.greenlets[1]];
        assert_eq!(first.owner, Some(LockOwner::Greenlet(second.id)));
        assert_eq!(second.owner, Some(LockOwner::Greenlet(first.id)));
        assert_eq!(deadlock.cycles, [[first.id, second.id]]);
        let text = deadlock.to_string();
        let has = format!(", which greenlet {} has, for ", second.id);
        assert!(text.contains(&has), "{text}");
        let (one, other) = (first.id, second.id);
        let circle = format!("in a circle: {one} waits for {other} waits for {one}");
        assert!(text.ends_with(&circle), "{text}");
    }
}

fn waits_in_sync_that_nobody_ends_are_a_deadlock() {
    use greenlet::sync::{Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
    let waits: [(&str, fn()); 7] = [
        ("to read the RwLock at 0x", || {
            let lock = RwLock::new(());
            let _writing = lock.write();
            drop(lock.read());
        }),
        ("to write the RwLock at 0x", || {
            let lock = RwLock::new(());
            let _reading = lock.read();
            drop(lock.write());
        }),
        ("for a notification of the Condvar at 0x", || {
            let mutex = Mutex::new(());
            drop(Condvar::new().wait(mutex.lock().unwrap()));
        }),
        ("for the initialisation of the Once at 0x", || {
            OnceLock::<u32>::new().wait();
        }),
        ("for others at the Barrier at 0x", || {
            Barrier::new(2).wait();
        }),
        ("for room in the channel at 0x", || {
            let (sender, _receiver) = mpsc::sync_channel(0);
            let _ = sender.send(1);
        }),
        ("for a message from the channel at 0x", || {
            let (_sender, receiver) = mpsc::channel::<u32>();
            let _ = receiver.recv();
        }),
    ];
    let runtime = runtime(2);
    for (text, wait) in waits {
        let deadlock = deadlock(runtime.try_run(wait));
        assert_eq!(deadlock.greenlets.len(), 1, "{deadlock}");
        assert!(deadlock.greenlets[0].waits.starts_with(text), "{deadlock}");
    }
}

fn a_deadlock_is_found_while_it_is_recorded_and_written() {
    use greenlet::signal::Signal;
    use greenlet::trace::{self, Options, Trigger};
    let dir = TempDir::new();
    let stream = Options::stream(dir.join("stream"));
    // Their threads wake nobody.
    trace::toggle_on(Signal::USER_2, Options::flight()).unwrap();
    trace::start(stream.snapshot_on(&[Trigger::Deadlock], dir.join("last"))).unwrap();
    let found = deadlock(runtime(2).try_run(greenlet::park));
    assert_eq!(found.greenlets.len(), 1, "{found}");
    trace::stop().unwrap().unwrap();
    let last = std::fs::metadata(dir.join("last-1-deadlock.trace")).unwrap();
    assert!(last.len() > 200);
}
