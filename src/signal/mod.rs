//! Signals as something that greenlets wait for. std has nothing like it.
//!
//! [`listen`] makes a queue of signals, [`wait`] waits for one, and [`on`] has a greenlet run a
//! function at each. What runs is plain code in a greenlet, not a signal handler, and may do what it likes.
//!
//! ```
//! use greenlet::signal::{self, Signal};
//!
//! greenlet::run(|| -> std::io::Result<()> {
//!     let signals = signal::listen(&[Signal::TERMINATE, Signal::HANGUP])?;
//!     # assert_eq!(unsafe { libc::kill(libc::getpid(), Signal::TERMINATE.as_raw()) }, 0);
//!     match signals.wait()? {
//!         Signal::HANGUP => println!("to read the configuration again"),
//!         signal => println!("to end, because of {signal}"),
//!     }
//!     Ok(())
//! })
//! # .unwrap();
//! ```
//!
//! # What happens to the process
//!
//! While anybody listens to a signal it has a handler, instead of its default action. A handler that was
//! there before is called, too. When the last listener is gone, what was there before is put back, unless
//! somebody has installed another handler since.
//!
//! No signal is blocked, so children and threads inherit no mask; and a child that calls `exec` has the
//! default action again, as always. System calls that a signal interrupts are restarted by the kernel where
//! it can (`SA_RESTART`).
//!
//! # How many
//!
//! Each listener sees each signal, once for each time that the handler was called. The kernel keeps one
//! signal of a kind only: a second one that comes before the first was handled is lost (except for those
//! from [`Signal::from_raw`] that are real-time signals). So a signal tells that something has happened, and
//! not how often.
//!
//! # Ctrl-C
//!
//! Who listens to [`Signal::INTERRUPT`] gets it; while nobody does, it ends [`run`](crate::run): see
//! [`RuntimeBuilder::ctrl_c`](crate::RuntimeBuilder::ctrl_c).

mod handler;
mod kind;
mod listener;

pub use handler::{Handler, on};
pub use kind::Signal;
pub use listener::{Iter, Signals, listen, wait, wait_timeout};
