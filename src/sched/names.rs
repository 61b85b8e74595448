//! What the addresses of stacks are called.

use std::collections::HashMap;

use crate::unwind;

/// Names that were looked up. Stacks of one program have few different addresses.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By an address inside of the instruction.
    known: HashMap<usize, Vec<String>>,
    /// Stacks of the same addresses.
    stacks: HashMap<Vec<usize>, Vec<String>>,
}

impl Names {
    /// The frames of a stack, innermost first, without those of this crate at both ends.
    pub(super) fn of_stack(&mut self, addresses: Vec<usize>) -> Vec<String> {
        if let Some(frames) = self.stacks.get(&addresses) {
            return frames.clone();
        }
        let mut frames = Vec::new();
        for (place, &address) in addresses.iter().enumerate() {
            // All but the first are return addresses.
            let lookup = address.saturating_sub(usize::from(place > 0));
            let named = self.known.entry(lookup).or_insert_with(|| {
                let described = unwind::describe(&[lookup]);
                described.iter().map(ToString::to_string).collect()
            });
            frames.extend(named.iter().cloned());
        }
        let frames = without_own(frames);
        self.stacks.insert(addresses, frames.clone());
        frames
    }
}

/// How the scheduler's functions begin, above every wait.
const WAITING: [&str; 3] = [
    "greenlet::sched::",
    "<greenlet::sched::",
    "greenlet::arch::",
];

/// What calls the closure of a greenlet; with what comes before and after, it is the end of what its author knows.
const BODY: [&str; 2] = ["greenlet::sched::body::", "<greenlet::sched::body::"];

/// How that catches panics.
const CATCHING: [&str; 5] = [
    "std::panic",
    "__rust_try",
    "core::panic::unwind_safe",
    "<core::panic::unwind_safe",
    "core::ops::function::FnOnce::call_once",
];

/// Cuts off what is the same in all stacks: how a wait is made, and how a greenlet begins.
fn without_own(frames: Vec<String>) -> Vec<String> {
    let is = |names: &[&str], frame: &String| names.iter().any(|name| frame.starts_with(name));
    let first = frames.iter().position(|frame| !is(&WAITING, frame));
    // There may be nothing else, as without names.
    let first = first.unwrap_or(0);
    let mut last = frames.len();
    if let Some(body) = frames.iter().rposition(|frame| is(&BODY, frame)) {
        let caught = frames[..body]
            .iter()
            .rposition(|frame| !is(&CATCHING, frame));
        last = caught.map_or(body, |caught| caught + 1);
    }
    match frames.get(first..last) {
        Some(inner) if !inner.is_empty() => inner.to_vec(),
        _ => frames,
    }
}

#[cfg(test)]
mod tests {
    use super::without_own;

    #[test]
    fn only_what_the_author_of_a_greenlet_knows_is_left() {
        let cut = |frames: &[&str]| without_own(frames.iter().map(ToString::to_string).collect());
        let waiting = [
            "greenlet::sched::park::park_with at a:1",
            "greenlet::greenlet::sleep at b:2",
            "app::work",
            "core::ops::function::FnOnce::call_once",
            "std::panicking::catch_unwind",
            "greenlet::sched::body::Tables<F,T>::run",
            "greenlet::sched::life::main",
        ];
        let left = ["greenlet::greenlet::sleep at b:2", "app::work"];
        assert_eq!(cut(&waiting), left);
        assert_eq!(cut(&waiting[..3]), left);
        // Nothing but own frames, or none with a name.
        assert_eq!(cut(&waiting[..1]), waiting[..1]);
        assert_eq!(cut(&["app+0x10"]), ["app+0x10"]);
        assert!(cut(&[]).is_empty());
    }
}
