//! What is shown of a program counter.

use std::fmt;

use crate::sys::dl::{self, Place};

/// A function that was running, or that was waiting for the one before it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The program counter. Inlined functions share it with the function they were inlined into.
    pub(crate) address: usize,
    /// The function's name, without a hash.
    pub(crate) symbol: Option<String>,
    /// The source, relative to the working directory if it lies below.
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    /// `None` for code that no module was loaded with.
    pub(crate) place: Option<Place>,
}

impl Frame {
    /// What the dynamic loader knows of `address`; `lookup` is an address inside the instruction.
    pub(super) fn exported(address: usize, lookup: usize) -> Self {
        let place = place(address, lookup);
        let symbol = place.as_ref().and_then(|_| dl::exported_symbol(lookup));
        Self {
            address,
            symbol,
            file: None,
            line: None,
            place,
        }
    }
}

/// Where `address` is in the module that `lookup` lies in.
pub(super) fn place(address: usize, lookup: usize) -> Option<Place> {
    let place = dl::place_of(lookup)?;
    let offset = place.offset.wrapping_add(address.wrapping_sub(lookup));
    Some(Place { offset, ..place })
}

/// Addresses with one that lies inside of the instruction that each is about: all but the first are
/// return addresses, and what is returned to may belong to the next function or line.
pub(super) fn lookups(addresses: &[usize]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let lookup = |(at, &address): (usize, &usize)| match at {
        0 => (address, address),
        _ => (address, address.saturating_sub(1)),
    };
    addresses.iter().enumerate().map(lookup)
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(symbol) = &self.symbol {
            f.write_str(symbol)?;
            match (&self.file, self.line, &self.place) {
                (Some(file), Some(line), _) => return write!(f, " at {file}:{line}"),
                (Some(file), None, _) => return write!(f, " at {file}"),
                (None, _, Some(_)) => f.write_str(" in ")?,
                (None, _, None) => return Ok(()),
            }
        }
        match &self.place {
            Some(Place { module, offset }) => write!(f, "{module}+{offset:#x}"),
            None => write!(f, "{:#x}", self.address),
        }
    }
}
