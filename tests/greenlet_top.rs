//! The command `greenlet-top`, in a real terminal: tmux is the terminal, where it is installed.

mod support;

use std::env;
use std::hint::black_box;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use greenlet::Builder;
use greenlet::sync::Mutex;
use greenlet::trace::serve;
use support::process::wait_until;
use support::temp::TempDir;
use support::{runtime, watched};

const TOP: &str = env!("CARGO_BIN_EXE_greenlet-top");

/// Set in the program to look at: where it serves.
const PROGRAM: &str = "GREENLET_TEST_PROGRAM";

/// A program to look at, this one again: so that no other test's greenlets are in it.
struct Program {
    process: Child,
    path: PathBuf,
    folder: Option<TempDir>,
}

impl Program {
    fn start() -> Self {
        let folder = TempDir::new();
        let mut program = Self::start_at(folder.join("top"));
        program.folder = Some(folder);
        program
    }

    fn start_at(path: PathBuf) -> Self {
        let process = Command::new(env::current_exe().expect("a path"))
            .args(["--exact", "the_program"])
            .env(PROGRAM, &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        wait_until("it serves", || UnixStream::connect(&path).is_ok());
        Self {
            process,
            path,
            folder: None,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has not ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A greenlet that sleeps for an hour, one that computes half of the time, and a lock that eight of them want.
#[test]
fn the_program() {
    let Some(path) = env::var_os(PROGRAM) else {
        return;
    };
    let _watchdog = watched();
    let _server = serve(path).expect("a socket");
    runtime(2).run(|| {
        named("sleeper", || greenlet::sleep(Duration::from_secs(3600)));
        named("worker", work_half_of_the_time);
        let lock = Arc::new(Mutex::new(()));
        for number in 0..8 {
            let lock = lock.clone();
            named(&format!("convoy-{number}"), move || {
                hold_again_and_again(&lock)
            });
        }
        greenlet::sleep(Duration::from_secs(3600));
    });
}

fn named(name: &str, body: impl FnOnce() + Send + 'static) {
    let spawned = Builder::new().name(name.into()).spawn(body);
    drop(spawned.expect("a greenlet"));
}

fn work_half_of_the_time() {
    loop {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {
            black_box(begun);
        }
        greenlet::sleep(Duration::from_millis(20));
    }
}

fn hold_again_and_again(lock: &Mutex<()>) {
    loop {
        let held = lock.lock().expect("nobody panics");
        greenlet::sleep(Duration::from_millis(2));
        drop(held);
        greenlet::yield_now();
    }
}

/// A terminal with one command in it.
struct Terminal {
    /// The name of its tmux server, which is this test's own.
    server: String,
}

impl Terminal {
    /// `None`, and the test is left out, if there is no tmux; it fails if tools are required.
    fn run(size: (u16, u16), variables: &[&str], command: &str) -> Option<Self> {
        let has_tmux = Command::new("tmux").arg("-V").output().is_ok();
        if !has_tmux {
            let required = env::var_os("GREENLET_REQUIRE_TOOLS").is_some_and(|it| it == "1");
            assert!(!required, "tmux is missing: apt-get install tmux");
            return None;
        }
        // Not that of one before, which may still be ending.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let terminal = Self {
            server: format!("greenlet-{}-{number}", std::process::id()),
        };
        let (width, height) = (size.0.to_string(), size.1.to_string());
        // What the command answers is shown, and the terminal stays for a while.
        let command = format!(
            "{} {command}; echo \"ended with $?\"; sleep 60",
            variables.join(" ")
        );
        let started = terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "top",
            "-x",
            &width,
            "-y",
            &height,
            &command,
        ]);
        assert!(started.status.success(), "{started:?}");
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.server]).args(arguments);
        command
            .env_remove("NO_COLOR")
            .env("TERM", "screen-256color");
        command.output().expect("tmux")
    }

    fn press(&self, keys: &[&str]) {
        let pressed = self.tmux(&[&["send-keys", "-t", "top"], keys].concat());
        assert!(pressed.status.success(), "{pressed:?}");
    }

    fn resize(&self, width: &str, height: &str) {
        let resized = self.tmux(&["resize-window", "-t", "top", "-x", width, "-y", height]);
        assert!(resized.status.success(), "{resized:?}");
    }

    fn screen(&self) -> String {
        let captured = self.tmux(&["capture-pane", "-p", "-t", "top"]);
        String::from_utf8(captured.stdout).expect("UTF-8")
    }

    /// With what sets colours.
    fn coloured(&self) -> String {
        let captured = self.tmux(&["capture-pane", "-p", "-e", "-t", "top"]);
        String::from_utf8(captured.stdout).expect("UTF-8")
    }

    /// The screen, when it is as it should be.
    #[track_caller]
    fn wait_for(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "never {what}:\n{screen}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn top(path: &Path) -> String {
    format!("{TOP} {}", path.display())
}

