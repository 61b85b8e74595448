//! The kinds of signals.

use std::fmt;
use std::io;

use crate::sched::signals;

/// A kind of signal that can be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(libc::c_int);

/// Those that a program cannot go on after, those that it cannot do anything about, and the C
/// library's own.
const REFUSED: [libc::c_int; 10] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGKILL,
    libc::SIGSTOP,
    32,
    33,
];

impl Signal {
    /// SIGHUP: the terminal is gone; for many servers, to read their configuration again.
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// SIGINT: Ctrl-C.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// SIGQUIT: Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// SIGTERM: what `kill` sends.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// SIGUSR1: for the program's own use.
    pub const USER_1: Self = Self(libc::SIGUSR1);
    /// SIGUSR2: for the program's own use.
    pub const USER_2: Self = Self(libc::SIGUSR2);
    /// SIGCHLD: a child has ended or stopped. [`process`](crate::process) needs no handler of it.
    pub const CHILD: Self = Self(libc::SIGCHLD);
    /// SIGALRM: a timer of `alarm` or `setitimer` is over.
    pub const ALARM: Self = Self(libc::SIGALRM);
    /// SIGWINCH: the terminal has another size.
    pub const WINDOW_CHANGE: Self = Self(libc::SIGWINCH);
    /// SIGCONT: the process goes on after it was stopped.
    pub const CONTINUE: Self = Self(libc::SIGCONT);
    /// SIGTSTP: Ctrl-Z.
    pub const TERMINAL_STOP: Self = Self(libc::SIGTSTP);
    /// SIGPIPE: a write to a pipe or socket that nobody reads. Rust ignores it, and the write fails.
    pub const PIPE: Self = Self(libc::SIGPIPE);

    /// The signal of this number.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if there is none; for SIGKILL and SIGSTOP, which
    /// cannot be handled; for SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV and SIGSYS, after which the program
    /// cannot go on; and for 32 and 33, which the C library uses.
    pub fn from_raw(signal: i32) -> io::Result<Self> {
        if !(1..=signals::LAST).contains(&signal) || REFUSED.contains(&signal) {
            let message = format!("signal {signal} cannot be waited for");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Self(signal))
    }

    /// Its number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            libc::SIGHUP => "SIGHUP",
            libc::SIGINT => "SIGINT",
            libc::SIGQUIT => "SIGQUIT",
            libc::SIGABRT => "SIGABRT",
            libc::SIGUSR1 => "SIGUSR1",
            libc::SIGUSR2 => "SIGUSR2",
            libc::SIGPIPE => "SIGPIPE",
            libc::SIGALRM => "SIGALRM",
            libc::SIGTERM => "SIGTERM",
            libc::SIGSTKFLT => "SIGSTKFLT",
            libc::SIGCHLD => "SIGCHLD",
            libc::SIGCONT => "SIGCONT",
            libc::SIGTSTP => "SIGTSTP",
            libc::SIGTTIN => "SIGTTIN",
            libc::SIGTTOU => "SIGTTOU",
            libc::SIGURG => "SIGURG",
            libc::SIGXCPU => "SIGXCPU",
            libc::SIGXFSZ => "SIGXFSZ",
            libc::SIGVTALRM => "SIGVTALRM",
            libc::SIGPROF => "SIGPROF",
            libc::SIGWINCH => "SIGWINCH",
            libc::SIGIO => "SIGIO",
            libc::SIGPWR => "SIGPWR",
            _ => return None,
        })
    }
}

/// `SIGTERM`, or `signal 34` where there is no name.
impl From<Signal> for i32 {
    fn from(signal: Signal) -> Self {
        signal.as_raw()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
