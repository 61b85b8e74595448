//! Greenlets of several runtimes and plain threads, all at once.

use std::thread;

use super::hubs::runtime;

/// How many call `body` in a [`crowd`] of so many each.
pub(crate) const fn in_crowd(each: usize) -> usize {
    4 * each
}

/// Runs `body` in `each` greenlets on 1, on 2 and on 8 hubs and on `each` plain threads, at the same time. Each
/// is told its number.
pub(crate) fn crowd(each: usize, body: impl Fn(usize) + Send + Sync) {
    let body = &body;
    thread::scope(|threads| {
        for (number, hubs) in [1, 2, 8].into_iter().enumerate() {
            threads.spawn(move || {
                runtime(hubs).run(|| {
                    greenlet::thread::scope(|scope| {
                        for each_number in 0..each {
                            scope.spawn(move || body(number * each + each_number));
                        }
                    });
                });
            });
        }
        for each_number in 0..each {
            threads.spawn(move || body(3 * each + each_number));
        }
    });
}
