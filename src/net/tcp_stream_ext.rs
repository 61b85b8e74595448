//! What only Linux's TCP has.

use std::io;
use std::os::fd::AsFd;

use super::TcpStream;
use crate::sys::socket_option;

/// What only Linux's TCP has: [`std::os::linux::net::TcpStreamExt`] for greenlets.
///
/// As std's, it cannot be implemented outside of this crate.
pub trait TcpStreamExt: Sealed {
    /// Sets `TCP_QUICKACK`: what is received is acknowledged at once, for the time being.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor and is not TCP.
    fn set_quickack(&self, quickack: bool) -> io::Result<()>;

    /// The value of `TCP_QUICKACK`.
    ///
    /// # Errors
    ///
    /// When the socket came from a descriptor and is not TCP.
    fn quickack(&self) -> io::Result<bool>;
}

impl TcpStreamExt for TcpStream {
    fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        socket_option::QUICKACK.set(self.as_fd(), quickack.into())
    }

    fn quickack(&self) -> io::Result<bool> {
        Ok(socket_option::QUICKACK.get(self.as_fd())? != 0)
    }
}

pub trait Sealed {}

impl Sealed for TcpStream {}
