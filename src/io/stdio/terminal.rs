//! Whether a descriptor is a terminal.

use std::os::fd::AsFd;

use crate::sys;

/// Whether something is a terminal: [`std::io::IsTerminal`], for all descriptors.
///
/// # Differences
///
/// std's trait can be implemented by std only. This one has what std's has, and this crate's types.
pub trait IsTerminal: AsFd {
    /// Whether it is a terminal.
    fn is_terminal(&self) -> bool;
}

impl<T: AsFd> IsTerminal for T {
    fn is_terminal(&self) -> bool {
        sys::fd::is_terminal(self.as_fd())
    }
}
