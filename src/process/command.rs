//! How a child is started.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{CommandArgs, CommandEnvs, ExitStatus, Output, Stdio};

use super::Child;
use crate::blocking;
use crate::sched;
use crate::sys::signal_mask::SignalMask;

/// Builds and starts a child process: [`std::process::Command`] for greenlets.
///
/// # Where it forks
///
/// Starting a process blocks a thread until the child has called `exec`. In a greenlet that is a
/// thread of the blocking pool, which lends the worker's signal mask for it. In two cases it is the
/// worker itself, whose hub runs nobody else meanwhile:
///
/// - A command with [`pre_exec`](crate::os::unix::process::CommandExt::pre_exec). What such a closure
///   asks of the kernel may be tied to the thread that forks (`PR_SET_PDEATHSIG`, `PTRACE_TRACEME`),
///   and a thread of the pool ends when it has nothing to do.
/// - In a greenlet that is pinned by [`Builder::hub`](crate::Builder::hub), which may have changed what
///   a child inherits from its worker (`setns`, `unshare`, the affinity).
///
/// A worker lives as long as its runtime.
///
/// ```
/// use greenlet::process::Command;
///
/// greenlet::run(|| {
///     let output = Command::new("echo").arg("hello").output().unwrap();
///     assert_eq!(output.stdout, b"hello\n");
/// });
/// ```
pub struct Command {
    pub(super) inner: std::process::Command,
    /// What the user has said about the three streams: of those that he has not, `output` makes
    /// something else than `spawn`.
    stdin_is_set: bool,
    stdout_is_set: bool,
    stderr_is_set: bool,
    /// There is code that runs in the child, and may be about the thread that forks.
    pub(super) forks_here: bool,
}

impl Command {
    /// A command that runs `program` without arguments, and inherits everything else.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        Self {
            inner: std::process::Command::new(program),
            stdin_is_set: false,
            stdout_is_set: false,
            stderr_is_set: false,
            forks_here: false,
        }
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.inner.arg(arg);
        self
    }

    /// Adds several arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.inner.args(args);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.env(key, val);
        self
    }

    /// Sets several variables of the child's environment.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.envs(vars);
        self
    }

    /// Takes a variable out of the child's environment.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.inner.env_remove(key);
        self
    }

    /// Lets the child inherit no variable of the environment.
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// Sets the child's working directory.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.inner.current_dir(dir);
        self
    }

    /// What the child's standard input is. Otherwise [`spawn`](Self::spawn) and
    /// [`status`](Self::status) let it inherit ours, and [`output`](Self::output) gives it none.
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdin(cfg);
        self.stdin_is_set = true;
        self
    }

    /// What the child's standard output is. Otherwise [`spawn`](Self::spawn) and
    /// [`status`](Self::status) let it inherit ours, and [`output`](Self::output) reads it.
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdout(cfg);
        self.stdout_is_set = true;
        self
    }

    /// What the child's standard error is. Otherwise [`spawn`](Self::spawn) and
    /// [`status`](Self::status) let it inherit ours, and [`output`](Self::output) reads it.
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stderr(cfg);
        self.stderr_is_set = true;
        self
    }

    /// Starts the child.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) and
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) of a program that cannot be run; and what
    /// the system says when it has no process, descriptor or memory left.
    pub fn spawn(&mut self) -> io::Result<Child> {
        let inner = &mut self.inner;
        let process = if self.forks_here || sched::is_pinned() {
            sched::on_thread_stack(|| inner.spawn())
        } else {
            // std's children inherit the mask of the thread that spawns them.
            let mask = SignalMask::current();
            blocking::offload(|| {
                let before = mask.install();
                let process = inner.spawn();
                before.install();
                process
            })
        };
        process.map(Child::new)
    }

    /// Starts the child, waits until it has ended, and returns what it has written.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    pub fn output(&mut self) -> io::Result<Output> {
        if !self.stdin_is_set {
            self.inner.stdin(Stdio::null());
        }
        if !self.stdout_is_set {
            self.inner.stdout(Stdio::piped());
        }
        if !self.stderr_is_set {
            self.inner.stderr(Stdio::piped());
        }
        let child = self.spawn();
        self.inherit_what_is_not_set();
        child?.wait_with_output()
    }

    /// Starts the child, waits until it has ended, and returns its status.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// The program.
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// The arguments, without the program.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.inner.get_args()
    }

    /// The variables of the environment that were set or, with no value, removed.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.inner.get_envs()
    }

    /// The working directory that was set.
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.inner.get_current_dir()
    }

    /// As they were before `output`.
    fn inherit_what_is_not_set(&mut self) {
        if !self.stdin_is_set {
            self.inner.stdin(Stdio::inherit());
        }
        if !self.stdout_is_set {
            self.inner.stdout(Stdio::inherit());
        }
        if !self.stderr_is_set {
            self.inner.stderr(Stdio::inherit());
        }
    }
}

/// As std's.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
