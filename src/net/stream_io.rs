//! Reading and writing the socket of a stream, TCP's or Unix's.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use crate::interest::Interest;
use crate::reason::WaitReason;
use crate::source::Source;
use crate::sys::socket;

#[inline]
pub(super) fn read(source: &Source, buf: &mut [u8]) -> io::Result<usize> {
    source.retry_read(buf.len(), |fd| socket::receive(fd, buf))
}

pub(super) fn read_vectored(source: &Source, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    // No more than one call takes, or a full read would look like a short one.
    let count = bufs.len().min(socket::BUFFERS_MAX);
    let bufs = &mut bufs[..count];
    let wanted = total_of(bufs.iter().map(|buf| buf.len()));
    // The kernel's readv answers so whatever the socket is at; its recvmsg waits for data.
    if wanted == 0 {
        return Ok(0);
    }
    source.retry_read(wanted, |fd| socket::receive_vectored(fd, bufs))
}

/// Reads without taking.
pub(super) fn peek(source: &Source, buf: &mut [u8]) -> io::Result<usize> {
    source.retry(Interest::Read, WaitReason::IoRead, |fd| {
        socket::peek(fd, buf)
    })
}

#[inline]
pub(super) fn write(source: &Source, buf: &[u8]) -> io::Result<usize> {
    send_all(source, buf.len(), |fd, sent| socket::send(fd, &buf[sent..]))
}

pub(super) fn write_vectored(source: &Source, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let wanted = total_of(bufs.iter().map(|buf| buf.len()));
    // As the kernel's writev, and unlike its sendmsg, which looks at the socket first.
    if wanted == 0 {
        return Ok(0);
    }
    send_buffers(source, bufs, wanted, socket::send_vectored)
}

/// Sends the `wanted` bytes of `bufs`, the first of them by `send_first`.
pub(super) fn send_buffers(
    source: &Source,
    bufs: &[IoSlice<'_>],
    wanted: usize,
    send_first: impl Fn(BorrowedFd<'_>, &[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<usize> {
    let bufs = without_empty_heads(bufs);
    send_all(source, wanted, |fd, sent| match sent {
        0 => send_first(fd, bufs),
        _ => send_rest_slow(fd, bufs, sent),
    })
}

/// Sends all of `send`'s data, as a blocking socket does: `send` transmits what comes after
/// the bytes that it is told are sent, until those are `wanted`.
///
/// An error after the first byte is left for the next call to meet.
fn send_all(
    source: &Source,
    wanted: usize,
    mut send: impl FnMut(BorrowedFd<'_>, usize) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut sent = 0;
    let result = source.retry(Interest::Write, WaitReason::IoWrite, |fd| {
        loop {
            sent += send(fd, sent)?;
            if sent >= wanted {
                return Ok(());
            }
        }
    });
    match result {
        Err(error) if sent == 0 => Err(error),
        _ => Ok(sent),
    }
}

/// Bytes in all buffers. The same buffer may be there many times, so the sum may not fit.
pub(super) fn total_of(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.fold(0, usize::saturating_add)
}

/// Only a write that sends nothing could make [`send_all`] go round for ever; one that begins with
/// as many empty buffers as the kernel takes at once would be such a write.
fn without_empty_heads<'a, 'b>(bufs: &'a [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    let heads = bufs.iter().take_while(|buf| buf.is_empty()).count();
    &bufs[heads..]
}

/// Sends what comes after the first `sent` bytes of `bufs`.
#[cold]
fn send_rest_slow(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>], sent: usize) -> io::Result<usize> {
    let mut rest = bufs.to_vec();
    let mut rest = rest.as_mut_slice();
    IoSlice::advance_slices(&mut rest, sent);
    socket::send_vectored(fd, rest)
}