/// The line of a screen that has this in it.
fn line<'a>(screen: &'a str, part: &str) -> Option<&'a str> {
    screen.lines().find(|line| line.contains(part))
}

/// The row of the table in which a greenlet of this name is.
fn row(screen: &str, name: &str) -> Option<usize> {
    let rows = screen
        .lines()
        .skip_while(|line| !line.starts_with("GREENLET"));
    rows.skip(1)
        .position(|line| line.split_whitespace().nth(1) == Some(name))
}

#[test]
fn a_page_of_text_shows_hubs_and_greenlets() {
    let _watchdog = watched();
    let program = Program::start();
    let output = Command::new(TOP)
        .args(["--once", "--seconds", "1"])
        .arg(&program.path)
        .output()
        .unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{page}");
    let process = format!("process {} ", program.process.id());
    let title = page.lines().next().unwrap();
    assert!(
        title.contains(&process) && title.contains("greenlets"),
        "{page}"
    );
    let hubs: Vec<&str> = page
        .lines()
        .skip(3)
        .take_while(|line| !line.is_empty())
        .collect();
    assert_eq!(hubs.len(), 2, "{page}");
    let worker = line(&page, "worker").expect(&page);
    // The column's numbers end where its head ends.
    let head = line(&page, "RUN%").expect(&page);
    let end = head.find("RUN%").expect("it is there") + "RUN%".len();
    let running = worker[..end].split_whitespace().last().expect(worker);
    let running: f64 = running.parse().expect(worker);
    assert!((10.0..=90.0).contains(&running), "{worker}");
    let sleeper = line(&page, "sleeper").expect(&page);
    assert!(
        sleeper.contains("sleep ") && sleeper.contains("tests/greenlet_top.rs:"),
        "{sleeper}"
    );
    assert!(
        (0..8).all(|number| page.contains(&format!("convoy-{number}"))),
        "{page}"
    );

    let filtered = Command::new(TOP)
        .args([
            "--once", "--filter", "convoy", "--sort", "wait", "--lines", "3",
        ])
        .arg(&program.path)
        .output()
        .unwrap();
    let page = String::from_utf8(filtered.stdout).unwrap();
    assert!(
        line(&page, "sleeper").is_none() && page.contains("and 5 more"),
        "{page}"
    );
}

