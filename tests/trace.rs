//! `trace`: switching recording on and off, and what makes the last events be written.
//!
//! Recording is the process's, so each test is alone in a child.

mod support;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::signal::Signal;
use greenlet::trace::{self, Options, Trigger};
use greenlet::{BuildError, RunError, Runtime};
use support::process::wait_until;
use support::temp::TempDir;
use support::watchdog::Watchdog;
use support::{child, recorded, runtime, watched};

/// Whether a file begins as a trace does.
fn is_trace(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"GREENLET") && bytes.len() > 128)
}

#[test]
fn recording_is_on_once_and_answers_what_it_was() {
    child::alone("recording_is_on_once_and_answers_what_it_was", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        assert!(trace::stop().unwrap().is_none());
        let early = trace::snapshot(dir.join("early")).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::NotFound);
        trace::start(Options::flight()).unwrap();
        assert!(trace::is_on());
        let stream = dir.join("stream");
        for options in [Options::flight(), Options::stream(&stream)] {
            let again = trace::start(options).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        }
        assert!(!stream.exists());
        runtime(2).run(|| recorded::work(10));
        trace::snapshot(dir.join("snapshot")).unwrap();
        assert!(is_trace(&dir.join("snapshot")));
        let summary = trace::stop().unwrap().unwrap();
        assert!(!trace::is_on());
        assert_eq!(summary.lost, 0);
        let sum: u64 = summary.rings.iter().map(|ring| ring.events).sum();
        assert_eq!(sum, summary.events);
        let hubs: Vec<_> = summary.rings.iter().map(|ring| ring.hub).collect();
        assert_eq!(hubs, [Some(0), Some(1), None]);
        assert!(summary.accounts.is_none());
    });
}

#[test]
fn a_greenlet_may_switch_it() {
    child::alone("a_greenlet_may_switch_it", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        runtime(1).run(|| {
            for round in 0..3 {
                trace::start(Options::stream(dir.join(round.to_string()))).unwrap();
                recorded::work(5);
                trace::snapshot(dir.join("snapshot")).unwrap();
                assert!(trace::stop().unwrap().unwrap().events > 100);
            }
        });
    });
}

#[test]
fn it_is_switched_while_greenlets_move_and_end() {
    child::alone("it_is_switched_while_greenlets_move_and_end", || {
        for hubs in [1, 2, 8] {
            let _watchdog = watched();
            let dir = TempDir::new();
            let runtime = runtime(hubs);
            let over = Arc::new(AtomicBool::new(false));
            let working = runtime.spawn({
                let over = over.clone();
                move || {
                    while !over.load(Relaxed) {
                        recorded::work(3);
                    }
                }
            });
            for round in 0..20 {
                let options = match round % 3 {
                    0 => Options::flight().ring_size(0),
                    1 => Options::flight_in(dir.join("flight")),
                    _ => Options::stream(dir.join("stream")),
                };
                trace::start(options.accounts(round % 2 == 0)).unwrap();
                thread::sleep(Duration::from_millis(3));
                trace::snapshot(dir.join("snapshot")).unwrap();
                trace::stop().unwrap().unwrap();
            }
            over.store(true, Relaxed);
            working.join().unwrap();
        }
    });
}

#[test]
fn what_is_no_file_is_neither_replaced_nor_waited_for() {
    child::alone("what_is_no_file_is_neither_replaced_nor_waited_for", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let fifo = dir.fifo("fifo");
        let (file, link) = (dir.join("file"), dir.join("link"));
        fs::write(&file, "somebody else's").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&fifo, &link] {
            let error = trace::start(Options::flight_in(path)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "somebody else's");
        // Nobody reads it.
        let error = trace::start(Options::stream(&fifo)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
        assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
        // Somebody does.
        let reader = thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap().len() as u64
        });
        wait_until("there is a reader", || {
            trace::start(Options::stream(&fifo)).is_ok()
        });
        runtime(1).run(|| recorded::work(10));
        let summary = trace::stop().unwrap().unwrap();
        assert_eq!(reader.join().unwrap(), summary.bytes);
    });
}

