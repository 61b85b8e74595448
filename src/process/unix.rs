//! What Unix adds to [`Command`]; public as `os::unix::process`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;

use super::Command;
use crate::sched;

/// What Unix adds to [`Command`]: [`std::os::unix::process::CommandExt`] for greenlets.
pub trait CommandExt: sealed::Sealed {
    /// The child's user. It is set after the group, and takes the other groups away.
    fn uid(&mut self, id: u32) -> &mut Command;

    /// The child's group.
    fn gid(&mut self, id: u32) -> &mut Command;

    /// Has `f` run in the child, between `fork` and `exec`, after all else. If it fails, so does
    /// [`spawn`](Command::spawn), with its OS error.
    ///
    /// It runs on the worker's stack, and with the thread-locals of the greenlet that spawns, which is
    /// the child's only thread. See [`Command`] for which thread forks.
    ///
    /// # Safety
    ///
    /// The child is a copy of a program with several threads, of which it has one: `f` may call only
    /// what is safe in a signal handler. It may not allocate, nor take a lock, nor use anything of this
    /// crate; and it must not close or use descriptors that belong to others.
    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static;

    /// [`pre_exec`](Self::pre_exec), with std's older name and no `unsafe` where there should be one.
    ///
    /// # Safety
    ///
    /// That of [`pre_exec`](Self::pre_exec).
    #[deprecated(note = "should be unsafe, use `pre_exec` instead")]
    unsafe fn before_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller's promise is the same.
        unsafe { self.pre_exec(f) }
    }

    /// Makes this process run the program, instead of starting another one. Returns only if that
    /// fails, with the reason.
    ///
    /// All greenlets and threads are gone then; no destructors run.
    fn exec(&mut self) -> io::Error;

    /// The child's argument number zero, which is otherwise the program.
    fn arg0<S>(&mut self, arg: S) -> &mut Command
    where
        S: AsRef<OsStr>;

    /// The child's process group; 0 makes it the leader of a new one.
    fn process_group(&mut self, pgroup: i32) -> &mut Command;
}

impl CommandExt for Command {
    fn uid(&mut self, id: u32) -> &mut Command {
        self.inner.uid(id);
        self
    }

    fn gid(&mut self, id: u32) -> &mut Command {
        self.inner.gid(id);
        self
    }

    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller's promise is the same.
        unsafe { self.inner.pre_exec(f) };
        self.forks_here = true;
        self
    }

    fn exec(&mut self) -> io::Error {
        sched::on_thread_stack(|| self.inner.exec())
    }

    fn arg0<S>(&mut self, arg: S) -> &mut Command
    where
        S: AsRef<OsStr>,
    {
        self.inner.arg0(arg);
        self
    }

    fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.inner.process_group(pgroup);
        self
    }
}

mod sealed {
    /// For types of this crate only.
    #[allow(unreachable_pub)]
    pub trait Sealed {}

    impl Sealed for super::Command {}
}