#[test]
fn what_is_wrong_is_told() {
    let fails = |arguments: &[&str]| {
        let output = Command::new(TOP).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(fails(&["/nowhere/at/all"]).contains("no such socket"));
    assert!(fails(&["--once"]).contains("which socket?"));
    assert!(fails(&["--sort", "size", "x"]).contains("--sort"));
    assert!(fails(&["--seconds", "0", "x"]).contains("--seconds"));
    let folder = TempDir::new();
    let stale = folder.join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    // A child of another test may have it for a moment.
    wait_until("nobody listens", || UnixStream::connect(&stale).is_err());
    assert!(fails(&[stale.to_str().unwrap()]).contains("nobody listens"));
    let server = serve(folder.join("top")).unwrap();
    let path = server.path().to_str().unwrap();
    assert!(fails(&[path]).contains("no terminal"));
}

#[test]
fn keys_sort_filter_select_and_explain() {
    let _watchdog = watched();
    let program = Program::start();
    let Some(terminal) = Terminal::run((120, 30), &[], &top(&program.path)) else {
        return;
    };
    // Who runs most comes first.
    let screen = terminal.wait_for("sorted by run", |screen| row(screen, "worker") == Some(0));
    assert!(screen.contains("RUN%*"), "{screen}");
    assert!(
        line(&screen, "BUSY%").is_some() && screen.contains("[|"),
        "{screen}"
    );
    // Who waits longest.
    terminal.press(&["w"]);
    terminal.wait_for("sorted by wait", |screen| {
        screen.contains("FOR*") && row(screen, "sleeper").is_some_and(|row| row < 2)
    });
    terminal.press(&["l"]);
    terminal.wait_for("sorted by latency", |screen| screen.contains("WORST*"));
    // A filter.
    terminal.press(&["/", "s", "l", "e", "e", "p", "e"]);
    terminal.wait_for("filtered", |screen| {
        screen.contains("filter: sleepe_") && screen.contains("1 with \"sleepe\"")
    });
    terminal.press(&["Enter"]);
    // The stack of the one that is left.
    terminal.press(&["Down", "Enter"]);
    // The terminal may be looked at while it is drawn.
    let detail = terminal.wait_for("a stack", |screen| {
        let parts = ["'sleeper'", "state", "spawned at", "stack  ", "  0  "];
        parts.iter().all(|part| line(screen, part).is_some())
    });
    assert!(
        line(&detail, "state")
            .unwrap()
            .contains("waiting for a time"),
        "{detail}"
    );
    assert!(
        line(&detail, "spawned at")
            .unwrap()
            .contains("tests/greenlet_top.rs:"),
        "{detail}"
    );
    terminal.press(&["Escape"]);
    terminal.wait_for("the table", |screen| row(screen, "sleeper") == Some(0));
    terminal.press(&["Escape"]);
    terminal.wait_for("all", |screen| row(screen, "worker").is_some());
    // Lints.
    terminal.press(&["d"]);
    terminal.wait_for("the convoy is found", |screen| screen.contains("convoy: "));
    terminal.press(&["Escape", "?"]);
    terminal.wait_for("help", |screen| screen.contains("pause: the tables stay"));
    terminal.press(&["?", "p"]);
    terminal.wait_for("paused", |screen| screen.contains("PAUSED"));
    terminal.press(&["p"]);
    terminal.wait_for("not paused", |screen| !screen.contains("PAUSED"));
    terminal.press(&["q"]);
    terminal.wait_for("the end", |screen| screen.contains("ended with 0"));
}

#[test]
fn it_fits_into_any_terminal() {
    let _watchdog = watched();
    let program = Program::start();
    let Some(terminal) = Terminal::run((80, 24), &[], &top(&program.path)) else {
        return;
    };
    let screen = terminal.wait_for("the table", |screen| row(screen, "worker").is_some());
    assert!(
        screen.contains("q quit") && !screen.contains("SPAWNED AT"),
        "{screen}"
    );
    terminal.resize("20", "5");
    terminal.wait_for("too small", |screen| screen.contains("40 x 8"));
    terminal.resize("40", "8");
    terminal.wait_for("small", |screen| screen.contains("GREENLET"));
    terminal.resize("1", "1");
    thread::sleep(Duration::from_millis(500));
    terminal.resize("150", "40");
    terminal.wait_for("large", |screen| {
        row(screen, "worker").is_some() && screen.contains("SPAWNED AT")
    });
    terminal.press(&["C-c"]);
    terminal.wait_for("the end", |screen| screen.contains("ended with 0"));
}

#[test]
fn a_program_that_ends_is_told_and_one_that_comes_again_is_shown() {
    let _watchdog = watched();
    let mut program = Program::start();
    let Some(terminal) = Terminal::run((120, 30), &[], &top(&program.path)) else {
        return;
    };
    terminal.wait_for("the table", |screen| row(screen, "worker").is_some());
    let (path, process) = (program.path.clone(), program.process.id());
    let _folder = program.folder.take();
    drop(program);
    let screen = terminal.wait_for("the end", |screen| {
        screen.contains("connection was closed") || screen.contains("nobody listens")
    });
    // What was seen last stays.
    assert!(row(&screen, "worker").is_some(), "{screen}");
    assert!(screen.contains(&format!("process {process} ")), "{screen}");
    // It has left its socket, which the next one takes over.
    let again = Program::start_at(path);
    let process = format!("process {} ", again.process.id());
    terminal.wait_for("it is back", |screen| {
        screen.contains(&process) && screen.contains("q quit") && row(screen, "worker").is_some()
    });
    terminal.press(&["q"]);
    terminal.wait_for("the end", |screen| screen.contains("ended with 0"));
}

#[test]
fn colours_are_left_out_if_nobody_wants_them() {
    let _watchdog = watched();
    let program = Program::start();
    let path = &program.path;
    let Some(coloured) = Terminal::run((100, 20), &["env"], &top(path)) else {
        return;
    };
    coloured.wait_for("the table", |screen| row(screen, "worker").is_some());
    let has_colours = |screen: &str| screen.contains("\x1b[38;5;") || screen.contains("\x1b[32m");
    assert!(has_colours(&coloured.coloured()));
    drop(coloured);
    let plain = Terminal::run((100, 20), &["env", "NO_COLOR=1"], &top(path)).expect("tmux");
    plain.wait_for("the table", |screen| row(screen, "worker").is_some());
    assert!(!has_colours(&plain.coloured()));
}
