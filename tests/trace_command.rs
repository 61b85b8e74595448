//! The command `greenlet-trace`.
//!
//! Recording is the process's, so each test is alone in a child.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use greenlet::trace::{self, Options};
use serde_json::Value;
use support::temp::TempDir;
use support::{child, recorded, runtime, watched};

fn record(dir: &TempDir) -> PathBuf {
    let _watchdog = watched();
    let path = dir.join("a.trace");
    trace::start(Options::stream(&path)).unwrap();
    runtime(2).run(|| recorded::work(50));
    trace::stop().unwrap().unwrap();
    path
}

fn command(words: &[&OsStr]) -> Output {
    let command = env!("CARGO_BIN_EXE_greenlet-trace");
    Command::new(command).args(words).output().unwrap()
}

/// Its exit status, standard output and standard error.
fn run(words: &[&str], file: Option<&Path>) -> (i32, String, String) {
    let words = words.iter().map(OsStr::new);
    let words: Vec<_> = words.chain(file.map(Path::as_os_str)).collect();
    let output = command(&words);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let status = output.status.code().expect("no signal");
    (status, text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn well(words: &[&str], file: &Path) -> String {
    let (status, stdout, stderr) = run(words, Some(file));
    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    stdout
}

#[test]
fn a_trace_is_told_about() {
    child::alone("a_trace_is_told_about", || {
        let dir = TempDir::new();
        let file = record(&dir);
        let info = well(&["info"], &file);
        let shown = [
            "a trace of format 1.0",
            "  hub 0, thread ",
            "  threads: ",
            "  clock: ",
        ];
        assert!(shown.iter().all(|text| info.contains(text)), "{info}");

        let report = well(&["report"], &file);
        let headings = [
            "HUBS",
            "LATENCY",
            "WAITS, BY REASON",
            "WHO WAKES WHOM",
            "LINTS",
        ];
        assert!(
            headings.iter().all(|text| report.contains(text)),
            "{report}"
        );
        assert!(
            report.contains("worker 3") && report.contains("barrier"),
            "{report}"
        );
        // Frames of stacks, which there are on a busy machine, are as long as they are.
        let lines = report
            .lines()
            .filter(|line| !line.starts_with(&" ".repeat(14)));
        let widest = lines.map(|line| line.chars().count()).max();
        assert!(widest.unwrap() <= 100, "{report}");

        let json = well(&["report", "--json", "--top", "3"], &file);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["sites"].as_array().unwrap().len(), 3);
        assert!((1..=2).contains(&json["hubs"].as_array().unwrap().len()));
        assert!(json["latency"]["woken"]["p99_9_ns"].as_u64().unwrap() > 0);

        assert!(well(&["check", "--whole"], &file).contains("break no rule"));

        let events = well(&["events"], &file);
        let lines = events.lines().count();
        assert_eq!(Some(lines as u64), json["overview"]["events"].as_u64());
        let of_one = well(&["events", "--greenlet", "3"], &file);
        assert!(of_one.lines().count() > 100);
        assert!(
            of_one
                .lines()
                .all(|line| line.contains("greenlet 3") || line.contains("by 3"))
        );
        assert!(
            of_one
                .lines()
                .next()
                .unwrap()
                .contains("SPAWN greenlet 3 by ")
        );

        let out = dir.join("out");
        let out_word = out.to_str().unwrap();
        assert_eq!(well(&["report", "-o", out_word], &file), "");
        assert_eq!(fs::read_to_string(&out).unwrap(), report);
    });
}

#[test]
fn a_trace_is_exported() {
    child::alone("a_trace_is_exported", || {
        let dir = TempDir::new();
        let file = record(&dir);
        for (format, begins) in [
            ("perfetto", &b"\x0a"[..]),
            ("perfetto-sched", b"\x0a"),
            ("chrome", b"{"),
            ("json-lines", b"{"),
            ("folded", b""),
            ("html", b"<!"),
        ] {
            let out = dir.join(format);
            let word = out.to_str().unwrap();
            assert_eq!(well(&["export", format, "-o", word], &file), "");
            let written = fs::read(&out).unwrap();
            assert!(
                written.len() > 1000 && written.starts_with(begins),
                "{format}"
            );
            let words = ["export", format].map(OsStr::new);
            let words = [&words[..], &[file.as_os_str()]].concat();
            assert_eq!(command(&words).stdout, written, "{format}");
        }
    });
}

#[test]
fn what_is_wrong_is_told_and_shows_in_the_status() {
    child::alone("what_is_wrong_is_told_and_shows_in_the_status", || {
        let dir = TempDir::new();
        let file = record(&dir);
        let mut bytes = fs::read(&file).unwrap();
        for command in ["info", "report", "check", "events"] {
            let nothing = dir.join("nothing");
            let (status, _, stderr) = run(&[command], Some(&nothing));
            assert_eq!(status, 1);
            assert!(stderr.contains("nothing: cannot be read"), "{stderr}");
            let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
            let (status, _, stderr) = run(&[command], Some(&other));
            assert_eq!(status, 1);
            assert!(stderr.contains("not a trace"), "{stderr}");
        }
        // The trace itself is not written over.
        let word = file.to_str().unwrap();
        let (status, _, stderr) = run(&["export", "chrome", "-o", word], Some(&file));
        assert_eq!(status, 1);
        assert!(stderr.contains("this is the trace itself"), "{stderr}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
        assert!(!well(&["info"], &file).contains("without an end"));
        let last = bytes.len() - 100;
        bytes.truncate(last);
        fs::write(&file, &bytes).unwrap();
        let (status, stdout, _) = run(&["info"], Some(&file));
        assert_eq!(status, 1);
        assert!(stdout.contains("DAMAGED at byte "), "{stdout}");
        let (status, stdout, stderr) = run(&["check", "--whole"], Some(&file));
        assert_eq!(status, 1);
        assert!(
            stdout.contains("Whole: ") && stderr.contains("at byte"),
            "{stdout}{stderr}"
        );
        fs::write(&file, &bytes[..64]).unwrap();
        assert!(well(&["info"], &file).contains("without an end"));
        assert_eq!(run(&["check", "--whole"], Some(&file)).0, 1);
    });
}

/// Whatever a file says about lengths and counts: memory is bounded by its size.
#[test]
fn a_small_file_takes_little_memory() {
    child::alone("a_small_file_takes_little_memory", || {
        let dir = TempDir::new();
        let file = record(&dir);
        let bytes = fs::read(&file).unwrap();
        let blocks = |bytes: &[u8]| -> Vec<usize> {
            let is_block = |at: &usize| bytes[*at..].starts_with(b"GBLK");
            (0..bytes.len()).step_by(8).filter(is_block).collect()
        };
        for word in 1..6 {
            let mut bytes = bytes.clone();
            for at in blocks(&bytes) {
                bytes[at + word * 8..at + word * 8 + 8].fill(0xfe);
            }
            fs::write(&file, &bytes).unwrap();
            for words in ["info", "report", "check --whole", "events", "export html"] {
                // 256 MiB of addresses.
                let script = format!("ulimit -v 262144; exec \"$0\" {words} \"$1\" >/dev/null");
                let output = Command::new("bash")
                    .arg("-c")
                    .arg(script)
                    .arg(env!("CARGO_BIN_EXE_greenlet-trace"))
                    .arg(&file)
                    .output()
                    .unwrap();
                let is_well = matches!(output.status.code(), Some(0 | 1));
                assert!(is_well, "{words}, word {word}: {output:?}");
            }
        }
    });
}

#[test]
fn a_command_line_that_is_not_understood_is_an_error() {
    for words in [
        &[] as &[&str],
        &["report"],
        &["bake", "x"],
        &["info", "x", "y"],
        &["info", "x", "--json"],
        &["report", "x", "--top", "many"],
        &["report", "x", "--loud"],
        &["export", "svg", "x"],
        &["export", "html"],
    ] {
        let (status, stdout, stderr) = run(words, None);
        assert_eq!((status, stdout.as_str()), (2, ""), "{words:?}: {stderr}");
        assert!(stderr.contains("greenlet-trace --help"), "{stderr}");
    }
    let (status, stdout, stderr) = run(&["--help"], None);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains("Usage:") && stdout.contains("greenlet-trace report"));
}

#[test]
fn whoever_reads_need_not_read_all() {
    child::alone("whoever_reads_need_not_read_all", || {
        let dir = TempDir::new();
        let file = record(&dir);
        let mut events = Command::new(env!("CARGO_BIN_EXE_greenlet-trace"))
            .arg("events")
            .arg(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(events.stdout.take());
        let output = events.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    });
}
