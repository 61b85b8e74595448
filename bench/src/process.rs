//! Child processes with a time limit.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cpu;

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: Option<thread::JoinHandle<String>>,
    deadline: Instant,
    limit: Duration,
}

impl Process {
    /// Starts a process on some processors, for a limited time.
    pub(crate) fn start(
        command: &mut Command,
        cpus: &[usize],
        limit: Duration,
    ) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = cpu::pinned(cpus, || command.spawn())?;
        let stdout = child.stdout.take().expect("it is a pipe");
        let mut stderr = child.stderr.take().expect("it is a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines
                .map_while(|line| sender.send(line).ok())
                .for_each(drop);
        });
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let deadline = Instant::now() + limit;
        Ok(Self {
            child,
            lines,
            errors: Some(errors),
            deadline,
            limit,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints, or why there is none.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        match self.next_line()? {
            Some(line) => Ok(line),
            None => Err(self.reason()),
        }
    }

    /// All lines that it prints, if it ends well.
    pub(crate) fn output(mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        while let Some(line) = self.next_line()? {
            lines.push(line);
        }
        match self.child.wait() {
            Ok(status) if status.success() => Ok(lines),
            _ => Err(self.reason()),
        }
    }

    /// The next line, or nothing at the end.
    fn next_line(&self) -> Result<Option<String>, String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("takes more than {} s", self.limit.as_secs()))
            }
        }
    }

    /// Why it has ended.
    fn reason(&mut self) -> String {
        let status = self.child.wait();
        let errors = self.errors.take().and_then(|errors| errors.join().ok());
        match status {
            Ok(status) => reason(status, &errors.unwrap_or_default()),
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In one line: what the process wrote about its end, or how it ended.
fn reason(status: ExitStatus, errors: &str) -> String {
    let mut lines = errors.lines().filter(|line| !line.trim().is_empty());
    // The message of a panic is in the line after this one.
    let message = match lines.find(|line| line.contains("panicked at")) {
        Some(_) => lines.next(),
        None => errors.lines().rfind(|line| !line.trim().is_empty()),
    };
    let ending = match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit code {}", status.code().unwrap_or_default()),
    };
    match message {
        Some(message) if status.signal().is_some() => format!("{ending}: {message}"),
        Some(message) => message.to_owned(),
        None => ending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let cpus = cpu::allowed().unwrap();
        let mut command = Command::new("sh");
        Process::start(command.args(["-c", script]), &cpus, Duration::from_secs(2)).unwrap()
    }

    #[test]
    fn lines_come_as_they_are_printed() {
        assert_eq!(shell("echo 1; echo 2").output().unwrap(), ["1", "2"]);
        assert_eq!(shell("echo 1; sleep 10").line().unwrap(), "1");
    }

    #[test]
    fn failures_have_a_reason() {
        assert_eq!(shell("exit 3").output().unwrap_err(), "exit code 3");
        assert_eq!(
            shell("echo no memory >&2; exit 1").output().unwrap_err(),
            "no memory"
        );
        assert_eq!(shell("kill -9 $$").output().unwrap_err(), "signal 9");
        assert_eq!(
            shell("exec sleep 10").output().unwrap_err(),
            "takes more than 2 s"
        );
    }

    #[test]
    fn a_panic_gives_its_message() {
        let panic = "thread 'main' panicked at x.rs:1:1:\nno stacks are left\nnote: run with";
        assert_eq!(
            reason(ExitStatus::from_raw(101 << 8), panic),
            "no stacks are left"
        );
    }
}
