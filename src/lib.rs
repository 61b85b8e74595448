//! Green threads for plain blocking code.
//!
//! A *greenlet* is a thread, as far as Rust can tell: it has a stack of its own and thread-locals of
//! its own. So it runs code that was written for threads; so code that is safe on threads is safe
//! here; and so a greenlet that waits may go on on another OS thread. A *runtime* has a few OS
//! threads, each with a *hub* that runs one greenlet after the other: a million of them cost about
//! two pages of memory each, and a switch some tens of nanoseconds.
//!
//! That many need Linux 6.13 or newer. Before that, each guard page of a stack splits a mapping, and
//! `vm.max_map_count`, usually 65,530, ends it at some 32,700 greenlets alive.
//!
//! ```
//! use std::io::{Read, Write};
//! use greenlet::net::{TcpListener, TcpStream};
//!
//! greenlet::run(|| -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let addr = listener.local_addr()?;
//!     let server = greenlet::spawn(move || -> std::io::Result<()> {
//!         let (mut stream, _) = listener.accept()?;
//!         let mut request = [0; 5];
//!         stream.read_exact(&mut request)?;
//!         stream.write_all(&request)
//!     });
//!     let mut stream = TcpStream::connect(addr)?;
//!     stream.write_all(b"hello")?;
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer)?;
//!     assert_eq!(answer, "hello");
//!     server.join().unwrap()
//! })
//! # .unwrap()
//! ```
//!
//! # Where to find what
//!
//! | for | look at |
//! |---|---|
//! | starting | [`run`], [`try_run`], [`Runtime`], [`RuntimeBuilder`] |
//! | greenlets | [`spawn`], [`try_spawn`], [`Builder`], [`JoinHandle`]; [`spawn_local`] for what is not `Send` |
//! | the one that runs | [`current`], [`park`], [`sleep`], [`yield_now`], [`hub_id`] |
//! | std's modules, made green | [`net`], [`fs`], [`process`], [`thread`], [`sync`], [`time`], [`io`], [`os`]; all of std with these in place: [`std`](mod@crate::std) |
//! | calls that block all the same | [`blocking`] |
//! | signals | [`signal`] |
//! | much stack for a moment | [`on_thread_stack`] |
//! | another allocator than the system's | [`OnWorker`] |
//! | what went wrong | [`Deadlock`], [`BlockedHub`] |
//! | what the scheduler does | [`trace`] |
//! | what every greenlet does | [`dump`](dump()), [`Dump`], [`DumpOptions`] |
//! | numbers | [`stats`], [`Runtime::stats`]; [`stack_usage`], [`Runtime::stack_usage`]; [`metrics()`], [`Runtime::metrics`] |
//! | what can fail | [`BuildError`], [`ThreadLocalsError`], [`Cancelled`] |
//! | how it works | [`_documentation`] |
//!
//! # On threads and on greenlets
//!
//! Every function here but [`run`] and [`try_run`], which are for plain threads, and [`spawn_local`], which is for
//! greenlets, may be called anywhere. In a greenlet, what waits parks the greenlet, and its
//! hub runs others. On a plain thread it blocks the thread.
//!
//! What blocks without this crate's knowledge blocks the hub: std's own `net`, `fs`, `process` and
//! standard input, a *contended* std lock, and of [`std::thread`] `sleep`, `park` and
//! `JoinHandle::join`. Short waits of that kind do no harm; long ones stop the other greenlets of that
//! hub. Use this crate's items of the same names; run what has none, such as a client library that
//! brings its own sockets, with [`blocking`].
//!
//! **Never hold a std lock over a wait, and never wait in a std channel, `Condvar` or `Barrier`:** use
//! [`sync`]'s. The greenlet that would end such a wait may need the very hub that it blocks: with one hub that
//! is a certain deadlock, with more it depends on timing. Reading and writing a stream may wait, so they
//! count, even where they need not: every 128th operation gives others their turn. The locks and channels of
//! [`sync`] may be held over any wait, and are waited for by greenlets and plain threads alike:
//!
//! ```
//! use greenlet::sync::{Mutex, mpsc};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! greenlet::run(|| {
//!     let (sender, receiver) = mpsc::channel();
//!     let count = Arc::new(Mutex::new(0));
//!     for n in 0..3 {
//!         let (sender, count) = (sender.clone(), count.clone());
//!         greenlet::spawn(move || {
//!             let mut count = count.lock().unwrap();
//!             greenlet::sleep(Duration::from_millis(1));
//!             *count += n;
//!             sender.send(n).unwrap();
//!         });
//!     }
//!     drop(sender);
//!     assert_eq!(receiver.iter().sum::<i32>(), 3);
//!     assert_eq!(*count.lock().unwrap(), 3);
//! });
//! ```
//!
//! # Features
//!
//! | feature | by default | what it adds |
//! |---|---|---|
//! | `stacks` | off | dumps and reports of a blocked hub show whole stacks, with names and lines; takes the crates framehop and backtrace |
//! | `analysis` | off | `trace::analysis`, which reads traces; takes the crates hdrhistogram, prost, serde and serde_json |
//! | `cli` | off | the command `greenlet-trace`, which reports on traces, checks and exports them |
//! | `top` | off | the command `greenlet-top`, which shows what hubs and greenlets of a running program do: see [`trace::serve`] |
//! | `tracing` | off | `trace::TracingLayer`, which records spans and events of the crate `tracing` |
//!
//! # What a greenlet does not have of its own
//!
//! The kernel knows only the worker. So tied to the worker are: `gettid`, the processor affinity,
//! signals sent to one thread, `setns` and `unshare`, the thread's name in the kernel, its CPU clock,
//! and priority-inheriting pthread mutexes. A greenlet that needs one of these to stay the same is
//! pinned with [`Builder::hub`].
//!
//! After a `fork` in a greenlet the child has that greenlet
//! only, as a plain thread; it may `exec` or end, but not use the runtime: spawning panics. After a
//! `fork` on a plain thread the child has no hub of a runtime from before; what it spawns there is
//! never run.

