//! jemalloc as the global allocator, with one heap a worker.

mod allocators;

use greenlet::OnWorker;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: OnWorker<Jemalloc> = OnWorker::new(Jemalloc);

/// With a heap for each greenlet they would take 38 KiB more.
#[test]
fn five_hundred_greenlets_take_few_heaps() {
    allocators::five_hundred_greenlets_take_few_heaps(
        "five_hundred_greenlets_take_few_heaps",
        24 << 10,
    );
}

#[test]
fn memory_moves_between_hubs() {
    allocators::memory_moves_between_hubs();
}

#[test]
fn threads_and_greenlets_share_memory() {
    allocators::threads_and_greenlets_share_memory();
}
