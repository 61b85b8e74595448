//! A global allocator that would give every greenlet a heap of its own is refused.

use greenlet::{BuildError, RunError, Runtime};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[test]
fn a_runtime_is_not_built_and_the_error_names_the_wrapper() {
    let error = Runtime::builder().build().unwrap_err();
    assert!(error.to_string().contains("greenlet::OnWorker"), "{error}");
    let BuildError::ThreadLocals(reason) = error else {
        panic!("another error: {error}");
    };
    assert!(!reason.check().is_empty());
    assert_eq!(
        std::io::Error::from(BuildError::from(reason)).kind(),
        std::io::ErrorKind::Unsupported
    );
    // The answer is the same the next time.
    assert!(Runtime::builder().build().is_err());
    assert!(matches!(greenlet::try_run(|| ()), Err(RunError::Build(_))));
    let payload = std::panic::catch_unwind(|| greenlet::spawn(|| ())).unwrap_err();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(message.contains("greenlet::OnWorker"), "{message}");
}

#[test]
fn sharing_the_workers_thread_locals_is_the_named_alternative() {
    // SAFETY: the greenlet keeps none of the listed rules' objects over a wait.
    let sharing = unsafe { Runtime::builder().hubs(2).share_thread_locals() };
    let runtime = sharing.build().unwrap();
    let greenlets: Vec<_> = (0..100)
        .map(|n| {
            runtime.spawn(move || {
                let memory = vec![n; 100];
                // It stays where it has started.
                let hub = greenlet::hub_id();
                greenlet::yield_now();
                assert_eq!(greenlet::hub_id(), hub);
                memory.len()
            })
        })
        .collect();
    greenlets
        .into_iter()
        .for_each(|greenlet| assert_eq!(greenlet.join().unwrap(), 100));
}
