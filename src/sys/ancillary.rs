//! Descriptors that travel with the bytes of a Unix socket (`SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_uint, msghdr};

use super::cvt_size;
use super::socket::BUFFERS_MAX;

/// The kernel passes no more with one message (`SCM_MAX_FD`).
pub(crate) const DESCRIPTORS_MAX: usize = 253;

/// Room for that many, and for what else the kernel may be told to add: the sender's credentials.
const ROOM: usize = {
    let descriptors = DESCRIPTORS_MAX * size_of::<RawFd>();
    // SAFETY: arithmetic.
    unsafe {
        (libc::CMSG_SPACE(descriptors as c_uint)
            + libc::CMSG_SPACE(size_of::<libc::ucred>() as c_uint)) as usize
    }
};

/// Control data, aligned as the kernel has it.
#[repr(C)]
struct Control {
    align: [libc::cmsghdr; 0],
    bytes: [u8; ROOM],
}

impl Control {
    fn new() -> Self {
        Self {
            align: [],
            bytes: [0; ROOM],
        }
    }
}

/// What one message has brought, but for its bytes.
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Bytes of the message had no room.
    pub(crate) truncated: bool,
    /// Descriptors came that this process had no room for; the kernel has closed them.
    pub(crate) descriptors_lost: bool,
}

/// Sends bytes and descriptors, both from first to last; with the first byte go all descriptors, so
/// there must be one.
///
/// `InvalidInput` for more than [`DESCRIPTORS_MAX`].
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.len() > DESCRIPTORS_MAX {
        let message = "more descriptors than one message can carry";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut control = Control::new();
    // `IoSlice` has the layout of `iovec`, std says. The kernel only reads what they point to.
    let mut message = message_of(bufs.as_ptr().cast_mut().cast(), bufs.len());
    if !descriptors.is_empty() {
        let bytes = size_of_val(descriptors) as c_uint;
        message.msg_control = (&raw mut control).cast();
        // SAFETY: arithmetic.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as usize;
        // SAFETY: `msg_control` is aligned, and has room for the header and as many descriptors as
        // `DESCRIPTORS_MAX`; so `CMSG_FIRSTHDR` points to a header, and its data has the room.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes) as usize;
            // `BorrowedFd` has the layout of a `RawFd`, std says.
            ptr::copy_nonoverlapping(
                descriptors.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(header),
                size_of_val(descriptors),
            );
        }
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `message` holds pointers to buffers and to control data that are valid for the call.
    cvt_size(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) })
}

/// Receives bytes, and the descriptors that came with them, closed on exec.
pub(crate) fn receive(socket: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Received> {
    let mut control = Control::new();
    // `IoSliceMut` has the layout of `iovec`, std says.
    let mut message = message_of(bufs.as_mut_ptr().cast(), bufs.len());
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = ROOM;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `message` holds pointers to buffers and to control data that are valid for writes for
    // the call.
    let len = cvt_size(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })?;
    Ok(Received {
        len,
        // SAFETY: the kernel has just filled it in, and `control` is where it was.
        descriptors: unsafe { take_descriptors(&message) },
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        descriptors_lost: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// # Safety
///
/// `message` was received, its control data is valid, and nobody has taken its descriptors.
unsafe fn take_descriptors(message: &msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the control data is the kernel's, so its headers are well-formed, and what they say
    // about their data holds; each descriptor is new and taken once.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<c_int>();
                let bytes = found.cmsg_len - libc::CMSG_LEN(0) as usize;
                for index in 0..bytes / size_of::<c_int>() {
                    let descriptor = data.add(index).read_unaligned();
                    descriptors.push(OwnedFd::from_raw_fd(descriptor));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    descriptors
}

/// A message without an address or control data.
fn message_of(buffers: *mut libc::iovec, count: usize) -> msghdr {
    // SAFETY: it is made of integers and pointers, for which zero is a value.
    let mut message: msghdr = unsafe { mem::zeroed() };
    message.msg_iov = buffers;
    message.msg_iovlen = count.min(BUFFERS_MAX);
    message
}