#[test]
fn what_cannot_be_written_is_an_error() {
    child::alone("what_cannot_be_written_is_an_error", || {
        let _watchdog = watched();
        let nowhere = Path::new("/nonexistent/greenlet.trace");
        for options in [Options::stream(nowhere), Options::flight_in(nowhere)] {
            assert_eq!(
                trace::start(options).unwrap_err().kind(),
                ErrorKind::NotFound
            );
            assert!(!trace::is_on());
        }
        trace::start(Options::stream("/dev/full")).unwrap();
        let runtime = runtime(1);
        runtime.run(|| {
            recorded::work(10);
            greenlet::sleep(Duration::from_millis(500));
        });
        let start = Instant::now();
        // It does not wait for what cannot be written.
        drop(runtime);
        assert!(start.elapsed() < Duration::from_secs(3));
        assert_eq!(trace::stop().unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(!trace::is_on());
        trace::start(Options::flight()).unwrap();
        assert!(trace::snapshot(nowhere).is_err());
        assert!(trace::snapshot("/dev/full").is_err());
        trace::stop().unwrap();
        // More than there is room for.
        let dir = TempDir::new();
        let large = Options::flight_in(dir.join("large")).ring_size(usize::MAX);
        trace::start(large).unwrap();
        support::runtime(1).run(greenlet::yield_now);
        assert!(trace::stop().is_err());
    });
}

/// What triggers have written.
fn written(dir: &TempDir) -> Vec<String> {
    let files = fs::read_dir(dir.path()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_panic_and_a_slow_span_have_the_last_events_written() {
    let test = "a_panic_and_a_slow_span_have_the_last_events_written";
    child::alone(test, || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let triggers = [Trigger::Panic, Trigger::SlowSpan];
        trace::start(Options::flight().snapshot_on(&triggers, dir.join("t"))).unwrap();
        runtime(2).run(|| {
            greenlet::spawn(|| panic!("as it should"))
                .join()
                .unwrap_err();
            wait_until("a panic is written", || written(&dir).len() == 1);
            // No more than one a second of a kind; of another kind at once.
            greenlet::spawn(|| panic!("as it should"))
                .join()
                .unwrap_err();
            drop(trace::span("fast").slower_than(Duration::from_secs(100)));
            let slow = trace::span("slow").slower_than(Duration::from_millis(1));
            greenlet::sleep(Duration::from_millis(2));
            drop(slow);
            wait_until("a slow span is written", || written(&dir).len() == 2);
        });
        trace::stop().unwrap().unwrap();
        assert_eq!(written(&dir), ["t-1-panic.trace", "t-2-slow-span.trace"]);
        assert!(written(&dir).iter().all(|name| is_trace(&dir.join(name))));
    });
}

#[test]
fn a_long_run_has_the_last_events_written() {
    child::alone("a_long_run_has_the_last_events_written", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let options = Options::flight().most_snapshots(1);
        trace::start(options.snapshot_on(&[Trigger::LongRun], dir.join("t"))).unwrap();
        let runtime = Runtime::builder().hubs(1).on_blocked(|_| {});
        let runtime = runtime.build().unwrap();
        for _ in 0..2 {
            wait_until("a long run is written", || {
                runtime.run(|| thread::sleep(Duration::from_millis(100)));
                written(&dir).len() == 1
            });
            thread::sleep(Duration::from_millis(1100));
        }
        trace::stop().unwrap().unwrap();
        assert_eq!(written(&dir), ["t-1-long-run.trace"]);
    });
}

#[test]
fn the_environment_switches_it() {
    let dir = TempDir::new();
    for (number, mode) in ["stream", "flight"].into_iter().enumerate() {
        let path = dir.join(mode);
        let variable = format!("{mode}:{},ring=1M", path.display());
        let test = "the_environment_switches_it";
        let ran = child::passes(test, &[("GREENLET_TRACE", &variable)], || {
            let _watchdog = watched();
            runtime(2).run(|| recorded::work(20));
            assert!(trace::is_on());
            // What nobody has stopped ends with the process.
            std::process::exit(0);
        });
        assert!(ran.is_some());
        assert!(is_trace(&path), "{number}");
        let bytes = fs::metadata(&path).unwrap().len();
        assert!(bytes > 10_000, "{mode}: {bytes} bytes");
    }
}

#[test]
fn a_greenlet_that_ends_the_process_leaves_a_whole_stream() {
    let test = "a_greenlet_that_ends_the_process_leaves_a_whole_stream";
    for shared in [false, true] {
        let dir = TempDir::new();
        let path = dir.join("t");
        let variable = format!("stream:{}", path.display());
        let variables = [
            ("GREENLET_TRACE", &*variable),
            ("SHARED", if shared { "1" } else { "" }),
        ];
        let ran = child::passes(test, &variables, || {
            let _watchdog = watched();
            let shared = std::env::var("SHARED").is_ok_and(|shared| !shared.is_empty());
            let mut runtime = Runtime::builder().hubs(2);
            if shared {
                // SAFETY: nothing here keeps a thread-local over a wait.
                runtime = unsafe { runtime.share_thread_locals() };
            }
            runtime.build().unwrap().run(|| {
                greenlet::spawn(|| recorded::work(100));
                recorded::work(5);
                trace::mark("the last thing that it did");
                std::process::exit(0);
            });
        });
        assert!(ran.is_some());
        let bytes = fs::read(&path).unwrap();
        let text = b"the last thing that it did";
        assert!(bytes.windows(text.len()).any(|window| window == text));
    }
}

#[test]
fn a_hub_that_has_no_room_in_the_file_is_told_of() {
    let dir = TempDir::new();
    let path = dir.join("flight");
    // More than any file may have, so no disk is filled by trying.
    let variable = format!("flight:{},ring={}", path.display(), isize::MAX);
    let test = "a_hub_that_has_no_room_in_the_file_is_told_of";
    let output = child::output(test, &[("GREENLET_TRACE", &variable)], || {
        let _watchdog = watched();
        runtime(2).run(|| recorded::work(20));
        std::process::exit(0);
    });
    let Some(output) = output else { return };
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told.matches("is not recorded").count(), 1, "{told}");
    let bytes = fs::metadata(&path).unwrap().len();
    assert!(bytes < 8 << 20, "{bytes} bytes are left");
}

