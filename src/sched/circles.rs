//! Greenlets that wait for each other in a circle.

use std::collections::HashMap;
use std::fmt;

use super::cell::Id;

/// The circles among `waits`, pairs of one that waits and the one it waits for, at most one pair for
/// each that waits. A circle begins with its lowest number; so do the circles among them.
pub(super) fn cycles(waits: impl Iterator<Item = (Id, Id)>) -> Vec<Vec<Id>> {
    let waits: HashMap<Id, Id> = waits.collect();
    // In which walk each was seen.
    let mut seen = HashMap::new();
    let mut cycles = Vec::new();
    for &start in waits.keys() {
        let mut at = start;
        // Each is walked over once.
        while !seen.contains_key(&at) {
            seen.insert(at, start);
            match waits.get(&at) {
                Some(&next) => at = next,
                None => break,
            }
        }
        // It has come back to where this very walk has been.
        let is_new = seen.get(&at) == Some(&start) && waits.contains_key(&at);
        if is_new {
            cycles.push(circle(&waits, at));
        }
    }
    cycles.sort();
    cycles
}

/// The circle that `at` is in, from its lowest number on.
fn circle(waits: &HashMap<Id, Id>, at: Id) -> Vec<Id> {
    let mut circle = vec![at];
    let mut next = waits[&at];
    while next != at {
        circle.push(next);
        next = waits[&next];
    }
    let lowest = (0..circle.len()).min_by_key(|&place| circle[place]);
    circle.rotate_left(lowest.unwrap_or(0));
    circle
}

/// How a circle is shown.
pub(super) struct Circle<'a>(pub(super) &'a [Id]);

impl fmt::Display for Circle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Longer ones are cut.
        const SHOWN: usize = 20;
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        write!(f, "{first}")?;
        for id in self.0.iter().skip(1).take(SHOWN) {
            write!(f, " waits for {id}")?;
        }
        if self.0.len() > SHOWN + 1 {
            write!(f, " and so on, over {}", self.0.len())?;
        }
        write!(f, " waits for {first}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(waits: &[(u64, u64)]) -> Vec<Vec<u64>> {
        let waits = waits.iter().map(|&(from, to)| (Id::new(from), Id::new(to)));
        let numbers = |cycle: Vec<Id>| cycle.into_iter().map(Id::number).collect();
        cycles(waits).into_iter().map(numbers).collect()
    }

    #[test]
    fn circles_are_found_and_what_leads_to_them_is_left_out() {
        assert!(found(&[]).is_empty());
        assert!(found(&[(1, 2), (2, 3), (4, 2)]).is_empty());
        assert_eq!(found(&[(7, 7)]), [[7]]);
        let two = [
            (9, 3),
            (3, 5),
            (5, 4),
            (4, 3),
            (1, 2),
            (2, 1),
            (6, 2),
            (8, 6),
        ];
        assert_eq!(found(&two), [vec![1, 2], vec![3, 5, 4]]);
    }

    #[test]
    fn a_circle_is_shown_as_a_sentence() {
        let shown = |numbers: std::ops::RangeInclusive<u64>| {
            Circle(&numbers.map(Id::new).collect::<Vec<_>>()).to_string()
        };
        assert_eq!(shown(1..=1), "1 waits for 1");
        assert_eq!(shown(1..=2), "1 waits for 2 waits for 1");
        assert!(shown(1..=50).ends_with(" waits for 21 and so on, over 50 waits for 1"));
    }
}
