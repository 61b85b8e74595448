//! What an event calls something: a text, which gets a number.

use std::cell::Cell;
use std::panic::Location;

use super::event::Text;

/// A text for an event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name<'a> {
    /// There is none. Its number is 0.
    None,
    /// One that stays where it is.
    Label(&'static str),
    /// A place in the source: its file, line and column.
    Place(&'static Location<'static>),
    /// Any other.
    Text(&'a str),
}

/// Names that stay where they are, and their numbers.
#[derive(Debug)]
pub(super) struct KnownNames(Box<[Cell<(Address, Text)>; SLOTS]>);

/// How many names are remembered.
const SLOTS: usize = 256;

/// Where a text is, and how long; a place is longer than all.
type Address = (usize, usize);

impl Default for KnownNames {
    fn default() -> Self {
        // Not by way of the stack, which may be a small greenlet's.
        let slots = vec![Cell::default(); SLOTS].into_boxed_slice();
        Self(slots.try_into().expect("so many"))
    }
}

impl KnownNames {
    /// The number of a name, if it has none or is known.
    #[inline(always)]
    pub(super) fn get(&self, name: Name<'_>) -> Option<Text> {
        if matches!(name, Name::None) {
            return Some(0);
        }
        let address = address(name)?;
        let (known, text) = self.slot(address).get();
        (known == address).then_some(text)
    }

    pub(super) fn insert(&self, name: Name<'_>, text: Text) {
        if let Some(address) = address(name) {
            self.slot(address).set((address, text));
        }
    }

    #[inline(always)]
    fn slot(&self, (address, _): Address) -> &Cell<(Address, Text)> {
        // Texts lie side by side, and places at multiples of eight.
        &self.0[(address ^ address >> 8) % SLOTS]
    }
}

#[inline(always)]
fn address(name: Name<'_>) -> Option<Address> {
    match name {
        Name::Label(label) => Some((label.as_ptr().addr(), label.len())),
        Name::Place(place) => Some((std::ptr::from_ref(place).addr(), usize::MAX)),
        Name::None | Name::Text(_) => None,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_that_lie_side_by_side_are_known_together() {
        // Not over the end of a page, where some addresses would collide.
        #[repr(align(8))]
        struct Aligned([u8; 8]);
        static TEXTS: Aligned = Aligned(*b"abcdefgh");
        let known = KnownNames::default();
        let texts = str::from_utf8(&TEXTS.0).unwrap();
        let names = (0..texts.len()).map(|at| Name::Label(&texts[at..=at]));
        for (number, name) in (1..).zip(names.clone()) {
            known.insert(name, number);
        }
        let numbers: Vec<_> = names.map(|name| known.get(name)).collect();
        assert_eq!(numbers, (1..=8).map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_known_has_no_number() {
        let known = KnownNames::default();
        assert_eq!(known.get(Name::None), Some(0));
        assert_eq!(known.get(Name::Label("name")), None);
        let name = String::from("name");
        known.insert(Name::Text(&name), 1);
        // A text may be another one at the same place next time.
        assert_eq!(known.get(Name::Text(&name)), None);
        let place = Location::caller();
        known.insert(Name::Place(place), 2);
        assert_eq!(known.get(Name::Place(place)), Some(2));
    }
}
