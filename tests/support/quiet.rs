//! Panics that are meant, by the thousand, and print nothing.

use std::any::Any;
use std::panic;
use std::sync::Once;

use super::runtime;

/// How the message of a quiet panic begins.
const MARK: &str = "quietly, ";

static INSTALLED: Once = Once::new();

/// Panics as everybody does, with `panic!`; only that the panic hook, once [`install`]ed, keeps
/// quiet.
pub(crate) fn panic(number: usize) -> ! {
    assert!(
        INSTALLED.is_completed(),
        "the test has not installed the hook"
    );
    panic!("{MARK}{number}");
}

/// Whether this is the payload of that panic.
pub(crate) fn is(payload: &(dyn Any + Send), number: usize) -> bool {
    payload.downcast_ref() == Some(&format!("{MARK}{number}"))
}

/// Puts the hook there, which leaves other panics to the one before it. To be called on a plain
/// thread: the first call builds a runtime.
pub(crate) fn install() {
    INSTALLED.call_once(|| {
        // It sets the runtime's hook, which prints a line of its own; ours goes before it.
        drop(runtime(1));
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info
                .payload_as_str()
                .is_some_and(|text| text.starts_with(MARK))
            {
                before(info);
            }
        }));
    });
}
