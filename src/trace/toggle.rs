//! Recording that a signal switches on and off.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

use super::options::{Mode, Options};
use super::serve;
use super::{is_on, start, stop};
use crate::blocking;
use crate::record::OwnThread;
use crate::sched::signals::{self, Listening};

/// Has a signal switch recording on and off, from now to the end of the process: the first one on, as
/// `options` say, the second one off, and so on. Each is told on standard error. `signal` is a
/// [`Signal`](crate::signal::Signal), or its number.
///
/// The file of the second time gets `.2` added to its name, and so on.
///
/// # Errors
///
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for what is no signal, or none that can be handled, and
/// those of a thread that cannot be had.
///
/// ```no_run
/// use greenlet::signal::Signal;
/// use greenlet::trace::{self, Options};
///
/// trace::toggle_on(Signal::USER_2, Options::stream("server.trace"))?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn toggle_on(signal: impl Into<i32>, options: Options) -> io::Result<()> {
    let signal = Listening::to(signal.into())?;
    blocking::offload(|| {
        thread::Builder::new()
            .name("greenlet-toggle".into())
            .spawn(move || {
                let _own = OwnThread::count();
                toggle(&signal, &options);
            })
    })?;
    Ok(())
}

fn toggle(signal: &Listening, options: &Options) {
    let mut seen = signal.count();
    let mut wait = || {
        let come = || (signal.count() != seen).then_some(());
        signals::wait_on_thread(None, come);
        seen = seen.wrapping_add(1);
    };
    for time in 1_u32.. {
        let mut done = || -> io::Result<()> {
            wait();
            if !is_on() || serve::is_for_clients() {
                start(options.numbered(time))?;
                tell(format_args!("recording is on"));
                wait();
            }
            if let Some(summary) = stop()? {
                let (events, lost) = (summary.events, summary.lost);
                tell(format_args!(
                    "recording is off: {events} events, {lost} lost"
                ));
            }
            Ok(())
        };
        if let Err(error) = done() {
            tell(format_args!("recording cannot be switched: {error}"));
        }
    }
}

/// Not `eprintln`, which panics when standard error cannot be written.
fn tell(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "greenlet: {what}");
}

impl Options {
    /// The same for the how-manieth time.
    fn numbered(&self, time: u32) -> Self {
        let mut options = self.clone();
        if time > 1 {
            match &mut options.mode {
                Mode::Stream(path) | Mode::Flight(Some(path)) => *path = numbered(path, time),
                Mode::Flight(None) => {}
            }
        }
        options
    }
}

fn numbered(path: &mut PathBuf, time: u32) -> PathBuf {
    let mut name = OsString::from(std::mem::take(path));
    name.push(format!(".{time}"));
    name.into()
}
