//! Waiting for a moment, before a park.

use std::hint;

use crate::sched;

/// How often a plain thread looks, as std's locks do; in a model, where that tells nothing new, never.
const ON_A_THREAD: u32 = if cfg!(loom) { 0 } else { 100 };
/// How often a greenlet looks: in less than a microsecond, for its hub has others to run.
const ON_A_GREENLET: u32 = 16;

/// Looks until `changed`, for a moment: what is held for some instructions is free sooner than a park
/// takes. A greenlet on the only hub does not, as who would change it cannot run meanwhile.
pub(super) fn until(mut changed: impl FnMut() -> bool) {
    let looks = match sched::runtime() {
        None => ON_A_THREAD,
        Some(runtime) if runtime.hub_count() == 1 => 0,
        Some(_) => ON_A_GREENLET,
    };
    for _ in 0..looks {
        if changed() {
            return;
        }
        hint::spin_loop();
    }
}
