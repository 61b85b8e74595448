//! Workers: the OS threads that hubs run on.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::current;
use super::debugger;
use super::hub::Hub;
use super::monitor::{self, MonitorOptions};
use super::overflow;
use super::queue::RunQueue;
use super::shared::Shared;
use crate::sys::alternate_stack::AlternateStack;
use crate::sys::os_thread;
use crate::tls::Support;

/// Starts a runtime: one worker a hub.
///
/// On an error the workers that were started have ended again.
pub(crate) fn start(
    hubs: usize,
    slot_size: usize,
    support: Option<&'static Support>,
    monitor: MonitorOptions,
) -> io::Result<(Arc<Shared>, Vec<JoinHandle<()>>)> {
    let queues: Vec<RunQueue> = (0..hubs).map(|_| RunQueue::new(hubs == 1)).collect();
    let stealers = queues.iter().map(RunQueue::stealer).collect();
    let shared = Arc::new(Shared::new(stealers, slot_size, support, monitor)?);
    debugger::insert(&shared);
    overflow::install()?;
    current::watch_forks()?;
    if let Some(support) = support {
        // SAFETY: called on the thread that builds the runtime.
        unsafe { support.adopt_worker() };
    }
    let mut workers = Vec::with_capacity(hubs);
    for (index, queue) in queues.into_iter().enumerate() {
        match start_one(index, queue, shared.clone()) {
            Ok(worker) => workers.push(worker),
            Err(error) => {
                end(&shared, workers);
                return Err(error);
            }
        }
    }
    if let Err(error) = monitor::watch(&shared) {
        end(&shared, workers);
        return Err(error);
    }
    Ok((shared, workers))
}

/// Ends a runtime, and returns when its workers are gone.
pub(crate) fn end(shared: &Arc<Shared>, workers: Vec<JoinHandle<()>>) {
    shared.end();
    for worker in workers {
        // A worker does not panic: it aborts.
        let _ = worker.join();
    }
    monitor::unwatch(shared);
}

fn start_one(index: usize, queue: RunQueue, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(format!("greenlet-hub-{index}"))
        .spawn(move || {
            if let Some(support) = shared.support {
                // SAFETY: called on the worker, before it runs a greenlet.
                unsafe { support.adopt_worker() };
            }
            let _stack = AlternateStack::ensure();
            os_thread::set_timer_slack(1);
            shared.hubs[index].begin_task();
            let hub = Hub::new(index, shared, queue, stack_bounds());
            hub.run();
            hub.remote().end_task();
        })
}

fn stack_bounds() -> Range<usize> {
    os_thread::stack_bounds().unwrap_or(0..0)
}
