//! The traits that all sockets have, by each of std's names for them.

/// That a type with a field `source` is a socket: a descriptor, and the same as one of std's types.
macro_rules! is_a_socket {
    ($Type:ident, $Std:path) => {
        impl std::os::fd::AsFd for $Type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&self.source)
            }
        }

        impl std::os::fd::AsRawFd for $Type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                let fd = std::os::fd::AsFd::as_fd(&self.source);
                std::os::fd::AsRawFd::as_raw_fd(&fd)
            }
        }

        impl std::os::fd::FromRawFd for $Type {
            /// # Safety
            ///
            /// `fd` is open, and nobody else owns it: [`OwnedFd`](std::os::fd::OwnedFd)'s terms.
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> Self {
                // SAFETY: the caller promises what `OwnedFd` asks for.
                unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) }.into()
            }
        }

        impl std::os::fd::IntoRawFd for $Type {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::IntoRawFd::into_raw_fd(self.source.into_fd())
            }
        }

        /// The descriptor, in the blocking mode that the user asked for.
        impl From<$Type> for std::os::fd::OwnedFd {
            fn from(socket: $Type) -> Self {
                socket.source.into_fd()
            }
        }

        impl From<$Std> for $Type {
            fn from(socket: $Std) -> Self {
                std::os::fd::OwnedFd::from(socket).into()
            }
        }

        /// std's socket, in the blocking mode that the user asked for.
        impl From<$Type> for $Std {
            fn from(socket: $Type) -> Self {
                socket.source.into_fd().into()
            }
        }
    };
}

/// That a type with a field `source` is the socket of a stream: it reads and writes, by reference, too.
macro_rules! is_a_stream {
    ($Type:ident) => {
        is_a_stream!($Type, impl for $Type);
        is_a_stream!($Type, impl for &$Type);
    };
    ($Type:ident, impl for $Self:ty) => {
        impl std::io::Read for $Self {
            /// Waits until there is something to read, and reads what there is.
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                crate::net::stream_io::read(&self.source, buf)
            }

            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                crate::net::stream_io::read_vectored(&self.source, bufs)
            }
        }

        impl std::io::Write for $Self {
            /// Waits until all of `buf` is with the kernel, the time-out passes or the connection fails.
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                crate::net::stream_io::write(&self.source, buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                crate::net::stream_io::write_vectored(&self.source, bufs)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}

pub(super) use {is_a_socket, is_a_stream};