#[test]
fn a_stream_that_cannot_be_written_is_told_of_at_the_end() {
    let test = "a_stream_that_cannot_be_written_is_told_of_at_the_end";
    let told = child::passes(test, &[("GREENLET_TRACE", "stream:/dev/full")], || {
        let _watchdog = watched();
        runtime(2).run(|| recorded::work(20));
        std::process::exit(0);
    });
    let Some(told) = told else { return };
    assert!(told.contains("the trace is not complete: "), "{told}");
}

#[test]
fn an_environment_that_makes_no_sense_is_refused() {
    let test = "an_environment_that_makes_no_sense_is_refused";
    child::passes(test, &[("GREENLET_TRACE", "flight,colour=red")], || {
        for _ in 0..2 {
            match Runtime::builder().hubs(1).build() {
                Err(BuildError::Trace { value, reason }) => {
                    assert_eq!(value, "flight,colour=red");
                    assert!(reason.contains("colour=red"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(greenlet::try_run(|| {}), Err(RunError::Build(_))));
    });
}

#[test]
fn a_stream_is_written_when_a_ring_fills_and_not_only_now_and_then() {
    const RING: u64 = 1 << 20;
    let test = "a_stream_is_written_when_a_ring_fills_and_not_only_now_and_then";
    child::alone(test, || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let path = dir.join("t");
        trace::start(Options::stream(&path).ring_size(RING as usize)).unwrap();
        let length = || fs::metadata(&path).unwrap().len();
        // Four words each.
        let half_a_ring = || (0..RING / 2 / 32).for_each(|n| trace::counter("n", n as f64));
        let time_to_write = || {
            let (began, before) = (Instant::now(), length());
            half_a_ring();
            wait_until("it is written", || length() > before + RING / 4);
            let time = began.elapsed();
            // To the end of that.
            greenlet::sleep(Duration::from_millis(20));
            time
        };
        runtime(1).run(|| {
            // All is written four times a second; the next time begins just behind that, or behind a ring that fills.
            time_to_write();
            let mut times = std::iter::repeat_with(time_to_write).take(20);
            assert!(times.any(|time| time < Duration::from_millis(100)));
        });
        let summary = trace::stop().unwrap().unwrap();
        assert_eq!(summary.lost, 0);
    });
}

#[test]
fn a_signal_switches_it() {
    child::alone("a_signal_switches_it", || {
        let _watchdog = watched();
        let dir = TempDir::new();
        trace::toggle_on(Signal::USER_2, Options::stream(dir.join("t"))).unwrap();
        // SAFETY: the signal goes to this process, which has a handler.
        let signal = || assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) }, 0);
        let runtime = runtime(2);
        for name in ["t", "t.2"] {
            signal();
            wait_until("it is on", trace::is_on);
            runtime.run(|| recorded::work(5));
            signal();
            wait_until("it is off", || !trace::is_on());
            wait_until("the file is there", || is_trace(&dir.join(name)));
        }
    });
}

