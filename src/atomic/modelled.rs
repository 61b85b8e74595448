//! loom's, and queues made of them.

pub(crate) mod deque;
mod lazily;
mod mutex;

pub(crate) use lazily::ConstAtomicU32;
pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence,
};
pub(crate) use loom::thread::yield_now;
pub(crate) use mutex::{Mutex, MutexGuard};

/// loom's macro is of an edition in which `const { .. }` is no expression.
macro_rules! modelled_thread_local {
    ($($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;)*) => {
        loom::thread_local! { $($(#[$attribute])* static $name: $type = $value;)* }
    };
}
pub(crate) use modelled_thread_local as thread_local;

/// Runs `body` in every order, with up to `LOOM_MAX_PREEMPTIONS` preemptions, 2 if that is not set.
/// Prints how many orders there were.
#[cfg(test)]
pub(crate) fn model(body: impl Fn() + Sync + Send + 'static) {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = count.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        body();
    });
    println!("{count:?} orders");
}
