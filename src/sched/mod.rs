//! Layer 4: the scheduler. `README.md` beside this file has the protocols: park, yield, join, idle,
//! steal, monitor, deadlock.
//!
//! | file | noun |
//! |---|---|
//! | `cell`, `greenlet_cell`, `thread_cell` | control blocks |
//! | `token` | what the public `park` waits for |
//! | `body` | a greenlet's closure and result, whose types only it knows |
//! | `join` | the end of a greenlet |
//! | `current` | who is running |
//! | `park` | the one way in which anything waits |
//! | `wait_list` | those who wait for something, in order |
//! | `schedule` | where a greenlet goes that was woken |
//! | `hub`, `worker` | the loop between greenlets, and its OS thread |
//! | `switch`, `life` | what a hub does with a greenlet: run it, start it, end it |
//! | `queue`, `idle` | what a hub runs, and when it sleeps |
//! | `shared` | what hubs share |
//! | `recording` | what the scheduler records, while that is on |
//! | `registry` | all greenlets that have started |
//! | `monitor`, `inspect` | the thread that watches hubs, and how it looks at a greenlet |
//! | `blocked`, `sampler` | the report of a hub that is stuck, and the stack in it |
//! | `names` | what the addresses of stacks are called |
//! | `mains`, `interrupt` | the greenlets that `Runtime::run` waits for, and how Ctrl-C ends them |
//! | `quit` | how SIGQUIT writes a dump |
//! | `signals` | handlers of signals that users wait for |
//! | `deadlock` | finding greenlets that nothing can wake |
//! | `debugger` | where debuggers find greenlets |
//! | `dump` | what every greenlet is doing |
//! | `lock_owner`, `circles` | who keeps a greenlet waiting, and who each other |
//! | `numbers`, `histogram` | what metrics are made of |
//! | `coarse_clock` | the time, about |
//! | `ground` | a stack with its thread-locals |
//! | `usage` | how much stack greenlets use, sampled |
//! | `overflow` | the report of a stack overflow |

mod blocked;
mod body;
mod cell;
mod circles;
mod coarse_clock;
mod current;
mod deadlock;
mod debugger;
mod dump;
mod greenlet_cell;
mod ground;
mod histogram;
mod hub;
mod idle;
mod inspect;
mod interrupt;
mod join;
mod life;
mod lock_owner;
mod mains;
mod monitor;
mod names;
mod numbers;
mod overflow;
mod park;
mod queue;
mod quit;
mod recording;
mod registry;
mod sampler;
mod schedule;
mod shared;
pub(crate) mod signals;
mod spawn;
mod switch;
mod thread_cell;
mod token;
mod usage;
pub(crate) mod wait_list;
mod worker;

#[cfg(all(test, loom))]
mod models;

pub use blocked::{BlockedActivity, BlockedHub, BlockingGreenlet};
pub use cell::Id;
pub use deadlock::{Deadlock, WaitingGreenlet};
pub use dump::{
    Dump, DumpOptions, GreenletDump, GreenletState, HubDump, HubState, RuntimeDump, dump,
};
pub use lock_owner::LockOwner;
pub use numbers::HubMetrics;
pub use shared::Stats;
pub use usage::StackUsage;

pub(crate) use cell::CellRef;
pub(crate) use current::{OsName, cell as current_cell, os_name, set_os_name, was_forked};
pub(crate) use greenlet_cell::SpawnOptions;
pub(crate) use histogram::{CLASSES, Histogram};
pub(crate) use interrupt::Interruptible;
pub(crate) use mains::Main;
pub(crate) use monitor::{
    BLOCKED_AFTER, MonitorOptions, OnBlocked, await_reports, runtimes, wake_hubs,
    while_telling_of_panic,
};
pub(crate) use park::{
    assert_can_park, can_park, on_thread_stack, park, park_shielded, unwind_cancelled,
    unwind_if_cancelled, yield_now,
};
pub(crate) use quit::DumpsOnQuit;
pub(crate) use recording::{record, record_named, statuses, who};
pub(crate) use shared::{Shared, slot_size, support};
pub(crate) use spawn::{Spawned, spawn};
pub(crate) use worker::{end, start};

use std::sync::Arc;

use crate::owner::PLAIN_THREAD;

/// Whether the caller is a greenlet.
#[inline]
pub(crate) fn on_greenlet() -> bool {
    current::get().greenlet().is_some()
}

/// The number of the calling greenlet, or what stands for a plain thread.
#[inline]
pub(crate) fn current_number() -> u64 {
    match current::get().greenlet() {
        Some(greenlet) => greenlet.cell().id().number(),
        None => PLAIN_THREAD,
    }
}

/// Whether the caller is a greenlet that stays on its hub.
pub(crate) fn is_pinned() -> bool {
    current::get()
        .greenlet()
        .is_some_and(|cell| cell.pinned().is_some())
}

/// The runtime whose greenlet or hub the caller is. Valid until the next park or yield.
#[inline]
pub(crate) fn runtime<'a>() -> Option<&'a Arc<Shared>> {
    current::get().hub().map(hub::Hub::shared)
}

/// The name of the calling greenlet. Valid while it runs.
pub(crate) fn name<'a>() -> Option<&'a str> {
    current::get().greenlet()?.name()
}

/// The number of the hub that the caller runs on.
pub(crate) fn hub_id() -> Option<usize> {
    current::get().hub().map(hub::Hub::index)
}

/// Whether the caller's runtime is being dropped.
pub(crate) fn is_ending() -> bool {
    runtime().is_some_and(|shared| shared.is_ending())
}

/// Every wait of the greenlet that is not shielded answers `Cancelled` from now on, the present one
/// too; if it has not started, it ends unrun.
///
/// # Safety
///
/// `cell` is a greenlet's, and its runtime has not gone.
pub(crate) unsafe fn cancel(cell: &CellRef) {
    // SAFETY: a greenlet's (caller), so this is its type; alive by the reference.
    unsafe { cell.as_ptr().cast::<greenlet_cell::GreenletCell>().as_ref() }.cancel();
}

/// The generation of the calling greenlet's last park, and its header: for taking a waker of that
/// park back.
pub(crate) fn last_park() -> Option<(std::ptr::NonNull<crate::waker::Header>, u32)> {
    let header = current::get().greenlet()?.header();
    Some((std::ptr::NonNull::from(header), header.last_generation()))
}

/// Counts a read of a file by the calling greenlet.
#[inline]
pub(crate) fn count_read(offloaded: bool) {
    if let Some(hub) = current::get().hub() {
        hub.count_read(offloaded);
    }
}

/// An operation has found its descriptor ready; after a number of them in a row others have
/// their turn.
#[inline]
pub(crate) fn spend_io() {
    spend(hub::IO_COST);
}

/// The same for an operation that makes no system call, which costs less.
#[inline]
pub(crate) fn spend_memory() {
    spend(hub::MEMORY_COST);
}

#[inline]
fn spend(cost: u32) {
    let current = current::get();
    if current.greenlet().is_some() && current.hub().is_some_and(|hub| hub.spend(cost)) {
        park::yield_if_possible();
    }
}