/// Forks; what the child does is told by its status, and is over soon.
fn in_child(body: impl FnOnce() -> i32) {
    // SAFETY: the child goes on with what works in a child, and ends.
    match unsafe { libc::fork() } {
        0 => {
            let status = body();
            // Not `_exit`: what is done at the end of a process must not hurt a child, nor its parent.
            // SAFETY: ends the child.
            unsafe { libc::exit(status) }
        }
        child => {
            let mut status = 0;
            // SAFETY: our own child.
            let ended = || unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == child;
            let in_time = ends_in_time(ended);
            if !in_time {
                // SAFETY: our own child, which has not been waited for.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
            assert!(in_time, "the child hangs");
            assert_eq!(status, 0);
        }
    }
}

fn ends_in_time(mut ended: impl FnMut() -> bool) -> bool {
    (0..2000).any(|_| {
        thread::sleep(Duration::from_millis(5));
        ended()
    })
}

#[test]
fn a_forked_child_does_not_write_into_its_parents_rings() {
    let test = "a_forked_child_does_not_write_into_its_parents_rings";
    child::alone(test, || {
        let _watchdog = watched();
        let dir = TempDir::new();
        // Before there is any runtime.
        let mark = || {
            trace::mark("in the child");
            i32::from(trace::is_on())
        };
        trace::start(Options::flight_in(dir.join("t"))).unwrap();
        in_child(mark);
        let runtime = runtime(1);
        in_child(mark);
        runtime.run(|| in_child(mark));
        assert!(trace::is_on());
        let text = b"in the child";
        let bytes = fs::read(dir.join("t")).unwrap();
        assert!(!bytes.windows(text.len()).any(|window| window == text));
        trace::stop().unwrap().unwrap();
    });
}

#[test]
fn a_child_of_a_program_that_has_not_recorded_may_record() {
    let test = "a_child_of_a_program_that_has_not_recorded_may_record";
    child::alone(test, || {
        let _watchdog = watched();
        for round in 0..20 {
            // Its hubs, which may just be about to begin, are not in the child.
            let parent = runtime(2);
            if round % 2 == 0 {
                parent.run(|| recorded::work(2));
            }
            in_child(|| {
                trace::start(Options::flight()).unwrap();
                runtime(2).run(|| recorded::work(2));
                let summary = trace::stop().unwrap().unwrap();
                let hubs = summary.rings.iter().filter(|ring| ring.hub.is_some());
                i32::from(summary.events < 100 || hubs.count() != 2)
            });
        }
    });
}

#[test]
fn a_forked_child_ends_and_does_without_recording() {
    let test = "a_forked_child_ends_and_does_without_recording";
    child::alone(test, || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let triggers = [Trigger::SlowSpan];
        let options = Options::stream(dir.join("t")).snapshot_on(&triggers, dir.join("s"));
        trace::start(options).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let runtime = runtime(2);
        let working = runtime.spawn({
            let over = over.clone();
            move || {
                while !over.load(Relaxed) {
                    recorded::work(3);
                }
            }
        });
        for _ in 0..20 {
            in_child(|| {
                drop(trace::span("slow").slower_than(Duration::ZERO));
                let is_none = trace::stop().is_ok_and(|summary| summary.is_none());
                let start = trace::start(Options::stream(dir.join("child")));
                let is_refused = start.is_err_and(|e| e.kind() == ErrorKind::Unsupported);
                let snapshot = trace::snapshot(dir.join("snapshot"));
                let is_missing = snapshot.is_err_and(|e| e.kind() == ErrorKind::NotFound);
                i32::from(!(is_none && is_refused && is_missing))
            });
        }
        over.store(true, Relaxed);
        working.join().unwrap();
        let summary = trace::stop().unwrap().unwrap();
        assert_eq!(fs::metadata(dir.join("t")).unwrap().len(), summary.bytes);
        assert_eq!(written(&dir), ["t"]);
    });
}

