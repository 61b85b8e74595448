//! Names the greenlet in panic messages: std only knows the names that it has given itself.

use std::io::Write;
use std::sync::Once;

use crate::sched;

/// Puts a line before the message of every panic in a greenlet, by a panic hook that goes on to
/// the one before it. Once in a process; a hook that the program sets later replaces it.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    if std::thread::panicking() {
        // The hook cannot be changed now. The next runtime that is built sees to it.
        return;
    }
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !sched::on_greenlet() {
                return before(info);
            }
            sched::while_telling_of_panic(|| {
                let cell = sched::current_cell();
                let name = cell.name().unwrap_or("<unnamed>");
                // Not `eprintln`, which panics when standard error cannot be written.
                let _ = writeln!(
                    std::io::stderr(),
                    "
in greenlet '{name}' (number {}, spawned at {}):",
                    cell.id(),
                    cell.spawned_at()
                );
                before(info);
            });
        }));
    });
}
