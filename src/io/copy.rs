//! Copying, which between pipes is the kernel's.

use std::any::TypeId;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::mem;
use std::os::fd::AsFd;
use std::ptr;

use super::channel::Channel;
use super::child_pipes::{ChildStderr, ChildStdin, ChildStdout};
use super::pipe::{PipeReader, PipeWriter};
use crate::interest::Interest;
use crate::sched;
use crate::sys;

/// Copies all that `reader` has to `writer`, and answers how many bytes that were: [`std::io::copy`].
///
/// Between two pipes ([`PipeReader`], [`ChildStdout`](crate::process::ChildStdout) or
/// [`ChildStderr`](crate::process::ChildStderr), and [`PipeWriter`] or
/// [`ChildStdin`](crate::process::ChildStdin)) the kernel moves the data, which the process never sees
/// (`splice`). Everything else is read and written.
///
/// # Errors
///
/// The first one of reading or writing, except [`Interrupted`](io::ErrorKind::Interrupted).
///
/// ```
/// use greenlet::io;
///
/// let mut written = Vec::new();
/// let count = io::copy(&mut &b"hello"[..], &mut written)?;
/// assert_eq!((count, written.as_slice()), (5, &b"hello"[..]));
/// # Ok::<(), io::Error>(())
/// ```
///
/// # Differences
///
/// std's has the kernel copy between other descriptors, too. With sockets and files that could make a hub
/// wait: there `splice` waits unless the description has `O_NONBLOCK`, which is not this function's to
/// set.
pub fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: ?Sized + Read,
    W: ?Sized + Write,
{
    let mut moved = 0;
    if let (Some(from), Some(to)) = (source_pipe(reader), target_pipe(writer))
        && splice_all(from, to, &mut moved)? == Spliced::All
    {
        return Ok(moved);
    }
    std::io::copy(reader, writer).map(|copied| moved + copied)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spliced {
    /// Up to the end.
    All,
    /// What is left is for others: one of the two is no pipe, or both are the same one.
    Some,
}

fn splice_all(from: &Channel, to: &Channel, moved: &mut u64) -> io::Result<Spliced> {
    /// More than a pipe holds, unless its owner is privileged.
    const MOST: usize = 1 << 20;
    loop {
        match sys::pipe::splice(from.as_fd(), to.as_fd(), MOST) {
            Ok(0) => return Ok(Spliced::All),
            Ok(count) => {
                *moved += count as u64;
                // Two that are always ready must not starve the others.
                sched::spend_io();
            }
            Err(error) => match error.raw_os_error() {
                // One is empty or the other is full.
                Some(libc::EAGAIN) => {
                    from.wait(Interest::Read)?;
                    to.wait(Interest::Write)?;
                }
                Some(libc::EINTR) => {}
                Some(libc::EINVAL) => return Ok(Spliced::Some),
                _ => return Err(error),
            },
        }
    }
}

/// The pipe that `reader` is, if it is one.
fn source_pipe<R: ?Sized>(reader: &R) -> Option<&Channel> {
    None.or_else(|| known(reader).map(PipeReader::channel))
        .or_else(|| known(reader).map(ChildStdout::channel))
        .or_else(|| known(reader).map(ChildStderr::channel))
}

/// The pipe that `writer` is, if it is one.
fn target_pipe<W: ?Sized>(writer: &W) -> Option<&Channel> {
    None.or_else(|| known(writer).map(PipeWriter::channel))
        .or_else(|| known(writer).map(ChildStdin::channel))
}

/// `value` as a `T`, if that is its type: what specialisation would be for, were it stable.
fn known<V: ?Sized, T: WithoutLifetimes>(value: &V) -> Option<&T> {
    // SAFETY: the same type: a number tells types apart but for their lifetimes, and `T` has none.
    (type_id::<V>() == TypeId::of::<T>()).then(|| unsafe { &*ptr::from_ref(value).cast::<T>() })
}

/// A type that is told by its [`TypeId`] alone.
///
/// # Safety
///
/// It has no lifetimes as parameters.
unsafe trait WithoutLifetimes: 'static {}

// SAFETY: they have no parameters; so for all below.
unsafe impl WithoutLifetimes for PipeReader {}
// SAFETY: as above.
unsafe impl WithoutLifetimes for PipeWriter {}
// SAFETY: as above.
unsafe impl WithoutLifetimes for ChildStdin {}
// SAFETY: as above.
unsafe impl WithoutLifetimes for ChildStdout {}
// SAFETY: as above.
unsafe impl WithoutLifetimes for ChildStderr {}

/// [`TypeId::of`] for types that need not be `'static`: their lifetimes do not count.
fn type_id<V: ?Sized>() -> TypeId {
    trait Numbered {
        fn number(&self) -> TypeId
        where
            Self: 'static;
    }

    impl<V: ?Sized> Numbered for PhantomData<V> {
        fn number(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<V>()
        }
    }

    let value = PhantomData::<V>;
    let value: &dyn Numbered = &value;
    // SAFETY: only the lifetime bound of the trait object changes, and what is called with it looks at no
    // value: a number is made when the program is compiled, where lifetimes are gone.
    let value = unsafe { mem::transmute::<&dyn Numbered, &(dyn Numbered + 'static)>(value) };
    value.number()
}
