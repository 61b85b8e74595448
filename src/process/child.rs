//! A child process.

use std::fmt;
use std::io::{self, Read};
use std::process::{ExitStatus, Output};
use std::time::Duration;

use super::{ChildStderr, ChildStdin, ChildStdout};
use crate::error::Cancelled;
use crate::greenlet;
use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::sched;
use crate::source::Source;
use crate::spawn;
use crate::sys::pidfd;

/// A process that [`Command::spawn`](super::Command::spawn) has started: [`std::process::Child`] for
/// greenlets.
///
/// As there, dropping it leaves the process alone, and one that has ended keeps its number until it is
/// waited for.
///
/// ```
/// use greenlet::io::{Read, Write};
/// use greenlet::process::{Command, Stdio};
///
/// greenlet::run(|| -> std::io::Result<()> {
///     let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
///     cat.stdin.take().unwrap().write_all(b"hello")?;
///     let mut text = String::new();
///     cat.stdout.take().unwrap().read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     assert!(cat.wait()?.success());
///     Ok(())
/// })
/// # .unwrap();
/// ```
pub struct Child {
    /// Its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    /// The process, without the pipes.
    process: std::process::Child,
}

impl Child {
    pub(super) fn new(mut process: std::process::Child) -> Self {
        Self {
            stdin: process.stdin.take().map(ChildStdin::from),
            stdout: process.stdout.take().map(ChildStdout::from),
            stderr: process.stderr.take().map(ChildStderr::from),
            process,
        }
    }

    /// Ends the process by SIGKILL. Nothing happens if it was waited for already.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a process that has got another user.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Closes the pipe to the child's standard input, if that is here, and waits until it has ended.
    ///
    /// After that, the same status is returned at once.
    ///
    /// # Errors
    ///
    /// `ECHILD` when somebody else has waited for the process, or when the program ignores SIGCHLD; in
    /// the latter case when the process has ended.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        if !sched::on_greenlet() {
            return self.process.wait();
        }
        match self.process.try_wait()? {
            Some(status) => Ok(status),
            None => self.park(),
        }
    }

    /// The status, if the process has ended. Does not wait.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Closes the pipe to the child's standard input, reads its output and errors to their ends, both
    /// at once, and waits until the process has ended.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and of reading.
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        if !sched::on_greenlet() {
            self.process.stdout = self.stdout.take().map(Into::into);
            self.process.stderr = self.stderr.take().map(Into::into);
            return self.process.wait_with_output();
        }
        let (stdout, stderr) = match (self.stdout.take(), self.stderr.take()) {
            (None, None) => Default::default(),
            (Some(stdout), None) => (read_all(stdout)?, Vec::new()),
            (None, Some(stderr)) => (Vec::new(), read_all(stderr)?),
            (Some(stdout), Some(stderr)) => {
                // The child may wait for room in either.
                let errors = spawn::spawn(move || read_all(stderr));
                let stdout = read_all(stdout);
                // Reading does not panic; but it is cancelled when the runtime ends.
                let stderr = errors
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other(Cancelled::new())));
                (stdout?, stderr?)
            }
        };
        Ok(Output {
            status: self.wait()?,
            stdout,
            stderr,
        })
    }

    /// Waits for a process that had not ended a moment ago.
    fn park(&mut self) -> io::Result<ExitStatus> {
        // Should the process end now, and somebody else wait for it, then this is another one's. Then
        // the first look below says that there is no such child.
        let Ok(descriptor) = pidfd::open(self.process.id()) else {
            return self.look_again_slow();
        };
        let source = Source::plain(descriptor);
        source.retry(Interest::Read, WaitReason::Child, |_| {
            let status = self.process.try_wait().transpose();
            status.unwrap_or_else(|| Err(io::Error::from_raw_os_error(libc::EAGAIN)))
        })
    }

    /// There is no descriptor left, or the kernel knows none for processes.
    #[cold]
    fn look_again_slow(&mut self) -> io::Result<ExitStatus> {
        const LONGEST: Duration = Duration::from_millis(100);
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            greenlet::sleep(pause);
            pause = (pause * 2).min(LONGEST);
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}

fn read_all(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    from.read_to_end(&mut data)?;
    Ok(data)
}
