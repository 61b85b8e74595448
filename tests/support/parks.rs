//! That what waits parks its greenlet and not its hub, and what need not wait does not park.

use std::time::Duration;

use super::hubs::{runtime, watched};

/// Runs `wait` in a greenlet of a runtime with one hub, and `end` in another one once the first
/// has parked and others have run meanwhile.
pub(crate) fn parks<T: Send>(wait: impl FnOnce() -> T + Send, end: impl FnOnce() + Send) -> T {
    let _watchdog = watched();
    let runtime = runtime(1);
    let before = runtime.stats().parks;
    runtime.run(|| {
        greenlet::thread::scope(|scope| {
            let waiting = scope.spawn(wait);
            // Others run while it waits, on the only hub.
            for _ in 0..1000 {
                greenlet::yield_now();
            }
            greenlet::sleep(Duration::from_millis(5));
            assert!(!waiting.is_finished(), "there was nothing to wait for");
            // The sleep above is one of them.
            assert!(runtime.stats().parks - before >= 2, "it did not park");
            end();
            waiting.join().expect("no panic")
        })
    })
}

/// The same for a wait that ends by itself, as by time.
pub(crate) fn parks_for_a_while<T: Send>(wait: impl FnOnce() -> T + Send) -> T {
    let _watchdog = watched();
    let runtime = runtime(1);
    runtime.run(|| {
        greenlet::thread::scope(|scope| {
            let before = runtime.stats().parks;
            let waiting = scope.spawn(wait);
            let mut turns = 0;
            while !waiting.is_finished() {
                greenlet::yield_now();
                turns += 1;
            }
            assert!(turns > 1, "others did not run meanwhile");
            assert!(runtime.stats().parks > before, "it did not park");
            waiting.join().expect("no panic")
        })
    })
}

/// Runs `f` in a greenlet; it must not park.
pub(crate) fn does_not_park<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    let _watchdog = watched();
    let runtime = runtime(1);
    runtime.run(|| {
        let before = runtime.stats().parks;
        let result = f();
        assert_eq!(runtime.stats().parks, before, "it parked");
        result
    })
}