#[test]
fn a_program_that_ends_at_once_loses_nothing_it_was_told_of() {
    let test = "a_program_that_ends_at_once_loses_nothing_it_was_told_of";
    let dir = TempDir::new();
    let path = dir.join("t");
    let variable = format!("stream:{}", path.display());
    child::passes(test, &[("GREENLET_TRACE", &variable)], || {
        let _watchdog = Watchdog::arm(Duration::from_secs(60), test);
        let runtime = runtime(1);
        runtime.run(|| trace::mark("the last thing that it did"));
        drop(runtime);
        // SAFETY: ends the process at once: what was not flushed with the runtime is lost.
        unsafe { libc::_exit(0) };
    });
    let bytes = fs::read(&path).unwrap();
    let text = b"the last thing that it did";
    assert!(bytes.windows(text.len()).any(|window| window == text));
}

#[test]
fn who_was_spawned_before_recording_began_is_known_when_it_runs() {
    let test = "who_was_spawned_before_recording_began_is_known_when_it_runs";
    child::alone(test, || {
        let _watchdog = watched();
        let dir = TempDir::new();
        let path = dir.join("t");
        runtime(1).run(|| {
            let early = greenlet::Builder::new().name("early".into()).spawn(|| {});
            let recording = thread::spawn({
                let path = path.clone();
                move || trace::start(Options::stream(path)).unwrap()
            });
            // In the meantime nobody else runs.
            while !recording.is_finished() {
                std::hint::spin_loop();
            }
            early.unwrap().join().unwrap();
        });
        trace::stop().unwrap().unwrap();
        let (bytes, name) = (fs::read(path).unwrap(), b"early");
        assert!(bytes.windows(name.len()).any(|window| window == name));
    });
}

#[test]
fn a_greenlet_on_the_smallest_stack_may_be_the_first_to_record() {
    let test = "a_greenlet_on_the_smallest_stack_may_be_the_first_to_record";
    child::alone(test, || {
        let _watchdog = watched();
        let runtime = runtime(1);
        runtime.run(|| {
            let ready = Arc::new(AtomicBool::new(false));
            let small = greenlet::Builder::new().stack_size(32 << 10).spawn({
                let ready = ready.clone();
                move || {
                    // Its hub does not come to look around in between.
                    while !ready.load(Relaxed) {
                        std::hint::spin_loop();
                    }
                    trace::mark("small");
                }
            });
            let starting = thread::spawn(move || {
                trace::start(Options::flight()).unwrap();
                ready.store(true, Relaxed);
            });
            small.unwrap().join().unwrap();
            starting.join().unwrap();
        });
        assert!(trace::stop().unwrap().unwrap().events > 0);
    });
}