/// Longer texts on how the crate works, for readers of its source.
pub mod _documentation {
    #[doc = include_str!("docs/std/README.md")]
    #[doc = include_str!("docs/std/net.md")]
    #[doc = include_str!("docs/std/fs.md")]
    #[doc = include_str!("docs/std/process.md")]
    #[doc = include_str!("docs/std/thread.md")]
    #[doc = include_str!("docs/std/sync.md")]
    #[doc = include_str!("docs/std/io.md")]
    pub mod std {}

    #[doc = include_str!("docs/thread_locals.md")]
    pub mod thread_locals {}

    #[doc = include_str!("docs/environment.md")]
    pub mod environment {}

    #[doc = include_str!("docs/dumps.md")]
    pub mod dumps {}

    #[doc = include_str!("docs/scale.md")]
    pub mod scale {}

    #[doc = include_str!("docs/trace_format.md")]
    pub mod trace_format {}

    #[doc = include_str!("docs/metrics.md")]
    pub mod metrics {}

    #[doc = include_str!("docs/live.md")]
    pub mod live {}

    #[doc = include_str!("sched/README.md")]
    pub mod scheduler {}
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[path = "../arch/mod.rs"]
mod arch;

mod sys;

mod abort;
mod atomic;
mod error;
mod interest;
mod json;
mod lock;
mod owner;
mod reason;
mod record;
mod waker;

mod reactor;
mod stack;
mod timer;
mod tls;
mod unwind;

mod sched;

mod blocking;
mod source;

mod builder;
pub mod fs;
mod greenlet;
pub mod io;
mod join_handle;
pub mod metrics;
pub mod net;
mod on_worker;
pub mod os;
mod panic_message;
pub mod process;
mod runtime;
pub mod signal;
mod spawn;
pub mod std;
pub mod sync;
pub mod thread;
pub mod time;
pub mod trace;

mod monkey;

pub use blocking::blocking;
pub use builder::Builder;
pub use error::{BuildError, Cancelled, ThreadLocalsError};
pub use greenlet::{
    Greenlet, current, hub_id, on_thread_stack, park, park_timeout, sleep, sleep_until, yield_now,
};
pub use join_handle::JoinHandle;
pub use metrics::metrics;
pub use on_worker::OnWorker;
pub use runtime::{RunError, Runtime, RuntimeBuilder, run, stack_usage, stats, try_run};
pub use sched::{
    BlockedActivity, BlockedHub, BlockingGreenlet, Deadlock, Dump, DumpOptions, GreenletDump,
    GreenletState, HubDump, HubState, Id, LockOwner, RuntimeDump, StackUsage, Stats,
    WaitingGreenlet, dump,
};
pub use spawn::{spawn, spawn_local, try_spawn};
